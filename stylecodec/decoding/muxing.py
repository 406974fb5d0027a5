"""Frame groups and sound, laid into one stream in the order of their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bitstream import AUDIO_CLOCK, AudioChunk, Identity, StreamWriter


@dataclass(frozen=True)
class TimedGroup:
    """The frames of one group-to-be, and the time in seconds of the first."""

    seconds: float
    packets: NDArray[np.floating]  # [n, 35]
    pts: NDArray[np.int64] | None = None  # [n] ticks, when the rate is variable


def mux(
    writer: StreamWriter, identity: Identity, groups: Iterable[TimedGroup], sound: Iterable[AudioChunk] = ()
) -> Iterator[bytes]:
    """The bytes of a whole stream, portion by portion: start, identity, groups and sound interleaved, end.

    A chunk of sound goes before the first group that begins at its time or later, so that a receiver of live
    bytes has the sound when it has the picture.
    """
    yield writer.start()
    yield writer.identity(identity)
    waiting = iter(sound)
    chunk = next(waiting, None)
    for group in groups:
        while chunk is not None and chunk.first_packet_pts <= group.seconds * AUDIO_CLOCK:
            yield writer.audio(chunk)
            chunk = next(waiting, None)
        yield writer.group(group.packets, group.pts)
    while chunk is not None:
        yield writer.audio(chunk)
        chunk = next(waiting, None)
    yield writer.finish()
