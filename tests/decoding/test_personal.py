"""A delta applied to a pack, and the deltas that are known by hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.bitstream import Identity
from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta, Personalization
from stylecodec.decoding import personal
from stylecodec.decoding.personal import KnownPeople, TunedPack, apply_delta, differences, resolve, tunable
from stylecodec.errors import DeltaNotFound, OutputError, PackMismatch
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


def test_known_deltas(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(personal.IDENTITIES_VARIABLE, str(tmp_path / "kept"))
    known, delta = KnownPeople(), delta_of(tiny_pack)
    chunk = Personalization.carried(bytes(32), delta)
    assert resolve(chunk) is delta
    with pytest.raises(DeltaNotFound, match="identity import"):
        resolve(chunk.named)
    known.add(delta)
    known.add(delta)
    assert resolve(chunk.named) == delta
    assert known.digests() == [delta.digest]
    (tmp_path / "kept" / f"{delta.digest.hex()}.delta").write_bytes(bytes(delta_of(tiny_pack, 1)))
    with pytest.raises(DeltaNotFound):
        known.find(delta.digest)
    known.add(delta)  # in place of the damaged one
    assert known.find(delta.digest) == delta


def test_latents_are_known_too(tmp_path: Path) -> None:
    known, identity = KnownPeople(tmp_path), Identity(np.random.default_rng(0).normal(size=(18, 512)))
    assert known.recall(identity.digest) is None
    known.add_identity(identity)
    found = known.recall(identity.digest)
    assert found is not None
    assert found.digest == identity.digest
    path = tmp_path / f"{identity.digest.hex()}.latent"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    assert known.recall(identity.digest) is None
    known.add_identity(identity)
    assert known.recall(identity.digest) is not None


def test_the_folder_does_not_grow_without_end(
    tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal, "MAX_KNOWN", 2)
    known = KnownPeople(tmp_path)
    for seed in range(4):
        known.add(delta_of(tiny_pack, seed))
    assert len(known.digests()) == 2


def test_a_folder_that_cannot_be_written(tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="people cannot be kept in"):
        KnownPeople(tmp_path / "file").add(delta_of(tiny_pack))
