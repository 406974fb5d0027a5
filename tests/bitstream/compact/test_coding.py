"""The compact profile: quantiser, predicted levels, compact identities; against the coder of the vectors."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream import (
    FrameGroup,
    Identity,
    Profile,
    Quantiser,
    StreamHeader,
    StreamReader,
    StreamWriter,
    Term,
    compact_header,
    nearest_code,
    plain_quantiser,
)
from stylecodec.bitstream.compact.coding import decode_levels, encode_levels, magnitude_bits
from stylecodec.bitstream.compact.modelling import PLAIN_QUALITY, fitted, plain_steps
from stylecodec.bitstream.compact.quantiser import step_of
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded
from tests.bitstream.conftest import make_header, make_identity, make_packets

sys.path.insert(0, str(Path(__file__).parents[3] / "format_spec"))

import compact_coding  # type: ignore[import-not-found]

small = settings(max_examples=40, deadline=None)
Levels = npt.NDArray[np.int32]


@st.composite
def quantisers(draw: st.DrawFn) -> Quantiser:
    pairs = st.tuples(st.integers(0, 34), st.sampled_from([0, 3, 64, 65]))
    places = sorted(place for place in draw(st.sets(pairs, max_size=20)) if place[1] < place[0] or place[1] > 34)
    weights = st.integers(-128, 127).filter(bool)
    return Quantiser(
        tuple(draw(st.lists(st.integers(0, 120), min_size=35, max_size=35))),
        tuple(draw(st.lists(st.integers(-400, 400), min_size=35, max_size=35))),
        tuple(draw(st.lists(st.integers(0, 11), min_size=35, max_size=35))),
        tuple(Term(target, source, draw(weights)) for target, source in places),
    )


@st.composite
def levels(draw: st.DrawFn) -> Levels:
    """Levels [n, 35] of every scale, from at rest to leaping from end to end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, scale = draw(st.integers(1, 20)), draw(st.sampled_from([0.05, 0.5, 3, 50, 900, 30_000]))
    walk = np.cumsum(rng.normal(0, scale, (count, 35)), axis=0) + rng.normal(0, scale, 35)
    return np.clip(np.rint(walk), -32_767, 32_767).astype(np.int32)


def by_the_other(rows: Levels, quantiser: Quantiser, ticks: list[int] | None) -> bytes:
    terms = [(term.target, term.source, term.weight) for term in quantiser.terms]
    coder = compact_coding.coded(rows.tolist(), list(quantiser.spread), list(quantiser.rest), terms, ticks)
    return bytes(coder.close())


@small
@given(levels(), quantisers(), st.booleans())
def test_levels_round_trip_and_two_coders_agree(rows: Levels, quantiser: Quantiser, timed: bool) -> None:
    ticks = [(k * 977) % 5000 + 1 for k in range(len(rows) - 1)]
    steps = np.array(ticks, np.int64) if timed else None
    data = encode_levels(rows, quantiser, steps)
    assert data == by_the_other(rows, quantiser, ticks if timed else None)
    again, times = decode_levels(data, len(rows), quantiser, timed)
    assert np.array_equal(again, rows)
    assert (None if times is None else times.tolist()) == (ticks if timed else None)


@small
@given(quantisers())
def test_quantiser_round_trip(quantiser: Quantiser) -> None:
    assert Quantiser.parse(bytes(quantiser)) == quantiser
    terms = [(term.target, term.source, term.weight) for term in quantiser.terms]
    lists = (list(quantiser.codes), list(quantiser.spread), list(quantiser.rest))
    assert bytes(quantiser) == compact_coding.quantiser(*lists, terms)
    header = make_header(profile=Profile.COMPACT, quantiser=quantiser)
    assert StreamHeader.parse(bytes(header)) == header


@small
@given(st.binary(max_size=120), st.integers(1, 30), quantisers(), st.booleans())
def test_any_bytes_are_levels_or_a_format_error(data: bytes, count: int, quantiser: Quantiser, timed: bool) -> None:
    head = count.to_bytes(2, "little").rjust(10, b"\0") + bytes([0, 2 + timed])
    place = 0
    try:
        group = FrameGroup.parse(head + data, 500, quantiser)
        assert group.packets.shape == (count, 35)
        assert np.isfinite(group.packets).all()
    except FormatError as error:
        place = error.offset or -1
    assert place == 0 or 500 <= place <= 512 + len(data)


@small
@given(st.binary(max_size=200))
def test_any_bytes_are_a_quantiser_or_a_format_error(data: bytes) -> None:
    place = 0
    try:
        Quantiser.parse(data, 500)
    except FormatError as error:
        place = error.offset or -1
    assert place == 0 or 500 <= place <= 500 + len(data)


@small
@given(levels(), quantisers())
def test_values_are_exact_products(rows: Levels, quantiser: Quantiser) -> None:
    if (np.abs(rows * quantiser.steps) > 65_504).any():
        with pytest.raises(LimitExceeded):
            quantiser.levels(rows * quantiser.steps)
        return
    values = quantiser.values(rows)
    assert values.dtype == np.float32
    assert np.array_equal(values.astype(np.float64), rows * quantiser.steps)
    assert np.array_equal(quantiser.levels(values), rows)


def test_steps() -> None:
    assert step_of(0) == 2.0**-16
    assert step_of(128) == 1.0
    assert step_of(255) == 61_440.0
    assert [nearest_code(step_of(code)) for code in range(256)] == list(range(256))
    assert (nearest_code(1e-9), nearest_code(1e9)) == (0, 255)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(LimitExceeded):
            nearest_code(wrong)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"codes": (128,) * 34}, CorruptChunk),
        ({"codes": (256,) * 35}, LimitExceeded),
        ({"rest": (40_000,) * 35}, LimitExceeded),
        ({"codes": (255,) * 35, "rest": (2,) * 35}, LimitExceeded),
        ({"spread": (12,) * 35}, LimitExceeded),
        ({"terms": (Term(3, 1, 1), Term(3, 1, 2))}, CorruptChunk),
        ({"terms": (Term(4, 1, 1), Term(3, 1, 2))}, CorruptChunk),
        ({"terms": tuple(Term(k, j, 1) for k in range(35) for j in range(k))[:141]}, LimitExceeded),
    ],
)
def test_quantiser_limits(changes: dict[str, tuple[int, ...]], error: type[FormatError]) -> None:
    with pytest.raises(error):
        replace(Quantiser((128,) * 35), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("term", [(35, 0, 1), (3, 3, 1), (3, 66, 1), (3, -1, 1), (3, 1, 0), (3, 1, 128)])
def test_term_limits(term: tuple[int, int, int]) -> None:
    with pytest.raises(CorruptChunk):
        Term(*term)


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_packets_that_levels_cannot_reach(value: float) -> None:
    packets = np.zeros((2, 35), np.float32)
    packets[1, 4] = value
    with pytest.raises((CorruptChunk, LimitExceeded)):
        Quantiser((200,) * 35).levels(packets)


def test_profile_and_quantiser_go_together() -> None:
    quantiser = Quantiser((128,) * 35)
    for changes in ({"profile": Profile.COMPACT}, {"quantiser": quantiser}):
        with pytest.raises(CorruptChunk, match="goes with the compact profile"):
            make_header(**changes)
    assert compact_header(make_header(), quantiser).profile == Profile.COMPACT
    group = bytes(FrameGroup(0, make_packets(1), None, 0, quantiser))
    with pytest.raises(CorruptChunk, match="about the profile"):
        FrameGroup.parse(group)
    with pytest.raises(CorruptChunk, match="about the profile"):
        FrameGroup.parse(bytes(FrameGroup(0, make_packets(1))), 0, quantiser)


def test_a_stream_of_smooth_motion_is_small() -> None:
    """The whole way: fit, write, read; groups stand alone."""
    rng = np.random.default_rng(3)
    time = np.arange(120)[:, None] / 25
    waves = [np.sin(2 * np.pi * rng.uniform(0.2, 2) * time + rng.uniform(0, 6)) for _ in range(6)]
    packets = np.concatenate(waves, axis=1) @ rng.normal(0, 1, (6, 35)) + rng.normal(0, 5, 35)
    quantiser = plain_quantiser(packets, 50)
    writer = StreamWriter(compact_header(make_header(), quantiser))
    data = writer.start() + writer.identity(make_identity())
    parts = [writer.group(packets[start : start + 50]) for start in range(0, 120, 50)]
    assert sum(map(len, parts)) < 120 * 70 / 4
    events = StreamReader().feed(data + b"".join(parts) + writer.finish())
    groups = [event for event in events if isinstance(event, FrameGroup)]
    assert [len(group) for group in groups] == [50, 50, 20]
    read = np.concatenate([group.packets for group in groups])
    assert (np.abs(read - packets) <= 0.5001 * quantiser.steps).all()
    alone = StreamReader(strict=False)
    late = [e for e in alone.feed(data + parts[2]) if isinstance(e, FrameGroup)]
    assert np.array_equal(late[0].packets, groups[2].packets)
    assert late[0] == groups[2]
    assert hash(late[0]) == hash(groups[2])


def test_fitting_pays() -> None:
    """Parameters that move together, and noise about a rest level, cost less with what is fitted to them."""
    rng = np.random.default_rng(4)
    lead = np.cumsum(rng.normal(0, 3, (200, 1)), axis=0)
    rows = np.rint(lead * rng.normal(0, 1, (1, 35)) + rng.normal(0, 0.4, (200, 35)) + 90).astype(np.int32)
    plain = Quantiser((100,) * 35)
    better = fitted(plain, rows, 50)
    assert better.codes == plain.codes
    assert better.terms
    assert {term.source for term in better.terms} <= {*range(34), 64, 65}
    lengths = [
        sum(len(encode_levels(rows[start : start + 50], quantiser)) for start in range(0, 200, 50))
        for quantiser in (plain, better)
    ]
    assert lengths[1] < 0.7 * lengths[0]
    still = fitted(plain, np.full((1, 35), 7, np.int32), 50)
    assert still.rest == (7,) * 35
    assert still.terms == ()


def test_plain_steps_follow_the_quality() -> None:
    packets = make_packets(30)
    usual = plain_steps(packets)
    assert (usual > 0).all()
    assert plain_steps(packets, PLAIN_QUALITY + 6) == pytest.approx(usual / 2)
    assert (plain_steps(np.zeros((5, 35))) > 0).all()


def test_magnitudes_cost_more_the_larger() -> None:
    for spread in range(12):
        bits = magnitude_bits(spread)
        assert bits.shape == (40,)
        assert (np.diff(bits) > -2).all()  # where the code turns from unary to Exponential Golomb
        assert bits[39] > bits[0]


# --- identities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [70, 93, 100, 128])
def test_compact_identity(code: int) -> None:
    rows = np.random.default_rng(code).normal(0, 1, (1, 512)) + np.random.default_rng(1).normal(0, 0.1, (18, 512))
    identity = Identity(rows.astype(np.float16), 5, code)
    data = bytes(identity)
    assert len(data) < 18_466
    again = Identity.parse(data)
    assert again == identity
    assert again.digest == identity.digest == data[2:34]
    assert bytes(again) == data
    assert np.abs(again.latent.astype(np.float64) - rows).max() < 0.51 * step_of(code) + 2e-3
    assert replace(again, slot=6).latent.tobytes() == again.latent.tobytes()
    raw = Identity(identity.latent, 5)
    assert raw.digest == identity.digest
    assert raw != identity


def test_compact_identity_limits() -> None:
    latent = np.full((18, 512), 10, np.float16)
    with pytest.raises(LimitExceeded):
        Identity(latent, 0, nearest_code(0.001))
    with pytest.raises(LimitExceeded):
        Identity(latent, 0, 256)


def test_every_cut_of_a_compact_identity_is_an_error() -> None:
    data = bytes(Identity(make_identity().latent, 0, 120))
    for length in [*range(40), *range(40, len(data), 97)]:
        with pytest.raises(FormatError):
            Identity.parse(data[:length])
