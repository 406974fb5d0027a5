"""Ordinary video codecs beside ours: x264, x265, SVT-AV1 and VP9 by PyAV, VVC by `vvencapp`, at constant quality.

    frames [H, W, 3] RGB ─► YUV 4:2:0, BT.709 ─► one encoder on so many threads ─► Matroska (VVC: a bare stream)

Every codec has its own scale of quality numbers: the lower the number, the better and larger the video.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from stylecodec.errors import MediaError, MissingDependency, OptionError
from stylecodec.files import PathLike
from stylecodec.media.colour import EXACT_COLOURS
from stylecodec.media.opus import OpusTrack, ogg_opus_stub
from stylecodec.media.shape import Frame

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reports errors only

VVENC = "vvencapp"
Constant = Literal["crf", "qp"]  # what is held: perceived quality, or the quantiser
FIRST_ONLY = 1 << 20  # frames between key frames when only the first one is to be one
OPUS_CLOCK = 48_000


@dataclass(frozen=True)
class VideoCodec:
    """One codec. scale: its best and worst quality number; usual: what its users take for ordinary quality; points: a
    curve of it, for pictures as coarse as those of talking-head codecs at its end."""

    name: str
    title: str
    encoder: str
    scale: tuple[int, int]
    usual: int
    points: tuple[int, ...]
    suffix: str = ".mkv"

    @property
    def works(self) -> bool:
        """Whether it is here: in this PyAV, or on PATH."""
        return shutil.which(VVENC) is not None if self.encoder == VVENC else self.encoder in av.codecs_available

    def require(self) -> None:
        """MissingDependency where it is not."""
        if not self.works:
            if self.encoder == VVENC:
                raise MissingDependency(f"{self.name} needs {VVENC} (Fraunhofer's VVenC), which is not on PATH")
            raise MissingDependency(f"{self.name} needs the encoder {self.encoder}, which this PyAV was built without")


CODECS: Mapping[str, VideoCodec] = {
    codec.name: codec
    for codec in (
        VideoCodec("x264", "H.264 (x264 medium)", "libx264", (0, 51), 23, (23, 28, 33, 38, 43, 47, 51)),
        VideoCodec("x265", "H.265 (x265 medium)", "libx265", (0, 51), 28, (23, 28, 33, 38, 43, 47, 51)),
        VideoCodec("svtav1", "AV1 (SVT-AV1 8)", "libsvtav1", (1, 63), 35, (30, 38, 46, 53, 58, 63)),
        VideoCodec("vp9", "VP9 (libvpx good 2)", "libvpx-vp9", (0, 63), 35, (30, 38, 46, 53, 58, 63)),
        VideoCodec("vvc", "VVC (VVenC medium)", VVENC, (0, 63), 32, (27, 32, 37, 42, 47, 52, 57), ".266"),
    )
}
"""By name, in the order in which they are shown."""


@dataclass(frozen=True)
class Setting:
    """How a codec is run. low_delay: no frame waits for a later one, and only the first is a key frame."""

    quality: int
    constant: Constant = "crf"
    low_delay: bool = False
    threads: int = 1

    def options(self, codec: VideoCodec) -> dict[str, str]:
        """The encoder's options; OptionError for a number beyond its scale."""
        low, high = codec.scale
        if not low <= self.quality <= high:
            raise OptionError(f"{codec.name} has qualities from {low} to {high}, not {self.quality}")
        number: dict[str, str] = {self.constant: str(self.quality)}
        once = self.low_delay
        if codec.encoder == "libx264":
            found = {"preset": "medium", "threads": str(self.threads), **number}
            return found | ({"tune": "zerolatency", "x264-params": "keyint=infinite:scenecut=0"} if once else {})
        if codec.encoder == "libx265":
            own = f"log-level=error:pools={self.threads}" + ":frame-threads=1" * (self.threads == 1)
            own += ":info=0" + ":keyint=-1:scenecut=0" * once  # without a text of some 2 kB on the encoder
            return {"preset": "medium", "x265-params": own, **number} | ({"tune": "zerolatency"} if once else {})
        if codec.encoder == "libsvtav1":
            own = f"lp={self.threads}" + ":pred-struct=1" * once
            return {"preset": "8", "svtav1-params": own, **number} | ({"g": str(FIRST_ONLY)} if once else {})
        if codec.encoder == "libvpx-vp9":
            fixed = {"crf": str(self.quality), "b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "1"}
            if self.constant == "qp":
                fixed |= {"qmin": str(self.quality), "qmax": str(self.quality)}
            fixed["threads"] = str(self.threads)
            return fixed | ({"lag-in-frames": "0", "g": str(FIRST_ONLY)} if once else {})
        return {"--preset": "medium", "--qp": str(self.quality), "--threads": str(self.threads)}


@dataclass(frozen=True)
class EncodedVideo:
    """A file's bytes, and how many of them are coded pictures (parameter sets too) and coded sound."""

    data: bytes
    picture: int
    sound: int


def encode_video(
    frames: Iterable[Frame],
    rate: Fraction,
    codec: VideoCodec,
    setting: Setting,
    sound: OpusTrack | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> EncodedVideo:
    """Frames of one even size and at least one, at a constant rate, as a file of the codec.

    sound: Opus packets that are put into the file as they are. tell: frames done.
    Raises MissingDependency, OptionError, MediaError (the encoder fails).
    """
    codec.require()
    options = setting.options(codec)
    if codec.encoder == VVENC:
        return _by_vvenc(frames, rate, options, sound, tell)
    file = io.BytesIO()
    picture = _mux(file, frames, rate, codec.encoder, "yuv420p", options, sound, tell)
    return EncodedVideo(file.getvalue(), picture, _size(sound))


def lossless(
    file: BinaryIO, frames: Iterable[Frame], rate: Fraction, sound: OpusTrack | None, tell: Callable[[int], None]
) -> None:
    """Write the frames as they are, in RGB (FFV1 in Matroska)."""
    _mux(file, frames, rate, "ffv1", "bgr0", {"level": "3", "slices": "4"}, sound, tell)


def decoded_video(source: PathLike | BinaryIO) -> Iterator[Frame]:
    """The frames of a file that `encode_video` made, or of another one in BT.709; MediaError."""
    path = "the video" if hasattr(source, "read") else os.fspath(source)
    try:
        with av.open(source if hasattr(source, "read") else path, "r") as container:
            if not container.streams.video:
                raise MediaError(f"{path} holds no video")
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(container.streams.video[0]):
                yield rgb_of(frame)
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be decoded: {error}") from error


def rgb_of(frame: av.VideoFrame) -> Frame:
    """A decoded frame in BT.709 (RGB as it is) as [H, W, 3] RGB."""
    if frame.format.is_rgb:
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    shown = frame.reformat(
        format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG, interpolation=EXACT_COLOURS
    )
    return np.asarray(shown.to_ndarray(), np.uint8)


def yuv_of(frame: Frame) -> av.VideoFrame:
    """[H, W, 3] RGB as a frame in 4:2:0, BT.709, limited range."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT_COLOURS,
    )


def _mux(
    file: BinaryIO,
    frames: Iterable[Frame],
    rate: Fraction,
    encoder: str,
    layout: str,
    options: dict[str, str],
    sound: OpusTrack | None,
    tell: Callable[[int], None],
) -> int:
    """Write a Matroska file; the bytes of its coded pictures."""
    first, rest = _begun(frames)
    picture = 0
    try:
        with av.open(file, "w", format="matroska") as container:
            stream = container.add_stream(encoder, rate=rate, options=options)
            assert isinstance(stream, VideoStream)
            _describe(stream, first, layout, rate)
            audio = None if sound is None else _with_sound(container, sound)
            for number, frame in enumerate(rest):
                coded = yuv_of(frame) if layout == "yuv420p" else av.VideoFrame.from_ndarray(frame, format="rgb24")
                coded.pts, coded.time_base = number, 1 / rate
                picture += _encode(container, stream, coded)
                tell(number + 1)
            picture += _encode(container, stream, None)
            picture += len(stream.codec_context.extradata or b"")
            if audio is not None:
                container.mux(list(audio()))
    except av.FFmpegError as error:
        raise MediaError(f"the encoder {encoder} failed on {first.shape[1]}x{first.shape[0]}: {error}") from error
    return picture


def _begun(frames: Iterable[Frame]) -> tuple[Frame, Iterator[Frame]]:
    """The first frame, and all of them."""
    every = iter(frames)
    first = next(every, None)
    if first is None:
        raise MediaError("there is no frame to encode")
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise OptionError(f"4:2:0 video needs an even size, not {first.shape[1]}x{first.shape[0]}")
    return first, chain([first], every)


def _describe(stream: VideoStream, frame: Frame, layout: str, rate: Fraction) -> None:
    context = stream.codec_context
    context.height, context.width = frame.shape[:2]
    context.pix_fmt, context.time_base = layout, 1 / rate
    if layout == "yuv420p":
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def _with_sound(container: OutputContainer, sound: OpusTrack) -> Callable[[], Iterator[av.Packet[Any]]]:
    """Add the track to a file; its packets, when they are asked for."""
    with av.open(io.BytesIO(ogg_opus_stub(sound.channels, sound.pre_skip)), format="ogg") as stub:
        stream = container.add_stream_from_template(stub.streams.audio[0])
    stream.time_base = Fraction(1, OPUS_CLOCK)

    def packets() -> Iterator[av.Packet[Any]]:
        for one in sound.packets:
            packet = av.Packet(one.data)
            packet.stream, packet.time_base = stream, Fraction(1, OPUS_CLOCK)
            packet.pts = packet.dts = one.pts - sound.pre_skip
            packet.duration, packet.is_keyframe = one.duration, True
            yield packet

    return packets


def _encode(container: OutputContainer, stream: VideoStream, frame: av.VideoFrame | None) -> int:
    """Encode a frame, or what is left with None, into the file; the bytes of it."""
    packets = stream.encode(frame)
    if stream.codec_context.name == "libx264":
        # x264 tells its options in some 700 bytes (SEI of type 5) that show nothing and would weigh in short clips.
        packets = [kept for packet in packets for kept in _without_notes(packet, stream)]
    for packet in packets:
        container.mux(packet)
    return sum(packet.size for packet in packets)


def _without_notes(packet: av.Packet[VideoStream], stream: VideoStream) -> list[av.Packet[VideoStream]]:
    kept = BitStreamFilterContext("filter_units=remove_types=6", in_stream=stream).filter(packet)
    for one in kept:
        one.stream = stream
    return kept


def _size(sound: OpusTrack | None) -> int:
    return 0 if sound is None else sum(len(packet.data) for packet in sound.packets)


def _by_vvenc(
    frames: Iterable[Frame],
    rate: Fraction,
    options: Mapping[str, str],
    sound: OpusTrack | None,
    tell: Callable[[int], None],
) -> EncodedVideo:
    """A bare VVC stream: there is no container, and the sound's bytes are only counted."""
    program = shutil.which(VVENC)
    assert program is not None
    _, every = _begun(frames)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        raw, coded = Path(name) / "frames.y4m", Path(name) / "frames.266"
        _write_y4m(raw, every, rate, tell)
        words = [program, "-i", str(raw), "-o", str(coded), *chain.from_iterable(options.items())]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        if done.returncode or not coded.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise MediaError(f"{VVENC} failed (exit code {done.returncode}){': ' + said[-1] if said else ''}")
        data = coded.read_bytes()
    return EncodedVideo(data, len(data), _size(sound))


def _write_y4m(path: Path, frames: Iterable[Frame], rate: Fraction, tell: Callable[[int], None]) -> None:
    with path.open("wb") as file:
        for number, frame in enumerate(frames):
            height, width = frame.shape[:2]
            if not number:
                words = f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A1:1 C420\n"
                file.write(words.encode())
            file.write(b"FRAME\n" + yuv_of(frame).to_ndarray().tobytes())
            tell(number + 1)
