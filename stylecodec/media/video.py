"""Video files in: frames as HWC uint8 RGB with their times; and still images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageOps

from stylecodec.errors import MediaError

Frame = NDArray[np.uint8]  # [H, W, 3] RGB
PathLike = str | os.PathLike[str]

# Two times that differ by less count as one: containers round to a millisecond.
TIME_TOLERANCE = 0.002
# Seconds ahead of a start to seek to, tried in turn until decoding resumes in time (MPEG-TS lands between key frames).
# inf: no seek, the file from its beginning.
SEEK_LEADS = (0.0, 2.0, 10.0, math.inf)
# A frame's tag for BT.601, AVCOL_SPC_SMPTE170M; PyAV's Colorspace knows it only by swscale's number, 5.
SMPTE170M = 6
# Without these flags swscale's RGB <-> YUV is a level too dark on average.
EXACT_COLOURS = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
# Demuxers that turn text, lists of files or net addresses into "video".
REFUSED_FORMATS = {"tty", "concat", "hls", "applehttp", "ffmetadata", "lavfi", "sdp", "rtsp", "bin", "xbin"}


def read_image(path: PathLike) -> Frame:
    """A still picture (.png, .jpg …) as [H, W, 3] uint8 RGB, turned as its EXIF data says."""
    file = _existing(path)
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            return np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"{file} is not a picture that can be read") from error


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Whatever goes wrong in PyAV becomes MediaError(message)."""
    try:
        yield
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise MediaError(message) from error


def open_input(path: PathLike) -> InputContainer:
    """Open a media file for reading; MediaError when it is missing or is no media file."""
    file = _existing(path)
    refusal = f"{file} is not a video that can be read"
    with readable(refusal):
        # The explicit protocol keeps a colon in the name from being taken for one.
        container = av.open(f"file:{file}", "r")
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise MediaError(refusal)
    return container


def _existing(path: PathLike) -> Path:
    file = Path(path)
    if not file.exists():
        raise MediaError(f"there is no file {file}")
    if not file.is_file():
        raise MediaError(f"{file} is not a file")
    if not os.access(file, os.R_OK):
        raise MediaError(f"{file} cannot be read: permission denied")
    return file


def find_video(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not the cover picture of a sound file."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


@dataclass(frozen=True)
class Orientation:
    """How decoded pixels become what is shown: first scale (pixel aspect), then transpose, then mirror."""

    width: int  # decoded width after widening
    height: int  # decoded height; both are the first frame's, whatever size the stream changes to
    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame, aspect: Fraction | None) -> Orientation:
        """From the frame's display matrix (quarter turns and mirrors only) and the sample aspect ratio."""
        width, height = frame.width, frame.height
        if aspect is not None and aspect > 0 and aspect != 1:
            width = max(1, round(frame.width * aspect))
        # x' = a x + c y, y' = b x + d y, stored as int32 a b u c d v x y w.
        try:
            side = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # PyAV reads no side data at all where one kind is unknown to it; the turn it still tells
            turn = math.radians(frame.rotation)
            a, b, c, d = (round(v) for v in (math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)))
        else:
            if side is None:
                return cls(width, height)
            a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(cast(Buffer, side)), np.int32)[:5])
        if abs(a) >= abs(b):
            return cls(width, height, False, a < 0, d < 0)
        return cls(width, height, True, c < 0, b < 0)

    def apply(self, image: Frame) -> Frame:
        """Turn one decoded picture [H, W, 3]."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_x:
            image = image[:, ::-1]
        if self.flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


@dataclass(frozen=True)
class Timing:
    """When the frames are shown: seconds from the first one, in order. variable: no constant rate fits them."""

    seconds: NDArray[np.float64]
    rate: Fraction
    variable: bool
    origin: int | None  # time stamp of the first frame in the stream's own units; None: the file has none


class VideoReader:
    """A video file. Frames are streamed: memory does not grow with the length.

    >>> reader = VideoReader("talk.mp4")
    >>> for seconds, frame in reader.frames(start=1.0, duration=2.0): ...

    width and height are those of the frames as shown (rotation and pixel aspect applied). Times are seconds
    from the first frame that can be decoded. Raises MediaError when the file is missing, is no video, has only
    sound or no frame at all, and from any method when it cannot be decoded further.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._failure = f"the video of {self.path} cannot be decoded"
        with readable(self._failure), open_input(path) as container:
            stream = find_video(container)
            if stream is None:
                what = "sound but no video" if container.streams.audio else "no video"
                raise MediaError(f"{self.path} holds {what}")
            first = next(_decode(container, stream), None)
            if first is None:
                raise MediaError(f"{self.path} holds no video frame that can be decoded")
            self.has_audio = bool(container.streams.audio)
            self._first_stamp = first.pts
            self._orientation = Orientation.of(first, stream.sample_aspect_ratio)
            shown = self._picture(first)
        self.height: int = shown.shape[0]
        self.width: int = shown.shape[1]

    @cached_property
    def timing(self) -> Timing:
        """Times of all frames, read from the packets without decoding them."""
        with readable(self._failure), open_input(self.path) as container:
            stream = find_video(container)
            assert stream is not None
            stamps: list[int | None] = [p.pts for p in container.demux(stream) if p.size and not p.is_discard]
            nominal = stream.average_rate or stream.guessed_rate or Fraction(25)
            unit = stream.time_base
        if unit is None or not stamps or any(s is None for s in stamps):
            seconds = np.arange(max(1, len(stamps))) / float(nominal)
            return Timing(seconds, nominal, False, None)
        pts = np.unique(np.array(stamps, np.int64))
        # A recording begun between key frames holds packets that show nothing.
        if self._first_stamp is not None and self._first_stamp in pts:
            pts = pts[pts >= self._first_stamp]
        seconds = (pts - pts[0]) * float(unit)
        return Timing(seconds, *_fit_rate(seconds, nominal, float(unit)), int(pts[0]))

    @property
    def rate(self) -> Fraction:
        """Frames per second; the mean when the rate is variable."""
        return self.timing.rate

    @property
    def variable_rate(self) -> bool:
        """True when the frames do not follow a constant rate: use the time of each frame."""
        return self.timing.variable

    @property
    def frame_count(self) -> int:
        """Frames from the first that can be decoded on, as the packets tell (a damaged file may decode to fewer)."""
        return len(self.timing.seconds)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return float(self.timing.seconds[-1]) + float(1 / self.rate)

    def first_time(self, start: float = 0.0) -> float:
        """The time of the first frame that `frames(start)` gives; MediaError when the clip is over before."""
        later = self.timing.seconds[self.timing.seconds >= start - TIME_TOLERANCE]
        if not len(later):
            raise MediaError(f"{self.path} ends at {self.duration:.2f} s, before the start at {start:.2f} s")
        return float(later[0])

    def count(self, start: float = 0.0, duration: float | None = None) -> int:
        """How many frames `frames` gives, as the packets tell; MediaError when there is none."""
        begin, end = self._span(start, duration)
        seconds = self.timing.seconds
        found = int(((seconds >= begin - TIME_TOLERANCE) & (seconds < end)).sum())
        if not found:
            raise MediaError(f"{self.path} has no frames between its start and its end")
        return found

    def _span(self, start: float, duration: float | None) -> tuple[float, float]:
        """The time of the first frame, and that which all frames are before."""
        return self.first_time(start), math.inf if duration is None else start + duration - TIME_TOLERANCE

    def frames(self, start: float = 0.0, duration: float | None = None) -> Iterator[tuple[float, Frame]]:
        """(seconds, [H, W, 3] uint8) of every frame with start <= seconds < start + duration, in order."""
        begin, end = self._span(start, duration)
        for lead in SEEK_LEADS:
            with readable(self._failure), open_input(self.path) as container:
                unsure = begin > lead  # whether the seek may have landed too late
                for seconds, frame in self._decode_from(container, begin - lead):
                    if unsure and seconds > begin + TIME_TOLERANCE:
                        break
                    unsure = False
                    if seconds >= end:
                        return
                    if seconds >= begin - TIME_TOLERANCE:
                        yield seconds, self._picture(frame)
                if not unsure:
                    return

    def _decode_from(self, container: InputContainer, begin: float) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds, frame) in order, from where a seek to `begin` seconds lands; from the first if that is not > 0."""
        stream = find_video(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        origin, unit, step = self.timing.origin, stream.time_base, float(1 / self.rate)
        if origin is not None and unit is not None and begin > 0:
            container.seek(origin + int(begin / unit), stream=stream, backward=True)
        for number, frame in enumerate(_decode(container, stream)):
            if origin is None or unit is None or frame.pts is None:
                yield number * step, frame
            else:
                yield (frame.pts - origin) * float(unit), frame

    def _picture(self, frame: av.VideoFrame) -> Frame:
        # Files without a tag follow the usual rule: BT.709 for high definition, BT.601 below.
        high = frame.height >= 720 and frame.colorspace != SMPTE170M
        known = frame.colorspace in set(Colorspace)
        rgb = frame.reformat(
            width=self._orientation.width,
            height=self._orientation.height,
            format="rgb24",
            src_colorspace=None if known else Colorspace.ITU709 if high else Colorspace.ITU601,
            interpolation=EXACT_COLOURS,
        )
        return self._orientation.apply(cast(Frame, rgb.to_ndarray()))


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Frames in order of presentation; damaged packets are skipped."""
    packets = iter(container.demux(stream))
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from stream.decode(packet)
        except av.error.InvalidDataError:
            continue
        except av.error.EOFError:
            return


def _fit_rate(seconds: NDArray[np.float64], nominal: Fraction, unit: float) -> tuple[Fraction, bool]:
    """The constant rate that these times follow, and whether none does (off by more than half a frame)."""
    if len(seconds) < 2:
        return nominal, False
    mean = (len(seconds) - 1) / float(seconds[-1])
    numbers = np.arange(len(seconds))
    for rate in (nominal, Fraction(mean).limit_denominator(1001)):
        if np.abs(seconds - numbers / float(rate)).max() <= 0.5 / float(rate) + unit:
            return rate, False
    return Fraction(mean).limit_denominator(1001), True
