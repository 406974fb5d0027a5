"""Video files out: H.264 (VP9 in .webm) with Opus packets muxed as they are."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from stylecodec.errors import OptionError, OutputError
from stylecodec.files import part_of, place_of
from stylecodec.media.colour import EXACT_COLOURS
from stylecodec.media.opus import OpusTrack, ogg_opus_stub
from stylecodec.media.shape import Frame
from stylecodec.media.source import PathLike

# Time unit of a video of variable rate: divides every common frame and field rate.
PTS_UNIT = Fraction(1, 90_000)
# (format, encoder, options) by suffix. WebM allows no H.264.
H264 = ("libx264", {"crf": "16", "preset": "medium"})
VP9 = ("libvpx-vp9", {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"})
FORMATS = {".mp4": ("mp4", *H264), ".mkv": ("matroska", *H264), ".webm": ("webm", *VP9)}


class VideoWriter:
    """Writes a video; use it as a context manager.

    >>> with VideoWriter("out.mp4", 1024, 1024, Fraction(30), audio=track) as writer:
    ...     for frame in frames: writer.write(frame)

    The bytes go to a hidden file beside `path`, which takes its name only when it is whole; it is removed on
    any failure. rate: frames per second. variable: every `write` gets its time in seconds, and the rate only tells
    how long the last frame stays.
    Sizes must be even (4:2:0 colour). Raises OptionError for a wrong suffix or size, OutputError when the
    folder is missing or not writable or the disk is full.
    """

    def __init__(
        self,
        path: PathLike,
        width: int,
        height: int,
        rate: Fraction,
        audio: OpusTrack | None = None,
        variable: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in FORMATS:
            raise OptionError(f"{self.path}: a video is written as one of {', '.join(FORMATS)}")
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise OptionError(f"a video needs an even width and height, not {width}x{height}")
        if rate <= 0:
            raise OptionError(f"a video needs a positive frame rate, not {rate}")
        self.frames_written = 0
        self._size = (height, width)
        self._rate, self._variable = rate, variable
        self._unit = PTS_UNIT if variable else 1 / rate
        self._sound = iter(audio.packets if audio else ())
        self._next_sound = next(self._sound, None)
        self._pre_skip = audio.pre_skip if audio else 0
        self._place = place_of(self.path)
        self._part = part_of(self._place)
        self._container: OutputContainer | None = None
        self._file: IO[bytes] | None = None
        with self._guard():
            self._open(audio)

    def _open(self, audio: OpusTrack | None) -> None:
        container_format, codec, options = FORMATS[self.path.suffix.lower()]
        # Python writes the bytes, so that a full disk is an exception and not a silent short file.
        self._file = open(self._part, "x+b")  # noqa: SIM115 (closed in _finish and _abort)
        self._container = av.open(self._file, "w", format=container_format)
        self._video = self._add_video(codec, options)
        self._audio = self._add_audio(audio) if audio and audio.packets else None

    def _add_video(self, codec: str, options: dict[str, str]) -> VideoStream:
        assert self._container is not None
        if self._variable and codec == H264[0]:
            # With frames out of order x264 counts decoding times by the rate, and MP4 takes durations from them.
            options = options | {"bf": "0"}
        stream = self._container.add_stream(codec, rate=self._rate, options=options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.height, context.width = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = self._unit
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def _add_audio(self, audio: OpusTrack) -> AudioStream:
        assert self._container is not None
        with av.open(io.BytesIO(ogg_opus_stub(audio.channels, audio.pre_skip)), format="ogg") as stub:
            stream = self._container.add_stream_from_template(stub.streams.audio[0])
        stream.time_base = Fraction(1, audio.sample_rate)
        return stream

    def write(self, frame: Frame, seconds: float | None = None) -> None:
        """Append one frame [H, W, 3] uint8 RGB. seconds: its time, only for a video of variable rate."""
        if self._container is None:
            raise OutputError(f"{self.path} is closed already")
        if frame.dtype != np.uint8 or frame.shape != (*self._size, 3):
            raise OptionError(f"a frame of {self.path} must be uint8 {(*self._size, 3)}, not {frame.shape}")
        if (seconds is not None) != self._variable:
            raise OptionError("a frame carries its own time exactly when the rate is variable")
        with self._guard():
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT_COLOURS,
            )
            picture.pts = self.frames_written if seconds is None else round(seconds / self._unit)
            picture.time_base = self._unit
            self._container.mux(self._video.encode(picture))
            self._mux_sound(float(picture.pts * self._unit))
            self.frames_written += 1

    def _mux_sound(self, until: float) -> None:
        """Hand over the packets up to a time, so that the muxer never has to hold much back."""
        while self._next_sound is not None and self._audio is not None:
            packet = self._next_sound
            pts = packet.pts - self._pre_skip  # presentation begins after the decoder's warm-up
            if pts > until * 48_000:
                return
            coded = av.Packet(packet.data)
            coded.stream, coded.time_base = self._audio, Fraction(1, 48_000)
            coded.pts = coded.dts = pts
            coded.duration = packet.duration
            coded.is_keyframe = True
            assert self._container is not None
            self._container.mux(coded)
            self._next_sound = next(self._sound, None)

    def close(self) -> None:
        """Finish the file and give it its name. Calling it twice does no harm."""
        if self._container is None:
            return
        if not self.frames_written:
            self.abort()
            raise OutputError(f"{self.path} was not written: there is no frame to write")
        with self._guard():
            self._container.mux(self._video.encode(None))
            self._mux_sound(float("inf"))
            self._container.close()
            self._container = None
            assert self._file is not None
            self._file.close()
            os.replace(self._part, self._place)

    def abort(self) -> None:
        """Drop what was written; the final name stays untouched."""
        container, self._container = self._container, None
        for resource in (container, self._file):
            if resource is not None:
                # Closing writes a trailer, which fails again on a full disk: the file goes away anyhow.
                try:
                    resource.close()
                except (OSError, ValueError):
                    continue
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Whatever goes wrong, no partial file stays, and system errors become OutputError."""
        try:
            yield
        except OSError as error:
            self.abort()
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise OutputError(f"{self.path} cannot be written: {reason}") from error
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
