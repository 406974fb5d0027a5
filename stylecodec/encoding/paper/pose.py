"""Head pose by analysis and synthesis: Eq. 2 of 2203.14512.

    Y_t, P_t = argmin  L2(S_t, G(G_sf(L_ID, Y, P))) over the rigid part of the face
                       + LPIPS of the same over the whole face

S_t is the inversion's picture, or the frame. The reference is the paper's gradient descent through the flow, begun
where the frame before ended. The fast search does all frames of a chunk at once: pictures of L_ID over a grid of poses
are the same for every frame, so each frame begins at the best of them (or where the last chunk ended), and a few
Gauss-Newton steps on the same sum of squares do the rest. Neither leaves the angles that the pack's flow knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...decoding.latents import Anchor
from ...packs.card import Pose
from ..differentiable import POSE_UNITS, RowAdam, cosine_decay
from .perceptual import Perceptual, masked_mean
from .rendering import Rendering

GRID = (9, 7)  # poses of the grid, yaw and pitch, over the pack's reach
NUDGE = 0.1  # of a unit (10° of yaw, 5° of pitch): of the slopes by differences
DAMPING = 1e-3  # of the normal equations, at first, in their own size
BATCH = 16
REFERENCE_STEPS, REFERENCE_RATE = 40, 0.1  # of the gradient descent, per frame, in units


@dataclass(frozen=True)
class PoseTarget:
    """S_t of n frames: pictures [n, 3, S, S], their features, masks [n, 1, S, S] of the rigid part and of the face."""

    pictures: Tensor
    features: list[Tensor]
    rigid: Tensor
    face: Tensor

    def rows(self, rows: Tensor) -> PoseTarget:
        """Some of them."""
        return PoseTarget(self.pictures[rows], [one[rows] for one in self.features], self.rigid[rows], self.face[rows])


class PoseSearch:
    """Finds yaw and pitch of one identity latent [18, 512] in frames."""

    def __init__(self, rendering: Rendering, latent: Tensor, perceptual: Perceptual, reach: Pose) -> None:
        self.rendering, self.perceptual = rendering, perceptual
        device = rendering.device
        with torch.no_grad():
            self.anchor: Anchor = rendering.anchor(latent)
        self.units = torch.tensor(POSE_UNITS, device=device)
        low = torch.tensor([reach.yaw[0], reach.pitch[0]], device=device)
        high = torch.tensor([reach.yaw[1], reach.pitch[1]], device=device)
        self.low, self.high = low / self.units, high / self.units
        self._grid: tuple[Tensor, Tensor, list[Tensor]] | None = None

    def render(self, places: Tensor) -> Tensor:
        """Poses in units [n, 2] -> pictures of L_ID [n, 3, S, S]; differentiable."""
        latents = self.rendering.latents.posed(self.anchor, places * self.units)
        return self.rendering.pictures(self.rendering.generator.styles(latents)).clamp(-1, 1)

    def loss(self, output: Tensor, features: Sequence[Tensor], target: PoseTarget) -> Tensor:
        """Eq. 2's sum for renderings [n, 3, S, S] -> [n]."""
        apart = (output - target.pictures).square().mean(dim=1, keepdim=True)
        lpips = self.perceptual.distance(features, target.features, target.face)
        return masked_mean(apart, target.rigid)[:, 0] + lpips[:, 0]

    @torch.no_grad()
    def losses(self, pose: Tensor, target: PoseTarget) -> Tensor:
        """Eq. 2's sum [n] at angles [n, 2] in degrees."""
        found = []
        for rows in torch.split(torch.arange(len(pose)), BATCH):
            output = self.render(self._bounded(pose[rows].to(self.units) / self.units))
            found.append(self.loss(output, self.perceptual.features(output), target.rows(rows)))
        return torch.cat(found)

    def _bounded(self, places: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(places, self.low), self.high)

    # --- the paper's ---------------------------------------------------------------------------------------

    def reference(self, target: PoseTarget, start: Tensor, steps: int = REFERENCE_STEPS) -> Tensor:
        """Angles [n, 2] in degrees by gradient descent, frame after frame; start: [2], where the first begins."""
        place, found = start.to(self.units) / self.units, []
        for number in range(len(target.pictures)):
            one, row = target.rows(torch.tensor([number])), torch.zeros(1, dtype=torch.int64)
            descent = RowAdam(self._bounded(place)[None])
            for step in range(steps):
                at = descent.take(row)
                with torch.enable_grad():
                    output = self.render(at)
                    loss = self.loss(output, self.perceptual.features(output), one)
                    (gradient,) = torch.autograd.grad(loss.sum(), at)
                descent.step(row, gradient, REFERENCE_RATE * cosine_decay(step / steps))
                descent.values = self._bounded(descent.values)
            place = descent.values[0]
            found.append(place * self.units)
        return torch.stack(found)

    # --- many frames at once -------------------------------------------------------------------------------

    @torch.no_grad()
    def search(self, target: PoseTarget, start: Tensor | None, steps: int) -> Tensor:
        """Angles [n, 2] in degrees of frames that follow each other; start: [2], another place where each may begin."""
        found = []
        for rows in torch.split(torch.arange(len(target.pictures)), BATCH):
            found.append(self._searched(target.rows(rows), start, steps))
            start = found[-1][-1]
        return torch.cat(found)

    def _searched(self, target: PoseTarget, start: Tensor | None, steps: int) -> Tensor:
        places = self._nearest(target, start)
        output = self.render(places)
        features = self.perceptual.features(output)
        loss = self.loss(output, features, target)
        damping = torch.full_like(loss, DAMPING)
        for _ in range(steps):
            slope, curve = self._normal(places, output, features, target)
            size = curve.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None].clamp_min(1e-12)
            damped = curve + damping[:, None, None] * size * torch.eye(2).to(curve)
            tried = self._bounded(places - torch.linalg.solve(damped, slope[:, :, None])[:, :, 0])
            seen = self.render(tried)
            looks = self.perceptual.features(seen)
            after = self.loss(seen, looks, target)
            better = after < loss
            places, loss = torch.where(better[:, None], tried, places), torch.where(better, after, loss)
            output = torch.where(better[:, None, None, None], seen, output)
            features = [torch.where(better[:, None, None, None], a, b) for a, b in zip(looks, features, strict=True)]
            damping = torch.where(better, damping / 3, damping * 30 + 0.1)
        return places * self.units

    def _normal(
        self, places: Tensor, output: Tensor, features: Sequence[Tensor], target: PoseTarget
    ) -> tuple[Tensor, Tensor]:
        """Gauss-Newton's gradient [n, 2] and matrix [n, 2, 2] of the loss, slopes by differences."""
        count = len(places)
        nudges = NUDGE * torch.eye(2).to(places)
        away = torch.where(places + NUDGE > self.high, -nudges[:, None], nudges[:, None])  # [2, n, 2], within reach
        signs = away.sum(dim=2)  # [2, n]
        moved = self.render((places + away).flatten(0, 1))
        looks = self.perceptual.features(moved)
        layers = [(output, target.pictures, moved, target.rigid, 1 / 3)]
        layers += [
            (own, wanted, look, target.face, 1.0)
            for own, wanted, look in zip(features, target.features, looks, strict=True)
        ]
        slope, curve = places.new_zeros(count, 2), places.new_zeros(count, 2, 2)
        for own, wanted, look, mask, share in layers:
            steps = (look.reshape(2, count, *own.shape[1:]) - own) / signs[:, :, None, None, None]
            error = own - wanted
            for a in range(2):
                slope[:, a] += share * masked_mean((steps[a] * error).sum(dim=1, keepdim=True), mask)[:, 0]
                for b in range(2):
                    product = (steps[a] * steps[b]).sum(dim=1, keepdim=True)
                    curve[:, a, b] += share * masked_mean(product, mask)[:, 0]
        return slope, curve

    def _nearest(self, target: PoseTarget, start: Tensor | None) -> Tensor:
        """The best place of the grid for each frame, or `start` where that is better: [n, 2] in units."""
        places, pictures, features = self._pictured()
        if start is not None:
            place = self._bounded(start.to(places) / self.units)[None]
            seen = self.render(place)
            looks = self.perceptual.features(seen)
            places, pictures = torch.cat([places, place]), torch.cat([pictures, seen])
            features = [torch.cat(pair) for pair in zip(features, looks, strict=True)]
        best = []
        for number in range(len(target.pictures)):
            one = target.rows(torch.tensor([number]))
            best.append(int(self.loss(pictures, features, one).argmin()))
        return places[best]

    def _pictured(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The grid of poses [k, 2] in units, L_ID's pictures there, and their features; made once."""
        if self._grid is None:
            lines = [
                torch.linspace(float(a), float(b), k, device=self.units.device)
                for a, b, k in zip(self.low, self.high, GRID, strict=True)
            ]
            places = torch.cartesian_prod(*lines)
            pictures = torch.cat([self.render(few) for few in torch.split(places, BATCH)])
            looks = [self.perceptual.features(few) for few in torch.split(pictures, BATCH)]
            self._grid = places, pictures, [torch.cat(maps) for maps in zip(*looks, strict=True)]
        return self._grid
