"""StreamReader and StreamWriter together: round trips, damage, loss and cuts."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    Event,
    FrameGroup,
    Identity,
    StreamHeader,
    StreamReader,
    StreamReport,
    StreamWriter,
    UnknownChunk,
    group_frames,
    layout,
)
from stylecodec.bitstream.chunks import Deframer, pack_chunk
from stylecodec.errors import BadMagic, CorruptChunk, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from tests.bitstream.conftest import make_header, make_identity, make_packets, make_stream


def read(data: bytes, strict: bool = True) -> tuple[list[Event], StreamReport]:
    reader = StreamReader(strict=strict)
    events = reader.feed(data) + reader.flush()
    return events, reader.close()


def interesting(data: bytes) -> Iterator[int]:
    """Every byte of a small stream, but only each 197th inside the 18,432 bytes of the latent."""
    start = data.index(make_identity().latent.tobytes())
    yield from range(start)
    yield from range(start, start + 18_432, 197)
    yield from range(start + 18_432, len(data))


def test_the_container_needs_no_heavy_module() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'av', 'dlib', 'moderngl'): sys.modules[name] = None\n"
        "import stylecodec.bitstream\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    audio=st.booleans(),
    live=st.booleans(),
    cuts=st.lists(st.integers(0, 20_000), max_size=6),
)
def test_round_trip(sizes: list[int], audio: bool, live: bool, cuts: list[int]) -> None:
    data = make_stream(tuple(sizes), audio=audio, live=live)
    reader = StreamReader()
    edges = [0, *sorted(cuts), len(data)]
    events = [e for a, b in pairwise(edges) for e in reader.feed(data[a:b])]
    report = reader.close()
    assert report.complete
    assert report.frames == sum(sizes)
    assert report.bytes_read == len(data)
    packets = np.concatenate([e.packets for e in events if isinstance(e, FrameGroup)])
    assert packets.tobytes() == make_packets(sum(sizes)).tobytes()
    assert sum(isinstance(e, AudioChunk) for e in events) == audio * len(sizes)


def test_overhead_of_a_group_is_28_bytes() -> None:
    writer = StreamWriter(make_header(), live=True)
    writer.start()
    writer.identity(make_identity())
    assert len(writer.group(make_packets(25))) == 25 * 70 + 28


# --- cut streams ----------------------------------------------------------------------------------------------------


def test_every_prefix_gives_its_whole_groups(small_stream: bytes) -> None:
    whole, _ = read(small_stream)
    ends = []  # offset at which each event has become whole
    reader = StreamReader()
    for at in range(len(small_stream)):
        ends += [at + 1] * len(reader.feed(small_stream[at : at + 1]))
    for length in interesting(small_stream):
        events, report = read(small_stream[:length], strict=False)
        known = sum(end <= length for end in ends)
        assert events == whole[:known]
        assert report.truncated
        assert not report.complete
        assert report.missing
        assert not report.damage_count
        strict = StreamReader()
        assert strict.feed(small_stream[:length]) == whole[:known]
        with pytest.raises(Truncated) as caught:
            strict.close()
        assert caught.value.offset == length


def test_a_cut_group_names_its_frames(small_stream: bytes) -> None:
    last = small_stream.rindex(layout.SYNC + bytes([layout.ChunkType.GROUP]))
    _, report = read(small_stream[: last + 100], strict=False)
    assert report.frames == 5
    assert report.frames_lost == 4
    assert "frames 5 to 8, in a group cut short" in report.missing


# --- damaged streams ------------------------------------------------------------------------------------------------


def test_every_single_byte_corruption_is_found(small_stream: bytes) -> None:
    """Strict: a FormatError. Tolerant: nothing but intact events, and damage in the report."""
    whole, _ = read(small_stream)
    rng = random.Random(5)
    for at in interesting(small_stream):
        broken = bytearray(small_stream)
        broken[at] ^= rng.randrange(1, 256)
        with pytest.raises(FormatError):
            read(bytes(broken))
        try:
            events, report = read(bytes(broken), strict=False)
        except BadMagic:
            assert at < 8
            continue
        assert at >= 8
        assert report.damage_count == 1 or report.truncated
        assert not report.complete
        remaining = iter(whole)
        assert all(any(event == other for other in remaining) for event in events)  # a subsequence
        groups = sum(isinstance(event, FrameGroup) for event in events)
        assert groups >= 2
        assert report.frames + report.frames_lost in (9, 5)  # 5: the damage hides that a last group follows


def test_lost_bytes_cost_only_the_chunks_they_hit(small_stream: bytes) -> None:
    whole, _ = read(small_stream)
    for start in interesting(small_stream):
        if start < 16:
            continue
        for count in (1, 40):
            events, report = read(small_stream[:start] + small_stream[start + count :], strict=False)
            assert not report.complete
            assert all(any(event == other for other in whole) for event in events)
            assert len(events) >= len(whole) - 4


def test_inserted_bytes_cost_only_the_chunk_they_hit(small_stream: bytes) -> None:
    for start in range(16, len(small_stream), 173):
        events, report = read(small_stream[:start] + b"\xfd\x7e\xfc" * 9 + small_stream[start:], strict=False)
        assert report.damage_count >= 1
        assert sum(isinstance(event, FrameGroup) for event in events) >= 2


def test_a_lost_group_leaves_a_gap(small_stream: bytes) -> None:
    second = [i for i in range(len(small_stream)) if small_stream.startswith(layout.SYNC + b"\x03", i)][1]
    size = layout.CHUNK_OVERHEAD + layout.GROUP_HEAD_BYTES + 2 * 70
    cut = small_stream[:second] + small_stream[second + size :]
    with pytest.raises(CorruptChunk, match="missing before this group: frames 3 to 4"):
        read(cut)
    events, report = read(cut, strict=False)
    assert [e.first_frame for e in events if isinstance(e, FrameGroup)] == [0, 5]
    assert report.frames == 7
    assert report.frames_lost == 2
    assert report.missing == ("frames 3 to 4",)


def test_a_lost_identity_is_named(small_stream: bytes) -> None:
    start = small_stream.index(layout.SYNC + b"\x02")
    _, report = read(small_stream[:start] + small_stream[start + 18_482 :], strict=False)
    assert report.frames == 9
    assert report.missing == ("the identity of slot 0",)


def test_random_bytes_behind_the_prologue_give_nothing_else() -> None:
    rng = random.Random(11)
    for _ in range(40):
        data = make_stream((1,))[:16] + rng.randbytes(rng.randrange(600))
        events, report = read(data, strict=False)
        assert not events
        assert not report.complete


def test_tolerant_reading_takes_linear_time() -> None:
    """Heads that announce 16 MiB every 12 bytes must not make the reader sum them over and over."""
    head = pack_chunk(0x80, bytes(1 << 20))[:12]
    data = make_stream((1,))[:16] + head * 200_000
    deframer = Deframer(strict=False)
    deframer.feed(data)
    chunks = 0
    while deframer.next_chunk() is not None:
        chunks += 1
    assert deframer._rescanned <= 5 * len(data) + (2 << 20) + (1 << 20)


def test_memory_holds_one_chunk_only() -> None:
    data = make_stream((25,) * 40, live=True)
    deframer = Deframer()
    for at in range(0, len(data), 1000):
        deframer.feed(data[at : at + 1000])
        while deframer.next_chunk() is not None:
            pass
        assert deframer.pending < 19_000


def test_an_oversized_length_is_refused_before_its_bytes_come() -> None:
    data = make_stream((1,))[:16] + pack_chunk(layout.ChunkType.END, bytes(24))[:6] + b"\xff\xff\xff\x7f"
    reader = StreamReader()
    with pytest.raises(FormatError):
        reader.feed(data + b"\0\0")


def test_events_before_an_error_are_delivered_first(small_stream: bytes) -> None:
    broken = bytearray(small_stream)
    broken[-1] ^= 1
    reader = StreamReader()
    events = reader.feed(bytes(broken))
    assert sum(isinstance(event, FrameGroup) for event in events) == 3
    for _ in range(2):
        with pytest.raises(FormatError):
            reader.feed(b"")
    with pytest.raises(FormatError):
        reader.close()


def test_nothing_at_all_is_truncated() -> None:
    with pytest.raises(Truncated):
        StreamReader().close()
    report = StreamReader(strict=False).close()
    assert report.missing == ("the stream header", "the end of the stream")


# --- writer -----------------------------------------------------------------------------------------------------------


def test_identities_keep_their_slots() -> None:
    one, two = make_identity(1), make_identity(2)
    writer = StreamWriter(make_header())
    data = writer.start() + writer.identity(one) + writer.group(make_packets(2))
    data += writer.identity(two) + writer.group(make_packets(2))
    data += writer.identity(one) + writer.group(make_packets(1))
    writer.use_identity(two)
    data += writer.group(make_packets(1)) + writer.finish()
    events, report = read(data)
    assert report.complete
    assert [e.digest for e in events if isinstance(e, Identity)] == [one.digest, two.digest]
    assert [e.identity for e in events if isinstance(e, FrameGroup)] == [0, 1, 0, 1]
    assert writer.bytes_written == len(data)


def test_private_chunks_pass_through() -> None:
    writer = StreamWriter(make_header())
    data = writer.start() + writer.extra(0x90, b"hello") + writer.finish()
    events, _ = read(data)
    assert [e.payload for e in events if isinstance(e, UnknownChunk)] == [b"hello"]
    with pytest.raises(LimitExceeded):
        StreamWriter(make_header()).extra(0x10, b"")
    writer = StreamWriter(make_header())
    data = writer.start() + writer.extra(0x90, b"hello", mandatory=True)
    for strict in (True, False):
        reader = StreamReader(strict=strict)
        assert isinstance(reader.feed(data)[0], StreamHeader)
        with pytest.raises(UnsupportedVersion, match="0x90"):
            reader.feed(b"")


def test_variable_rate_needs_times() -> None:
    writer = StreamWriter(make_header(time_scale=90_000))
    writer.start()
    writer.identity(make_identity())
    with pytest.raises(CorruptChunk, match="presentation times"):
        writer.group(make_packets(1))
    writer.group(make_packets(2), [0, 3000])
    with pytest.raises(CorruptChunk, match="do not increase"):
        writer.group(make_packets(1), [3000])
    writer.group(make_packets(1), [3001])
    assert writer.frame_count == 3
    constant = StreamWriter(make_header())
    constant.start()
    constant.identity(make_identity())
    with pytest.raises(CorruptChunk, match="presentation times"):
        constant.group(make_packets(1), [0])


def test_calls_out_of_order() -> None:
    writer = StreamWriter(make_header())
    for call in (writer.finish, lambda: writer.identity(make_identity()), lambda: writer.group(make_packets(1))):
        with pytest.raises(RuntimeError):
            call()
    writer.start()
    with pytest.raises(RuntimeError):
        writer.start()
    with pytest.raises(RuntimeError, match="identity"):
        writer.group(make_packets(1))
    with pytest.raises(RuntimeError):
        writer.use_identity(make_identity())
    with pytest.raises(RuntimeError, match="without audio"):
        writer.audio(AudioChunk(0, (b"x",)))
    assert writer.finish()
    assert writer.finish() == b""
    with pytest.raises(RuntimeError, match="finished"):
        writer.identity(make_identity())


def test_audio_times_increase() -> None:
    writer = StreamWriter(make_header(), AudioConfig())
    writer.start()
    writer.audio(AudioChunk(0, (b"x",)))
    with pytest.raises(CorruptChunk):
        writer.audio(AudioChunk(0, (b"x",)))


def test_groups_last_a_second_by_default() -> None:
    assert [group_frames(make_header(rate=r).rate) for r in (25, 30, 1000)] == [25, 30, 1000]
    assert group_frames(make_header().rate / 100) == 1
