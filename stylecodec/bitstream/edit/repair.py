"""Repair: what is whole of a damaged, cut-off or live-recorded stream, as a whole stream with an index (SPEC 8).

Frames of a constant rate that are missing are filled by holding the picture before them, so that the sound stays in
step; presentation times need no filling. Nothing else is made up: a lost header, identity or configuration of the
sound is taken from a stream given for it, or what needs it is lost as well.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from ...errors import BadMagic, FormatError, Truncated
from .. import audio_timeline as sound
from .. import layout
from ..audio import AudioChunk, AudioConfig
from ..chunks import Prologue, pack_chunk
from ..file import Recall, StreamFile
from ..groups import FrameGroup
from ..header import StreamHeader
from ..identity import Identity, IdentityReference
from ..layout import AUDIO_CLOCK, ChunkType
from ..muxing import Row, mux, regroup
from ..reader import Event, StreamReader, StreamReport, UnknownChunk
from ..writer import StreamWriter

MAX_HELD_FRAMES = 1 << 16  # in one gap; a longer one is damage that passed for a frame number
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class _Survey:
    """What a first reading of the source found, with what stands in for lost parts."""

    header: StreamHeader
    config: AudioConfig | None
    identities: dict[int, Identity | IdentityReference]
    origin: int  # frame that becomes frame 0
    first_time: int  # in ticks, what becomes time 0 where there are presentation times
    report: StreamReport


class Repair:
    """The bytes of a repaired stream, portion by portion, and what was done to it.

        repair = Repair(file)
        for portion in repair.portions(): ...
        print(repair.frames, repair.held, repair.lost)

    like: a whole stream of the same maker, whose header, identities and audio configuration stand in for lost ones.
    recall: asked for identities that the source only refers to; without an answer the result refers to them as well.
    The source is read a few times over; memory does not grow with it.
    Raises FormatError or Truncated where nothing can be saved, and what StreamReader raises in tolerant mode.
    """

    def __init__(self, source: BinaryIO, like: StreamFile | None = None, recall: Recall | None = None) -> None:
        self.frames = 0  # written
        self.held = 0  # of these, repetitions that fill a gap
        self.lost: list[str] = []  # what could not be saved, one plain sentence each
        self._source, self._like, self._recall = source, like, recall
        self._size = source.seek(0, os.SEEK_END)
        self._prefix = b""
        self._survey = self._look()
        self.found = self._survey.report

    @property
    def shifted(self) -> int:
        """Frames by which a recording that began late was moved to 0."""
        return self._survey.origin

    def portions(self) -> Iterator[bytes]:
        """The repaired stream; `frames`, `held` and `lost` are right when it is over."""
        survey = self._survey
        seconds = Fraction(survey.first_time, survey.header.time_scale or 1) or survey.origin / survey.header.rate
        begin = round(seconds * AUDIO_CLOCK)
        packets = sound.stretch(self._chunks(), begin if begin else None, None, -begin)
        config, packets = sound.with_config(packets, survey.config)
        header = replace(survey.header, live=False)
        groups = regroup(self._rows(), header)
        return mux(StreamWriter(header, config), None, groups, sound.in_chunks(packets), self._extras())

    def _look(self) -> _Survey:
        """Read the source; where its beginning is lost, let the reader begin with another one."""
        beginnings = [b"", bytes(Prologue())]
        if self._like is not None:
            header = bytes(replace(self._like.header, live=True))  # it is not known whether an END is to come
            beginnings.append(bytes(Prologue()) + pack_chunk(ChunkType.HEADER, header, layout.ChunkFlag.MANDATORY))
        failure: FormatError | None = None
        for self._prefix in beginnings:
            try:
                return self._look_once()
            except (BadMagic, _HeaderLost) as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _look_once(self) -> _Survey:
        like = self._like
        header: StreamHeader | None = None
        config: AudioConfig | None = None
        identities: dict[int, Identity | IdentityReference] = {i.slot: i for i in like.identities} if like else {}
        first: FrameGroup | None = None
        used: set[int] = set()
        sounds = False
        reader = StreamReader(strict=False, recall=self._recall)
        for event in self._events(reader):
            if isinstance(event, StreamHeader):
                header = event
            elif isinstance(event, AudioConfig):
                config = event
            elif isinstance(event, Identity):
                identities[event.slot] = event
            elif isinstance(event, IdentityReference):
                identities.setdefault(event.slot, event)
            elif isinstance(event, FrameGroup):
                first = first or event
                used.add(event.identity)
            sounds = sounds or isinstance(event, AudioChunk)
        if header is None:
            raise _HeaderLost("the stream header is lost; name a stream of the same maker to take it from")
        if first is None or not used & identities.keys():
            raise Truncated("nothing can be saved: not one group of frames is whole and has its identity")
        for slot in sorted(used - identities.keys()):
            self.lost.append(f"the identity of slot {slot}, and its frames with it")
        if sounds and config is None and like is not None:
            config = like.audio_config
        if sounds and config is None:
            self.lost.append("the sound, as its configuration is lost")
        borrowed = len(self._prefix) > layout.PROLOGUE_BYTES
        late = header.live and not borrowed and first.first_frame > 0
        time = int(first.pts[0]) if late and first.pts is not None else 0
        return _Survey(header, config, identities, first.first_frame if late else 0, time, reader.close())

    def _events(self, reader: StreamReader | None = None) -> Iterator[Event]:
        """The intact events of the source; several readings may go on at a time."""
        reader = reader or StreamReader(strict=False)
        yield from reader.feed(self._prefix)
        for position in range(0, self._size, _BLOCK_BYTES):
            self._source.seek(position)
            yield from reader.feed(self._source.read(_BLOCK_BYTES))
        yield from reader.flush()

    def _rows(self) -> Iterator[Row]:
        """The frames that can be saved, and repetitions where others are missing."""
        survey = self._survey
        expected = survey.origin
        last: Row | None = None
        for group in self._events():
            if not isinstance(group, FrameGroup) or group.identity not in survey.identities:
                continue
            times = None if group.pts is None else group.pts - survey.first_time
            row = Row(survey.identities[group.identity], group.packets, times)
            gap = 0 if group.pts is not None else group.first_frame - expected
            if gap > MAX_HELD_FRAMES:
                raise FormatError(f"{gap:,} frames are missing before frame {group.first_frame:,}: too many to fill")
            if gap:
                yield _held(last or row, gap, 0 if last is None else -1)
                self.held += gap
            yield row
            last, expected = row, group.end_frame
            self.frames += gap + len(group)

    def _chunks(self) -> Iterator[AudioChunk]:
        for event in self._events():
            if isinstance(event, AudioChunk):
                try:
                    _ = event.durations
                except FormatError:
                    self.lost.append(f"sound at {event.first_packet_pts / AUDIO_CLOCK:.2f} s that is not Opus")
                else:
                    yield event

    def _extras(self) -> Iterator[tuple[int, UnknownChunk]]:
        """What only a renderer needs, once and at the beginning; chunks of unknown types before the frame they
        preceded."""
        seen: set[bytes] = set()
        for event in self._events():
            if isinstance(event, UnknownChunk) and event.type in layout.ATTACHED_TYPES:
                content = hashlib.sha256(bytes([event.type]) + event.payload).digest()
                if content not in seen:
                    yield 0, event
                seen.add(content)
        frame = 0
        for event in self._events():
            if isinstance(event, FrameGroup):
                frame = event.end_frame - self._survey.origin
            elif isinstance(event, UnknownChunk) and event.type not in layout.ATTACHED_TYPES:
                yield frame, event


class _HeaderLost(FormatError):
    """No intact header; only for the way from the reading to the decision what to do about it."""


def _held(row: Row, count: int, which: int) -> Row:
    """One frame of a row again and again."""
    return Row(row.identity, np.repeat(row.packets[[which]], count, axis=0))
