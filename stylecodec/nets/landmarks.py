"""The landmark network: a face crop -> sub-pixel points in crop units.

A small residual backbone with a pyramid back to 1/4 of the picture, one heatmap per point, and the expected
position under each heatmap (integral regression, Sun et al., 1711.08229; DSNT, Nibali et al., 1801.07372). An
expectation over cells cannot leave the crop and is drawn towards its middle, so a linear map of the features found
where the heatmap looks adds a small offset.

    128² ─► stem 64² ─► 32² ─► 16² ─► 8²
                         └─(+)◄──(+)◄──┘ ─► features 32² ─► heatmaps ─► softmax p ─► Σ p·position ──(+)─► points
                                                └──────────────────────────────────► Σ p·features ─► offset ┘
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Conv(nn.Sequential):
    """3x3 (or 1x1) convolution, batch norm and, unless it ends a residual branch, ReLU."""

    def __init__(self, a: int, b: int, stride: int = 1, kernel: int = 3, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(a, b, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(b),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class _Residual(nn.Module):
    """x + conv(conv(x)), then ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_Conv(width, width), _Conv(width, width, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return F.relu(x + self.branch(x))


def cell_centres(count: int, like: Tensor) -> Tensor:
    """Centres of `count` equal cells of the unit interval: (i + 0.5) / count, [count]."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count


class LandmarkNet(nn.Module):
    """Crop [N, 3, S, S] in [-1, 1] RGB -> points [N, points, 2]: (x, y) as fractions of the crop, float32.

    points: how many; widths: channels of the stem (1/2) and of the stages at 1/4, 1/8 and 1/16; blocks: residual
    blocks of those three stages; head: channels of the map that is read; input_size: S the net is trained for
    (other multiples of 16 run too). Points may lie a little outside the crop, [0, 1] is no limit.
    """

    def __init__(
        self,
        points: int = 83,
        widths: Sequence[int] = (24, 48, 96, 160),
        blocks: Sequence[int] = (1, 1, 2),
        head: int = 64,
        input_size: int = 128,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks) + 1:
            raise ValueError(f"{len(widths)} widths need {len(widths) - 1} block counts, not {len(blocks)}")
        self.points, self.input_size = points, input_size
        self.stem = _Conv(3, widths[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_Conv(a, b, stride=2), *(_Residual(b) for _ in range(count)))
            for a, b, count in zip(widths, widths[1:], blocks, strict=False)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, head, 1) for width in widths[1:])
        self.merge = _Conv(head, head)
        self.heatmap = nn.Conv2d(head, points, 1)
        self.offset_weight = nn.Parameter(torch.zeros(points, head, 2))
        self.offset_bias = nn.Parameter(torch.zeros(points, 2))

    def features(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] -> merged feature map [N, head, S/4, S/4]."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        merged: Tensor | None = None
        for lateral, level in zip(reversed(self.laterals), reversed(maps), strict=True):
            projected = lateral(level)
            if merged is not None:
                projected = projected + F.interpolate(merged, size=projected.shape[-2:], mode="nearest")
            merged = projected
        read: Tensor = self.merge(merged)
        return read

    def locate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, S, S] -> points [N, P, 2] and the spread of each heatmap [N, P], both in crop units, float32.

        The spread is the root of the mean variance of x and y under the heatmap: small where the net is certain.
        """
        features = self.features(x)
        logits = self.heatmap(features)
        with torch.autocast(x.device.type, enabled=False):  # positions need more than bf16's eight bits
            rows, columns = logits.shape[-2:]
            p = logits.float().flatten(2).softmax(dim=2)
            pooled = torch.bmm(p.to(features.dtype), features.flatten(2).transpose(1, 2)).float()  # [N, P, head]
            offset = torch.einsum("npc,pcd->npd", pooled, self.offset_weight) + self.offset_bias
            ys, xs = cell_centres(rows, p), cell_centres(columns, p)
            grid = torch.stack([xs.repeat(rows), ys.repeat_interleave(columns)], dim=1)  # [cells, 2]
            moments = p @ torch.cat([grid, grid.square()], dim=1)  # [N, P, 4]
            mean, square = moments[..., :2], moments[..., 2:]
            spread = (square - mean.square()).clamp_min(0).mean(dim=2).add(1e-12).sqrt()
        return mean + offset, spread

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> points [N, P, 2], (x, y) in crop units."""
        return self.locate(x)[0]
