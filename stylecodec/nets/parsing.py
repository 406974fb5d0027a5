"""The face parser: BiSeNet (Yu et al., 1808.00897) without a spatial path, on a ResNet-18 context path.

With the default hyper-parameters the state dict of the circulating face parser (19 classes, 512x512 pictures) loads
as it is; a pack may use narrower ones and a smaller picture.

    x ─► ResNet ─► 1/8 ─────────────────────────────────► fusion ─► conv_out ─► logits
                   1/16 ─► attention ──(+)─► conv ─ up ──┘  (1/8)
                   1/32 ─► attention ─(+)─► conv ─ up ─┘ (1/16)
                        └► global mean ─► conv ┘
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESNET18_WIDTHS = (64, 128, 256, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _up(x: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour resize of [N, C, h, w] to the size of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H, W]."""
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """ResNet's two-convolution block (He et al., 1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H/s, W/s]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(shortcut + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    """ResNet-18's feature maps at 1/8, 1/16 and 1/32 of the picture."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = [widths[0], *widths[:-1]]
        for i, (a, b, count) in enumerate(zip(inputs, widths, blocks, strict=True)):
            stage = [BasicBlock(a, b, 1 if i == 0 else 2)] + [BasicBlock(b, b, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, H, W] -> [N, w1, H/8, W/8], [N, w2, H/16, W/16], [N, w3, H/32, W/32]."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        maps = []
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
            maps.append(x)
        return maps[1], maps[2], maps[3]


class AttentionRefinement(nn.Module):
    """Convolution, then each channel gated by a map of the channel means (1808.00897, section 3.2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, out_channels)
        self.conv_atten = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H, W]."""
        refined: Tensor = self.conv(x)
        gate = torch.sigmoid(self.bn_atten(self.conv_atten(refined.mean(dim=(2, 3), keepdim=True))))
        return refined * gate


class ContextPath(nn.Module):
    """ResNet features refined and merged from coarse to fine."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], context: int) -> None:
        super().__init__()
        self.resnet = ResNet(widths, blocks)
        self.arm16 = AttentionRefinement(widths[2], context)
        self.arm32 = AttentionRefinement(widths[3], context)
        self.conv_head32 = ConvBNReLU(context, context)
        self.conv_head16 = ConvBNReLU(context, context)
        self.conv_avg = ConvBNReLU(widths[3], context, kernel=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, H, W] -> [N, w1, H/8, W/8] features, context at 1/8 and context at 1/16 [N, context, ...]."""
        feat8, feat16, feat32 = self.resnet(x)
        mean = self.conv_avg(feat32.mean(dim=(2, 3), keepdim=True))
        coarse = self.conv_head32(_up(self.arm32(feat32) + mean, feat16))
        fine = self.conv_head16(_up(self.arm16(feat16) + coarse, feat8))
        return feat8, fine, coarse


class FeatureFusion(nn.Module):
    """Concatenate, mix, and re-weight the channels (1808.00897, section 3.3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(in_channels, out_channels, kernel=1)
        self.conv1 = nn.Conv2d(out_channels, max(out_channels // 4, 1), 1, bias=False)
        self.conv2 = nn.Conv2d(max(out_channels // 4, 1), out_channels, 1, bias=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[N, A, H, W], [N, B, H, W] -> [N, out, H, W]."""
        x: Tensor = self.convblk(torch.cat([a, b], dim=1))
        gate = torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean(dim=(2, 3), keepdim=True)))))
        return x + x * gate


class OutputHead(nn.Module):
    """Feature map -> class logits."""

    def __init__(self, in_channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, hidden)
        self.conv_out = nn.Conv2d(hidden, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, classes, H, W]."""
        y: Tensor = self.conv_out(self.conv(x))
        return y


class BiSeNet(nn.Module):
    """Picture [N, 3, S, S] in [-1, 1] RGB -> logits [N, classes, S, S]; S a multiple of 32.

    widths, blocks: of the four ResNet stages; context: channels of the context path; fusion: channels after the
    fusion; classes: of the label map.
    """

    def __init__(
        self,
        widths: Sequence[int] = RESNET18_WIDTHS,
        blocks: Sequence[int] = (2, 2, 2, 2),
        context: int = 128,
        fusion: int = 256,
        classes: int = 19,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.cp = ContextPath(widths, blocks, context)
        self.ffm = FeatureFusion(widths[1] + context, fusion)
        self.conv_out = OutputHead(fusion, fusion, classes)
        self.conv_out16 = OutputHead(context, max(context // 2, 1), classes)
        self.conv_out32 = OutputHead(context, max(context // 2, 1), classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def _paths(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fused features at 1/8, context at 1/8 and at 1/16."""
        feat8, fine, coarse = self.cp(((x + 1) / 2 - self.mean) / self.std)
        return self.ffm(feat8, fine), fine, coarse

    def _resized(self, logits: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(logits, size=like.shape[-2:], mode="bilinear", align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> logits [N, classes, S, S]."""
        return self._resized(self.conv_out(self._paths(x)[0]), x)

    def all_logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, S, S] -> main logits and the two auxiliary ones of training, each [N, classes, S, S]."""
        fused, fine, coarse = self._paths(x)
        heads = ((self.conv_out, fused), (self.conv_out16, fine), (self.conv_out32, coarse))
        main, aux16, aux32 = (self._resized(head(features), x) for head, features in heads)
        return main, aux16, aux32
