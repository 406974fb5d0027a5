"""StyleSpace to pictures of one side, for the searches of the paper preset; one channel perturbed at a time as well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...decoding.latents import Anchor, LatentDecoder
from ...decoding.render import pick_dtype
from ...nets.ops import upsample_rgb
from ...nets.stylespace import apply_offsets
from ...packs.store import ModelPack

Styles = list[Tensor]  # per StyleSpace layer [N, C_l]


class Rendering:
    """One pack's generator at `side` pixels on one device."""

    def __init__(self, pack: ModelPack, device: torch.device, side: int, dtype: torch.dtype | None = None) -> None:
        self.pack, self.device = pack, device
        self.side = min(side, pack.card.resolution)
        self.latents = LatentDecoder(pack, device)
        self.generator = self.latents.generator
        self.noise = any(bool(p.any()) for name, p in self.generator.named_parameters() if "noise_strength" in name)
        self.dtype = pick_dtype("bfloat16", device) if dtype is None else dtype

    def anchor(self, latent: Tensor) -> Anchor:
        """An identity latent [18, 512] ready to be posed."""
        return self.latents.anchor(latent[None])

    @torch.no_grad()
    def posed(self, anchor: Anchor, pose: Tensor) -> Styles:
        """A(LH_t) of poses [N, 2] in degrees."""
        return self.generator.styles(self.latents.posed(anchor, pose.to(self.device, torch.float32)))

    def pictures(self, styles: Sequence[Tensor], alpha: Tensor | None = None) -> Tensor:
        """Styles, and offsets [N, 32] -> float32 [N, 3, side, side], not clamped; with gradients where they are on."""
        moved = styles if alpha is None else apply_offsets(styles, self.latents.indices, alpha)
        reference = torch.is_grad_enabled()
        made = self.generator.synthesis(moved, self.noise, self.side, self.dtype, reference=reference)
        return made.float()

    def in_batches(self, styles: Sequence[Tensor], alpha: Tensor | None, size: int) -> Tensor:
        """`pictures` without gradients, `size` at a time."""
        count = len(styles[0])
        with torch.no_grad():
            parts = [
                self.pictures([s[a : a + size] for s in styles], None if alpha is None else alpha[a : a + size])
                for a in range(0, count, size)
            ]
        return torch.cat(parts)


def rows_of(styles: Sequence[Tensor], rows: Tensor | slice) -> Styles:
    """The styles of some frames."""
    return [one[rows] for one in styles]


class Perturbed:
    """Pictures of one latent with one StyleSpace channel moved: what lies below that channel's layer is kept.

    styles: of the latent, [1, C_l] per layer.
    """

    def __init__(self, rendering: Rendering, styles: Sequence[Tensor]) -> None:
        self.rendering, self.styles = rendering, list(styles)
        self._before: dict[int, tuple[Tensor, Tensor | None]] = {}  # layer: feature maps and RGB that enter it
        self.base = self._walk()

    @torch.no_grad()
    def _walk(self) -> Tensor:
        """The picture itself [1, 3, S, S]; on the way the maps before every convolution are kept."""
        generator, noise = self.rendering.generator, self.rendering.noise
        x, image = generator.seed(1, self.rendering.dtype), None
        layer = 0
        for block, size in zip(generator.blocks, generator.resolutions, strict=True):
            if size > self.rendering.side:
                break
            for conv in block.convs:  # type: ignore[union-attr]
                self._before[layer] = (x, image)
                x = conv(x, self.styles[layer], noise, generator.conv_clamp, False)
                layer += 1
            image = self._added(block, x, image, self.styles[layer])
            layer += 1
        assert image is not None
        return image

    def _added(self, block: object, x: Tensor, image: Tensor | None, style: Tensor) -> Tensor:
        """The RGB sum with what this block's toRGB makes of x."""
        rgb: Tensor = block.to_rgb(x, style, self.rendering.generator.conv_clamp)  # type: ignore[attr-defined]
        return rgb if image is None else upsample_rgb(image) + rgb

    @property
    def layers(self) -> tuple[int, ...]:
        """The convolutions whose channels can be moved."""
        return tuple(self._before)

    @torch.no_grad()
    def pictures(self, layer: int, channels: Tensor, offsets: Tensor) -> Tensor:
        """Channel channels[k] of one layer moved by offsets[k] in raw units -> [K, 3, S, S]."""
        generator, count = self.rendering.generator, len(channels)
        moved = [style.expand(count, -1) for style in self.styles]
        moved[layer] = moved[layer].clone()
        moved[layer][torch.arange(count), channels] += offsets.to(moved[layer])
        x, image = self._before[layer]
        x = x.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image = None if image is None else image.expand(count, -1, -1, -1)
        entry = generator.layout.layers[layer]
        block = generator.blocks[generator.resolutions.index(entry.resolution)]
        last = layer
        for conv in list(block.convs)[-1:] if entry.kind == "conv" else block.convs:  # type: ignore[arg-type, union-attr]
            x = conv(x, moved[last], self.rendering.noise, generator.conv_clamp, False)
            last += 1
        image = self._added(block, x, image, moved[last])
        for size in (r for r in generator.resolutions if entry.resolution < r <= self.rendering.side):
            x, image = generator.grow(size, x, image, moved, self.rendering.noise, False)
        return image.float()
