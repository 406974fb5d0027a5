"""The generator delta: what goes in comes out within half a step, and hostile bytes are refused before allocation."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream.delta import MAX_RAW_BYTES, DeltaTensor, GeneratorDelta, Personalization
from stylecodec.errors import ChecksumMismatch, CorruptChunk, FormatError, LimitExceeded, Truncated

PACK = hashlib.sha256(b"pack").digest()
PERSON = hashlib.sha256(b"person").digest()


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def small() -> GeneratorDelta:
    tensors = [
        DeltaTensor.quantised("blocks.0.convs.0.weight", values(4, 3, 3, 3), 0.01),
        DeltaTensor.quantised("blocks.0.convs.0.bias", values(4), 0.001),
        DeltaTensor.quantised("blocks.0.convs.0.noise_strength", values(), 0.001),
        DeltaTensor.factored("blocks.0.convs.0.affine.weight", values(8, 16), 2),
    ]
    return GeneratorDelta.of(PACK, tensors)


def test_values_come_back_within_half_a_step() -> None:
    weights, steps = values(5, 7, 3, 3), np.linspace(0.002, 0.03, 5)
    tensor = DeltaTensor.quantised("w", weights, steps)
    assert tensor.values.shape == weights.shape
    used = tensor.steps.astype(np.float64)
    assert (used >= steps).all()
    error = np.abs(tensor.values - weights).max(axis=(1, 2, 3))
    assert (error <= used / 2 + 1e-6).all()


def test_a_step_too_small_is_widened() -> None:
    tensor = DeltaTensor.quantised("w", np.array([[1.0, -2.0], [0.0, 0.0]]), 1e-7)
    assert np.abs(tensor.values - [[1.0, -2.0], [0.0, 0.0]]).max() < 0.02
    assert tensor.levels.min() >= -127


def test_zeros_need_no_step() -> None:
    tensor = DeltaTensor.quantised("w", np.zeros((3, 4)), 0.0)
    assert not tensor.values.any()


def test_factors_of_full_rank_are_nearly_exact() -> None:
    matrix = values(6, 4, 3, 3)
    full = DeltaTensor.factored("w", matrix, 6)
    assert np.abs(full.values - matrix).max() < 0.05 * np.abs(matrix).max()
    rough = DeltaTensor.factored("w", matrix, 2)
    u, s, v = np.linalg.svd(matrix.reshape(6, -1), full_matrices=False)
    best = (u[:, :2] * s[:2]) @ v[:2]
    assert np.abs(rough.values.reshape(6, -1) - best).max() < 0.05 * np.abs(matrix).max()


def test_bytes_and_back() -> None:
    delta = small()
    again = GeneratorDelta(bytes(delta))
    assert again == delta
    assert again.digest == hashlib.sha256(bytes(delta)).digest()
    assert again.pack_digest == PACK
    assert [t.name for t in again.tensors] == [t.name for t in delta.tensors]
    for a, b in zip(again.tensors, delta.tensors, strict=True):
        assert a.shape == b.shape
        assert np.array_equal(a.values, b.values)
    assert again.tensors[2].shape == ()


def test_the_chunk_carries_or_names() -> None:
    delta = small()
    carried = Personalization.carried(PERSON, delta)
    assert Personalization.parse(bytes(carried)) == carried
    named = carried.named
    assert len(bytes(named)) == 66
    assert Personalization.parse(bytes(named)) == named
    assert named.delta is None
    assert named.digest == delta.digest


def test_a_chunk_that_is_wrong() -> None:
    data = bytes(Personalization.carried(PERSON, small()))
    with pytest.raises(Truncated):
        Personalization.parse(data[:65], 100)
    with pytest.raises(CorruptChunk) as caught:
        Personalization.parse(b"\2" + data[1:], 100)
    assert caught.value.offset == 100
    with pytest.raises(CorruptChunk) as caught:
        Personalization.parse(data[:1] + b"\1" + data[2:], 100)
    assert caught.value.offset == 101
    with pytest.raises(ChecksumMismatch) as wrong:
        Personalization.parse(data[:-1] + bytes([data[-1] ^ 1]), 100)
    assert wrong.value.offset == 134
    with pytest.raises(CorruptChunk, match="follow"):
        Personalization.parse(b"\0" + data[1:])


def packed(raw: bytes, count: int = 1, **how: object) -> bytes:
    return PACK + struct.pack("<H", count) + zstandard.ZstdCompressor(**how).compress(raw)


def entry(name: bytes, coding: int, shape: tuple[int, ...], rank: bytes = b"") -> bytes:
    return bytes([len(name)]) + name + bytes([coding, len(shape)]) + struct.pack(f"<{len(shape)}H", *shape) + rank


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (PACK, Truncated),
        (packed(b"", 0), LimitExceeded),
        (packed(b"", 1025), LimitExceeded),
        (packed(b""), Truncated),
        (PACK + b"\1\0" + b"no zstd at all", CorruptChunk),
        (packed(b"\1w" + bytes(100))[:-3], CorruptChunk),
        (packed(entry(b"w", 1, (2,)) + bytes(4)) + b"more", CorruptChunk),
        (packed(entry(b"w", 3, (2,)) + bytes(4)), CorruptChunk),
        (packed(entry(b"w", 1, (2, 2, 2, 2, 2)) + bytes(36)), LimitExceeded),
        (packed(entry(b"w", 1, (0,)) + bytes(4)), LimitExceeded),
        (packed(entry(b"w", 1, (8192, 8192))), LimitExceeded),
        (packed(entry(b"w", 2, (4, 4), b"\5\0")), LimitExceeded),
        (packed(entry(b"w", 2, (4, 4), b"\0\0")), LimitExceeded),
        (packed(entry(b"a b", 1, (2,)) + bytes(4)), CorruptChunk),
        (packed(entry(b"", 1, (2,)) + bytes(4)), CorruptChunk),
        (packed(entry(b"w", 1, (2,)) + bytes(3)), CorruptChunk),
        (packed(entry(b"w", 1, (2,)) + bytes(5)), CorruptChunk),
        (packed(entry(b"w", 1, (1,)) * 2 + bytes(6), 2), CorruptChunk),
        (packed(entry(b"w", 1, (1,)) + struct.pack("<e", float("nan")) + b"\1"), CorruptChunk),
        (packed(entry(b"w", 1, (1,)) + struct.pack("<e", -1.0) + b"\1"), CorruptChunk),
        (packed(entry(b"w", 1, (1,)) + struct.pack("<e", 1.0) + b"\x80"), CorruptChunk),
        (packed(entry(b"w", 1, (1,)) + bytes(3), write_content_size=False), CorruptChunk),
    ],
)
def test_malformed(data: bytes, error: type[FormatError]) -> None:
    with pytest.raises(error):
        GeneratorDelta(data)


def test_what_it_unpacks_to_is_not_kept() -> None:
    data = packed(entry(b"w", 1, (4096, 4096)) + bytes(2 * 4096 + 4096 * 4096))
    assert len(data) < 2000
    tracemalloc.start()
    held = [GeneratorDelta(data) for _ in range(3)]
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1 << 20 < peak
    assert held[0].tensors[0].shape == (4096, 4096)


def test_a_bomb_is_refused_by_the_size_it_states() -> None:
    with pytest.raises(LimitExceeded, match="unpacks to"):
        GeneratorDelta(packed(bytes(MAX_RAW_BYTES + 1)))


def test_many_tensors_may_not_add_up_to_more_than_the_limit() -> None:
    """Each is within bounds; their factors are small, what they stand for is not."""
    entries = b"".join(entry(b"w%d" % k, 2, (4096, 4096), b"\1\0") for k in range(2))
    with pytest.raises(LimitExceeded, match="elements"):
        GeneratorDelta(packed(entries + bytes(2 * 2 + 2 * 8192), 2))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_damage_is_a_format_error_or_harmless(noise: bytes, at: int) -> None:
    good = bytes(small())
    place = at % len(good)
    data = good[:place] + noise + good[place + len(noise) :]
    with contextlib.suppress(FormatError):
        GeneratorDelta(data)
