"""The optimiser of a generator's tensors: Muon for convolutions, Adam for all else.

Muon (Jordan, 2024) takes a step along every direction of a filter bank alike: of the momentum's singular values only
the vectors are kept. Affine weights only act along the few directions of W+ that one person's
latents have, so Adam moves them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..differentiable import BETAS


class GeneratorOptimizer:
    """Moves parameters, by name, against their gradients; one without a gradient stays.

    rate: step size of Adam. filter_rate: of Muon, scaled so that its steps have the size of Adam's at the same rate
    ("match_rms_adamw" of torch.optim.Muon).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rate: float, filter_rate: float) -> None:
        self._all = dict(parameters)
        # Muon takes matrices: the same numbers as the convolutions', a row per output map.
        banks = {name: p for name, p in self._all.items() if is_filter_bank(p)}
        self._filters = {name: nn.Parameter(p.detach().view(len(p), -1)) for name, p in banks.items()}
        rest = {name: p for name, p in self._all.items() if name not in self._filters}
        muon = torch.optim.Muon(self._filters.values(), weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.Adam(rest.values(), betas=BETAS)
        self._halves = ((muon, self._filters, filter_rate), (adam, rest, rate))

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._all.values():
            parameter.grad = None

    def step(self, share: float) -> None:
        """One step, of `share` times the step sizes."""
        for name, matrix in self._filters.items():
            gradient = self._all[name].grad
            matrix.grad = None if gradient is None else gradient.reshape(matrix.shape)
        for optimizer, _, rate in self._halves:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()  # type: ignore[no-untyped-call]

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved, by what they are and the parameter's name."""
        return {
            f"{key}.{name}": torch.as_tensor(value)
            for optimizer, parameters, _ in self._halves
            for name, parameter in parameters.items()
            for key, value in optimizer.state.get(parameter, {}).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        owners = {name: (o, p) for o, parameters, _ in self._halves for name, p in parameters.items()}
        for key_and_name, value in state.items():
            key, name = key_and_name.split(".", 1)
            optimizer, parameter = owners[name]
            place = value.device if key == "step" else parameter.device  # Adam counts its steps on the CPU
            optimizer.state[parameter][key] = value.to(place)


def is_filter_bank(parameter: Tensor) -> bool:
    """Is it the filters of a convolution [O, I, k, k] that looks at more than one pixel?"""
    return parameter.dim() == 4 and parameter.shape[-1] > 1
