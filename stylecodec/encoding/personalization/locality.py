"""Locality regularisation: other people and the layers above the source's resolution are left as they were."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...decoding.latents import Anchor
from ...nets.ops import upsample_rgb
from ...nets.pixel_loss import pixel_loss
from ...nets.stylegan2 import Generator
from ..differentiable import DifferentiableRenderer
from ..losses import ReconstructionLoss

LOCAL_SIDE = 128  # pixels per side at which other people are compared
NEAREST = 0.7  # share of the way from the person to another one at which a latent may lie
WINDOW = 48  # side of a window of the maps below the upper layers
MARGIN = 4  # of these at an edge inside the picture: what the missing neighbours touch
CODE_DEVIATION = 0.7  # of random codes, in their units
INPUT_DEVIATION = 0.5  # of mapping inputs where the mapping does not normalise them


class LocalityLoss:
    """The locality regulariser of pivotal tuning (2106.05744 section 3.2): other latents render as they did before.

    Latents are drawn between the person's and random ones of the pack's mapping; they are posed and moved by codes of
    the clip and by random ones in turn, so that codes keep their meaning too, those that the clip has not among them.
    """

    def __init__(self, before: DifferentiableRenderer, loss: ReconstructionLoss, random: torch.Generator) -> None:
        self.before, self.loss, self.random = before, loss, random

    @torch.no_grad()
    def latents(self, pivot: Tensor, count: int) -> Tensor:
        """W+ [count, 18, 512] of other people, some of them near `pivot` [18, 512]."""
        w = random_people(self.before.generator, count, self.random)
        way = torch.rand(count, 1, 1, generator=self.random).to(w) * (1 - NEAREST) + NEAREST
        return torch.lerp(pivot.expand(count, -1, -1), w[:, None].expand(-1, len(pivot), -1), way)

    def __call__(self, renderer: DifferentiableRenderer, pivot: Tensor, codes: Tensor, side: int) -> Tensor:
        """What n other people's renderings changed by, half of them with codes of these [n, 34]: a loss."""
        side = min(side, LOCAL_SIDE)
        with torch.no_grad():
            codes = codes.clone()
            codes[1::2] = CODE_DEVIATION * torch.randn(codes[1::2].shape, generator=self.random).to(codes)
            anchor = renderer.anchor(self.latents(pivot, len(codes)))
            wanted = self.before.render(anchor, codes, side)
            weight = wanted.new_ones(len(codes), 1, side, side)
        return self.loss(renderer.render(anchor, codes, side), wanted, weight)


@torch.no_grad()
def random_people(generator: Generator, count: int, random: torch.Generator) -> Tensor:
    """w [count, 512] of random inputs of the pack's mapping network."""
    mapping = generator.mapping
    place = generator.constant.device
    z = torch.randn(count, mapping.z_dim, generator=random).to(place)
    w: Tensor = mapping(z if mapping.normalize else INPUT_DEVIATION * z)
    return w


class UpperLayerLoss:
    """Keeps the layers above `side` fitting those below, on one window of one picture at a time.

    Averaged down, the full picture must be the one at `side`; what it has above that must stay what it was.
    """

    def __init__(self, before: DifferentiableRenderer, side: int, random: torch.Generator) -> None:
        self.before, self.side, self.random = before, side, random

    def __call__(self, renderer: DifferentiableRenderer, anchor: Anchor, codes: Tensor) -> Tensor:
        """The loss for one frame's codes [1, 34]; its gradient reaches the layers above `side` alone."""
        rows, columns = self._window(), self._window()
        with torch.no_grad():
            before = self.before.styles(anchor, codes)
            was, _ = finish(self.before, before, *self._maps(self.before, before), rows, columns)
            styles = renderer.styles(anchor, codes)
            x, image = self._maps(renderer, styles)
        output, kept = finish(renderer, styles, x, image, rows, columns)
        factor = output.shape[-1] // kept.shape[-1]
        low = F.avg_pool2d(output, factor)
        weight = kept.new_ones(1, 1, *kept.shape[-2:])
        fits = pixel_loss(low, kept, weight, 0.5)
        return fits + (detail(output, factor) - detail(was, factor)).abs().mean()

    def _maps(self, renderer: DifferentiableRenderer, styles: list[Tensor]) -> tuple[Tensor, Tensor]:
        return renderer.generator.maps_at(self.side, styles, renderer.dtype)

    def _window(self) -> slice:
        size = min(WINDOW, self.side)
        first = int(torch.randint(self.side - size + 1, (1,), generator=self.random))
        return slice(first, first + size)


def finish(
    renderer: DifferentiableRenderer, styles: list[Tensor], x: Tensor, image: Tensor, rows: slice, columns: slice
) -> tuple[Tensor, Tensor]:
    """The layers above `x` and `image` on a window of them: the full picture and that window, margins cut off."""
    side = image.shape[-1]
    window = image[..., rows, columns]
    output = renderer.generator.above(side, x[..., rows, columns], window, styles)
    factor = output.shape[-1] // window.shape[-1]
    inner = [slice(MARGIN * (w.start > 0), w.stop - w.start - MARGIN * (w.stop < side)) for w in (rows, columns)]
    outer = [slice(factor * i.start, factor * i.stop) for i in inner]
    return output[..., outer[0], outer[1]], window[..., inner[0], inner[1]]


def detail(image: Tensor, factor: int) -> Tensor:
    """What an image [1, 3, H, W] has above its picture averaged down by `factor`, a power of two."""
    low = F.avg_pool2d(image, factor)
    while factor > 1:
        low, factor = upsample_rgb(low), factor // 2
    return image - low


@torch.no_grad()
def latent_deviation(renderer: DifferentiableRenderer) -> float:
    """How far w of different people lie apart, per element (root mean square around their mean)."""
    w = random_people(renderer.generator, 64, torch.Generator().manual_seed(0))
    return max(float((w - w.mean(0)).square().mean().sqrt()), 1e-3)
