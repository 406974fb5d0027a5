"""Payload objects: round trips, limits, and one sentence for each malformed case."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    CropGeometry,
    End,
    FrameGroup,
    Identity,
    Index,
    IndexEntry,
    Profile,
    StreamHeader,
    opus_samples,
)
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded, Truncated
from tests.bitstream.conftest import make_header, make_identity, make_packets

Payload = StreamHeader | Identity | FrameGroup | AudioConfig | AudioChunk | Index | End
PAYLOADS = [StreamHeader, Identity, FrameGroup, AudioConfig, AudioChunk, Index, End]

small = settings(max_examples=40, deadline=None)
finite16 = st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF)  # the bits of every finite fp16 number

headers = st.builds(
    StreamHeader,
    rate=st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=100_000),
    width=st.integers(1, 16_384),
    height=st.integers(1, 16_384),
    profile=st.just(Profile.RAW),
    pack_name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=16),
    pack_digest=st.binary(min_size=32, max_size=32),
    indices=st.lists(
        st.tuples(st.integers(0, 63), st.integers(0, 8191)), min_size=32, max_size=32, unique=True
    ).map(tuple),
    crop=st.none()
    | st.builds(
        CropGeometry,
        st.integers(1, 1 << 20),
        st.integers(1, 1 << 20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False),
    ),
    time_scale=st.integers(0, 2**32 - 1),
    live=st.booleans(),
)


@st.composite
def groups(draw: st.DrawFn) -> FrameGroup:
    count = draw(st.integers(1, 8))
    packets = draw(hnp.arrays(np.uint16, (count, 35), elements=finite16)).view(np.float16)
    times = None
    if draw(st.booleans()):
        steps = draw(st.lists(st.integers(1, 2**32 - 1), min_size=count - 1, max_size=count - 1))
        times = np.cumsum([draw(st.integers(0, 2**61)), *steps])
    return FrameGroup(draw(st.integers(0, 2**40 - count)), packets, times, draw(st.integers(0, 255)))


@small
@given(headers)
def test_header_round_trip(header: StreamHeader) -> None:
    assert StreamHeader.parse(bytes(header)) == header


@small
@given(groups())
def test_group_round_trip(group: FrameGroup) -> None:
    again = FrameGroup.parse(bytes(group))
    assert again == group
    assert again.packets.tobytes() == group.packets.tobytes()  # -0.0 and subnormals too


@small
@given(st.integers(-(2**61), 2**61), st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=9))
def test_audio_round_trip(pts: int, packets: list[bytes]) -> None:
    chunk = AudioChunk(pts, tuple(packets))
    assert AudioChunk.parse(bytes(chunk)) == chunk


@small
@given(st.binary(max_size=400), st.sampled_from(PAYLOADS))
def test_any_bytes_parse_or_are_a_format_error(data: bytes, kind: type[Payload]) -> None:
    place = None
    try:
        kind.parse(data, 1000)
    except FormatError as error:
        place = error.offset
        if place is None:
            raise
    assert place is None or 1000 <= place <= 1000 + len(data)


@pytest.mark.parametrize(
    ("kind", "whole"),
    [
        (StreamHeader, bytes(make_header())),
        (FrameGroup, bytes(FrameGroup(0, make_packets(2), np.array([1, 2])))),
        (AudioConfig, bytes(AudioConfig())),
        (AudioChunk, bytes(AudioChunk(0, (b"abc", bytes(200))))),
        (End, bytes(End(0, 1, 2))),
    ],
    ids=["header", "group", "audio_config", "audio", "end"],
)
def test_every_prefix_of_a_payload_is_truncated(kind: type[Payload], whole: bytes) -> None:
    assert bytes(kind.parse(whole)) == whole
    for length in range(len(whole)):
        with pytest.raises(Truncated):
            kind.parse(whole[:length])
    with pytest.raises(CorruptChunk):
        kind.parse(whole + b"\0")


# --- sizes of the paper -----------------------------------------------------------------------------------------


def test_a_frame_is_seventy_bytes() -> None:
    packets = make_packets(10)
    data = bytes(FrameGroup(0, packets))
    assert len(data) == 12 + 10 * 70
    assert data[12:] == packets.astype("<f2").tobytes()


def test_identity_is_18432_bytes_addressed_by_hash() -> None:
    identity = make_identity()
    payload = bytes(identity)
    assert payload[34:] == identity.latent.tobytes()
    assert len(payload[34:]) == 18_432
    assert identity.digest == hashlib.sha256(payload[34:]).digest() == payload[2:34]
    assert Identity.parse(payload) == identity
    assert hash(Identity.parse(payload)) == hash(identity)


def test_an_identity_does_not_follow_its_source() -> None:
    source = make_identity().latent.copy()
    identity = Identity(source)
    source[0, 0] = 9
    assert identity == make_identity()
    assert not identity.latent.flags.writeable


def test_parsed_arrays_are_views() -> None:
    group = FrameGroup.parse(bytes(FrameGroup(3, make_packets(4))))
    assert not group.packets.flags.owndata
    assert not group.packets.flags.writeable


# --- refused by the objects themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65520.0, 1e9])
def test_what_fp16_cannot_hold_finitely_is_refused(value: float) -> None:
    packets = np.zeros((2, 35), np.float32)
    packets[1, 7] = value
    with pytest.raises(CorruptChunk, match="not finite"):
        FrameGroup(0, packets)  # type: ignore[arg-type]
    latent = np.full((18, 512), value, np.float32)
    with pytest.raises(CorruptChunk, match="not finite"):
        Identity(latent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rate": Fraction(0)}, LimitExceeded),
        ({"rate": Fraction(1001)}, LimitExceeded),
        ({"rate": Fraction(1, 2**32)}, LimitExceeded),
        ({"width": 0}, LimitExceeded),
        ({"height": 16_385}, LimitExceeded),
        ({"profile": Profile.COMPACT}, CorruptChunk),
        ({"pack_name": ""}, LimitExceeded),
        ({"pack_name": "x" * 65}, LimitExceeded),
        ({"pack_name": "line\nbreak"}, LimitExceeded),
        ({"pack_digest": bytes(31)}, CorruptChunk),
        ({"indices": ((0, 0),) * 32}, CorruptChunk),
        ({"indices": tuple((0, i) for i in range(31))}, CorruptChunk),
        ({"indices": tuple((64, i) for i in range(32))}, LimitExceeded),
        ({"time_scale": 2**32}, LimitExceeded),
    ],
)
def test_header_limits(changes: dict[str, object], error: type[FormatError]) -> None:
    with pytest.raises(error):
        make_header(**changes)


@pytest.mark.parametrize("values", [(0, 1, 0.0, 0.0, 1.0), (1, 2**21, 0.0, 0.0, 1.0)])
def test_crop_limits(values: tuple[int, int, float, float, float]) -> None:
    with pytest.raises(LimitExceeded):
        CropGeometry(*values)


@pytest.mark.parametrize("square", [(np.nan, 0.0, 1.0), (0.0, np.inf, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, -1.0)])
def test_crop_is_a_square(square: tuple[float, float, float]) -> None:
    with pytest.raises(CorruptChunk):
        CropGeometry(640, 480, *square)


def test_group_limits() -> None:
    assert len(FrameGroup(0, make_packets(1024))) == 1024
    with pytest.raises(LimitExceeded):
        FrameGroup(0, make_packets(1025))
    with pytest.raises(CorruptChunk, match="no frames"):
        FrameGroup(0, np.zeros((0, 35), np.float16))
    with pytest.raises(CorruptChunk, match="shape"):
        FrameGroup(0, np.zeros((2, 34), np.float16))
    with pytest.raises(LimitExceeded):
        FrameGroup(-1, make_packets(1))
    with pytest.raises(LimitExceeded):
        FrameGroup(2**40, make_packets(1))
    with pytest.raises(LimitExceeded):
        FrameGroup(0, make_packets(1), None, 256)


@pytest.mark.parametrize("times", [[5, 5], [5, 4], [0, 2**32], [1], [[1, 2]]])
def test_times_must_increase(times: list[int]) -> None:
    with pytest.raises(CorruptChunk):
        FrameGroup(0, make_packets(2), np.array(times))


@pytest.mark.parametrize("times", [[-1, 0], [2**62 - 1, 2**62]])
def test_times_have_limits(times: list[int]) -> None:
    with pytest.raises(LimitExceeded):
        FrameGroup(0, make_packets(2), np.array(times))


def test_audio_limits() -> None:
    for packets in [(), (b"",), (bytes(61_441),), (b"x",) * 1025]:
        with pytest.raises(LimitExceeded):
            AudioChunk(0, packets)
    for channels, pre_skip in [(0, 0), (9, 0), (1, -1), (1, 2**16)]:
        with pytest.raises(LimitExceeded):
            AudioConfig(channels=channels, pre_skip=pre_skip)


def test_index_offsets_increase() -> None:
    entries = [IndexEntry(16, 1), IndexEntry(200, 2)]
    index = Index.of(entries)
    assert Index.parse(bytes(index)) == index
    for wrong in ([IndexEntry(17, 1)], [entries[0], entries[0]], [entries[1], entries[0]]):
        with pytest.raises(CorruptChunk):
            Index.of(wrong)
    with pytest.raises(LimitExceeded):
        Index.parse(b"")


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\x00", 480),  # SILK, 10 ms
        (b"\x08", 960),
        (b"\x10", 1920),
        (b"\x18", 2880),  # 60 ms
        (b"\x60", 480),  # hybrid, 10 ms
        (b"\x68", 960),
        (b"\x80", 120),  # CELT, 2.5 ms
        (b"\x98", 960),
        (b"\x99", 1920),  # two frames
        (b"\x9a", 1920),
        (b"\x9b\x03", 2880),  # three
        (b"\x9b\x86", 5760),  # six, variable sizes
    ],
)
def test_opus_durations(packet: bytes, samples: int) -> None:
    assert opus_samples(packet) == samples
    assert AudioChunk(0, (packet, packet)).durations == (samples, samples)


@pytest.mark.parametrize("packet", [b"", b"\x9b", b"\x9b\x00", b"\x9b\x07", b"\x1b\x03"])
def test_impossible_opus_packets(packet: bytes) -> None:
    with pytest.raises(CorruptChunk):
        opus_samples(packet)
