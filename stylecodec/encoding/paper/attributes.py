"""Facial attributes: Algorithm 1 of 2203.14512, twice.

`reference` is written line by line from the paper: one frame after the other, N epochs of gradient steps each, the step
of every index by Eq. 8, the indices begun where the frame before left them (Eq. 7). `solve` descends the same loss for
many frames at once: the response of the picture to all indices together, measured once per clip, makes every direction
of α as steep as any other, so that a few quasi-Newton steps do. Every frame's loss holds its predecessor's rendering; a
sweep takes it from the sweep before. The first sweep is at half the side, and the two slow networks are asked in the
last one only.

    α_t is what is sent: the offset from A(LH_t) (see the design: any frame decodes without its predecessors)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...bitstream import ALPHA_COUNT
from ..differentiable import RowAdam, coarse_side
from .descent import RowDescent
from .losses import AttributeLoss, Before, Target
from .rendering import Rendering, Styles, rows_of
from .sensitivity import learning_rates
from .settings import PaperOptions

MOUTH, EYES, PUPILS = range(3)  # the attributes of Eq. 10 to 12
SWEEPS = (0.5, 0.3, 0.2)  # shares of the fast path's steps; the first at half the side
FLOOR = 0.01  # of the mean response: directions that show less are not stepped along further
LEADING = 15  # evaluations of the frame that leads the first chunk
NUDGE = 0.1  # of an index's unit: of the response by differences
BATCH = 16


@dataclass(frozen=True)
class Indices:
    """What is known of the 32 indices of one clip."""

    gammas: NDArray[np.float64]  # [3, 32] of Eq. 5, over mouth, eyes and pupils
    units: Tensor  # [32] raw style units in which they show about alike
    limit: Tensor  # [32] raw style units: how far α goes

    @property
    def attribute(self) -> NDArray[np.int64]:
        """[32]: the attribute in which each shows most."""
        return np.asarray(self.gammas.argmax(axis=0))

    @property
    def rates(self) -> Tensor:
        """[32]: η of Eq. 8, attribute by attribute."""
        found = np.ones(self.gammas.shape[1])
        for one in range(len(self.gammas)):
            own = self.attribute == one
            found[own] = learning_rates(self.gammas[one, own])
        return torch.from_numpy(found).float()

    @property
    def gaze(self) -> Tensor:
        """bool [32]: those of the pupils."""
        return torch.from_numpy(self.attribute == PUPILS)


@dataclass(frozen=True)
class Last:
    """The end of the chunk before: α [32], its indices' styles [32], rendering and target [1, 3, S, S]."""

    alpha: Tensor
    styles: Tensor
    rendered: Tensor
    target: Tensor


class AttributeSearch:
    """Finds α of the frames of one clip; keep: weight of its mean square over its limits, which the paper has not."""

    def __init__(
        self,
        rendering: Rendering,
        loss: AttributeLoss,
        indices: Indices,
        options: PaperOptions,
        keep: float = 0.0,
    ) -> None:
        self.rendering, self.loss, self.indices, self.options, self.keep = rendering, loss, indices, options, keep
        self.coarse = Rendering(rendering.pack, rendering.device, coarse_side(rendering.side), rendering.dtype)
        self.steepness: Tensor | None = None  # [32, 32] of `directions`, measured once

    def own(self, styles: Styles) -> Tensor:
        """The values of the 32 indices in styles: [N, 32]."""
        return torch.stack([styles[layer][:, channel] for layer, channel in self.rendering.latents.indices], dim=1)

    def _first(self, styles: Styles, target: Target) -> Last:
        """What stands before a clip's first frame: nothing but L_ID, turned, whose identity all frames are to have."""
        still = self.rendering.in_batches(rows_of(styles, slice(0, 1)), None, 1)
        self.loss.begin(still)
        own = self.own(styles)[0]
        return Last(torch.zeros_like(own), own, still, target.pictures[:1])

    def _warm(self, styles: Styles, last: Last) -> Tensor:
        """Eq. 7: indices begin where the frame before left them; as offsets from A(LH_t) [N, 32]."""
        return self.bounded(last.styles + last.alpha - self.own(styles))

    def wander(self, alpha: Tensor) -> Tensor:
        """What it costs [n] to go far with α [n, 32]."""
        return self.keep * (alpha / self.indices.limit.to(alpha)).square().mean(dim=1)

    def bounded(self, alpha: Tensor) -> Tensor:
        """α [n, 32] within what is believed of each index."""
        limit = self.indices.limit.to(alpha)
        return torch.minimum(torch.maximum(alpha, -limit), limit)

    # --- line by line --------------------------------------------------------------------------------------

    def reference(self, styles: Styles, target: Target, last: Last | None) -> tuple[Tensor, Last]:
        """α [n, 32] of frames whose A(LH_t) are `styles`, and what the next ones need; last: None at a clip's start."""
        rate = self.options.rate * (torch.ones(ALPHA_COUNT) if self.options.even_rates else self.indices.rates)
        rate, gaze, found = rate.to(self.rendering.device), self.indices.gaze.to(self.rendering.device), []
        for t in range(len(target.pictures)):
            row = torch.tensor([t])
            begins = last is None
            last = self._first(rows_of(styles, row), target.rows(row)) if last is None else last
            own, goal = rows_of(styles, row), target.rows(row)
            before = Before(last.rendered, last.target, torch.full((1,), float(not begins)).to(goal.open))
            optimizer = RowAdam(self._warm(own, last))  # F'
            only = torch.zeros(1, dtype=torch.int64)
            moves = torch.where(gaze & (goal.open[:, None] == 0), 0.0, 1.0)  # gaze is skipped on a blink
            for _ in range(self.options.epochs):
                alpha = optimizer.take(only)
                with torch.enable_grad():
                    output = self.rendering.pictures(own, alpha)  # Ŝ_t = G_ss(LH_t + α_t)
                    loss = self.loss(output, goal, before) + self.wander(alpha)
                    (gradient,) = torch.autograd.grad(loss.sum(), alpha)
                optimizer.step(only, gradient, rate * moves)  # α_t ← α_t - η F'(∇L, α_t)
                optimizer.values = self.bounded(optimizer.values)
            last = self._ended(own, optimizer.values, goal)
            if begins:
                self.loss.begin(last.rendered)
            found.append(optimizer.values[0])
        assert last is not None
        return torch.stack(found), last

    def _ended(self, styles: Styles, alpha: Tensor, target: Target) -> Last:
        """What the next frame needs of the last of these."""
        end = rows_of(styles, slice(-1, None))
        rendered = self.rendering.in_batches(end, alpha[-1:], 1)
        return Last(alpha[-1], self.own(end)[0], rendered, target.pictures[-1:])

    # --- many frames at once -------------------------------------------------------------------------------

    def solve(self, styles: Styles, target: Target, last: Last | None) -> tuple[Tensor, Last]:
        """The same of many frames at once."""
        begins = last is None
        last = self._first(styles, target) if last is None else last
        start = self._warm(styles, last)
        if self.steepness is None:
            self.steepness = self.directions(rows_of(styles, slice(0, 1)), start[:1], target)
            if self.options.even_rates:
                self.steepness = self.steepness.diagonal().mean() * torch.eye(ALPHA_COUNT, device=start.device)
        parts = torch.split(torch.arange(len(start), device=start.device), BATCH)
        descents = [RowDescent(torch.zeros_like(start[rows])) for rows in parts]
        there = torch.ones(len(start), device=start.device)
        there[0] = float(not begins)
        small = self._smaller(target)
        if begins:
            start = self._led(styles, small, start)
        alpha = start
        for number, share in enumerate(SWEEPS):
            steps = max(2, round(share * self.options.steps))
            if number == 0:  # at half the side; predecessors are not known yet
                known = Before(small.pictures, small.pictures, torch.zeros_like(there))
                rendering, goal = self.coarse, small
            else:
                seen = self.rendering.in_batches(styles, alpha, BATCH)
                known = Before(
                    torch.cat([last.rendered, seen[:-1]]), torch.cat([last.target, target.pictures[:-1]]), there
                )
                rendering, goal = self.rendering, target
                if begins and number == 1:
                    self.loss.begin(seen[:1])
            for rows, descent in zip(parts, descents, strict=True):
                near = Before(known.rendered[rows], known.target[rows], known.there[rows])
                whole = number == len(SWEEPS) - 1
                chunk = _Chunk(self, rendering, rows_of(styles, rows), goal.rows(rows), near, start[rows], whole)
                descent.run(chunk.evaluate, steps)
                alpha = alpha.index_copy(0, rows, chunk.alpha(descent.best))
        return alpha, self._ended(styles, alpha, target)

    def _led(self, styles: Styles, small: Target, start: Tensor) -> Tensor:
        """Where the frames of a clip's first chunk begin: at what its middle frame comes to; others follow Eq. 7."""
        row = torch.tensor([len(start) // 2], device=start.device)
        goal = small.rows(row)
        none = Before(goal.pictures, goal.pictures, torch.zeros_like(goal.open))
        chunk = _Chunk(self, self.coarse, rows_of(styles, row), goal, none, start[row], False)
        descent = RowDescent(torch.zeros_like(start[row]))
        descent.run(chunk.evaluate, LEADING)
        return chunk.alpha(descent.best).expand(len(start), -1).contiguous()

    def _smaller(self, target: Target) -> Target:
        """The target on the side of the coarse steps."""
        side = self.coarse.side
        pictures = F.adaptive_avg_pool2d(target.pictures, side)
        return self.loss.target(pictures, target.masks.at(side), target.open)

    @torch.no_grad()
    def directions(self, styles: Styles, alpha: Tensor, target: Target) -> Tensor:
        """[32, 32] from steps to α: a step of one size changes the loss about as much in every direction.

        styles, alpha: of one frame, where the response is measured, each index moved a little by itself. The curvature
        is Gauss and Newton's of the terms of mouth and eyes, with the masks' mean over the chunk.
        """
        step = NUDGE * self.indices.units.to(alpha)
        moved = torch.cat([alpha, alpha + torch.diag(step)])
        many = [one.expand(len(moved), -1) for one in styles]
        pictures = self.rendering.in_batches(many, moved, BATCH)
        features = self.loss.perceptual.features(pictures.clamp(-1, 1))
        weights, masks = self.loss.weights, target.masks
        small = torch.cat([masks.mouth, masks.eyes], dim=1).mean(dim=0, keepdim=True)
        three = torch.cat([small, masks.pupils.mean(dim=0, keepdim=True)], dim=1)
        each = (weights.l2 + weights.between) * torch.tensor([1.0, 1.0, weights.pupil]) / 3
        layers = [(pictures, three, each.to(alpha))]
        layers += [(maps, small, weights.lpips * alpha.new_ones(2)) for maps in features]
        curve = torch.zeros(len(step), len(step), dtype=torch.float64)
        for maps, mask, weight in layers:
            side = maps.shape[-1]
            shares = F.adaptive_avg_pool2d(mask, side)[0]
            per_pixel = (shares * (weight / shares.sum(dim=(1, 2)).clamp_min(1.0))[:, None, None]).sum(dim=0)
            slopes = (maps[1:] - maps[:1]) * per_pixel.sqrt() / step[:, None, None, None]
            flat = slopes.flatten(1)
            curve += (flat @ flat.T).double().cpu()
        return _preconditioner(2 * curve).to(alpha)


@dataclass(frozen=True)
class _Chunk:
    """Some frames whose α are moved together, in steps that show alike, from `start` [n, 32]."""

    search: AttributeSearch
    rendering: Rendering
    styles: Styles
    target: Target
    before: Before
    start: Tensor
    whole: bool  # else L_ID and L_FP are left out

    def alpha(self, places: Tensor) -> Tensor:
        """Steps [n, 32] -> α [n, 32]; gaze stays where it was on a blink."""
        assert self.search.steepness is not None
        gaze = self.search.indices.gaze.to(places.device) & (self.target.open[:, None] == 0)
        moves = torch.where(gaze, 0.0, places @ self.search.steepness)
        return self.search.bounded(self.start + moves)

    def evaluate(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 9 [n] and its gradient by the steps [n, 32]."""
        taken = places.detach().requires_grad_(True)
        with torch.enable_grad():
            alpha = self.alpha(taken)
            output = self.rendering.pictures(self.styles, alpha)
            loss = self.search.loss(output, self.target, self.before, self.whole) + self.search.wander(alpha)
            (gradient,) = torch.autograd.grad(loss.sum(), taken)
        return loss.detach(), gradient


def _preconditioner(curve: Tensor) -> Tensor:
    """The inverse square root of a curvature [K, K], directions that hardly show damped."""
    values, vectors = torch.linalg.eigh(curve)
    floor = FLOOR * values.mean().clamp_min(1e-20)
    found: Tensor = (vectors * (values.clamp_min(0) + floor).rsqrt()) @ vectors.T
    return found
