"""The one-pass hybrid encoder: frame -> (W_ID, yaw, pitch, α) (Oorloff & Yacoob, 2302.07848).

One convolutional trunk on the aligned 256² crop feeds three heads: the identity latent in W+ as w0 + per-row
offsets (the form of e4e, 2102.02766 section 4), the head pose in degrees, and the 32 StyleSpace offsets.
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


class HybridEncoder(nn.Module):
    """Aligned crop [N, 3, 256, 256] in [-1, 1] -> HybridCode.

    Parameters: `widths` of the trunk's stages, each halving the side (the stem takes it to 128²); `features`
    of the joint vector; `rows` and `w_dim` of W+; `alphas` StyleSpace offsets; `rank` of the per-row offsets.
    Pose leaves the head in units of `pose_scale` degrees, α in units of the buffer `alpha_scale`.
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
    ) -> None:
        super().__init__()
        self.rows, self.w_dim = rows, w_dim
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        stages: list[nn.Module] = []
        for a, b in pairwise(widths):
            stages += [ResidualUnit(a, b, 2), ResidualUnit(b, b, 1)]
        self.trunk = nn.Sequential(*stages)
        squeeze = 48
        side = 128 // 2 ** (len(widths) - 1)
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
        self.pose_head = nn.Linear(features, 2)
        self.alpha_head = nn.Linear(features, alphas)
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

    def forward(self, x: Tensor) -> HybridCode:
        """[N, 3, 256, 256] in [-1, 1] -> HybridCode."""
        maps = self.trunk(self.stem(x))
        motion, person = self.motion(maps), self.person(maps)
        w0 = self.w0_head(person).float()
        delta = self.delta_head(person).float().view(-1, self.rows, self.w_dim)
        return HybridCode(
            w_id=self.latent_avg + (w0[:, None] + delta) * self.latent_std,
            pose=self.pose_head(motion).float() * self.pose_scale,
            alpha=self.alpha_head(motion).float() * self.alpha_scale,
        )
