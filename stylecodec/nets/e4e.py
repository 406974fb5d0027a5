"""The inversion encoder in the form of e4e (Tov et al., "Designing an Encoder for StyleGAN Image Manipulation").

An IR-SE body (irse.py) and a feature pyramid feed one small head per W+ row; row i is the first head's vector plus
head i's own delta (2102.02766, section 4.1), so that all rows stay near one W code. With the default
hyper-parameters the circulating encoder's state dict loads once `latent_avg` has been added to it.

    body ─► c1, c2, c3        c3 ─────────────► heads 0..2
                              up(c3) + lat(c2) ► heads 3..6       rows = w0 + [0, d1, ..., d17] + latent_avg
                              up(..) + lat(c1) ► heads 7..17
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .irse import IR_SE50_UNITS, IR_SE50_WIDTHS, ResidualBody
from .ops import EqualizedLinear

HEAD_LEAK = 0.01


class StyleHead(nn.Module):
    """Feature map [N, C, s, s] -> one style vector [N, style_dim]: halved by convolutions until it is 1x1."""

    def __init__(self, in_channels: int, width: int, style_dim: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        while size > 1:
            layers += [nn.Conv2d(channels, width, 3, 2, padding=1), nn.LeakyReLU(HEAD_LEAK)]
            channels, size = width, -(-size // 2)
        self.convs = nn.Sequential(*layers)
        self.linear = EqualizedLinear(channels, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, s, s] -> [N, style_dim]."""
        y: Tensor = self.linear(self.convs(x).flatten(1))
        return y


def _up_add(coarse: Tensor, lateral: Tensor) -> Tensor:
    """Bilinear resize of `coarse` (corners aligned) to the size of `lateral`, plus `lateral`."""
    return F.interpolate(coarse, size=lateral.shape[-2:], mode="bilinear", align_corners=True) + lateral


class E4eEncoder(ResidualBody):
    """Aligned crop [N, 3, S, S] in [-1, 1] RGB -> W+ [N, rows, style_dim].

    widths, units, reduction, in_channels, stem_stride: see ResidualBody (four stages); style_dim: of W; rows: of W+;
    head_width: channels inside the heads; coarse, middle: rows read from the two coarser maps, the rest read the
    finest; input_size: S, which fixes how many convolutions a head has.
    """

    def __init__(
        self,
        widths: Sequence[int] = IR_SE50_WIDTHS,
        units: Sequence[int] = IR_SE50_UNITS,
        style_dim: int = 512,
        rows: int = 18,
        head_width: int = 512,
        coarse: int = 3,
        middle: int = 4,
        reduction: int = 16,
        in_channels: int = 3,
        input_size: int = 256,
        stem_stride: int = 1,
    ) -> None:
        super().__init__(widths, units, reduction, in_channels, stem_stride)
        if len(widths) != 4:
            raise ValueError(f"the e4e encoder has four stages, not {len(widths)}")
        if input_size % (16 * stem_stride):
            raise ValueError(f"the input size must be a multiple of {16 * stem_stride}, not {input_size}")
        self.rows, self.input_size, self.coarse, self.middle = rows, input_size, coarse, middle
        finest = input_size // stem_stride // 4  # side of c1, the map after stage 1
        if coarse < rows:  # else no head reads the finer maps
            self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
            self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)
        sides = [finest // 4 if i < coarse else finest // 2 if i < coarse + middle else finest for i in range(rows)]
        self.styles = nn.ModuleList(StyleHead(widths[3], head_width, style_dim, side) for side in sides)
        self.latent_avg: Tensor
        self.register_buffer("latent_avg", torch.zeros(rows, style_dim))

    def taps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] -> c1, c2, c3: the maps after stages 1, 2 and 3, each half the side of the one before."""
        if x.shape[-2:] != (self.input_size, self.input_size):
            raise ValueError(
                f"the encoder takes {self.input_size}x{self.input_size} crops, not {x.shape[-1]}x{x.shape[-2]}"
            )
        _, c1, c2, c3 = self.stages(x)
        return c1, c2, c3

    def deltas(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] -> head outputs [N, rows, style_dim], float32: w0 first, then the deltas of rows 1, 2, ...."""
        c1, c2, c3 = self.taps(x)
        maps = [c3] * self.coarse
        if self.coarse < self.rows:
            p2 = _up_add(c3, self.latlayer1(c2))
            p1 = _up_add(p2, self.latlayer2(c1))
            maps += [p2] * self.middle
            maps += [p1] * (self.rows - len(maps))
        codes = [head(features) for head, features in zip(self.styles, maps, strict=False)]
        return torch.stack(codes, dim=1).float()

    def rows_of(self, deltas: Tensor) -> Tensor:
        """w0 and deltas [N, rows, style_dim] -> w0 + delta of each row [N, rows, style_dim]."""
        first = deltas[:, :1]
        return torch.cat([first, first + deltas[:, 1:]], dim=1)

    def compose(self, deltas: Tensor) -> Tensor:
        """w0 and deltas [N, rows, style_dim] -> W+ [N, rows, style_dim]."""
        return self.rows_of(deltas) + self.latent_avg

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> W+ [N, rows, style_dim], float32."""
        return self.compose(self.deltas(x))
