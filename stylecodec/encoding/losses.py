"""The losses that codes, latents and generators are optimised with.

    ReconstructionLoss   weighted L1 of pixels + L1 of their gradients at several scales + squared error + 1 - SSIM
                             + features of the pack's face parser
    PartPlacementLoss    brows, eyes and lips are where the face parser sees them in the picture
    MotionLoss           the face moves no less between two frames than with a given latent

The pixel weights are those of decoding/regions.py, brought to a mean of 1, so that a loss means the same whatever fills
the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..decoding.regions import SIDE as PARSER_SIDE
from ..decoding.regions import Regions
from ..metrics.ssim import ssim_map, windows
from ..nets.perceptual import FeatureDistance
from ..nets.pixel_loss import pixel_loss
from ..packs.store import ModelPack


@dataclass(frozen=True)
class LossWeights:
    """What each term counts."""

    gradients: float = 0.5
    squares: float = 1.0
    structure: float = 0.0
    features: float = 0.1


class ReconstructionLoss:
    """How far a batch of renderings is from pictures."""

    def __init__(self, pack: ModelPack, device: torch.device, weights: LossWeights) -> None:
        self.weights = weights
        self.features: FeatureDistance | None = None
        if weights.features > 0 and pack.has("parser"):
            self.features = FeatureDistance(pack.parser(device)).to(device)

    def __call__(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] against [N, 3, S, S], weights [N, 1, S, S] -> the mean over the batch."""
        weight = weight / weight.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
        total = pixel_loss(output, target, weight, self.weights.gradients)
        if self.weights.squares:
            total = total + self.weights.squares * ((output - target).square() * weight).mean()
        if self.weights.structure:
            unlike = (1 - ssim_map(output, target)) * windows(weight)
            total = total + self.weights.structure * unlike.mean()
        if self.features is not None:
            total = total + self.weights.features * self._feature_distance(output, target)
        return total

    def _feature_distance(self, output: Tensor, target: Tensor) -> Tensor:
        assert self.features is not None
        size = output.shape[-1]
        if size > PARSER_SIDE:
            output, target = (F.avg_pool2d(x, size // PARSER_SIDE) for x in (output, target))
        distance: Tensor = self.features(output.clamp(-1, 1), target)
        return distance.mean()


class PartPlacementLoss:
    """How far brows, eyes, irises, lips and the inside of the mouth are from where pictures have them, by the parser.

    Colours do not matter to it, so it keeps lids and lips moving where averages over frames would please the pixels.
    Parameters: `parts` [N, 5, S, S], what `Regions.parts` sees in the pictures, on the side of the renderings to come.
    """

    WEIGHTS = (0.5, 2.0, 1.0, 1.0, 1.5)  # of decoding.regions.PARTS
    SCALE = 10.0  # brings it to the size of the pixels' loss

    def __init__(self, regions: Regions, parts: Tensor, dtype: torch.dtype) -> None:
        self.regions, self.parts, self.dtype = regions, parts, dtype

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """Renderings [n, 3, side, side] of the pictures of `rows` [n] -> the mean over them."""
        weights = output.new_tensor(self.WEIGHTS) * self.SCALE
        with torch.autocast(output.device.type, self.dtype, enabled=self.dtype != torch.float32):
            seen = self.regions.parts(output).float()
        return ((seen - self.parts[rows]).abs().mean(dim=(2, 3)) * weights).sum(dim=1).mean()


class MotionLoss:
    """How much less changes from one frame to another than in given renderings of the same frames.

    Only brows, eyes, lips and mouth count, where the renderings have them, and coarsely; what changes more, or where
    nothing changed, is free. Parameters: the `renderings` [N, 3, S, S] in about [-1, 1], by a latent with which faces
    move.
    """

    GRAIN = 4  # pixels over which changes are averaged
    DISTINCT = (0, 1, 3, 4)  # of decoding.regions.PARTS: those that do not overlap

    def __init__(self, regions: Regions, renderings: Tensor) -> None:
        self.renderings = renderings
        shown = renderings.clamp(-1, 1)
        with torch.no_grad():
            weights, parts = regions.weights_and_parts(shown)
            weights = weights * parts[:, list(self.DISTINCT)].sum(dim=1, keepdim=True)
        self.weights = weights / weights.mean().clamp_min(1e-6)

    def __call__(self, outputs: Tensor, rows: Tensor, others: Tensor, other_rows: Tensor) -> Tensor:
        """Renderings [n, 3, S, S] of the frames `rows` [n], and of `other_rows` -> the mean over them."""
        weight = torch.maximum(self.weights[rows], self.weights[other_rows])
        wanted = F.avg_pool2d((self.renderings[other_rows] - self.renderings[rows]) * weight, self.GRAIN)
        found = F.avg_pool2d((others - outputs) * weight, self.GRAIN)
        return F.relu(wanted.abs() - found * wanted.sign()).mean()
