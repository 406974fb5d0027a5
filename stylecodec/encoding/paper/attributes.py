"""Facial attributes: Algorithm 1 of 2203.14512, twice.

`reference` is written line by line from the paper: one frame after the other, N epochs of gradient steps each, the step
of every index by Eq. 8, the indices begun where the frame before left them (Eq. 7). `solve` descends the same loss in
fewer steps, many frames at once. The response of the picture to all indices together, measured once per clip, makes
every direction of α as steep as any other, so that a few quasi-Newton steps do. Key frames come first; what lies
between two solved frames begins between them, as Eq. 7 has it from one side, and needs fewer steps. The inter-frame
terms count in a last sweep over all frames, which takes every predecessor's rendering from before it.

    α_t is what is sent: the offset from A(LH_t) (see the design: any frame decodes without its predecessors)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...bitstream import ALPHA_COUNT
from ..differentiable import RowAdam
from .descent import RowDescent
from .losses import AttributeLoss, Before, Target
from .rendering import Rendering, Styles, rows_of
from .sensitivity import learning_rates
from .settings import PaperOptions

MOUTH, EYES, PUPILS = range(3)  # the attributes of Eq. 10 to 12
KEY = 5  # frames from one key frame to the next
LEVELS = (1.0, 0.5, 0.4)  # shares of `steps` for key frames, one frame between two of them, all others
SWEEP = 0.3  # the same of the last sweep over all
FLOOR = 0.03  # of the mean response: directions that show less are not stepped along further
NUDGE = 0.2  # of an index's unit: of the response by differences
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

    def solve(
        self, styles: Styles, target: Target, last: Last | None, guess: Tensor | None = None
    ) -> tuple[Tensor, Last]:
        """The same of many frames at once; guess: α [n, 32] where key frames may begin, if that is nearer."""
        begins = last is None
        last = self._first(styles, target) if last is None else last
        alpha = self._warm(styles, last)
        if self.steepness is None:
            self.steepness = self._measured(styles, alpha if guess is None else self.bounded(guess), target)
        own, known = self.own(styles), {-1: last.styles + last.alpha}  # values of the indices in frames that are solved
        for rows, share in zip(levels(len(alpha)), LEVELS, strict=True):
            if not rows:
                continue
            some = torch.tensor(rows, device=alpha.device)
            if known.keys() != {-1}:  # else as Eq. 7 has it
                alpha[some] = self.bounded(torch.stack([_between(known, row) for row in rows]) - own[some])
            starts = [alpha] if guess is None or known.keys() != {-1} else [alpha, self.bounded(guess.to(alpha))]
            alpha[some] = self._descended(styles, target, starts, some, max(2, round(share * self.options.steps)))
            known |= {row: own[row] + alpha[row] for row in rows}
            if begins and 0 in rows:
                self.loss.begin(self.rendering.in_batches(rows_of(styles, slice(0, 1)), alpha[:1], 1))
        alpha = self._swept(styles, target, alpha, last, begins)
        return alpha, self._ended(styles, alpha, target)

    def _descended(
        self, styles: Styles, target: Target, starts: list[Tensor], some: Tensor, steps: int
    ) -> Tensor:
        """α [k, 32] of frames `some` [k], from the best of some places [n, 32] each, without inter-frame terms."""
        found = []
        for rows in torch.split(some, BATCH):
            goal = target.rows(rows)
            alone = Before(goal.pictures, goal.pictures, torch.zeros_like(goal.open))
            chunks = [_Chunk(self, rows_of(styles, rows), goal, alone, start[rows]) for start in starts]
            chunk = chunks[0]
            if len(chunks) > 1:
                losses = torch.stack([one.loss() for one in chunks])
                best = torch.stack([one.start for one in chunks])[losses.argmin(dim=0), torch.arange(len(rows))]
                chunk = _Chunk(self, chunk.styles, goal, alone, best)
            found.append(chunk.descended(steps))
        return torch.cat(found)

    def _swept(self, styles: Styles, target: Target, alpha: Tensor, last: Last, begins: bool) -> Tensor:
        """α [n, 32] after some more steps of all frames, each beside the one before it."""
        seen = self.rendering.in_batches(styles, alpha, BATCH)
        rendered = torch.cat([last.rendered, seen[:-1]])
        pictures = torch.cat([last.target, target.pictures[:-1]])
        there = torch.ones(len(alpha), device=alpha.device)
        there[0] = float(not begins)
        steps, found = max(2, round(SWEEP * self.options.steps)), []
        for rows in torch.split(torch.arange(len(alpha), device=alpha.device), BATCH):
            near = Before(rendered[rows], pictures[rows], there[rows])
            chunk = _Chunk(self, rows_of(styles, rows), target.rows(rows), near, alpha[rows])
            found.append(chunk.descended(steps))
        return torch.cat(found)

    def _measured(self, styles: Styles, alpha: Tensor, target: Target) -> Tensor:
        """`directions` of a middle frame."""
        row = slice(len(alpha) // 2, len(alpha) // 2 + 1)
        found = self.directions(rows_of(styles, row), alpha[row], target)
        return found.diagonal().mean() * torch.eye(ALPHA_COUNT).to(found) if self.options.even_rates else found

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
        curve += torch.diag(self.keep / self.indices.limit.double().cpu().square() / len(step))
        return _preconditioner(2 * curve).to(alpha)


@dataclass(frozen=True)
class _Chunk:
    """Some frames whose α are moved together, in steps that show alike, from `start` [n, 32]."""

    search: AttributeSearch
    styles: Styles
    target: Target
    before: Before
    start: Tensor

    def descended(self, steps: int) -> Tensor:
        """α [n, 32] after so many evaluations."""
        descent = RowDescent(torch.zeros_like(self.start))
        descent.run(self.evaluate, steps)
        return self.alpha(descent.best)

    def alpha(self, places: Tensor) -> Tensor:
        """Steps [n, 32] -> α [n, 32]; gaze stays where it was on a blink."""
        assert self.search.steepness is not None
        gaze = self.search.indices.gaze.to(places.device) & (self.target.open[:, None] == 0)
        moves = torch.where(gaze, 0.0, places @ self.search.steepness)
        return self.search.bounded(self.start + moves)

    @torch.no_grad()
    def loss(self) -> Tensor:
        """Eq. 9 [n] at the start."""
        return self._of(self.start)

    def _of(self, alpha: Tensor) -> Tensor:
        output = self.search.rendering.pictures(self.styles, alpha)
        return self.search.loss(output, self.target, self.before) + self.search.wander(alpha)

    def evaluate(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 9 [n] and its gradient by the steps [n, 32]."""
        taken = places.detach().requires_grad_(True)
        with torch.enable_grad():
            loss = self._of(self.alpha(taken))
            (gradient,) = torch.autograd.grad(loss.sum(), taken)
        return loss.detach(), gradient


def levels(count: int) -> tuple[list[int], list[int], list[int]]:
    """Frames 0 to count - 1 in the order they are solved in: key frames, the last one among them; frames half-way
    between two; all others."""
    keys = sorted({*range(0, count, KEY), count - 1})
    halves = [(a + b) // 2 for a, b in pairwise(keys) if b - a > 2]
    return keys, halves, sorted(set(range(count)) - {*keys, *halves})


def _between(known: dict[int, Tensor], row: int) -> Tensor:
    """What lies between the nearest known values of frames before and after one."""
    low, high = max(k for k in known if k < row), min((k for k in known if k > row), default=None)
    return known[low] if high is None else torch.lerp(known[low], known[high], (row - low) / (high - low))


def _preconditioner(curve: Tensor) -> Tensor:
    """The inverse square root of a curvature [K, K], directions that hardly show damped."""
    values, vectors = torch.linalg.eigh(curve)
    floor = FLOOR * values.mean().clamp_min(1e-20)
    found: Tensor = (vectors * (values.clamp_min(0) + floor).rsqrt()) @ vectors.T
    return found
