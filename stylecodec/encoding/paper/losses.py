"""The losses of facial attributes: Eq. 9 to 12 of 2203.14512, frame by frame.

    L = L_m + L_e + L_p + L_ID + L_FP                                               (9)
    L_m = LPIPS_m + L2_m + IF_m          over mouth, chin and jaw                   (10)
    L_e = LPIPS_e + L2_e + IF_e          over eyes and brows                        (11)
    L_p = L2_p + IF_L2_p                 over the pupils                            (12)

The inter-frame terms compare how rendering and target changed since the frame before: (Ŝ_t - Ŝ_{t-1}) - (S_t -
S_{t-1}), squared. L_ID is 1 minus the cosine between Ŝ_t and Ŝ_1 by the identity network, L_FP the squared difference
of the face parser's class probabilities. The paper's own definitions of these are in a supplement that is not to be
had.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...packs.store import ModelPack
from .masks import FaceMasks
from .perceptual import Perceptual, masked_mean
from .settings import AttributeWeights

TERMS = ("lpips_m", "lpips_e", "l2_m", "l2_e", "l2_p", "if_m", "if_e", "if_p", "identity", "parsing")


@dataclass(frozen=True)
class Target:
    """S_t of n frames, and what networks see in them."""

    pictures: Tensor  # [n, 3, S, S]
    features: list[Tensor]
    shares: Tensor | None  # [n, classes, S, S] of the parser
    masks: FaceMasks
    open: Tensor  # [n]: 1 where the eyes are open, 0 on a blink

    def rows(self, rows: Tensor) -> Target:
        """Some of them."""
        return Target(
            self.pictures[rows],
            [one[rows] for one in self.features],
            None if self.shares is None else self.shares[rows],
            self.masks.rows(rows),
            self.open[rows],
        )


@dataclass(frozen=True)
class Before:
    """The frame before each of n: rendered and target [n, 3, S, S]; there [n]: 0 for a clip's first frame."""

    rendered: Tensor
    target: Tensor
    there: Tensor


class AttributeLoss:
    """The loss of one clip; networks are the pack's, and a term whose network it lacks is 0."""

    def __init__(
        self, pack: ModelPack, device: torch.device, perceptual: Perceptual, weights: AttributeWeights
    ) -> None:
        self.perceptual, self.weights = perceptual, weights
        self.parser = pack.parser(device) if weights.parsing and pack.has("parser") else None
        self.identity = pack.identity(device) if weights.identity and pack.has("identity") else None
        self.first: Tensor | None = None  # [1, E] of Ŝ_1

    @torch.no_grad()
    def target(self, pictures: Tensor, masks: FaceMasks, open_eyes: Tensor) -> Target:
        """S_t ready to be compared with."""
        seen = pictures.clamp(-1, 1)
        shares = None if self.parser is None else self.parser(seen).softmax(1)
        return Target(pictures, self.perceptual.features(seen), shares, masks, open_eyes)

    @torch.no_grad()
    def begin(self, first: Tensor) -> None:
        """Take Ŝ_1 [1, 3, S, S], whose identity all other frames are to have."""
        if self.identity is not None:
            self.first = self.identity.embed_aligned(first.clamp(-1, 1))

    def terms(self, output: Tensor, target: Target, before: Before) -> Tensor:
        """Ŝ_t [n, 3, S, S] -> the weighted terms [n, 10], in the order of TERMS."""
        weights, masks = self.weights, target.masks
        seen, small = output.clamp(-1, 1), torch.cat([masks.mouth, masks.eyes], dim=1)
        three = torch.cat([small, masks.pupils], dim=1)
        lpips = self.perceptual.distance(self.perceptual.features(seen), target.features, small)
        each = weights.l2 * torch.tensor([1.0, 1.0, weights.pupil]).to(output)
        gaze = torch.stack([torch.ones_like(target.open)] * 2 + [target.open], dim=1)
        error = output - target.pictures
        l2 = masked_mean(error.square().mean(dim=1, keepdim=True), three) * each * gaze
        changed = error - (before.rendered - before.target)
        between = masked_mean(changed.square().mean(dim=1, keepdim=True), three) * each * gaze
        between = weights.between * between * before.there[:, None]
        others = torch.stack([self._identity(seen), self._parsing(seen, target)], dim=1)
        return torch.cat([weights.lpips * lpips, l2, between, others], dim=1)

    def __call__(self, output: Tensor, target: Target, before: Before) -> Tensor:
        """L of Eq. 9 [n]."""
        return self.terms(output, target, before).sum(dim=1)

    def _identity(self, seen: Tensor) -> Tensor:
        if self.identity is None or self.first is None:
            return seen.new_zeros(len(seen))
        return self.weights.identity * (1 - (self.identity.embed_aligned(seen) * self.first).sum(dim=1))

    def _parsing(self, seen: Tensor, target: Target) -> Tensor:
        if self.parser is None or target.shares is None:
            return seen.new_zeros(len(seen))
        apart = (self.parser(seen).softmax(1) - target.shares).square().sum(dim=1, keepdim=True)
        return self.weights.parsing * masked_mean(apart, target.masks.face)[:, 0]
