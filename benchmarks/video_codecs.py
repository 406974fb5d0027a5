"""How fast the obvious alternatives are: H.264, H.265 and AV1 of the same pictures, through PyAV, in the same run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from time import perf_counter
from typing import Any

import av

from stylecodec.media import Frame
from stylecodec.media.codecs import CODECS, Setting, VideoCodec, encode_video

TIMED = ("x264", "x265", "svtav1")


def available() -> list[VideoCodec]:
    """Those of TIMED that this PyAV can write."""
    return [CODECS[name] for name in TIMED if CODECS[name].works]


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
    """Per codec, at the quality that is ordinary for it: frames encoded and decoded a second, and kbit/s."""
    rows = []
    height, width = frames[0].shape[:2]
    for codec in available():
        begun = perf_counter()
        video = encode_video(frames, rate, codec, Setting(codec.usual, threads=threads))
        encoding = perf_counter() - begun
        count, decoding = decode(video.data, threads)
        title = f"{codec.title}, crf {codec.usual}"
        if count != len(frames):
            raise RuntimeError(f"{title} gave back {count} of {len(frames)} frames")
        rows.append(
            {
                "codec": title,
                "size": f"{width}x{height}",
                "threads": threads,
                "encode_fps": len(frames) / encoding,
                "decode_fps": len(frames) / decoding,
                "kbps": len(video.data) * 8 / float(len(frames) / rate) / 1000,
            }
        )
    return rows
