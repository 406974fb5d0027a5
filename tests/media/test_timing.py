"""Times of frames: variable rates, pauses, and what the written file says of them."""

from fractions import Fraction

import av
import numpy as np
import pytest

from stylecodec.media import VideoReader, VideoWriter
from stylecodec.media.timing import PacketTime, timing_of
from tests.media.made import flat, frame_of, write_tracks

PAUSED = [n / 30 for n in range(12)] + [4.0, 4.0 + 1 / 30]
UNIT = Fraction(1, 12_800)


def write_times(path, times, last=None, codec="libx264"):
    """A clip whose frames are shown at these seconds, the last for `last` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = UNIT
        packets = []
        for n, seconds in enumerate(times):
            frame = frame_of(flat(20 + 8 * n), 0)
            frame.pts, frame.time_base = round(seconds / UNIT), UNIT
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if last is not None:
            packets[-1].duration = round(last / UNIT)
        for packet in packets:
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_pause_before_the_last_frames(tmp_path, suffix):
    reader = VideoReader(write_times(tmp_path / f"a{suffix}", PAUSED))
    assert reader.variable_rate
    assert reader.rate == 30
    assert reader.duration == pytest.approx(PAUSED[-1] + 1 / 30, abs=0.002)
    assert [seconds for seconds, _ in reader.frames()] == pytest.approx(PAUSED, abs=0.002)


def test_a_last_frame_that_stays(tmp_path):
    times = [n / 30 for n in range(12)]
    reader = VideoReader(write_times(tmp_path / "a.mp4", times, last=3.0))
    shown = list(reader.frames())
    assert reader.duration == pytest.approx(times[-1] + 3.0, abs=0.002)
    assert reader.frame_count == reader.count() == len(shown) == 13
    assert shown[-1][0] == pytest.approx(reader.duration - 1 / 30, abs=0.002)
    assert np.array_equal(shown[-1][1], shown[-2][1])
    assert len(list(reader.frames(duration=1.0))) == reader.count(duration=1.0) == 12
    assert len(list(reader.frames(start=0.3))) == reader.count(start=0.3) == 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("times", [PAUSED, [0, 60.0], [n / 30 + 0.004 * (n % 3) for n in range(20)]])
def test_the_written_file_lasts_as_long(tmp_path, suffix, times):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 64, 48, Fraction(30), variable=True) as writer:
        for n, seconds in enumerate(times):
            writer.write(flat(20 + 8 * n), seconds)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # MP4 tells it of the track; the others of the file, whose times are whole milliseconds.
        told = container.duration / 1e6 if stream.duration is None else float(stream.duration * stream.time_base)
    assert told == pytest.approx(times[-1] + 1 / 30, abs=1 / 30)
    reader = VideoReader(path)
    assert [seconds for seconds, _ in reader.frames()] == pytest.approx(times, abs=0.002)
    assert reader.duration == pytest.approx(times[-1] + 1 / 30, abs=1 / 30)


def packets(stamps, duration=1):
    return [PacketTime(stamp, stamp, duration) for stamp in stamps]


def test_times_that_begin_again_are_told(tmp_path):
    """Two recordings in one file, as programs for television and cameras leave them."""
    path = write_tracks(tmp_path / "a.ts", [{"frames": [flat(n) for n in range(50, 100)]}])
    reader = VideoReader(path)
    assert len(list(reader.frames())) == 50
    assert reader.notes == []
    twice = tmp_path / "b.ts"
    twice.write_bytes(2 * path.read_bytes())
    reader = VideoReader(twice)
    assert len(list(reader.frames())) == 100
    assert any("the times of the frames go back from 1.96 s to 0.00 s" in note for note in reader.notes)


def test_single_packets_without_a_time_do_not_cost_the_others_theirs():
    timing = timing_of(packets([100, 101, None, 103, 104]), Fraction(1, 25), [Fraction(25)], 100, False, None)
    assert timing.origin == timing.sound_origin == 100
    assert timing.seconds == pytest.approx([0, 0.04, 0.12, 0.16])
    timing = timing_of(packets([None] * 4), Fraction(1, 25), [Fraction(25)], None, False, None)
    assert timing.origin is None
    assert timing.seconds == pytest.approx([0, 0.04, 0.08, 0.12])


def test_no_last_frame_stays_longer_than_the_file():
    given = [*packets(range(9)), PacketTime(9, 9, 10**9)]
    timing = timing_of(given, Fraction(1, 25), [Fraction(25)], 0, False, 0.4)
    assert not timing.pause
    assert timing.end == pytest.approx(0.4)


def test_rates():
    def fit(stamps, *told):
        rates = [Fraction(one) for one in told]
        timing = timing_of(packets(stamps, 0), Fraction(1, 1000), rates, stamps[0], False, None)
        return timing.rate, timing.variable

    assert fit([0, 33, 67, 100, 133], 30) == (30, False)
    assert fit([0, 33, 67, 100, 133], 15, 30) == (30, False)
    assert fit([0, 33, 67, 100, 133, 4000, 4033], 5, 30) == (30, True)
    assert fit([0, 40, 80, 120, 1000], 7) == (25, True)
    assert fit([5], 24) == (24, False)
