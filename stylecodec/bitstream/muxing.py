"""Frame groups and audio, written into one stream in the order of their times (SPEC 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .audio import AudioChunk
from .events import Extra, UnknownChunk
from .header import StreamHeader
from .identity import Identity, IdentityReference
from .layout import AUDIO_CLOCK
from .writer import StreamWriter, group_frames


@dataclass(frozen=True)
class TimedGroup:
    """The frames of one group to be written. seconds: time of the first."""

    seconds: float
    packets: npt.NDArray[np.floating]  # [n, 35]
    pts: npt.NDArray[np.int64] | None = None  # [n] ticks, when the rate is variable
    identity: Identity | IdentityReference | None = None  # None: the one given to `mux`


@dataclass(frozen=True)
class FrameRun:
    """Consecutive frames of one identity, any number of them. pts: as in FrameGroup."""

    identity: Identity | IdentityReference
    packets: npt.NDArray[np.floating]  # [n, 35]
    pts: npt.NDArray[np.int64] | None = None  # [n]


def regroup(runs: Iterable[FrameRun], header: StreamHeader) -> Iterator[TimedGroup]:
    """The frames of all runs, in groups of about a second that have one identity each."""
    step, frame, count = group_frames(header.rate), 0, 0
    waiting: list[FrameRun] = []

    def group() -> TimedGroup:
        times = [run.pts for run in waiting if run.pts is not None]
        pts = np.concatenate(times) if times else None
        seconds = frame / float(header.rate) if pts is None else int(pts[0]) / header.time_scale
        return TimedGroup(seconds, np.concatenate([run.packets for run in waiting]), pts, waiting[0].identity)

    for run in runs:
        at = 0
        while at < len(run.packets):
            if waiting and (count == step or run.identity.digest != waiting[0].identity.digest):
                yield group()
                waiting, frame, count = [], frame + count, 0
            part = slice(at, at + step - count)
            waiting.append(FrameRun(run.identity, run.packets[part], None if run.pts is None else run.pts[part]))
            count, at = count + len(waiting[-1].packets), part.stop
    if waiting:
        yield group()


def predicted(identities: Iterable[Identity | IdentityReference]) -> bool:
    """Whether one of the identities, in the order in which they are written, can be predicted from one before it."""
    written: set[bytes] = set()
    for one in identities:
        if isinstance(one, Identity):
            if one.base is not None and one.base.digest in written:
                return True
            written.add(one.digest)
    return False


def mux(
    writer: StreamWriter,
    identity: Identity | IdentityReference | None,
    groups: Iterable[TimedGroup],
    audio: Iterable[AudioChunk] = (),
    extras: Iterable[tuple[int, Extra]] = (),
) -> Iterator[bytes]:
    """The bytes of a whole stream, portion by portion: start, identity, groups and audio interleaved, end.

    identity: of the groups that name none; a reference is written as such. A chunk of audio goes before the first
    group that begins at its time or later, so that a receiver has the audio when it has the picture. extras:
    personalised generators, backgrounds and unknown chunks, each with the number of the frame that it precedes, in
    order of these numbers. Raises as StreamWriter does.
    """
    yield writer.start()
    used = b""
    written: dict[bytes, bool] = {}  # digest: whether the latent itself is there
    if identity is not None:
        yield _introduce(writer, identity, written)
        used = identity.digest
    chunks, others = iter(audio), iter(extras)
    chunk, extra = next(chunks, None), next(others, None)
    for group in groups:
        while extra is not None and extra[0] <= writer.frame_count:
            yield _extra(writer, extra[1])
            extra = next(others, None)
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
        yield _extra(writer, extra[1])
        extra = next(others, None)
    yield writer.finish()


def _extra(writer: StreamWriter, extra: Extra) -> bytes:
    return writer.copy(extra) if isinstance(extra, UnknownChunk) else writer.attach(extra)


def _introduce(writer: StreamWriter, identity: Identity | IdentityReference, written: dict[bytes, bool]) -> bytes:
    """The chunk that gives an identity, or refers to it where the latent is not there."""
    written[identity.digest] = isinstance(identity, Identity)
    if isinstance(identity, Identity):
        return writer.identity(identity)
    return writer.reference(identity, mandatory=True)
