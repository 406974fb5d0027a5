"""The obvious alternatives: H.264, H.265 and AV1 of the same pictures, through PyAV, timed in the same run."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # [H, W, 3] RGB

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reports errors only


@dataclass(frozen=True)
class VideoCodec:
    """An encoder at the settings its users take for ordinary quality."""

    name: str
    encoder: str
    options: tuple[tuple[str, str], ...]

    def settings(self, threads: int) -> dict[str, str]:
        """The encoder's options, its own threads included."""
        own = {
            "libx264": {"threads": str(threads)},
            "libx265": {"x265-params": f"log-level=error:pools={threads}" + (":frame-threads=1" * (threads == 1))},
            "libsvtav1": {"svtav1-params": f"lp={threads}"},
        }
        return dict(self.options) | own.get(self.encoder, {})


CODECS = (
    VideoCodec("H.264 (x264 medium, crf 23)", "libx264", (("preset", "medium"), ("crf", "23"))),
    VideoCodec("H.265 (x265 medium, crf 28)", "libx265", (("preset", "medium"), ("crf", "28"))),
    VideoCodec("AV1 (SVT 8, crf 35)", "libsvtav1", (("preset", "8"), ("crf", "35"))),
)


def available() -> list[VideoCodec]:
    """Those of CODECS that this PyAV can write."""
    return [codec for codec in CODECS if codec.encoder in av.codecs_available]


def encode(frames: Sequence[Frame], rate: Fraction, codec: VideoCodec, threads: int) -> tuple[bytes, float]:
    """A Matroska file of the frames (even sizes), and the seconds that it took, conversion from RGB included."""
    height, width = frames[0].shape[:2]
    file = io.BytesIO()
    begun = perf_counter()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec.encoder, rate=rate, options=codec.settings(threads))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue(), perf_counter() - begun


def decode(data: bytes, threads: int) -> tuple[int, float]:
    """Frames in a file and the seconds to decode them to RGB arrays, as our decoder yields them."""
    begun, count = perf_counter(), 0
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO" if threads > 1 else "SLICE"
        for frame in container.decode(stream):
            count += len(frame.to_ndarray(format="rgb24")) > 0
    return count, perf_counter() - begun


def compare(frames: Sequence[Frame], rate: Fraction, threads: int) -> list[dict[str, Any]]:
    """Per codec: frames encoded and decoded a second, and kbit/s, on so many threads."""
    rows = []
    height, width = frames[0].shape[:2]
    for codec in available():
        data, encoding = encode(frames, rate, codec, threads)
        count, decoding = decode(data, threads)
        if count != len(frames):
            raise RuntimeError(f"{codec.name} gave back {count} of {len(frames)} frames")
        rows.append(
            {
                "codec": codec.name,
                "size": f"{width}x{height}",
                "threads": threads,
                "encode_fps": len(frames) / encoding,
                "decode_fps": len(frames) / decoding,
                "kbps": len(data) * 8 / float(len(frames) / rate) / 1000,
            }
        )
    return rows
