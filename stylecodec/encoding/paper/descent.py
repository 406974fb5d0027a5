"""Many small problems of one kind at once: limited-memory BFGS (Nocedal 1980), each row with its own steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Places [N, K] -> losses [N] and their gradients [N, K]."""

MEMORY = 8  # moves that are remembered
SHRINK = 0.3  # of a step that led uphill
FARTHEST = 3.0  # of one step, in the variables' own units
LEAST_CURVE = 1e-8


class RowDescent:
    """Moves rows [N, K] downhill. What it learned of their curvature stays when the losses change a little.

    The variables are to be such that a step of one of them changes every loss about as much (preconditioned): the first
    step is the gradient itself.
    """

    def __init__(self, start: Tensor) -> None:
        self.best = start.clone()
        self._moves: list[Tensor] = []
        self._turns: list[Tensor] = []

    @torch.no_grad()
    def run(self, evaluate: Evaluate, steps: int) -> Tensor:
        """`steps` evaluations, each of all rows; the losses [N] of the best places, which never rise."""
        loss, gradient = evaluate(self.best)
        direction = _limited(-self._bent(gradient))
        length = torch.ones(len(loss), 1, device=loss.device)
        for _ in range(steps - 1):
            tried = self.best + length * direction
            after, slope = evaluate(tried)
            better = (after < loss)[:, None]
            self._moves = [*self._moves, torch.where(better, tried - self.best, 0.0)][-MEMORY:]
            self._turns = [*self._turns, torch.where(better, slope - gradient, 0.0)][-MEMORY:]
            self.best, gradient = torch.where(better, tried, self.best), torch.where(better, slope, gradient)
            loss = torch.where(better[:, 0], after, loss)
            direction = torch.where(better, _limited(-self._bent(gradient)), direction)
            length = torch.where(better, 1.0, length * SHRINK)
        return loss

    def _bent(self, gradient: Tensor) -> Tensor:
        """The two loops: gradients [N, K] by the inverse curvature that the last moves saw; empty moves say nothing."""
        value, seen = gradient.clone(), []
        for move, turn in zip(reversed(self._moves), reversed(self._turns), strict=True):
            curve = (move * turn).sum(dim=1, keepdim=True)
            use = curve > LEAST_CURVE * move.square().sum(dim=1, keepdim=True).clamp_min(1e-20)
            share = torch.where(use, (move * value).sum(dim=1, keepdim=True) / curve.clamp_min(1e-20), 0.0)
            value = value - share * turn
            seen.append((move, turn, curve, use, share))
        for move, turn, curve, use, share in reversed(seen):
            again = torch.where(use, (turn * value).sum(dim=1, keepdim=True) / curve.clamp_min(1e-20), 0.0)
            value = value + (share - again) * torch.where(use, move, 0.0)
        bent: Tensor = value
        return bent


def _limited(direction: Tensor) -> Tensor:
    limited: Tensor = direction * (FARTHEST / direction.norm(dim=1, keepdim=True).clamp_min(FARTHEST))
    return limited
