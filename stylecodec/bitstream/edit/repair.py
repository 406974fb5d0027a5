"""Repair: what is whole of a damaged, cut-off or live-recorded stream, as a whole stream with an index (SPEC 8).

Where the rate is constant, missing frames are held: they repeat the frame before them, so that the audio stays in step.
Presentation times need no filling. Nothing else is made up: a lost header, identity or audio configuration comes from
another stream that is given for it, or what depends on it is lost as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from types import TracebackType
from typing import Self

import numpy as np

from ...errors import BadMagic, FormatError, Truncated
from .. import audio_timeline, layout
from ..audio import AudioChunk, AudioConfig
from ..background import Background
from ..chunks import Prologue, pack_chunk
from ..delta import Personalization
from ..events import Event, Extra, UnknownChunk
from ..file import StreamFile
from ..groups import FrameGroup
from ..header import StreamHeader
from ..identities import Recall
from ..identity import Identity, IdentityReference
from ..layout import AUDIO_CLOCK, ChunkType
from ..muxing import FrameRun, mux, predicted, regroup
from ..reader import StreamReader, StreamReport
from ..source import ByteSource, Source
from ..writer import StreamWriter

MAX_HELD_FRAMES = 1 << 16  # in one gap; a longer one is taken for a damaged frame number


@dataclass(frozen=True)
class _Survey:
    """What a first reading of the source found, with the replacements of lost parts."""

    header: StreamHeader
    config: AudioConfig | None
    identities: dict[int, Identity | IdentityReference]
    used: tuple[Identity | IdentityReference, ...]  # in the order of use by frames that are whole
    origin: int  # the frame that becomes frame 0
    first_time: int  # the time in ticks that becomes 0, where there are presentation times
    report: StreamReport


class Repair:
    """The bytes of a repaired stream, portion by portion, and what was done to it; a context manager.

        with Repair("damaged.stc") as repair:
            for portion in repair.portions(): ...
            print(repair.frames, repair.held, repair.lost)

    source: a path, or a binary file object that stays the caller's to close; it is read several times, and copied into
    a temporary file if it cannot seek. Memory does not grow with it. like: a whole stream of the same encoder, whose
    header, identities and audio configuration replace lost ones. recall: called with the digests of identities that the
    source only refers to; what is not known stays a reference.
    Raises FormatError or Truncated where nothing can be saved, OSError, and what a tolerant StreamReader raises.
    """

    def __init__(self, source: Source, like: StreamFile | None = None, recall: Recall | None = None) -> None:
        self.frames = 0  # written
        self.held = 0  # of these, frames that repeat the one before a gap
        self.lost: list[str] = []  # what could not be saved, one plain sentence each
        self._like, self._recall = like, recall
        self._prefix = b""
        self._source = ByteSource.open(source)
        try:
            self._survey = self._examine()
        except BaseException:
            self._source.close()
            raise
        self.found = self._survey.report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source, unless it is the caller's."""
        self._source.close()

    @property
    def shifted(self) -> int:
        """The number of the frame that became frame 0; above 0 in a recording of a live stream that began late."""
        return self._survey.origin

    def portions(self) -> Iterator[bytes]:
        """The bytes of the repaired stream. `frames`, `held` and `lost` are final after the last portion."""
        survey = self._survey
        seconds = Fraction(survey.first_time, survey.header.time_scale or 1) or survey.origin / survey.header.rate
        begin = round(seconds * AUDIO_CLOCK)
        packets = audio_timeline.stretch(self._chunks(), begin if begin else None, None, -begin)
        config, packets = audio_timeline.with_config(packets, survey.config)
        header = replace(survey.header, live=False)
        groups, chunks = regroup(self._runs(), header), audio_timeline.in_chunks(packets)
        return mux(StreamWriter(header, config, predicts=predicted(survey.used)), None, groups, chunks, self._extras())

    def _examine(self) -> _Survey:
        """Read the source; where its beginning is lost, put another one before it."""
        prologue = bytes(Prologue(minor=layout.VERSION_MINOR))  # of anything that this package knows
        beginnings = [b"", prologue]
        if self._like is not None:
            header = bytes(replace(self._like.header, live=True))  # so that a missing END is no fault
            beginnings.append(prologue + pack_chunk(ChunkType.HEADER, header, layout.ChunkFlag.MANDATORY))
        failure: FormatError | None = None
        for self._prefix in beginnings:
            try:
                return self._examine_once()
            except (BadMagic, _HeaderLost) as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _examine_once(self) -> _Survey:
        like = self._like
        header: StreamHeader | None = None
        config: AudioConfig | None = None
        bases = {i.slot: i for i in like.identities} if like else {}
        identities: dict[int, Identity | IdentityReference] = dict(bases)
        groups: dict[bool, tuple[FrameGroup, dict[int, None]]] = {}  # with and without times: the first, slots of all
        has_audio = False
        reader = StreamReader(strict=False, recall=self._recall, bases=bases)
        for event in self._events(reader):
            if isinstance(event, StreamHeader):
                header = header or event
            elif isinstance(event, AudioConfig):
                config = event
            elif isinstance(event, Identity):
                identities[event.slot] = event
            elif isinstance(event, IdentityReference):
                identities.setdefault(event.slot, event)
            elif isinstance(event, FrameGroup):
                groups.setdefault(event.pts is not None, (event, {}))[1][event.identity] = None
            has_audio = has_audio or isinstance(event, AudioChunk)
        if header is None:
            raise _HeaderLost("the stream header is lost; name a stream of the same maker to take it from")
        first, used = groups.get(header.variable_rate, (None, dict[int, None]()))
        if first is None or not used.keys() & identities.keys():
            raise Truncated("nothing can be saved: not one group of frames is whole and has its identity")
        for slot in sorted(used.keys() - identities.keys()):
            self.lost.append(f"the identity of slot {slot}, and its frames with it")
        if has_audio and config is None and like is not None:
            config = like.audio_config
        if has_audio and config is None:
            self.lost.append("the audio, as its configuration is lost")
        borrowed = len(self._prefix) > layout.PROLOGUE_BYTES
        late = header.live and not borrowed and first.first_frame > 0
        time = int(first.pts[0]) if late and first.pts is not None else 0
        owners = tuple(identities[slot] for slot in used if slot in identities)
        return _Survey(header, config, identities, owners, first.first_frame if late else 0, time, reader.close())

    def _events(self, reader: StreamReader | None = None) -> Iterator[Event]:
        """The intact events of the source; several readings may be under way at a time."""
        reader = reader or StreamReader(strict=False)
        yield from reader.feed(self._prefix)
        for block in self._source.blocks():
            yield from reader.feed(block)
        yield from reader.flush()

    def _runs(self) -> Iterator[FrameRun]:
        """The frames that can be saved, and held frames where others are missing."""
        survey = self._survey
        expected = survey.origin
        last: FrameRun | None = None
        for group in self._events():
            if not isinstance(group, FrameGroup) or group.identity not in survey.identities:
                continue
            if not _timed_as(group, survey.header):
                continue
            times = None if group.pts is None else group.pts - survey.first_time
            run = FrameRun(survey.identities[group.identity], group.packets, times)
            gap = 0 if group.pts is not None else group.first_frame - expected
            if gap > MAX_HELD_FRAMES:
                raise FormatError(f"{gap:,} frames are missing before frame {group.first_frame:,}: too many to fill")
            if gap:
                yield _held(last or run, gap, 0 if last is None else -1)
                self.held += gap
            yield run
            last, expected = run, group.end_frame
            self.frames += gap + len(group)

    def _chunks(self) -> Iterator[AudioChunk]:
        for event in self._events():
            if isinstance(event, AudioChunk):
                try:
                    _ = event.durations
                except FormatError:
                    self.lost.append(f"audio at {event.first_packet_pts / AUDIO_CLOCK:.2f} s that is not Opus")
                else:
                    yield event

    def _extras(self) -> Iterator[tuple[int, Extra]]:
        """Each different personalised generator and background before frame 0; unknown chunks where they were."""
        seen: set[bytes] = set()
        for event in self._events():
            if isinstance(event, Personalization | Background):
                content = hashlib.sha256(bytes([event.chunk_type]) + bytes(event)).digest()
                if content not in seen:
                    yield 0, event
                seen.add(content)
        frame = 0
        for event in self._events():
            if isinstance(event, FrameGroup):
                frame = event.end_frame - self._survey.origin
            elif isinstance(event, UnknownChunk):
                yield frame, event


class _HeaderLost(FormatError):
    """There is no intact header: `_examine` goes on to the next beginning."""


def _timed_as(group: FrameGroup, header: StreamHeader) -> bool:
    """Has the group times of its own if and only if the header says so? Else it belongs to another stream."""
    return (group.pts is not None) == header.variable_rate


def _held(run: FrameRun, count: int, which: int) -> FrameRun:
    """One frame of a run, `count` times."""
    return FrameRun(run.identity, np.repeat(run.packets[[which]], count, axis=0))
