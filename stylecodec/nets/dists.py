"""DISTS: distance of pictures by structure and texture (Ding, Ma, Wang, Simoncelli, 2004.07728), on VGG-16 features.

At the picture itself and at the five places of the trunk that LPIPS looks at, the means of a channel over the picture
(texture) and its covariance (structure) are compared in the manner of SSIM; 2 x 1475 weights add them up. The trunk is
that of LPIPS with its maxima replaced by Hann-windowed root mean squares.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .lpips import CHANNELS, TAPS, Lpips
from .parsing import IMAGENET_MEAN, IMAGENET_STD

WIDTHS = (3, *CHANNELS["vgg"])
STABILISER = 1e-6


class DistsHeads(nn.Module):
    """The published weights of the channels: alpha for texture, beta for structure, [1475] each."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(sum(WIDTHS)))
        self.beta = nn.Parameter(torch.ones(sum(WIDTHS)))


class Dists(nn.Module):
    """Pictures a, b [N, 3, H, W] in [-1, 1] RGB -> distance [N], 0 for equal pictures. trunk: Lpips("vgg")."""

    def __init__(self, trunk: Lpips, heads: DistsHeads) -> None:
        super().__init__()
        if trunk.trunk != "vgg":
            raise ValueError(f"DISTS looks through VGG-16, not {trunk.trunk!r}")
        self.features, self.heads = trunk.features, heads
        self.mean: Tensor
        self.std: Tensor
        self.window: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("window", torch.outer(line, line), persistent=False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """[N, 3, H, W] in [-1, 1] -> the picture in [0, 1] and the five maps."""
        x = (x + 1) / 2
        maps, x = [x], (x - self.mean) / self.std
        for place, layer in enumerate(self.features):
            x = self._pooled(x) if isinstance(layer, nn.MaxPool2d) else layer(x)
            if place in TAPS["vgg"]:
                maps.append(x)
        return maps

    def _pooled(self, x: Tensor) -> Tensor:
        kernel = self.window.expand(x.shape[1], 1, -1, -1)
        return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[N, 3, H, W] twice -> [N]."""
        total = self.heads.alpha.sum() + self.heads.beta.sum()
        weights = zip(*(torch.split(one, list(WIDTHS)) for one in (self.heads.alpha, self.heads.beta)), strict=True)
        alike = a.new_zeros(len(a))
        for p, q, (alpha, beta) in zip(self.maps(a), self.maps(b), weights, strict=True):
            mean_p, mean_q = p.mean(dim=(2, 3)), q.mean(dim=(2, 3))
            texture = (2 * mean_p * mean_q + STABILISER) / (mean_p.square() + mean_q.square() + STABILISER)
            centred_p, centred_q = p - mean_p[..., None, None], q - mean_q[..., None, None]
            spread = centred_p.square().mean(dim=(2, 3)) + centred_q.square().mean(dim=(2, 3))
            structure = (2 * (centred_p * centred_q).mean(dim=(2, 3)) + STABILISER) / (spread + STABILISER)
            alike = alike + (texture * alpha + structure * beta).sum(dim=1)
        return 1 - alike / total
