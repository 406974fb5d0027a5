"""What is compared: the frames of a video or of a stream, as often as they are asked for, with their times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bitstream.layout import MAGIC
from ..decoding.decoder import Decoder
from ..errors import FormatError
from ..face.warp import Frame
from ..files import PathLike, reading
from ..media.video import VideoReader

Read = Callable[[], Iterator[tuple[float, Frame]]]


@dataclass(frozen=True)
class Source:
    """A video whose frames are `read` from the first to the last: (seconds from the first one, [H, W, 3] uint8 RGB)."""

    path: str
    kind: str  # "video" or "stream"
    read: Read
    rate: float
    width: int
    height: int
    count: int  # frames, as far as that is known before reading
    notes: Callable[[], list[str]] = list

    def facts(self) -> dict[str, object]:
        """For JSON."""
        return {"file": self.path, "kind": self.kind, "fps": self.rate, "width": self.width, "height": self.height}


@contextmanager
def opened(path: PathLike, device: str, folder: Path, size: int | None = None) -> Iterator[Source]:
    """A video, or a stream, which is rendered once into a file of `folder`; FormatError, MediaError, PackError.

    size: pixels per side that a stream is rendered at; None: as many as its generator has.
    """
    if is_stream(path):
        with reading(path), Decoder.open(path, device=device, as_numpy=True, size=size) as decoder:
            yield _of_stream(os.fspath(path), decoder, folder)
    else:
        reader = VideoReader(path)
        yield Source(
            path=os.fspath(path),
            kind="video",
            read=reader.frames,
            rate=round(float(reader.rate), 6),
            width=reader.width,
            height=reader.height,
            count=reader.frame_count,
            notes=lambda: reader.notes,
        )


def is_stream(path: PathLike) -> bool:
    """Whether a file begins as a stream does; MediaError when it is missing."""
    with reading(path), open(path, "rb") as file:
        return file.read(4) == MAGIC[:4]


def _of_stream(path: str, decoder: Decoder, folder: Path) -> Source:
    (width, height), count = decoder.frame_size, len(decoder)
    if not count:
        raise FormatError(f"{path} holds no frame")
    times: NDArray[np.float64] = decoder.stream.pts(0, count)
    kept: list[NDArray[np.uint8]] = []

    def read() -> Iterator[tuple[float, Frame]]:
        if kept:
            yield from (
                (float(seconds - times[0]), np.asarray(frame)) for seconds, frame in zip(times, kept[0], strict=True)
            )
            return
        file = folder / f"{os.urandom(8).hex()}.rgb"
        pictures = np.memmap(file, np.uint8, "w+", shape=(count, height, width, 3))
        for number, frame in enumerate(decoder):
            pictures[number] = frame
            yield float(times[number] - times[0]), pictures[number]
        kept.append(pictures)

    return Source(path, "stream", read, round(decoder.fps, 6), width, height, count)
