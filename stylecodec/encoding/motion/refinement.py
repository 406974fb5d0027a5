"""Refinement of pose and α by rendering and comparing: Eq. 2 and Eq. 3 of 2203.14512 in spirit, many frames at once.

    codes of the feed-forward encoder ─► steps of pose and α together, eyes and mouth weighed most,
                                         each direction as far as it shows ─► codes, less far from the crop

The crop itself is what the renderings are held against, or its inversion, G(L_t), as in the paper, where nothing that
the generator cannot show is to pull at the codes; with a personalised generator it is always the crop.

The paper first moves the pose alone and weighs the steps of α by their sensitivity (Eq. 8). Here the steps are weighed
by the response to all codes at once, so that none waits for another: with a personalised generator the same number of
them comes 1 dB nearer, with the pack's own, which cannot show much of what is asked, at most 0.2.

The paper takes one frame after the other and begins each where the last one ended (Eq. 7). Here the frames of a batch
move together; what carries over is by how much the feed-forward codes were wrong, which is much the same from one frame
of a person to the next. How far the corrections may differ between neighbours is held as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...bitstream import Identity
from ...decoding.latents import Anchor, LatentDecoder
from ...decoding.personal import TunedPack
from ...decoding.regions import Regions
from ...decoding.render import pick_dtype
from ...nets.e4e import E4eEncoder
from ...packs.store import ModelPack
from ..code_units import CodeUnits, RowAdam, even_steps
from ..losses import LossWeights, Resemblance
from ..options import EncodeOptions, RefineOptions
from ..rate.sensitivity import picture_metrics
from .feedforward import Crop, FrameCodes, to_input

ROLL = 2  # its place in a packet: no code of the generator
AT_ONCE = 16 * 128**2  # pixels of renderings whose gradients are in memory together
WARM = 0.5  # how fast the correction that the next batch begins with follows the last batch's


class Scene:
    """Codes to pictures, with gradients, of one pack on one device."""

    def __init__(self, pack: ModelPack, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.pack, self.device, self.dtype = pack, device, dtype
        self.latents = LatentDecoder(pack, device)
        self.generator = self.latents.generator
        self.noise = any(bool(p.any()) for name, p in self.generator.named_parameters() if "noise_strength" in name)
        self.units = CodeUnits(pack, device)

    def anchor(self, latent: Tensor) -> Anchor:
        """An identity latent [18, 512], or one per frame [N, 18, 512], ready to be posed."""
        return self.latents.anchor(latent if latent.dim() == 3 else latent[None])

    def render(self, anchor: Anchor, codes: Tensor, side: int) -> Tensor:
        """Codes [N, 34] in units -> float32 [N, 3, side, side], not clamped."""
        styles = self.styles(anchor, codes)
        return self.generator.synthesis(styles, noise=self.noise, stop_at=side, dtype=self.dtype).float()

    def styles(self, anchor: Anchor, codes: Tensor) -> list[Tensor]:
        """Codes [N, 34] in units -> StyleSpace."""
        return self.latents.styles(anchor, *self.units.split(codes))


def at_side(pictures: Tensor, side: int) -> Tensor:
    """Pictures or weights [N, C, S, S] at another power of two: averaged down or interpolated."""
    size = pictures.shape[-1]
    if size > side:
        return F.avg_pool2d(pictures, size // side)
    return pictures if size == side else F.interpolate(pictures, size=side, mode="bilinear", align_corners=False)


class Refiner:
    """Refines the codes of successive batches of one clip and one identity.

    pack: with the generator that the receiver will use. latent: float [18, 512], as it is sent.
    """

    def __init__(self, pack: ModelPack, device: torch.device, latent: np.ndarray, options: EncodeOptions) -> None:
        self.settings: RefineOptions = options.refine_tuned if isinstance(pack, TunedPack) else options.refine
        self.pack, self.device, self.identity = pack, device, Identity(latent.astype(np.float16))
        self.scene = Scene(pack, device, pick_dtype(self.settings.precision, device))
        self.regions = Regions(pack, device)
        self.resemblance = Resemblance(pack, device, LossWeights(features=self.settings.features))
        with torch.no_grad():
            self.anchor = self.scene.anchor(torch.from_numpy(np.array(latent, np.float32)).to(device))
        self.inversion: E4eEncoder | None = None
        if self.settings.target == "inversion" and not isinstance(pack, TunedPack):
            pack.require(("inversion",), "refinement held against inversions")
            self.inversion = pack.inversion(device)
        self.offset: Tensor | None = None  # [34] by how much the last codes were corrected
        self.directions: Tensor | None = None  # [34, 34], of steps; see codes.even_steps

    def __call__(self, crops: Sequence[Crop], codes: FrameCodes) -> FrameCodes:
        """Refine the codes of frames that follow each other; FrameCodes with the refined pose and α."""
        start = self.scene.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        pictures = self._targets(to_input(crops, self.device))
        with torch.enable_grad():
            refined = self.refined(pictures, start)
        pose, alpha = (value.cpu().numpy() for value in self.scene.units.split(refined))
        return FrameCodes(codes.w_id, pose, alpha)

    @torch.no_grad()
    def _targets(self, pictures: Tensor) -> Tensor:
        """What renderings [n, 3, 256, 256] are held against."""
        if self.inversion is None:
            return pictures
        generator, noise = self.scene.generator, self.scene.noise
        inverted: Tensor = generator(self.inversion(pictures), noise, stop_at=pictures.shape[-1])
        return inverted.float().clamp(-1, 1)

    def refined(self, pictures: Tensor, start: Tensor) -> Tensor:
        """Pictures [n, 3, 256, 256] and codes in units [n, 34] -> codes [n, 34], within the pack's reach."""
        settings = self.settings
        begin = start if self.offset is None else start + self.offset
        steps, rows = RowAdam(torch.zeros_like(start)), torch.arange(len(start), device=self.device)
        weight = self.regions.weights(pictures)
        if self.directions is None:
            self.directions = self.even_directions(begin)
        for step in range(settings.steps):
            fraction = step / settings.steps
            side = settings.side if fraction >= settings.coarse else coarse_side(settings.side)
            taken = steps.take(rows)
            (gradient,) = torch.autograd.grad(self.hold(begin + taken @ self.directions, start), taken)
            gradient = gradient * len(rows)
            for few in torch.split(rows, max(1, AT_ONCE // side**2)):
                output = self.scene.render(self.anchor, begin[few] + taken[few] @ self.directions, side)
                loss = self.resemblance(output, at_side(pictures[few], side), at_side(weight[few], side))
                gradient += torch.autograd.grad(loss * len(few), taken)[0]
            steps.step(rows, gradient, settings.rate * falling(fraction))
        found = self.scene.units.bound_(begin + steps.values @ self.directions)
        wrong = (found - start).mean(0)
        self.offset = wrong if self.offset is None else torch.lerp(self.offset, wrong, WARM)
        return found

    def even_directions(self, codes: Tensor) -> Tensor:
        """`codes.even_steps` around codes in units [n, 34], by what is felt in pictures of this identity."""
        pose, alpha = (value.cpu() for value in self.scene.units.split(codes))
        packets = torch.cat([pose, torch.zeros(len(pose), 1), alpha], dim=1)
        felt = picture_metrics(self.pack, self.device, self.identity, packets.numpy()).felt
        moving = [k for k in range(len(felt)) if k != ROLL]
        scale = self.scene.units.scale
        return even_steps(torch.from_numpy(felt[np.ix_(moving, moving)]).to(scale) * scale * scale[:, None])

    def hold(self, codes: Tensor, start: Tensor) -> Tensor:
        """What corrections of the codes cost: their size, and how much they differ between neighbours in time."""
        wrong = codes - start
        held = self.settings.hold * wrong.square().mean()
        if self.settings.smoothness and len(codes) > 1:
            held = held + self.settings.smoothness * wrong.diff(dim=0).square().mean()
        return held


def coarse_side(side: int) -> int:
    """Pixels per side of the coarse steps of a search whose last ones have `side`."""
    return max(side // 2, 32)


def falling(fraction: float) -> float:
    """Factor of the step size: 1 at the beginning, a tenth at the end, half a cosine between."""
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))
