"""Inception-v3 as the Fréchet Inception Distance uses it (Heusel et al., 1706.08500): pictures to 2048 numbers.

It is the TensorFlow network of 2015, whose circulating conversion (`pt_inception-2015-12-05-6726825d.pth`) has the
names of torchvision's; its averages leave the padding out, and its last block takes a maximum where torchvision's takes
a mean. Torchvision's own weights are another network's, and no FID is measured with them. The classifier is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 299  # pixels of what the network looks at
FEATURES = 2048
EPSILON = 1e-3

Kernel = tuple[int, int]
Layer = tuple[str, int, Kernel, int]  # name, channels, kernel, stride; without padding where the stride is 2
Pool = Literal["mean", "maximum", "half"]
_1, _3, _5, _17, _71, _13, _31 = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (1, 3), (3, 1)


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad and stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Chains of convolutions side by side, then a pool of the input; their channels one after the other.

    A chain may end in two convolutions of its last map. pooled: channels of the convolution behind the pool, 0: none.
    """

    def __init__(self, inputs: int, chains: Sequence[Sequence[Layer]], ends: Sequence[int], pool: Pool, pooled: int):
        super().__init__()
        self.chains = [[layer[0] for layer in chain] for chain in chains]
        self.ends, self.pool, self.pooled = tuple(ends), pool, pooled
        for chain, end in zip(chains, ends, strict=True):
            width = inputs
            for place, (name, outputs, kernel, stride) in enumerate(chain):
                self.add_module(name, _Conv(width, outputs, kernel, stride))
                width = outputs if place < len(chain) - end else width
        if pooled:
            self.branch_pool = _Conv(inputs, pooled, _1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for names, end in zip(self.chains, self.ends, strict=True):
            y = x
            for name in names[: len(names) - end]:
                y = self.get_submodule(name)(y)
            found += [self.get_submodule(name)(y) for name in names[len(names) - end :]]
        if self.pool == "half":
            beside = F.max_pool2d(x, 3, 2)
        elif self.pool == "maximum":
            beside = F.max_pool2d(x, 3, 1, 1)
        else:
            beside = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*found, self.branch_pool(beside) if self.pooled else beside], dim=1)


def _a(inputs: int, pooled: int) -> _Block:
    wide = [("branch5x5_1", 48, _1, 1), ("branch5x5_2", 64, _5, 1)]
    deep = [("branch3x3dbl_1", 64, _1, 1), ("branch3x3dbl_2", 96, _3, 1), ("branch3x3dbl_3", 96, _3, 1)]
    return _Block(inputs, [[("branch1x1", 64, _1, 1)], wide, deep], (1, 1, 1), "mean", pooled)


def _b(inputs: int) -> _Block:
    deep = [("branch3x3dbl_1", 64, _1, 1), ("branch3x3dbl_2", 96, _3, 1), ("branch3x3dbl_3", 96, _3, 2)]
    return _Block(inputs, [[("branch3x3", 384, _3, 2)], deep], (1, 1), "half", 0)


def _c(width: int) -> _Block:
    seven = [("branch7x7_1", width, _1, 1), ("branch7x7_2", width, _17, 1), ("branch7x7_3", 192, _71, 1)]
    kernels = (_1, _71, _17, _71, _17)
    deep = [(f"branch7x7dbl_{n}", 192 if n == 5 else width, kernel, 1) for n, kernel in enumerate(kernels, 1)]
    return _Block(768, [[("branch1x1", 192, _1, 1)], seven, deep], (1, 1, 1), "mean", 192)


def _d() -> _Block:
    three = [("branch3x3_1", 192, _1, 1), ("branch3x3_2", 320, _3, 2)]
    kernels = ((_1, 1), (_17, 1), (_71, 1), (_3, 2))
    seven = [(f"branch7x7x3_{n}", 192, kernel, stride) for n, (kernel, stride) in enumerate(kernels, 1)]
    return _Block(768, [three, seven], (1, 1), "half", 0)


def _e(inputs: int, pool: Pool) -> _Block:
    three = [("branch3x3_1", 384, _1, 1), ("branch3x3_2a", 384, _13, 1), ("branch3x3_2b", 384, _31, 1)]
    deep = [("branch3x3dbl_1", 448, _1, 1), ("branch3x3dbl_2", 384, _3, 1)]
    deep += [("branch3x3dbl_3a", 384, _13, 1), ("branch3x3dbl_3b", 384, _31, 1)]
    return _Block(inputs, [[("branch1x1", 320, _1, 1)], three, deep], (1, 2, 2), pool, 192)


class FidInception(nn.Module):
    """Pictures [N, 3, H, W] in [-1, 1] RGB -> features [N, 2048]; resized to 299² by plain bilinear samples."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, _3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, _3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, _3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, _1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, _3, pad=False)
        blocks: Mapping[str, _Block] = {
            "Mixed_5b": _a(192, 32),
            "Mixed_5c": _a(256, 64),
            "Mixed_5d": _a(288, 64),
            "Mixed_6a": _b(288),
            "Mixed_6b": _c(128),
            "Mixed_6c": _c(160),
            "Mixed_6d": _c(160),
            "Mixed_6e": _c(192),
            "Mixed_7a": _d(),
            "Mixed_7b": _e(1280, "mean"),
            "Mixed_7c": _e(2048, "maximum"),
        }
        self.blocks = tuple(blocks)
        for name, block in blocks.items():
            self.add_module(name, block)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))
