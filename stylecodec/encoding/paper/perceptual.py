"""The perceptual distance of the paper's losses: LPIPS where the pack has its weights, else the pack's own features.

Both are the same sum: maps of unit length over channels are subtracted, squared and averaged where a mask is. A pack
with an imported trunk has LPIPS's channel weights in it; without one, the backbone of its face parser looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import PackNotFound
from ...nets.lpips import Lpips
from ...nets.perceptual import FeatureDistance
from ...packs.store import ModelPack

TRUNKS = ("alex", "vgg")  # in this order
NAMES = {"alex": "LPIPS (AlexNet)", "vgg": "LPIPS (VGG-16)"}


class Perceptual:
    """The distance that a pack allows for; PackNotFound for a pack with neither trunk nor parser.

    name: what it is, for reports.
    """

    def __init__(self, pack: ModelPack, device: torch.device) -> None:
        trunk = next((one for one in TRUNKS if pack.has(f"lpips_{one}")), None)
        self._lpips: Lpips | None = None
        self._own: FeatureDistance | None = None
        if trunk is not None:
            self._lpips, self.name = pack.lpips(trunk, device), NAMES[trunk]
        elif pack.has("parser"):
            self._own = FeatureDistance(pack.parser(device)).to(device)
            self.name = "features of the pack's face parser"
        else:
            raise PackNotFound(
                f"pack {pack.name} has nothing to compare pictures by as people do: import LPIPS's trunk "
                "(alexnet-owt-7be5be79.pth) or a face parser (79999_iter.pth)"
            )

    def features(self, pictures: Tensor) -> list[Tensor]:
        """[N, 3, S, S] in about [-1, 1] -> maps [N, C, s, s] whose squared differences, summed over C, are compared."""
        if self._own is not None:
            return self._own.features(pictures)
        assert self._lpips is not None
        maps = self._lpips.activations(pictures)
        return [m * h.sqrt()[:, None, None] for m, h in zip(maps, self._lpips.heads, strict=True)]

    @staticmethod
    def apart(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
        """Features of two batches -> where they differ [N, 1, s, s] each."""
        return [(p - q).square().sum(dim=1, keepdim=True) for p, q in zip(a, b, strict=True)]

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Features, and masks [N, M, S, S] in [0, 1] -> distance [N, M], the mean over the pixels of each mask."""
        return sum((masked_mean(m, masks) for m in self.apart(a, b)), start=masks.new_zeros(()))


def masked_mean(values: Tensor, masks: Tensor) -> Tensor:
    """Values [N, 1, s, s] where masks [N or 1, M, S, S] are -> means [N, M]; 0 for an empty mask.

    Masks are averaged to the side of the values.
    """
    small = masks if masks.shape[-1] == values.shape[-1] else F.adaptive_avg_pool2d(masks, values.shape[-1])
    return (values * small).sum(dim=(2, 3)) / small.sum(dim=(2, 3)).clamp_min(1.0)
