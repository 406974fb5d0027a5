"""The range coder: what goes in comes out, in few bytes, and any bytes decode to something."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream.compact.range_coder import EVEN, RangeDecoder, RangeEncoder

small = settings(max_examples=60, deadline=None)
decisions = st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=400)


def encode(items: list[tuple[int, bool]], begin: int = EVEN) -> bytes:
    coder, states = RangeEncoder(), [begin] * 7
    for at, bit in items:
        if at == 7:
            coder.bits(int(bit), 1)
        else:
            coder.bit(states, at, bit)
    return coder.finish()


def decode(data: bytes, places: list[int], begin: int = EVEN) -> tuple[list[bool], RangeDecoder]:
    coder, states = RangeDecoder(data), [begin] * 7
    return [bool(coder.bits(0, 1) if at == 7 else coder.bit(states, at)) for at in places], coder


@small
@given(decisions, st.sampled_from([256, 5000, EVEN, 65_280]))
def test_round_trip(items: list[tuple[int, bool]], begin: int) -> None:
    data = encode(items, begin)
    assert not data.endswith(b"\0")
    bits, coder = decode(data, [at for at, _ in items], begin)
    assert bits == [bit for _, bit in items]
    assert coder.position >= len(data)


@small
@given(st.integers(0, 2**40 - 1), st.integers(1, 40))
def test_even_bits(value: int, count: int) -> None:
    coder = RangeEncoder()
    assert coder.bits(value % 2**count, count) == value % 2**count
    assert RangeDecoder(coder.finish()).bits(0, count) == value % 2**count


@small
@given(st.binary(max_size=40), st.lists(st.integers(0, 7), max_size=300))
def test_any_bytes_decode(data: bytes, places: list[int]) -> None:
    bits, _ = decode(data, places)
    assert len(bits) == len(places)


def test_carries_reach_far_back() -> None:
    """Thousands of unlikely decisions push low against its upper end, through runs of 0xff bytes."""
    rng = random.Random(0)
    for chance in (0.02, 0.5, 0.98):
        items = [(rng.randrange(7), rng.random() < chance) for _ in range(20_000)]
        assert decode(encode(items), [at for at, _ in items])[0] == [bit for _, bit in items]


def test_bytes_are_near_the_entropy() -> None:
    rng = random.Random(1)
    for chance in (0.02, 0.1, 0.5):
        items = [(0, rng.random() < chance) for _ in range(20_000)]
        bound = -20_000 * (chance * math.log2(chance) + (1 - chance) * math.log2(1 - chance)) / 8
        assert len(encode(items)) < 1.15 * bound


def test_nothing_takes_no_bytes() -> None:
    assert RangeEncoder().finish() == b""
    assert encode([(0, False)] * 3) == b""
