"""StreamReader: bytes in, in portions of any size; objects out. No I/O (SPEC 4 and 8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from zlib import crc32

from ..errors import CorruptChunk, FormatError, Truncated, UnsupportedVersion
from . import layout
from .audio import AudioChunk, AudioConfig
from .chunks import Chunk, Damage, Deframer
from .events import Attachment, Event, UnknownChunk, parse_attachment
from .groups import FrameGroup
from .header import StreamHeader
from .identity import Identity, IdentityReference
from .index import End, Index, IndexEntry
from .layout import ChunkType


@dataclass(frozen=True)
class StreamReport:
    """What a reader found in a stream, from its first byte to its last.

    complete: nothing is missing or damaged, and the end was there (or the stream is live and stops between chunks).
    truncated: the bytes stop before the end of the stream. frames: delivered; frames_lost: known to be missing.
    missing: one plain sentence for each thing that is not there. damage: the first 100 stretches skipped;
    damage_count: the number of all of them.
    """

    complete: bool
    truncated: bool
    groups: int
    frames: int
    frames_lost: int
    missing: tuple[str, ...]
    damage: tuple[Damage, ...]
    damage_count: int
    bytes_read: int
    not_held: tuple[bytes, ...] = ()  # digests of identities that frames use and the stream only refers to
    lost_types: frozenset[int] = frozenset()  # of layout.ATTACHMENT_TYPES: chunks of these are damaged or missing


class StreamReader:
    """Reads one stream from portions of any size.

    Every chunk is an event, but repetitions of header, identity and audio configuration are not delivered again.

    strict: raise a FormatError at the first damage, after the events before it: an error in the middle of a portion is
    raised by the next call. Otherwise go on at the next whole chunk and name in the report what was lost. BadMagic and
    UnsupportedVersion are raised in either mode.
    on_chunk: called with an IndexEntry and the size in bytes of each intact chunk. recall: called with the digest of a
    reference; the identity it returns, if any, is delivered in place of the reference. bases: identities by slot, from
    which others may be predicted where they are lost.
    """

    _REPORTED = 100

    def __init__(
        self,
        *,
        strict: bool = True,
        on_chunk: Callable[[IndexEntry, int], None] | None = None,
        recall: Callable[[bytes], Identity | None] | None = None,
        bases: Mapping[int, Identity] | None = None,
    ) -> None:
        self.header: StreamHeader | None = None
        self.audio_config: AudioConfig | None = None
        self.identities: dict[int, Identity] = {}
        self.references: dict[int, IdentityReference] = {}
        self.next_frame = 0  # number of the frame after the last one delivered
        self.end: End | None = None
        self._strict = strict
        self._on_chunk = on_chunk
        self._recall = recall
        self._bases = bases or {}
        self._not_held: dict[bytes, None] = {}
        self._deframer = Deframer(strict=strict)
        self._failure: FormatError | None = None
        self._groups = self._frames = 0
        self._last_pts = -1
        self._last_audio_pts: int | None = None
        self._index_offset = 0
        self._entries = 0
        self._entries_crc = 0  # of the index this reader would write, instead of the index itself
        self._missing: list[str] = []
        self._missing_slots: set[int] = set()
        self._damage: list[Damage] = []
        self._damage_count = 0
        self._attachments: Counter[int] = Counter()  # whole chunks of layout.ATTACHMENT_TYPES
        self._lost_types: set[int] = set()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes of the stream and return the events of the chunks that they complete."""
        if self._failure is not None:
            raise self._failure
        self._deframer.feed(data)
        return self._drain()

    def flush(self) -> list[Event]:
        """After the last bytes, before `close`: the events of whole chunks inside an incomplete one at the end.

        There are some only where a tolerant reader reads a file that lost bytes near its end.
        """
        events: list[Event] = []
        while self._deframer.abandon_partial():
            events += self._drain()
        return events

    def _drain(self) -> list[Event]:
        events: list[Event] = []
        try:
            while (item := self._deframer.next_chunk()) is not None:
                if isinstance(item, Damage):
                    self._note(item)
                elif (event := self._accept(item)) is not None:
                    events.append(event)
        except FormatError as error:
            self._failure = error
            if not events:
                raise
        return events

    def close(self) -> StreamReport:
        """Report what was read and what is missing. Raises Truncated if strict and the stream is cut off."""
        if self._failure is not None:
            raise self._failure
        lost = self._deframer.lost()
        if lost is not None:
            self._note(lost)
        missing = list(self._missing)
        frames_lost = self.next_frame - self._frames
        head, rest = self._deframer.partial()
        cut = bool(rest) and lost is None
        tail = 0
        if cut:
            what, tail = self._describe_tail(head.type if head is not None else None, rest)
            missing.append(what)
        if self.header is None:
            missing.append("the stream header")
        lost_types = self._lost_types
        if self.header is not None and self.header.live:
            lost_types = lost_types - self._attachments.keys()  # a repetition came whole
        missing += [layout.ATTACHMENT_NAMES[kind] for kind in sorted(lost_types)]
        if cut and head is not None:
            lost_types = lost_types | layout.ATTACHMENT_TYPES & {head.type}
        unfinished = self.end is None and not (self.header is not None and self.header.live)
        if unfinished:
            missing.append("the end of the stream")
        if self.end is not None:
            tail = max(0, self.end.frame_count - self.next_frame)
            if tail:
                missing.append(layout.frame_range(self.next_frame, self.end.frame_count - 1))
        truncated = cut or unfinished
        if self._strict and truncated:
            where = self._deframer.offset + self._deframer.pending
            raise Truncated(f"the stream is cut off; missing: {'; '.join(missing)}", where)
        return StreamReport(
            complete=not missing and not self._damage_count,
            truncated=truncated,
            groups=self._groups,
            frames=self._frames,
            frames_lost=frames_lost + tail,
            missing=tuple(missing),
            damage=tuple(self._damage),
            damage_count=self._damage_count,
            bytes_read=self._deframer.offset + self._deframer.pending,
            not_held=tuple(self._not_held.keys() - {identity.digest for identity in self.identities.values()}),
            lost_types=frozenset(lost_types),
        )

    def _describe_tail(self, chunk_type: int | None, rest: bytes) -> tuple[str, int]:
        """The incomplete chunk at the end in words, and how many frames it contains."""
        if self._deframer.prologue is None:
            return "the rest of the first 16 bytes", 0
        if chunk_type is None:
            return f"the rest of a chunk cut after {len(rest)} bytes", 0
        start = layout.CHUNK_HEAD_BYTES
        if chunk_type == ChunkType.GROUP and len(rest) >= start + layout.GROUP_HEAD_BYTES:
            fields = layout.GROUP_HEAD.parse(rest[start : start + layout.GROUP_HEAD_BYTES])
            # There is no checksum: trust the numbers only where they continue what came before.
            if fields.first_frame == self.next_frame and 1 <= fields.count <= layout.MAX_GROUP_FRAMES:
                last = fields.first_frame + fields.count - 1
                return f"{layout.frame_range(fields.first_frame, last)}, in a group cut short", fields.count
        return f"the rest of the {layout.chunk_name(chunk_type)} the stream stops in", 0

    def _note(self, damage: Damage) -> None:
        self._damage_count += 1
        if damage.type in layout.ATTACHMENT_TYPES:
            self._lost_types.add(damage.type)
        if len(self._damage) < self._REPORTED:
            self._damage.append(damage)

    def _note_missing(self, what: str) -> None:
        if len(self._missing) < self._REPORTED:
            self._missing.append(what)

    def _accept(self, chunk: Chunk) -> Event | None:
        """The event of one whole chunk; in tolerant mode its faults become damage."""
        try:
            event, slot, count = self._interpret(chunk)
        except UnsupportedVersion:
            raise
        except FormatError as error:
            if self._strict:
                raise
            self._note(Damage(chunk.offset, chunk.size, error, chunk.type))
            return None
        entry = IndexEntry(chunk.offset, chunk.type, slot, count)
        if chunk.type not in (ChunkType.INDEX, ChunkType.END):
            self._entries += 1
            self._entries_crc = crc32(bytes(entry), self._entries_crc)
        if self._on_chunk is not None:
            self._on_chunk(entry, chunk.size)
        return event

    def _interpret(self, chunk: Chunk) -> tuple[Event | None, int, int]:
        """The event of a chunk (None for a repetition), its identity slot and its count."""
        if self.end is not None:
            raise CorruptChunk("bytes follow the END chunk", chunk.offset)
        if self._index_offset and chunk.type != ChunkType.END:
            raise CorruptChunk("only the END chunk may follow the index", chunk.offset)
        if chunk.type not in layout.DEFINED_TYPES and chunk.mandatory:
            raise UnsupportedVersion(
                f"the stream needs a reader that knows chunk type 0x{chunk.type:02x}", chunk.offset
            )
        if self.header is None and chunk.type != ChunkType.HEADER and self._strict:
            raise CorruptChunk(f"the {layout.chunk_name(chunk.type)} precedes the stream header", chunk.offset)
        match chunk.type:
            case ChunkType.HEADER:
                return self._header(chunk), 0, 0
            case ChunkType.IDENTITY:
                return self._identity(chunk)
            case ChunkType.IDENTITY_REFERENCE:
                return self._reference(chunk)
            case ChunkType.GROUP:
                return self._group(chunk)
            case ChunkType.AUDIO_CONFIG:
                return self._audio_config(chunk), 0, 0
            case ChunkType.AUDIO:
                return self._audio(chunk)
            case ChunkType.GENERATOR_DELTA | ChunkType.BACKGROUND:
                return self._attachment(chunk), 0, 0
            case ChunkType.INDEX:
                return self._index(chunk), 0, 0
            case ChunkType.END:
                return self._end(chunk), 0, 0
            case _:
                return UnknownChunk(chunk.type, chunk.payload, chunk.offset), 0, 0

    def _header(self, chunk: Chunk) -> StreamHeader | None:
        header = StreamHeader.parse(chunk.payload, chunk.payload_offset)
        if self.header is None:
            self.header = header
            return header
        if header != self.header:
            raise CorruptChunk("a second, different stream header", chunk.offset)
        return None

    def _identity(self, chunk: Chunk) -> tuple[Identity | None, int, int]:
        prologue = self._deframer.prologue
        predicts = prologue is not None and prologue.minor >= layout.PREDICTED_MINOR
        identity = Identity.parse(chunk.payload, chunk.payload_offset, self._base if predicts else None)
        known = self.identities.get(identity.slot)
        given = known or self.references.get(identity.slot)
        if given is not None and given.digest != identity.digest:
            raise CorruptChunk(f"identity slot {identity.slot} is given two latents", chunk.offset)
        if known is not None:
            return None, identity.slot, 0
        self.identities[identity.slot] = identity
        return identity, identity.slot, 0

    def _base(self, slot: int) -> Identity | None:
        return self.identities.get(slot) or self._bases.get(slot)

    def _reference(self, chunk: Chunk) -> tuple[Identity | IdentityReference | None, int, int]:
        reference = IdentityReference.parse(chunk.payload, chunk.payload_offset)
        slot = reference.slot
        given = self.identities.get(slot) or self.references.get(slot)
        if given is not None and given.digest != reference.digest:
            raise CorruptChunk(f"identity slot {slot} is given two latents", chunk.offset)
        self.references[slot] = reference
        if slot not in self.identities and self._recall is not None:
            found = self._recall(reference.digest)
            if found is not None:
                self.identities[slot] = replace(found, slot=slot, base=None)
                return self.identities[slot], slot, 0
        return (reference if given is None else None), slot, 0

    def _group(self, chunk: Chunk) -> tuple[FrameGroup, int, int]:
        quantiser = None if self.header is None else self.header.quantiser
        group = FrameGroup.parse(chunk.payload, chunk.payload_offset, quantiser)
        if self.header is not None and (group.pts is not None) != self.header.variable_rate:
            raise CorruptChunk(
                "a group and the stream header disagree about presentation times", chunk.payload_offset + 11
            )
        if group.first_frame < self.next_frame:
            raise CorruptChunk(
                f"a group begins at frame {group.first_frame}, which was given before", chunk.payload_offset
            )
        if group.first_frame > self.next_frame:
            gap = layout.frame_range(self.next_frame, group.first_frame - 1)
            if self._strict:
                raise CorruptChunk(f"missing before this group: {gap}", chunk.payload_offset)
            self._note_missing(gap)
        if group.pts is not None:
            if group.pts[0] <= self._last_pts:
                raise CorruptChunk("presentation times do not increase from group to group", chunk.payload_offset)
            self._last_pts = int(group.pts[-1])
        if group.identity not in self.identities and group.identity in self.references:
            self._not_held[self.references[group.identity].digest] = None
        elif group.identity not in self.identities:
            if self._strict:
                raise CorruptChunk(
                    f"a group uses identity slot {group.identity}, not given before", chunk.payload_offset + 10
                )
            if group.identity not in self._missing_slots:
                self._missing_slots.add(group.identity)
                self._note_missing(f"the identity of slot {group.identity}")
        self.next_frame = group.end_frame
        self._groups += 1
        self._frames += len(group)
        return group, group.identity, len(group)

    def _audio_config(self, chunk: Chunk) -> AudioConfig | None:
        config = AudioConfig.parse(chunk.payload, chunk.payload_offset)
        if self.audio_config is None:
            self.audio_config = config
            return config
        if config != self.audio_config:
            raise CorruptChunk("a second, different audio configuration", chunk.offset)
        return None

    def _audio(self, chunk: Chunk) -> tuple[AudioChunk, int, int]:
        audio = AudioChunk.parse(chunk.payload, chunk.payload_offset)
        if self.audio_config is None:
            if self._strict:
                raise CorruptChunk("audio precedes its configuration", chunk.offset)
            if self._last_audio_pts is None:
                self._note_missing("the audio configuration")
        if self._last_audio_pts is not None and audio.first_packet_pts <= self._last_audio_pts:
            raise CorruptChunk("the times of the audio chunks do not increase", chunk.payload_offset)
        self._last_audio_pts = audio.first_packet_pts
        return audio, 0, len(audio.packets)

    def _attachment(self, chunk: Chunk) -> Attachment:
        attachment = parse_attachment(chunk.type, chunk.payload, chunk.payload_offset)
        self._attachments[chunk.type] += 1
        return attachment

    @property
    def _whole(self) -> bool:
        """Whether nothing is lost so far, so that index and END can be checked."""
        return not self._damage_count and not self._missing

    def _index(self, chunk: Chunk) -> Index:
        if self.header is not None and self.header.live:
            raise CorruptChunk("a live stream has no index", chunk.offset)
        index = Index.parse(chunk.payload, chunk.payload_offset)
        if self._whole and (len(index) != self._entries or crc32(chunk.payload) != self._entries_crc):
            raise CorruptChunk("the index does not fit the chunks before it", chunk.payload_offset)
        listed = Counter(index.entries["type"].tolist())
        self._lost_types.update(kind for kind in layout.ATTACHMENT_TYPES if listed[kind] > self._attachments[kind])
        self._index_offset = chunk.offset
        return index

    def _end(self, chunk: Chunk) -> End:
        end = End.parse(chunk.payload, chunk.payload_offset)
        if self.header is not None and self.header.live:
            raise CorruptChunk("a live stream has no END chunk", chunk.offset)
        if self._whole:
            if end.index_offset != self._index_offset:
                raise CorruptChunk("the END chunk names another place of the index", chunk.payload_offset)
            if end.frame_count != self.next_frame:
                raise CorruptChunk(
                    f"the END chunk counts {end.frame_count:,} frames, the stream has {self.next_frame:,}",
                    chunk.payload_offset + 8,
                )
            if end.stream_length != chunk.offset + chunk.size:
                raise CorruptChunk(
                    f"the END chunk gives a length of {end.stream_length:,} bytes", chunk.payload_offset + 16
                )
        self.end = end
        return end
