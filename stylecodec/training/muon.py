"""Muon (Jordan, 2024): every step moves a filter bank along all its directions alike.

Of the momentum's singular values only the vectors are kept, by five steps of a quintic Newton-Schulz iteration. Here in
float32, which on CPUs without bfloat16 instructions is three times as fast as torch.optim.Muon.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the iteration
ITERATIONS = 5
LIKE_ADAM = 0.2  # times the root of the longer side: steps as large as Adam's at the same rate


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix [a, b] with orthonormal rows or columns: singular values go to 0.7 .. 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        square = x @ x.t()
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


class FilterOptimizer:
    """Muon for the filters of convolutions, Adam for all else.

    `encoding.personalization.optimizers` has its twin on torch.optim.Muon.

    rates: of Adam and of Muon; `step` takes a share of both.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rate: float, filter_rate: float) -> None:
        self.filters = {n: p for n, p in parameters.items() if p.dim() == 4 and p.shape[-1] > 1}
        self.rest = {n: p for n, p in parameters.items() if n not in self.filters}
        self.momenta = {n: torch.zeros_like(p).view(len(p), -1) for n, p in self.filters.items()}
        self.adam = torch.optim.Adam(self.rest.values(), betas=(0.9, 0.99))
        self.rate, self.filter_rate = rate, filter_rate

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in (*self.filters.values(), *self.rest.values()):
            parameter.grad = None

    @torch.no_grad()
    def step(self, share: float) -> None:
        """One step of `share` times the rates; a parameter without a gradient stays."""
        for name, parameter in self.filters.items():
            if parameter.grad is None:
                continue
            gradient = parameter.grad.reshape(len(parameter), -1)
            momentum = self.momenta[name].lerp_(gradient, 1 - MOMENTUM)
            way = orthogonal(gradient.lerp(momentum, MOMENTUM))  # Nesterov
            size = LIKE_ADAM * max(way.shape) ** 0.5 * self.filter_rate * share
            parameter.sub_(way.view_as(parameter), alpha=size)
        for group in self.adam.param_groups:
            group["lr"] = self.rate * share
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved, by what they are and the parameter's name."""
        found = {f"momentum.{name}": value for name, value in self.momenta.items()}
        for name, parameter in self.rest.items():
            found |= {f"{k}.{name}": torch.as_tensor(v) for k, v in self.adam.state.get(parameter, {}).items()}
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        for entry, value in state.items():
            key, name = entry.split(".", 1)
            if key == "momentum":
                self.momenta[name].copy_(value)
            else:
                self.adam.state[self.rest[name]][key] = value.clone()
