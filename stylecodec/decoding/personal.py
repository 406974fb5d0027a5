"""Personalised generators: the difference to the pack's generator that a stream carries, added to a copy of it.

    stream or card ──► delta ──► TunedPack: the pack with another generator, all else shared
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..bitstream.delta import GeneratorDelta
from ..errors import PackCorrupt, PackMismatch
from ..nets.isolation import isolated
from ..nets.stylegan2 import Generator
from ..packs.registry import pick_device
from ..packs.store import ModelPack


def tunable(generator: Generator) -> Iterator[tuple[str, nn.Parameter]]:
    """The tensors that a delta may change: all that turn W+ into a picture, not what makes latents."""
    for name, parameter in generator.named_parameters():
        if not name.startswith("mapping."):
            yield name, parameter


def apply_delta(generator: Generator, delta: GeneratorDelta) -> Generator:
    """A copy of the generator with the delta added; PackMismatch for tensors that it does not have."""
    with isolated(), torch.no_grad():
        return _applied(copy.deepcopy(generator), delta)


def _applied(tuned: Generator, delta: GeneratorDelta) -> Generator:
    known = dict(tunable(tuned))
    for change in delta.tensors:
        parameter = known.get(change.name)
        if parameter is None or tuple(parameter.shape) != change.shape:
            raise PackMismatch(
                f"the personalised generator changes {change.name} {list(change.shape)}, which this pack's has not"
            )
        parameter.add_(torch.from_numpy(change.values).to(parameter.device, parameter.dtype))
    return tuned.eval().requires_grad_(False)


class TunedPack(ModelPack):
    """A pack whose generator is a personalised one; name, digest and every other network are those of `pack`."""

    def __init__(
        self, pack: ModelPack, delta: GeneratorDelta | None = None, generator: Generator | None = None
    ) -> None:
        """Give a delta, which must be the pack's (else PackMismatch), or a generator that is being tuned."""
        super().__init__(pack.folder, pack.card)
        if delta is not None and delta.pack_digest != pack.digest:
            raise PackMismatch(
                f"the personalised generator belongs to pack {delta.pack_digest.hex()[:12]}, "
                f"not to {pack.name} {pack.digest.hex()[:12]}"
            )
        self.base, self.delta = pack, delta
        self._given = generator

    def network(self, role: str, device: str | torch.device = "auto") -> nn.Module:
        """As of a pack; the generator is the personalised one."""
        if role != "generator":
            return self.base.network(role, device)
        if self._given is not None:
            return self._given
        place = pick_device(device)
        key = (role, str(place))
        if key not in self._built:
            generator = self.base.generator(place)
            tuned = generator if self.delta is None else apply_delta(generator, self.delta)
            return self._built.setdefault(key, tuned)
        return self._built[key]


def differences(tuned: Generator, base: Generator) -> dict[str, Tensor]:
    """What the tensors of a tuned generator differ by, those that do, on the CPU in float32."""
    before = dict(tunable(base))
    if before.keys() != dict(tunable(tuned)).keys():
        raise PackCorrupt("the two generators do not have the same tensors")
    found = {name: (p.detach() - before[name].detach()).float().cpu() for name, p in tunable(tuned)}
    return {name: value for name, value in found.items() if bool(value.any())}
