"""StreamFile: random access, what it touches, byte accounts, broken files."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stylecodec.bitstream import AudioChunk, AudioConfig, StreamFile, StreamReader, StreamWriter, check, layout
from stylecodec.errors import BadMagic, CorruptChunk, FormatError, OptionError, Truncated
from tests.bitstream.conftest import make_header, make_identity, make_packets, make_stream


class CountingFile(io.BytesIO):
    """Remembers how many bytes were read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def assert_account_adds_up(stream: StreamFile) -> dict[str, int]:
    account = stream.byte_account()
    assert sum(n for name, n in account.items() if name != "total") == account["total"] == stream.size
    assert min(account.values()) >= 0
    return account


def test_packets_of_any_range(small_stream: bytes) -> None:
    packets = make_packets(9).astype(np.float32)
    with StreamFile.open(io.BytesIO(small_stream)) as stream:
        for start in range(10):
            for stop in range(start, 10):
                part = stream.packets(start, stop)
                assert part.dtype == np.float32
                assert np.array_equal(part, packets[start:stop])
        for start, stop in [(-1, 2), (0, 10), (5, 4), (10, 10)]:
            with pytest.raises((IndexError, ValueError)):
                stream.packets(start, stop)


def test_what_the_file_says(small_stream: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.stc"
    path.write_bytes(small_stream)
    for source in (path, str(path)):
        with StreamFile.open(source) as stream:
            assert stream.header == make_header()
            assert stream.audio_config == AudioConfig(channels=1, pre_skip=312)
            assert stream.identities == (make_identity(),)
            assert stream.identity_for(8) == make_identity()
            assert stream.frame_count == 9
            assert stream.group_count == 3
            assert stream.duration_seconds == 9 / 25
            assert stream.complete
            assert stream.report is None
            assert [chunk.first_packet_pts for chunk in stream.audio_chunks()] == [-312, 5448, 9288]
            assert [len(group) for group in stream.groups()] == [3, 2, 4]
    assert check(path).complete


def test_opening_and_one_frame_touch_little() -> None:
    data = make_stream((25,) * 60)
    file = CountingFile(data)
    stream = StreamFile.open(file)
    index = layout.CHUNK_OVERHEAD + 124 * layout.INDEX_ENTRY.itemsize
    assert file.count <= index + 500
    file.count = 0
    assert np.array_equal(stream.packets(700, 701), make_packets(1500)[700:701].astype(np.float32))
    assert file.count <= 25 * 70 + 28 + 12
    file.count = 0
    assert stream.frame_at(55.5) == 1387
    assert stream.pts(1387, 1388)[0] == 55.48
    assert file.count == 0


def test_time_of_every_frame() -> None:
    for rate in (Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)):
        header = make_header(rate=rate)
        writer = StreamWriter(header)
        data = writer.start() + writer.identity(make_identity())
        data += b"".join(writer.group(make_packets(100)) for _ in range(3)) + writer.finish()
        with StreamFile.open(io.BytesIO(data)) as stream:
            times = stream.pts(0, 300)
            assert [stream.frame_at(t) for t in times] == list(range(300))
            assert [stream.frame_at(t - 1e-4) for t in times[1:]] == list(range(299))
            assert stream.frame_at(1e9) == stream.frame_at(1e308) == 299


def test_variable_rate_by_time() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.integers(1, 9000, 64)) + 500
    writer = StreamWriter(make_header(time_scale=90_000))
    data = writer.start() + writer.identity(make_identity())
    for first in range(0, 64, 8):
        data += writer.group(make_packets(8), times[first : first + 8])
    data += writer.finish()
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert np.allclose(stream.pts(0, 64), times / 90_000, rtol=0, atol=1e-12)
        assert [stream.frame_at(t / 90_000) for t in times] == list(range(64))
        assert [stream.frame_at((t - 0.5) / 90_000) for t in times[1:]] == list(range(63))
        assert stream.frame_at(0) == 0
        assert stream.frame_at(1e6) == stream.frame_at(1e308) == 63
        assert stream.duration_seconds == pytest.approx(times[-1] / 90_000 + 1 / 25)


@pytest.mark.parametrize("time_scale", [0, 90_000])
@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), -1e-9, np.float32("nan")])
def test_times_that_are_none(time_scale: int, seconds: float) -> None:
    writer = StreamWriter(make_header(time_scale=time_scale))
    data = writer.start() + writer.identity(make_identity())
    data += writer.group(make_packets(2), [0, 3600] if time_scale else None) + writer.finish()
    with (
        StreamFile.open(io.BytesIO(data)) as stream,
        pytest.raises(OptionError, match="a time is 0 seconds or more and finite, not"),
    ):
        stream.frame_at(seconds)


def test_byte_account_of_a_minute() -> None:
    writer = StreamWriter(make_header(), AudioConfig())
    data = writer.start() + writer.identity(make_identity())
    for second in range(60):
        data += writer.group(make_packets(25))
        data += writer.audio(AudioChunk(second * 48_000 - 312, (bytes([8]) * 30,) * 50))
    data += writer.finish()
    with StreamFile.open(io.BytesIO(data)) as stream:
        account = assert_account_adds_up(stream)
    assert account["identity"] == 18_432 + 50
    assert account["packets"] == 60 * (25 * 70 + 28)
    assert account["audio"] == 60 * (50 * 31 + 26) + 24
    assert account["header"] == 16 + 16 + 147 + 11 + 32
    assert account["index"] == 16 + 12 * 123 + 40
    assert account["personalization"] == account["other"] == 0


# --- without an index, cut, damaged ----------------------------------------------------------------------------------


def test_live_files_are_scanned() -> None:
    data = make_stream(live=True)
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert stream.complete
        assert stream.report is not None
        assert stream.frame_count == 9
        assert assert_account_adds_up(stream)["index"] == 0
        assert np.array_equal(stream.packets(2, 7), make_packets(9)[2:7].astype(np.float32))


def test_every_cut_opens_or_says_why(small_stream: bytes) -> None:
    packets = make_packets(9).astype(np.float32)
    for length in [*range(240), *range(300, 18_700, 997), *range(18_700, len(small_stream), 3)]:
        cut = small_stream[:length]
        if length < 222:
            with pytest.raises(Truncated):
                StreamFile.open(io.BytesIO(cut))
            continue
        with StreamFile.open(io.BytesIO(cut)) as stream:
            assert not stream.complete
            assert stream.report is not None
            assert stream.report.truncated
            assert np.array_equal(stream.packets(0, stream.frame_count), packets[: stream.frame_count])
            assert_account_adds_up(stream)


def test_damage_in_a_group_is_met_when_it_is_read(small_stream: bytes) -> None:
    at = small_stream.index(layout.SYNC + b"\x03") + 50
    broken = bytearray(small_stream)
    broken[at] ^= 4
    with StreamFile.open(io.BytesIO(bytes(broken))) as stream:
        assert stream.frame_count == 9
        with pytest.raises(FormatError) as caught:
            stream.packets(0, 3)
        assert caught.value.offset == at - 50
        assert len(stream.packets(3, 9)) == 6
        assert_account_adds_up(stream)
    report = check(io.BytesIO(bytes(broken)))
    assert not report.complete
    assert report.frames == 6
    assert report.frames_lost == 3


def test_frames_missing_from_a_scanned_file(small_stream: bytes) -> None:
    second = [i for i in range(len(small_stream)) if small_stream.startswith(layout.SYNC + b"\x03", i)][1]
    broken = bytearray(small_stream[:-1])  # no END: the file is scanned
    broken[second + 40] ^= 1
    with StreamFile.open(io.BytesIO(bytes(broken))) as stream:
        assert stream.frame_count == 9
        assert len(stream.packets(0, 3)) == 3
        with pytest.raises(CorruptChunk, match="frame 4"):
            stream.packets(4, 6)
        with pytest.raises(CorruptChunk, match="frame 3"):
            stream.identity_for(3)
        assert assert_account_adds_up(stream)["other"] > 0


def test_a_jump_to_a_high_frame_number_allocates_nothing() -> None:
    writer = StreamWriter(make_header(), live=True)
    data = writer.start() + writer.identity(make_identity()) + writer.group(make_packets(2))
    writer.frame_count = 2**40 - 2
    data += writer.group(make_packets(2))
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert stream.frame_count == 2**40
        for read in (stream.packets, stream.pts):
            with pytest.raises(CorruptChunk, match="missing from this file"):
                read(0, 2**40)
        assert len(stream.packets(2**40 - 2, 2**40)) == 2


def test_a_missing_identity_is_an_error_when_asked_for(small_stream: bytes) -> None:
    broken = bytearray(small_stream[:-1])
    broken[5000] ^= 1
    with StreamFile.open(io.BytesIO(bytes(broken))) as stream:
        assert len(stream.packets(0, 9)) == 9
        assert stream.identities == ()
        with pytest.raises(CorruptChunk, match="identity of slot 0"):
            stream.identity_for(0)


def test_every_single_byte_corruption_behind_the_identity(small_stream: bytes) -> None:
    """Opening and reading all gives FormatErrors or the true numbers."""
    packets = make_packets(9).astype(np.float32)
    for at in [*range(222 + 24), *range(18_728, len(small_stream))]:
        broken = bytearray(small_stream)
        broken[at] ^= 0x5A
        try:
            with StreamFile.open(io.BytesIO(bytes(broken))) as stream:
                assert_account_adds_up(stream)
                for frame in range(stream.frame_count):
                    assert np.array_equal(stream.packets(frame, frame + 1)[0], packets[frame])
                list(stream.audio_chunks())
        except FormatError:
            continue


def test_an_index_that_lies_is_found() -> None:
    """The counts of the index must fit the groups it points at."""
    data = make_stream((2, 3), audio=False)
    groups = [i for i in range(len(data)) if data.startswith(layout.SYNC + b"\x03", i)]
    swapped = StreamWriter(make_header())
    made = swapped.start() + swapped.identity(make_identity())
    made += swapped.group(make_packets(3)) + swapped.group(make_packets(2))
    tail = swapped.finish()
    lying = data[: groups[0]] + data[groups[0] : len(data) - len(tail)] + tail
    assert len(lying) == len(data)
    with StreamFile.open(io.BytesIO(lying)) as stream, pytest.raises(FormatError):
        stream.packets(0, 2)
    reader = StreamReader()
    reader.feed(lying)
    with pytest.raises(CorruptChunk, match="index"):
        reader.close()


@pytest.mark.parametrize("data", [b"not a stream at all", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_other_files(data: bytes) -> None:
    with pytest.raises(BadMagic):
        StreamFile.open(io.BytesIO(data))
    with pytest.raises(BadMagic):
        check(io.BytesIO(data))


def test_an_empty_file() -> None:
    with pytest.raises(Truncated):
        StreamFile.open(io.BytesIO(b""))
    assert check(io.BytesIO(b"")).truncated


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StreamFile.open(tmp_path / "none.stc")


def test_a_stream_without_frames() -> None:
    writer = StreamWriter(make_header())
    with StreamFile.open(io.BytesIO(writer.start() + writer.finish())) as stream:
        assert stream.frame_count == 0
        assert stream.duration_seconds == 0
        assert stream.packets(0, 0).shape == (0, 35)
        assert stream.audio_config is None
        with pytest.raises(IndexError):
            stream.frame_at(0)
