"""Interlaced video becomes frames."""

from fractions import Fraction

import av
import numpy as np
import pytest

from stylecodec.encoding.options import DEINTERLACE as ASKED
from stylecodec.errors import OptionError
from stylecodec.media import VideoReader
from stylecodec.media.fields import DEINTERLACE
from tests.media.made import frame_of

W, H, COUNT = 96, 64, 12


def moment(number):
    """A bright bar on dark ground, 3 pixels further in every field."""
    picture = np.full((H, W, 3), 40, np.uint8)
    left = 8 + 3 * number
    picture[:, left : left + 12] = 210
    return picture


def woven(number, top_first=True):
    """Two moments in one frame, the earlier in the top lines (or the bottom ones)."""
    frame = moment(2 * number + (0 if top_first else 1))
    frame[1::2] = moment(2 * number + (1 if top_first else 0))[1::2]
    return frame


def write_fields(path, codec="mpeg2video", rate=25, top_first=True, progressive_first=0):
    """A clip whose frames are of two moments each, but for the first ones."""
    with av.open(str(path), "w") as container:
        if codec == "libx264":
            options = {"x264-params": f"{'tff' if top_first else 'bff'}=1:crf=4", "flags": "+ildct+ilme"}
        elif progressive_first < COUNT:
            options = {"flags": "+ildct+ilme"}
        else:
            options = {}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        if codec == "mpeg2video":
            stream.codec_context.bit_rate = 4_000_000
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=W, height=H, format=av.VideoFormat("yuv420p"), time_base=1 / Fraction(rate)
        )
        flag = graph.add("setfield", "tff" if top_first else "bff")
        graph.link_nodes(source, flag, graph.add("buffersink")).configure()
        for n in range(COUNT):
            plain = moment(2 * n) if n < progressive_first else woven(n, top_first)
            frame = frame_of(plain, n, rate).reformat(format="yuv420p")
            frame.pts, frame.time_base = n, 1 / Fraction(rate)
            if n >= progressive_first:
                graph.push(frame)
                frame = graph.pull()
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(frame):
    """How much the odd lines differ from the even ones beside them: 0 for a bar of even edges."""
    grey = frame.astype(float).mean(axis=-1)[4:-4]
    return np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean()


def left_edge(frame):
    row = frame[H // 2].astype(float).mean(axis=-1)
    return float(np.interp(125, row[: row.argmax() + 1], np.arange(row.argmax() + 1)))


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)])
@pytest.mark.parametrize("top_first", [True, False])
def test_a_frame_of_each_pair_of_fields(tmp_path, codec, rate, top_first):
    path = write_fields(tmp_path / "a.mkv", codec, rate, top_first)
    reader = VideoReader(path)
    frames = [frame for _, frame in reader.frames()]
    assert reader.frame_count == len(frames) == COUNT
    assert reader.rate == rate
    raw = [frame for _, frame in VideoReader(path, deinterlace="off").frames()]
    assert combing(raw[5]) > 10
    assert max(combing(frame) for frame in frames[1:-1]) < 2
    assert any("each pair of fields" in note for note in reader.notes)


@pytest.mark.parametrize("top_first", [True, False])
def test_a_frame_of_each_field(tmp_path, top_first):
    path = write_fields(tmp_path / "a.mkv", "libx264", 25, top_first)
    reader = VideoReader(path, deinterlace="field")
    shown = list(reader.frames())
    assert reader.rate == 50
    assert reader.frame_count == len(shown) == 2 * COUNT
    assert not reader.variable_rate
    assert [seconds for seconds, _ in shown] == pytest.approx(np.arange(2 * COUNT) / 50, abs=0.002)
    assert reader.duration == pytest.approx(COUNT / 25, abs=0.002)
    steps = np.diff([left_edge(frame) for _, frame in shown])
    assert steps == pytest.approx(np.full(2 * COUNT - 1, 3), abs=1)  # the bar never goes back: fields are in order
    later = list(reader.frames(start=0.2))
    assert later[0][0] == pytest.approx(0.2, abs=0.002)
    assert len(later) == 2 * COUNT - 10


def test_interlacing_that_begins_later(tmp_path):
    parts = [write_fields(tmp_path / f"{n}.m2v", progressive_first=n).read_bytes() for n in (COUNT, 0)]
    (tmp_path / "a.m2v").write_bytes(b"".join(parts))
    reader = VideoReader(tmp_path / "a.m2v")
    assert reader.notes == []
    frames = [frame for _, frame in reader.frames()]
    assert len(frames) == 2 * COUNT
    assert max(combing(frame) for frame in frames[1:-1]) < 2
    assert any("each pair of fields" in note for note in reader.notes)


def test_left_woven_when_asked(tmp_path):
    reader = VideoReader(write_fields(tmp_path / "a.mkv"), deinterlace="off")
    assert len(list(reader.frames())) == COUNT
    assert any("stay woven" in note for note in reader.notes)


def test_progressive_video_is_left_alone(tmp_path):
    path = write_fields(tmp_path / "a.mkv", progressive_first=COUNT)
    for how in DEINTERLACE:
        reader = VideoReader(path, deinterlace=how)
        assert len(list(reader.frames())) == reader.frame_count == COUNT
        assert reader.notes == []


def test_the_ways(tmp_path):
    assert DEINTERLACE == ASKED
    with pytest.raises(OptionError, match="frame, field, off"):
        VideoReader(tmp_path / "a.mkv", deinterlace="bob")
