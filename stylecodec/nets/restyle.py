"""The inversion encoder in the form of ReStyle on e4e (Alaluf et al., 2104.02699): it corrects its own reconstruction.

The network sees the target beside the picture of its last guess (six channels) and predicts what to add to the codes.
All heads read the coarsest map; rows are composed as in e4e.

    target 256² ──┐
                  ├─► encoder ─► + codes so far ─► generator ─► 1024² ─► pooled to 256² ──┐
    guess 256² ───┘                                                                      │
        ▲ at first the picture of the mean latent                                        │
        └────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .e4e import E4eEncoder
from .irse import IR_SE50_UNITS, IR_SE50_WIDTHS
from .stylegan2 import Generator

ITERATIONS = 5  # upstream's number for faces


class RestyleEncoder(E4eEncoder):
    """Target and guess [N, 6, S, S] in [-1, 1] RGB -> change of W+ [N, rows, style_dim].

    Parameters: see E4eEncoder; iterations: of `invert`.
    """

    def __init__(
        self,
        widths: Sequence[int] = IR_SE50_WIDTHS,
        units: Sequence[int] = IR_SE50_UNITS,
        style_dim: int = 512,
        rows: int = 18,
        head_width: int = 512,
        reduction: int = 16,
        input_size: int = 256,
        iterations: int = ITERATIONS,
    ) -> None:
        super().__init__(widths, units, style_dim, rows, head_width, rows, 0, reduction, 6, input_size)
        self.iterations = iterations

    def compose(self, deltas: Tensor) -> Tensor:
        """w0 and deltas [N, rows, style_dim] -> the change of W+, without the mean latent."""
        return self.rows_of(deltas)

    def guess(self, codes: Tensor, generator: Generator) -> Tensor:
        """The generator's picture of codes [N, rows, style_dim], pooled to [N, 3, S, S]; noise as stored."""
        return F.adaptive_avg_pool2d(generator(codes), self.input_size)

    def invert(self, x: Tensor, generator: Generator, iterations: int | None = None) -> Tensor:
        """Aligned crops [N, 3, S, S] in [-1, 1] -> W+ [N, rows, style_dim], after `iterations` passes."""
        codes = self.latent_avg[None]
        picture = self.guess(codes, generator).expand(len(x), -1, -1, -1)
        count = self.iterations if iterations is None else iterations
        for k in range(count):
            codes = codes + self(torch.cat([x, picture], dim=1))
            if k + 1 < count:
                picture = self.guess(codes, generator)
        return codes
