"""Frame groups and sound, laid into one stream in the order of their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .audio import AudioChunk
from .header import StreamHeader
from .identity import Identity, IdentityReference
from .layout import AUDIO_CLOCK
from .reader import UnknownChunk
from .writer import StreamWriter, group_frames


@dataclass(frozen=True)
class TimedGroup:
    """The frames of one group-to-be, and the time in seconds of the first."""

    seconds: float
    packets: npt.NDArray[np.floating]  # [n, 35]
    pts: npt.NDArray[np.int64] | None = None  # [n] ticks, when the rate is variable
    identity: Identity | IdentityReference | None = None  # that of the stream where it says nothing


@dataclass(frozen=True)
class Row:
    """Some consecutive frames of one identity, on their way into groups. pts: as in FrameGroup."""

    identity: Identity | IdentityReference
    packets: npt.NDArray[np.floating]  # [n, 35]
    pts: npt.NDArray[np.int64] | None = None  # [n]


def regroup(rows: Iterable[Row], header: StreamHeader) -> Iterator[TimedGroup]:
    """The frames of all rows, in groups of about a second that have one identity each."""
    step, frame, count = group_frames(header.rate), 0, 0
    held: list[Row] = []

    def group() -> TimedGroup:
        times = [row.pts for row in held if row.pts is not None]
        pts = np.concatenate(times) if times else None
        seconds = frame / float(header.rate) if pts is None else int(pts[0]) / header.time_scale
        return TimedGroup(seconds, np.concatenate([row.packets for row in held]), pts, held[0].identity)

    for row in rows:
        at = 0
        while at < len(row.packets):
            if held and (count == step or row.identity.digest != held[0].identity.digest):
                yield group()
                held, frame, count = [], frame + count, 0
            part = slice(at, at + step - count)
            held.append(Row(row.identity, row.packets[part], None if row.pts is None else row.pts[part]))
            count, at = count + len(held[-1].packets), part.stop
    if held:
        yield group()


def mux(
    writer: StreamWriter,
    identity: Identity | IdentityReference | None,
    groups: Iterable[TimedGroup],
    sound: Iterable[AudioChunk] = (),
    extras: Iterable[tuple[int, UnknownChunk]] = (),
) -> Iterator[bytes]:
    """The bytes of a whole stream, portion by portion: start, identity, groups and sound interleaved, end.

    identity: of the groups that name none; a reference is written as such. A chunk of sound goes before the first
    group that begins at its time or later, so that a receiver of live bytes has the sound when it has the picture.
    extras: chunks to copy as they are, each with the number of the frame that it precedes.
    """
    yield writer.start()
    used = b""
    written: dict[bytes, bool] = {}  # digest: whether the latent itself is there
    if identity is not None:
        yield _introduce(writer, identity, written)
        used = identity.digest
    chunks, private = iter(sound), iter(extras)
    chunk, extra = next(chunks, None), next(private, None)
    for group in groups:
        while extra is not None and extra[0] <= writer.frame_count:
            yield writer.copy(extra[1])
            extra = next(private, None)
        wanted = group.identity or identity
        if wanted is None:
            raise RuntimeError("a group needs an identity")
        if isinstance(wanted, Identity) > written.get(wanted.digest, -1):
            yield _introduce(writer, wanted, written)
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


def _introduce(writer: StreamWriter, identity: Identity | IdentityReference, written: dict[bytes, bool]) -> bytes:
    """The chunk that gives an identity, or refers to it where the latent is not at hand."""
    written[identity.digest] = isinstance(identity, Identity)
    if isinstance(identity, Identity):
        return writer.identity(identity)
    return writer.reference(identity, mandatory=True)
