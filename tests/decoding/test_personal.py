"""A delta applied to a pack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta
from stylecodec.decoding.personal import TunedPack, apply_delta, differences, tunable
from stylecodec.errors import PackMismatch
from stylecodec.packs.store import ModelPack

CPU = torch.device("cpu")


def delta_of(pack: ModelPack, seed: int = 0) -> GeneratorDelta:
    """A delta that moves two tensors."""
    rng = np.random.default_rng(seed)
    shapes = {name: tuple(p.shape) for name, p in tunable(pack.generator(CPU))}
    names = ("blocks.3.convs.1.weight", "blocks.0.to_rgb.bias")
    moved = [DeltaTensor.quantised(name, rng.normal(0, 0.3, shapes[name]), 0.01) for name in names]
    return GeneratorDelta.of(pack.digest, moved)


def test_a_tuned_pack_differs_in_its_generator_alone(tiny_pack: ModelPack) -> None:
    delta = delta_of(tiny_pack)
    tuned = TunedPack(tiny_pack, delta)
    assert tuned.digest == tiny_pack.digest
    assert tuned.flow(CPU) is tiny_pack.flow(CPU)
    before = {name: p.clone() for name, p in tunable(tiny_pack.generator(CPU))}
    changed = differences(tuned.generator(CPU), tiny_pack.generator(CPU))
    assert set(changed) == {tensor.name for tensor in delta.tensors}
    for tensor in delta.tensors:
        assert np.allclose(changed[tensor.name].numpy(), tensor.values, atol=1e-6)
    assert all(torch.equal(p, before[name]) for name, p in tunable(tiny_pack.generator(CPU)))
    assert tuned.generator(CPU) is tuned.generator(CPU)
    assert not any(p.requires_grad for p in tuned.generator(CPU).parameters())


def test_a_delta_of_another_pack(tiny_pack: ModelPack, other_pack: ModelPack) -> None:
    with pytest.raises(PackMismatch, match="belongs to pack"):
        TunedPack(other_pack, delta_of(tiny_pack))


@pytest.mark.parametrize("name", ["blocks.0.to_rgb.beard", "mapping.layers.0.bias", "blocks.0.to_rgb.weight"])
def test_tensors_that_the_generator_lacks(tiny_pack: ModelPack, name: str) -> None:
    delta = GeneratorDelta.of(tiny_pack.digest, [DeltaTensor.quantised(name, np.ones(3), 0.1)])
    with pytest.raises(PackMismatch, match=name):
        apply_delta(tiny_pack.generator(CPU), delta)
