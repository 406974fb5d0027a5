"""A perceptual distance on a pack's own features, in the manner of LPIPS (Zhang et al., 1801.03924).

Published LPIPS trunks cannot be shipped; a pack's face parser has looked at the same kind of picture and knows brows,
lids, irises and lips. Features of its backbone are unit-normalised over channels, as in LPIPS; layers weigh alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .parsing import IMAGENET_MEAN, IMAGENET_STD, BiSeNet


class FeatureDistance(nn.Module):
    """Distance of pictures by the backbone of a face parser, which is frozen and put into eval mode."""

    def __init__(self, parser: BiSeNet) -> None:
        super().__init__()
        self.backbone = parser.cp.resnet.eval().requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """[N, 3, S, S] in [-1, 1], S a multiple of 16 -> maps at 1/2, 1/4, 1/8 and 1/16, unit length over channels."""
        net = self.backbone
        y = F.relu(net.bn1(net.conv1(((x + 1) / 2 - self.mean) / self.std)))
        maps = [y]
        y = F.max_pool2d(y, 3, 2, padding=1)
        for name in ("layer1", "layer2", "layer3"):
            y = net.get_submodule(name)(y)
            maps.append(y)
        return [F.normalize(m.float(), dim=1, eps=1e-3) for m in maps]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures [N, 3, S, S] in [-1, 1] -> distance [N], 0 for equal pictures."""
        pairs = zip(self.features(a), self.features(b), strict=True)
        return torch.stack([(p - q).square().sum(1).mean((1, 2)) for p, q in pairs]).sum(0)
