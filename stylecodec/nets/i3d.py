"""I3D, Inception inflated to time (Carreira and Zisserman, 1705.07750): clips to the 400 numbers that FVD compares.

The Fréchet Video Distance (Unterthiner et al., 1812.01717) looks at the logits of the RGB network trained on
Kinetics-400. Names are those of the circulating PyTorch conversions of DeepMind's weights (`rgb_imagenet.pt`,
`i3d_pretrained_400.pt`). Padding is TensorFlow's: as little as it takes, the odd one behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 224  # pixels of what the network looks at
FRAMES = 16  # of a clip that is compared
CLASSES = 400
EPSILON = 1e-3

Three = tuple[int, int, int]
# Channels that come in, and of the branches: 1³, 1³ and 3³, 1³ and 3³, maximum and 1³.
_MIXED: dict[str, tuple[int, ...]] = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
_POOLED: dict[str, tuple[Three, Three]] = {  # kernel and stride of the maximum before a block
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


def _padded(x: Tensor, kernel: Three, stride: Three) -> Tensor:
    """[N, C, T, H, W] with zeros around, so that every stride-th place is seen."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max(k - (size % s or s), 0)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(x, pads)


def _maximum(x: Tensor, kernel: Three, stride: Three) -> Tensor:
    return F.max_pool3d(_padded(x, kernel, stride), kernel, stride)


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; last: a convolution with bias alone."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, last: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.last = (kernel,) * 3, (stride,) * 3, last
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        if not last:
            self.bn = nn.BatchNorm3d(outputs, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_padded(x, self.kernel, self.stride))
        return x if self.last else F.relu(self.bn(x))


class _Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs, one, before_b, b, before_c, c, pooled = channels
        self.b0 = _Unit(inputs, one)
        self.b1a, self.b1b = _Unit(inputs, before_b), _Unit(before_b, b, 3)
        self.b2a, self.b2b = _Unit(inputs, before_c), _Unit(before_c, c, 3)
        self.b3b = _Unit(inputs, pooled)

    def forward(self, x: Tensor) -> Tensor:
        beside = self.b3b(_maximum(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), beside], dim=1)


class I3d(nn.Module):
    """Clips [N, 3, T, 224, 224] in [-1, 1] RGB, T at least 9 -> logits [N, 400], mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        for name, channels in _MIXED.items():
            self.add_module(name, _Mixed(channels))
        self.logits = _Unit(1024, CLASSES, last=True)

    def forward(self, clips: Tensor) -> Tensor:
        x = _maximum(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in _MIXED:
            if name in _POOLED:
                x = _maximum(x, *_POOLED[name])
            x = self.get_submodule(name)(x)
        logits: Tensor = self.logits(F.avg_pool3d(x, (2, 7, 7), 1))
        return logits.mean(dim=(2, 3, 4))
