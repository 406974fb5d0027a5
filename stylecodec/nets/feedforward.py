"""The one-pass hybrid encoder: frame -> (W_ID, yaw, pitch, α) (Oorloff & Yacoob, 2302.07848).

One convolutional trunk on the aligned 256² crop feeds three heads: the identity latent in W+ as w0 + per-row
offsets (the form of e4e, 2102.02766 section 4), the head pose in degrees, and the 32 StyleSpace offsets. The crop is
aligned, so eyes and mouth lie in known windows of it; small branches that read those at full resolution see lids, gaze
and lips, and the trunk can do with a smaller picture.

    256² ─┬─► averaged to 128² ─► trunk 8² ─┬─► person ─────────────────────► w0, offsets
          │                                 └─► motion ──┐
          ├─► eyes  64 × 128 ─────► 4 × 8 ───────────────┼─► motion features ─► yaw, pitch, α
          └─► mouth 80 × 96  ─────► 5 × 6 ───────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HybridCode(NamedTuple):
    """One frame's code: w_id [N, rows, 512], pose [N, 2] (yaw, pitch in degrees), alpha [N, 32] (raw style units)."""

    w_id: Tensor
    pose: Tensor
    alpha: Tensor


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut; stride on the first."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels and stride == 1
            else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H / stride, W / stride]."""
        side = F.avg_pool2d(x, 2) if self.stride == 2 else x
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(side))


class Window(nn.Module):
    """What one window of the crop shows: [N, 3, 256, 256] -> [N, features].

    Parameters: `place` (top, left, height, width) in pixels, height and width multiples of 16; `widths` of its four
    stages, each halving the sides.
    """

    def __init__(self, place: Sequence[int], widths: Sequence[int], features: int, squeeze: int = 32) -> None:
        super().__init__()
        self.top, self.left, self.height, self.width = place
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.Sequential(*(ResidualUnit(a, b, 2) for a, b in pairwise(widths)))
        self.read = nn.Sequential(
            nn.Conv2d(widths[-1], squeeze, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(squeeze * (self.height // 16) * (self.width // 16), features),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 256, 256] -> [N, features]."""
        part = x[:, :, self.top : self.top + self.height, self.left : self.left + self.width]
        out: Tensor = self.read(self.stages(self.stem(part)))
        return out


class HybridEncoder(nn.Module):
    """Aligned crop [N, 3, 256, 256] in [-1, 1] -> HybridCode.

    Parameters: `shrink` is the factor by which the trunk's picture is averaged down; `widths` of the trunk's stages,
    each halving the side, the first being the stem; `features` of the joint vector; `rows` and `w_dim` of W+;
    `alphas` StyleSpace offsets; `rank` of the per-row offsets; `windows` (top, left, height, width) read at full
    resolution, their `window_widths` and `window_features`. Pose leaves the head in units of `pose_scale` degrees, α in
    units of the buffer `alpha_scale`.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 32, 64, 96, 160),
        features: int = 512,
        rows: int = 18,
        w_dim: int = 512,
        alphas: int = 32,
        rank: int = 128,
        pose_scale: Sequence[float] = (20.0, 10.0),
        windows: Sequence[Sequence[int]] = (),
        window_widths: Sequence[int] = (24, 40, 64, 96),
        window_features: int = 192,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        self.rows, self.w_dim = rows, w_dim
        self.windows = nn.ModuleList(Window(place, window_widths, window_features) for place in windows)
        self.motion_size = features + len(windows) * window_features
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        stages: list[nn.Module] = []
        for a, b in pairwise(widths):
            stages += [ResidualUnit(a, b, 2), ResidualUnit(b, b, 1)]
        self.trunk = nn.Sequential(*stages)
        squeeze = 48
        side = 256 // shrink // 2 ** len(widths)
        self.motion = nn.Sequential(
            nn.Conv2d(widths[-1], squeeze, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(squeeze * side * side, features),
            nn.ReLU(),
        )
        self.person = nn.Sequential(
            nn.Conv2d(widths[-1], squeeze, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(squeeze * side * side, features),
            nn.ReLU(),
        )
        self.pose_head = nn.Linear(self.motion_size, 2)
        self.alpha_head = nn.Linear(self.motion_size, alphas)
        self.w0_head = nn.Linear(features, w_dim)
        last = nn.Linear(rank, rows * w_dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.delta_head = nn.Sequential(nn.Linear(features, rank), last)
        self.latent_avg: Tensor
        self.latent_std: Tensor
        self.pose_scale: Tensor
        self.alpha_scale: Tensor
        self.register_buffer("latent_avg", torch.zeros(w_dim))
        self.register_buffer("latent_std", torch.ones(w_dim))
        self.register_buffer("pose_scale", torch.tensor(list(pose_scale)))
        self.register_buffer("alpha_scale", torch.ones(alphas))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, 256, 256] in [-1, 1] -> what motion [N, motion_size] and person [N, features] are read from."""
        maps = self.trunk(self.stem(F.avg_pool2d(x, self.shrink) if self.shrink > 1 else x))
        motion = torch.cat([self.motion(maps), *(window(x) for window in self.windows)], dim=1)
        return motion, self.person(maps)

    def code(self, motion: Tensor, person: Tensor) -> HybridCode:
        """Features -> HybridCode in float32."""
        w0 = self.w0_head(person).float()
        delta = self.delta_head(person).float().view(-1, self.rows, self.w_dim)
        return HybridCode(
            w_id=self.latent_avg + (w0[:, None] + delta) * self.latent_std,
            pose=self.pose_head(motion).float() * self.pose_scale,
            alpha=self.alpha_head(motion).float() * self.alpha_scale,
        )

    def forward(self, x: Tensor) -> HybridCode:
        """[N, 3, 256, 256] in [-1, 1] -> HybridCode."""
        return self.code(*self.features(x))
