"""Frame groups and sound, laid into one stream in the order of their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .audio import AudioChunk
from .identity import Identity
from .layout import AUDIO_CLOCK
from .reader import UnknownChunk
from .writer import StreamWriter


@dataclass(frozen=True)
class TimedGroup:
    """The frames of one group-to-be, and the time in seconds of the first."""

    seconds: float
    packets: npt.NDArray[np.floating]  # [n, 35]
    pts: npt.NDArray[np.int64] | None = None  # [n] ticks, when the rate is variable
    identity: Identity | None = None  # that of the stream where it says nothing


def mux(
    writer: StreamWriter,
    identity: Identity | None,
    groups: Iterable[TimedGroup],
    sound: Iterable[AudioChunk] = (),
    extras: Iterable[tuple[int, UnknownChunk]] = (),
) -> Iterator[bytes]:
    """The bytes of a whole stream, portion by portion: start, identity, groups and sound interleaved, end.

    identity: of the groups that name none. A chunk of sound goes before the first group that begins at its time or
    later, so that a receiver of live bytes has the sound when it has the picture. extras: chunks to copy as they
    are, each with the number of the frame that it precedes.
    """
    yield writer.start()
    written: set[bytes] = set()
    used = b""
    if identity is not None:
        yield writer.identity(identity)
        used = identity.digest
        written.add(used)
    chunks, private = iter(sound), iter(extras)
    chunk, extra = next(chunks, None), next(private, None)
    for group in groups:
        while extra is not None and extra[0] <= writer.frame_count:
            yield writer.copy(extra[1])
            extra = next(private, None)
        wanted = group.identity or identity
        if wanted is None:
            raise RuntimeError("a group needs an identity")
        if wanted.digest not in written:
            yield writer.identity(wanted)
            written.add(wanted.digest)
        elif wanted.digest != used:
            writer.use_identity(wanted)
        used = wanted.digest
        while chunk is not None and chunk.first_packet_pts <= group.seconds * AUDIO_CLOCK:
            yield writer.audio(chunk)
            chunk = next(chunks, None)
        yield writer.group(group.packets, group.pts)
    while chunk is not None:
        yield writer.audio(chunk)
        chunk = next(chunks, None)
    while extra is not None:
        yield writer.copy(extra[1])
        extra = next(private, None)
    yield writer.finish()
