"""How well a generator can show photographs that it was not trained on: W+ and codes fitted by gradient steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.regions import Regions
from ..encoding.differentiable import DifferentiableRenderer, RowAdam
from ..encoding.identity_loss import IdentityOfPictures
from ..encoding.losses import LossWeights, ReconstructionLoss
from ..encoding.personalization.locality import latent_deviation
from ..face.recognition import FaceDescriptor
from ..metrics.identity import identity_distances
from ..metrics.psnr import psnr
from ..metrics.ssim import ssim_map
from ..packs.store import ModelPack
from .photo_data import LEAST_WEIGHT, MOST_WEIGHT, Photographs, filled_outside, halved

SIDE = 128  # pixels at which is fitted and compared
LATENT_RATE, CODE_RATE = 0.1, 0.05
LATENT_PRIOR, CODE_PRIOR = 0.01, 0.02
IDENTITY = 1.0  # weight of L_ID, as in the codec's fit
LOSS = LossWeights(features=0.5, structure=0.5)
AT_ONCE = 8


@dataclass(frozen=True)
class Fitted:
    """Pictures in [-1, 1] at 256²: targets and outputs [n, 3, 256, 256]; figures by name."""

    targets: Tensor
    outputs: Tensor
    figures: dict[str, float]


def fit(photos: Photographs, pack: ModelPack, renderer: DifferentiableRenderer, steps: int) -> Fitted:
    """Fit every photograph in so many steps from where the pack's feed-forward encoder begins; 0 for that alone."""
    rows = torch.arange(len(photos))
    pictures, valid = photos.pictures(rows), photos.validity(rows)
    with torch.no_grad():
        regions = Regions(pack, renderer.device)
        weights = halved(regions.weights(pictures), SIDE).clamp(LEAST_WEIGHT, MOST_WEIGHT)
        head = halved(regions.head(pictures) * valid, SIDE)
        encoder = pack.feedforward(renderer.device)
        code = [torch.cat(part) for part in zip(*(encoder(few) for few in torch.split(pictures, AT_ONCE)), strict=True)]
    start, codes = code[0], renderer.units.bound_(renderer.units.units(code[1], code[2]))
    small, near = halved(pictures, SIDE), halved(valid, SIDE)
    deviation, loss = latent_deviation(renderer), ReconstructionLoss(pack, renderer.device, LOSS)
    identity = IdentityOfPictures(list(photos.images), renderer.device)
    moved, coded = RowAdam(torch.zeros(len(rows), start[0].numel())), RowAdam(torch.zeros_like(codes))

    def render(few: Tensor, latents: Tensor, offsets: Tensor, side: int) -> Tensor:
        moved = start[few] + latents.view_as(start[few]) * deviation
        return renderer.render(renderer.anchor(moved), codes[few] + offsets, side)

    for step in range(steps):
        share = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / steps))
        for few in torch.split(rows, AT_ONCE):
            latents, offsets = moved.take(few), coded.take(few)
            output = render(few, latents, offsets, SIDE)
            target = filled_outside(small[few], near[few], output)
            total = loss(output, target, weights[few] * near[few])
            total = total + IDENTITY * identity(output, few)
            total = total + LATENT_PRIOR * latents.square().mean() + CODE_PRIOR * offsets.square().mean()
            slopes = torch.autograd.grad(total, (latents, offsets))
            moved.step(few, slopes[0] * len(few), LATENT_RATE * share)
            coded.step(few, slopes[1] * len(few), CODE_RATE * share)
    with torch.no_grad():
        parts = [render(few, moved.values[few], coded.values[few], 256) for few in torch.split(rows, AT_ONCE)]
        outputs = torch.cat(parts).clamp(-1, 1)
    return Fitted(pictures, outputs, compared(outputs, pictures, valid, head))


@torch.no_grad()
def compared(outputs: Tensor, pictures: Tensor, valid: Tensor, head: Tensor) -> dict[str, float]:
    """Mean figures of outputs [n, 3, 256, 256] against pictures, at 128² where the photographs have pixels.

    identity: distance of dlib's descriptors where both show a face, which `described` of n do; missing where none does.
    """
    near, small = halved(valid, SIDE), halved(pictures, SIDE)
    out = filled_outside(halved(outputs, SIDE), near, small)  # equal where there is no photograph
    apart = identity_distances(FaceDescriptor(), zip(eight_bits(outputs), eight_bits(pictures), strict=True))
    found = {
        "psnr": float(psnr(out, small, near).mean()),
        "head": float(psnr(out, small, head).mean()),
        "ssim": float(ssim_map(out, small).mean()),
        "described": float(len(apart)),
    }
    return {**found, "identity": float(np.mean(apart))} if apart else found


def eight_bits(pictures: Tensor) -> list[NDArray[np.uint8]]:
    """Pictures [n, 3, H, W] in [-1, 1] -> uint8 [H, W, 3] each."""
    return [(x.permute(1, 2, 0) + 1).mul(127.5).round().byte().numpy() for x in pictures]
