"""Ordinary codecs: every frame comes back, every byte is counted, and what is not here says so."""

from __future__ import annotations

import io
import os
import stat
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stylecodec.errors import MediaError, MissingDependency, OptionError
from stylecodec.media import Frame, OpusPacket, OpusTrack
from stylecodec.media.codecs import CODECS, VVENC, EncodedVideo, Setting, decoded_video, encode_video, lossless
from stylecodec.metrics.psnr import picture_psnr

HERE = [codec for codec in CODECS.values() if codec.works and codec.encoder != VVENC]
SOUND = OpusTrack(48_000, 1, 312, tuple(OpusPacket(960 * n, 960, b"\xf8\xff\xfe") for n in range(10)))
RATE = Fraction(25)


def frames(count: int = 6, side: int = 64) -> list[Frame]:
    y, x = np.mgrid[:side, :side]
    waves = [np.stack([127 + 90 * np.sin((x + 2 * k) / 7), 90 + y, 60 + x], axis=2) for k in range(count)]
    return [wave.astype(np.uint8) for wave in waves]


def through(codec: str, setting: Setting, sound: OpusTrack | None = SOUND) -> tuple[EncodedVideo, list[Frame]]:
    video = encode_video(frames(), RATE, CODECS[codec], setting, sound)
    return video, list(decoded_video(io.BytesIO(video.data)))


@pytest.mark.parametrize("codec", [codec.name for codec in HERE])
@pytest.mark.parametrize("setting", [Setting(30), Setting(30, "qp", low_delay=True)], ids=["crf", "low-delay qp"])
def test_frames_come_back_in_their_colours(codec: str, setting: Setting) -> None:
    video, shown = through(codec, setting)
    assert len(shown) == 6
    for a, b in zip(frames(), shown, strict=True):
        assert picture_psnr(a, b) > 30
        assert np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))).max() < 4
    assert video.sound == 30
    with av.open(io.BytesIO(video.data)) as container:
        sizes = {"video": 0, "audio": 0}
        for packet in container.demux():
            sizes[packet.stream.type] += packet.size
        extra = len(container.streams.video[0].codec_context.extradata or b"")
    assert sizes["audio"] == 30
    delimiters = 2 * 6 * (codec == "svtav1")  # of AV1's frames, which Matroska leaves out
    assert sizes["video"] <= video.picture <= sizes["video"] + extra + delimiters
    assert video.picture + video.sound < len(video.data)


@pytest.mark.parametrize("codec", [codec.name for codec in HERE])
def test_a_higher_number_is_smaller_and_worse(codec: str) -> None:
    (fine, good), (coarse, bad) = (through(codec, Setting(number), None) for number in (20, 50))
    assert coarse.picture < fine.picture
    assert picture_psnr(frames()[3], bad[3]) < picture_psnr(frames()[3], good[3])
    assert fine.sound == 0


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_no_text_about_the_encoder_is_counted(codec: str) -> None:
    video, _ = through(codec, Setting(51), None)
    assert b"x264 - core" not in video.data
    assert b"x265 (build" not in video.data
    assert video.picture < 600


def test_lossless_is() -> None:
    file = io.BytesIO()
    lossless(file, frames(), RATE, SOUND, lambda done: None)
    file.seek(0)
    for a, b in zip(frames(), decoded_video(file), strict=True):
        assert np.array_equal(a, b)


def test_what_makes_no_sense() -> None:
    with pytest.raises(OptionError, match="x264 has qualities from 0 to 51, not 52"):
        through("x264", Setting(52))
    with pytest.raises(MediaError, match="no frame to encode"):
        encode_video([], RATE, CODECS["x264"], Setting(30))
    with pytest.raises(OptionError, match="even size, not 64x63"):
        encode_video([frames()[0][:63]], RATE, CODECS["x264"], Setting(30))
    with pytest.raises(MediaError, match="cannot be decoded"):
        list(decoded_video(io.BytesIO(b"not a video at all")))


def test_vvc_needs_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not CODECS["vvc"].works
    with pytest.raises(MissingDependency, match=r"vvc needs vvencapp .* not on PATH"):
        through("vvc", Setting(32))


def stand_in(folder: Path, body: str) -> Path:
    """A program of VVenC's name: what it is called with is as of VVenC, what it writes is H.264."""
    program = folder / VVENC
    program.write_text(f"#!{sys.executable}\nimport sys, av\nsource, target = sys.argv[2], sys.argv[4]\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


ENCODE = """
assert sys.argv[1:6:2] == ["-i", "-o", "--preset"] and sys.argv[7:9] == ["--qp", "32"], sys.argv
with av.open(source) as a, av.open(target, "w", format="h264") as b:
    video = a.streams.video[0]
    stream = b.add_stream("libx264", rate=video.average_rate)
    stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
    assert (video.width, video.height, video.average_rate) == (64, 64, 25)
    for frame in a.decode(video):
        b.mux(stream.encode(frame))
    b.mux(stream.encode(None))
"""


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for the program")
def test_vvc_by_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, ENCODE)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    video, shown = through("vvc", Setting(32))
    assert video.picture == len(video.data)  # a bare stream: no container, no sound in it
    assert video.sound == 30
    assert [picture_psnr(a, b) > 30 for a, b in zip(frames(), shown, strict=True)] == [True] * 6
    stand_in(tmp_path, 'print("unknown option", file=sys.stderr)\nsys.exit(3)')
    with pytest.raises(MediaError, match=r"vvencapp failed \(exit code 3\): unknown option"):
        through("vvc", Setting(32))
