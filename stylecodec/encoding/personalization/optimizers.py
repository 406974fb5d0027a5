"""The optimiser of a generator's tensors: Muon for convolutions, Adam for all else.

Muon (Jordan, 2024) takes a step along every direction of a filter bank alike: of the momentum's singular values only
the vectors are kept, by five steps of a quintic Newton-Schulz iteration. It is ours and not torch.optim.Muon, which
iterates in bfloat16: a CPU without instructions for that is 15 times as fast in float32. Affine weights only act along
the few directions of W+ that one person's latents have, so Adam moves them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..differentiable import BETAS

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the iteration
ITERATIONS = 5
LIKE_ADAM = 0.2  # times the root of the longer side: steps as large as Adam's at the same rate
BUFFER = "momentum_buffer"  # the key of a filter bank's state


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix [a, b] with orthonormal rows or columns: singular values go to 0.7 .. 1.2.

    Every iteration multiplies X by a polynomial of X Xᵀ, and all of these commute: they are gathered on the short side,
    and X itself, which is up to nine times as long, is multiplied once.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = QUINTIC
    square = x @ x.t()
    gathered = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(ITERATIONS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        gathered = factor @ gathered
        square = factor @ square @ factor
    found: Tensor = gathered @ x
    return found.t() if tall else found


class GeneratorOptimizer:
    """Moves parameters, by name, against their gradients; one without a gradient stays.

    rate: step size of Adam. filter_rate: of Muon, scaled so that its steps have the size of Adam's at the same rate.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rate: float, filter_rate: float) -> None:
        self._filters = {name: p for name, p in parameters.items() if is_filter_bank(p)}
        self._rest = {name: p for name, p in parameters.items() if name not in self._filters}
        # The same numbers as the filters', a row per output map.
        self._momenta = {name: torch.zeros_like(p).detach().view(len(p), -1) for name, p in self._filters.items()}
        self._adam = torch.optim.Adam(self._rest.values(), betas=BETAS)
        self.rate, self.filter_rate = rate, filter_rate

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in (*self._filters.values(), *self._rest.values()):
            parameter.grad = None

    @torch.no_grad()
    def step(self, share: float) -> None:
        """One step, of `share` times the step sizes."""
        for name, parameter in self._filters.items():
            if parameter.grad is None:
                continue
            gradient = parameter.grad.reshape(len(parameter), -1)
            momentum = self._momenta[name].lerp_(gradient, 1 - MOMENTUM)
            way = orthogonal(gradient.lerp(momentum, MOMENTUM))  # Nesterov
            size = LIKE_ADAM * max(way.shape) ** 0.5 * self.filter_rate * share
            parameter.sub_(way.view_as(parameter), alpha=size)
        for group in self._adam.param_groups:
            group["lr"] = self.rate * share
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved, by what they are and the parameter's name."""
        found = {f"{BUFFER}.{name}": value for name, value in self._momenta.items()}
        for name, parameter in self._rest.items():
            kept = self._adam.state.get(parameter, {})
            found |= {f"{key}.{name}": torch.as_tensor(value) for key, value in kept.items()}
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        for key_and_name, value in state.items():
            key, name = key_and_name.split(".", 1)
            if key == BUFFER:
                self._momenta[name].copy_(value)
                continue
            parameter = self._rest[name]
            place = value.device if key == "step" else parameter.device  # Adam counts its steps on the CPU
            self._adam.state[parameter][key] = value.to(place, copy=True)


def is_filter_bank(parameter: Tensor) -> bool:
    """Is it the filters of a convolution [O, I, k, k] that looks at more than one pixel?"""
    return parameter.dim() == 4 and parameter.shape[-1] > 1
