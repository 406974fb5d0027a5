"""Residual bodies with squeeze-and-excitation ("IR-SE"), shared by the identity net and the e4e encoder.

Sources: the improved residual unit of ArcFace (Deng et al., 1801.07698, section 3.2.2: BN - conv - PReLU - conv - BN),
squeeze-and-excitation (Hu et al., 1709.01507). Parameter names are those of the circulating IR-SE50 and e4e
files, so their state dicts load as they are.

    x ─► input_layer (3x3 conv, BN, PReLU) ─► stage 0 ─► stage 1 ─► ... ─► feature map of every stage
                                              each stage: units[i] units, the first one with stride 2
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IR_SE50_WIDTHS = (64, 128, 256, 512)
IR_SE50_UNITS = (3, 4, 14, 3)


class ChannelPReLU(nn.PReLU):
    """A PReLU with one slope per channel that follows the type of its input under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return F.prelu(x, self.weight.to(x.dtype))


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate computed from all channel means (1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class ResidualUnit(nn.Module):
    """One unit: [N, I, H, W] -> [N, O, H/s, W/s].

    The stride is in the second convolution. Where the width does not change the shortcut has no parameters and only
    drops samples.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            ChannelPReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            SqueezeExcite(out_channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H/s, W/s] (odd sizes round up)."""
        kept = x[:, :, :: self.stride, :: self.stride]
        shortcut: Tensor = kept if self.shortcut_layer is None else self.shortcut_layer(x)
        residual: Tensor = self.res_layer(x)
        return shortcut + residual


class ResidualBody(nn.Module):
    """Stem and stages; a base class, so that the names `input_layer` and `body` stand at the top of a state dict.

    widths: channels of each stage (the stem has those of the first); units: units per stage; reduction: of the
    squeeze-and-excitation; in_channels: of the picture; stem_stride: 1 as published, 2 for a quarter of the work.
    """

    def __init__(
        self,
        widths: Sequence[int],
        units: Sequence[int],
        reduction: int = 16,
        in_channels: int = 3,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if len(widths) != len(units) or not widths or min(units) < 1:
            raise ValueError(f"widths {list(widths)} and units {list(units)} must describe the same stages")
        self.input_layer = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            ChannelPReLU(widths[0]),
        )
        body: list[nn.Module] = []
        self.stage_ends: list[int] = []  # index of the last unit of each stage
        channels = widths[0]
        for width, count in zip(widths, units, strict=True):
            for k in range(count):
                body.append(ResidualUnit(channels, width, 2 if k == 0 else 1, reduction))
                channels = width
            self.stage_ends.append(len(body) - 1)
        self.body = nn.Sequential(*body)

    def stages(self, x: Tensor) -> list[Tensor]:
        """[N, in_channels, S, S] -> the last feature map of each stage, [N, widths[i], S', S'], S' = S/stem/2^(i+1)."""
        x = self.input_layer(x)
        maps = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in self.stage_ends:
                maps.append(x)
        return maps
