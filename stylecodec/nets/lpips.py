"""LPIPS 0.1: a learned distance of pictures (Zhang et al., 1801.03924), on AlexNet or VGG-16 features.

Activations at five places of the trunk, of unit length over channels, are subtracted and squared; a non-negative weight
per channel adds them up, and the means over the picture are summed. The trunk is torchvision's (its convolutions keep
their numbers, `features.N`); the published weights per channel (BSD-2, see NOTICE) come with stylecodec's own pack.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

# A convolution (out, kernel, stride, padding) and the ReLU behind it, "M": 3x3 maximum, "m": 2x2 maximum.
_ALEX: tuple[tuple[int, int, int, int] | str, ...] = (
    *((64, 11, 4, 2), "M", (192, 5, 1, 2), "M"),
    *((384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)),
)
_VGG: tuple[tuple[int, int, int, int] | str, ...] = tuple(
    step if isinstance(step, str) else (step, 3, 1, 1)
    for step in (64, 64, "m", 128, 128, "m", 256, 256, 256, "m", 512, 512, 512, "m", 512, 512, 512)
)
TRUNKS = {"alex": _ALEX, "vgg": _VGG}
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # ReLUs whose output is compared
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


class LpipsHeads(nn.Module):
    """The channel weights of the five taps, for both trunks: `of("alex")[k]` [C_k]."""

    def __init__(self) -> None:
        super().__init__()
        for trunk, widths in CHANNELS.items():
            self.add_module(trunk, nn.ParameterList(nn.Parameter(torch.ones(width)) for width in widths))

    def of(self, trunk: str) -> list[Tensor]:
        """The five vectors of a trunk, "alex" or "vgg"."""
        return list(self.get_submodule(trunk).parameters())


class Lpips(nn.Module):
    """Pictures a, b [N, 3, H, W] in [-1, 1] RGB -> distance [N]; trunk: "alex" or "vgg"."""

    def __init__(self, trunk: str = "alex") -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise ValueError(f"LPIPS has the trunks {', '.join(TRUNKS)}, not {trunk!r}")
        self.trunk = trunk
        layers: list[nn.Module] = []
        channels = 3
        for step in TRUNKS[trunk]:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(3 if step == "M" else 2, 2))
            else:
                width, kernel, stride, padding = step
                layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.heads = nn.ParameterList(nn.Parameter(torch.ones(width)) for width in CHANNELS[trunk])
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def activations(self, x: Tensor) -> list[Tensor]:
        """[N, 3, H, W] in [-1, 1] -> the five maps, of unit length over channels."""
        x = (x - self.shift) / self.scale
        maps = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in TAPS[self.trunk]:
                maps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """Where the pictures differ: five maps [N, 1, h, w] of falling size."""
        pairs = zip(self.activations(a), self.activations(b), self.heads, strict=True)
        return [((p - q).square() * head[:, None, None]).sum(dim=1, keepdim=True) for p, q, head in pairs]

    def per_layer(self, a: Tensor, b: Tensor) -> Tensor:
        """The share of each tap in the distance [5, N]."""
        return torch.stack([m.mean(dim=(1, 2, 3)) for m in self.maps(a, b)])

    def spatial(self, a: Tensor, b: Tensor) -> Tensor:
        """The maps enlarged to the pictures and summed [N, 1, H, W]."""
        size = a.shape[-2:]
        enlarged = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in self.maps(a, b)]
        return torch.stack(enlarged).sum(dim=0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[N, 3, H, W] twice -> [N], 0 for equal pictures."""
        return self.per_layer(a, b).sum(dim=0)
