"""The identity network: a face -> a unit vector whose inner products measure likeness.

Source: ArcFace (Deng et al., 1801.07698), backbone IR-SE. With the default hyper-parameters it is the circulating
IR-SE50, whose state dict loads as it is; a pack may use a narrower one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .irse import IR_SE50_UNITS, IR_SE50_WIDTHS, ResidualBody

ALIGNED_SIZE = 256
E4E_CROP = (35, 223, 32, 220)  # top, bottom, left, right of the face inside a 256x256 FFHQ-aligned picture


class IdentityNet(ResidualBody):
    """Picture [N, 3, S, S] in [-1, 1] RGB -> unit vectors [N, embedding].

    widths, units, reduction, stem_stride: see ResidualBody; embedding: length of the vector; input_size: S; crop:
    (top, bottom, left, right) that `embed_aligned` cuts from a 256x256 aligned picture, or None for all of it.
    """

    def __init__(
        self,
        widths: Sequence[int] = IR_SE50_WIDTHS,
        units: Sequence[int] = IR_SE50_UNITS,
        embedding: int = 512,
        input_size: int = 112,
        crop: Sequence[int] | None = E4E_CROP,
        reduction: int = 16,
        stem_stride: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(widths, units, reduction, stem_stride=stem_stride)
        self.embedding, self.input_size = embedding, input_size
        self.crop = None if crop is None else tuple(crop)
        side = input_size
        for stride in [stem_stride] + [2] * len(widths):
            side = -(-side // stride)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(widths[-1] * side * side, embedding),
            nn.BatchNorm1d(embedding),
        )

    def features(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> vectors before normalisation [N, embedding], float32."""
        if x.shape[-2:] != (self.input_size, self.input_size):
            raise ValueError(
                f"the identity net takes {self.input_size}x{self.input_size} pictures, not "
                f"{x.shape[-1]}x{x.shape[-2]}; embed_aligned takes aligned crops of any size"
            )
        vector: Tensor = self.output_layer(self.stages(x)[-1])
        return vector.float()

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> unit vectors [N, embedding], float32."""
        return F.normalize(self.features(x))

    def prepare(self, x: Tensor) -> Tensor:
        """Aligned crops [N, 3, H, W] -> the network's input [N, 3, S, S]: pooled to 256, cropped, pooled to S.

        Pooling is adaptive averaging (unequal bins), as in the ID loss of e4e and StyleCLIP.
        """
        if self.crop is not None:
            if x.shape[-2:] != (ALIGNED_SIZE, ALIGNED_SIZE):
                x = F.adaptive_avg_pool2d(x, ALIGNED_SIZE)
            top, bottom, left, right = self.crop
            x = x[:, :, top:bottom, left:right]
        return F.adaptive_avg_pool2d(x, self.input_size)

    def embed_aligned(self, x: Tensor) -> Tensor:
        """Aligned crops [N, 3, H, W] in [-1, 1] (256x256, or any size) -> unit vectors [N, embedding]."""
        embedded: Tensor = self(self.prepare(x))
        return embedded
