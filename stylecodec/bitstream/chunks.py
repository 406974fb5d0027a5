"""Chunk framing: bytes to checked chunks and back, with recovery after damage (SPEC 3 and 8). No I/O."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

from ..errors import BadMagic, ChecksumMismatch, CorruptChunk, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from . import layout


@dataclass(frozen=True)
class ChunkHead:
    """The 12 bytes before a payload, checked. offset: absolute, of the chunk."""

    type: int
    flags: int
    length: int  # of the payload
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole chunk."""
        return layout.CHUNK_OVERHEAD + self.length

    @property
    def mandatory(self) -> bool:
        return bool(self.flags & layout.ChunkFlag.MANDATORY)


@dataclass(frozen=True)
class Chunk:
    """One whole chunk whose checksum fits. offset: absolute, of the chunk."""

    type: int
    flags: int
    payload: bytes
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole chunk."""
        return layout.CHUNK_OVERHEAD + len(self.payload)

    @property
    def payload_offset(self) -> int:
        return self.offset + layout.CHUNK_HEAD_BYTES

    @property
    def mandatory(self) -> bool:
        return bool(self.flags & layout.ChunkFlag.MANDATORY)


@dataclass(frozen=True)
class Damage:
    """A stretch of bytes without a valid chunk, and the error that was found there."""

    offset: int  # absolute, first byte skipped
    length: int  # bytes skipped
    error: FormatError
    type: int | None = None  # of the chunk at its beginning, if the head of that chunk is whole


@dataclass(frozen=True)
class Prologue:
    """The 16 bytes every stream begins with (SPEC 2)."""

    major: int = layout.VERSION_MAJOR
    minor: int = layout.FIRST_MINOR
    reserved: int = 0

    def __bytes__(self) -> bytes:
        head = layout.MAGIC + struct.pack("<BBH", self.major, self.minor, self.reserved)
        return head + struct.pack("<I", crc32(head))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Prologue:
        """Parse 16 bytes. Raises BadMagic, Truncated, ChecksumMismatch and UnsupportedVersion."""
        check_magic(data, offset)
        if len(data) < layout.PROLOGUE_BYTES:
            raise Truncated("the stream ends inside its first 16 bytes", offset + len(data))
        fields = layout.PROLOGUE.parse(data)
        if fields.crc != crc32(data[: layout.PROLOGUE_BYTES - layout.CHUNK_CRC_BYTES]):
            raise ChecksumMismatch("the checksum of the version bytes does not fit", offset)
        if fields.major != layout.VERSION_MAJOR:
            raise UnsupportedVersion(
                f"the stream has format version {fields.major}.{fields.minor}; "
                f"this reader knows {layout.VERSION_MAJOR}.x",
                offset + len(layout.MAGIC),
            )
        return cls(fields.major, fields.minor, fields.reserved)


def check_magic(data: bytes, offset: int = 0) -> None:
    """Raise BadMagic unless `data` begins with the signature, or is the beginning of it."""
    given = data[: len(layout.MAGIC)]
    wrong = next((i for i, byte in enumerate(given) if byte != layout.MAGIC[i]), None)
    if wrong is None:
        return
    if wrong >= 4:
        raise BadMagic("the signature was altered, as by a text-mode transfer", offset + wrong)
    raise BadMagic("not a stylecodec stream", offset + wrong)


def pack_chunk(chunk_type: int, payload: bytes, flags: int = 0) -> bytes:
    """The bytes of a chunk: head, payload, CRC-32 (SPEC 3). Raises LimitExceeded for a payload that is too long."""
    if len(payload) > layout.max_payload(chunk_type):
        raise LimitExceeded(
            f"a payload of {len(payload):,} bytes is too long for the {layout.chunk_name(chunk_type)}"
        )
    head = layout.SYNC + struct.pack("<BBI", chunk_type, flags, len(payload))
    head += struct.pack("<H", crc32(head) & 0xFFFF)
    return head + payload + struct.pack("<I", crc32(payload, crc32(head)))


def parse_head(data: bytes, offset: int = 0) -> ChunkHead:
    """Parse 12 bytes as a chunk head: sync word, check field, length limit.

    Raises CorruptChunk (no chunk begins here), Truncated, ChecksumMismatch and LimitExceeded.
    """
    if data[:4] != layout.SYNC:
        raise CorruptChunk("no chunk begins where one must", offset)
    if len(data) < layout.CHUNK_HEAD_BYTES:
        raise Truncated("the stream ends inside the head of a chunk", offset + len(data))
    fields = layout.CHUNK_HEAD.parse(data)
    if fields.check != crc32(data[:10]) & 0xFFFF:
        raise ChecksumMismatch("the head of a chunk is damaged", offset)
    limit = layout.max_payload(fields.type)
    if fields.length > limit:
        raise LimitExceeded(
            f"the {layout.chunk_name(fields.type)} announces {fields.length:,} bytes; the limit is {limit:,}",
            offset + 6,
        )
    return ChunkHead(fields.type, fields.flags, fields.length, offset)


def parse_chunk(data: bytes, offset: int = 0) -> Chunk:
    """Parse the chunk at the start of `data`; more bytes may follow. Raises as `parse_head`."""
    head = parse_head(data[: layout.CHUNK_HEAD_BYTES], offset)
    if len(data) < head.size:
        raise Truncated(f"the stream ends inside the {layout.chunk_name(head.type)}", offset + len(data))
    return _checked(head, data[: head.size])


def _checked(head: ChunkHead, data: bytes) -> Chunk:
    body = layout.CHUNK_HEAD_BYTES + head.length
    if layout.CHUNK_CRC.parse(data[body:]) != crc32(data[:body]):
        raise ChecksumMismatch(f"the checksum of the {layout.chunk_name(head.type)} does not fit", head.offset)
    return Chunk(head.type, head.flags, data[layout.CHUNK_HEAD_BYTES : body], head.offset)


class Deframer:
    """Bytes in, in portions of any size; whole checked chunks out (SPEC 3).

    If strict, `next_chunk` raises at the first damage. Otherwise it goes on at the next chunk head whose check fits,
    and returns what it skipped as Damage. The work is linear in the number of bytes, whatever they are.
    """

    #: The search inside chunks whose checksum does not fit may read each byte again, on average so many times.
    _RESCAN_FACTOR = 4
    _RESCAN_FREE_BYTES = 1 << 20

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._buffer = bytearray()
        self._position = 0  # of the next unread byte in the buffer
        self._base = 0  # absolute offset of the buffer's first byte
        self._head: ChunkHead | None = None  # checked, payload still incomplete
        self._prologue: Prologue | None = None
        self._lost: tuple[int, FormatError, int | None] | None = None  # where a damaged stretch began, why, in what
        self._rescanned = 0

    @property
    def offset(self) -> int:
        """Absolute offset of the next unread byte."""
        return self._base + self._position

    @property
    def pending(self) -> int:
        """Bytes fed and not yet part of a chunk."""
        return len(self._buffer) - self._position

    @property
    def prologue(self) -> Prologue | None:
        return self._prologue

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Those already read are dropped first, so that memory contains one chunk at most."""
        if self._position:
            del self._buffer[: self._position]
            self._base += self._position
            self._position = 0
        self._buffer += data

    def next_chunk(self) -> Chunk | Damage | None:
        """The next chunk or damaged stretch, or None when more bytes are needed.

        Raises BadMagic and UnsupportedVersion in either mode, other FormatErrors only if strict.
        """
        if self._prologue is None and not self._read_prologue():
            return None
        while True:
            if self._lost is not None and self._head is None:
                return self._resynchronise()
            try:
                return self._read_chunk()
            except FormatError as error:
                if self._strict:
                    raise
                self._skip_damage(error)

    def partial(self) -> tuple[ChunkHead | None, bytes]:
        """The rest at the end: the head of an incomplete chunk, if that is whole, and the bytes of the chunk."""
        return self._head, bytes(self._buffer[self._position :])

    def lost(self) -> Damage | None:
        """The damaged stretch at the end of the stream, None if it ends with a whole or incomplete chunk."""
        if self._lost is None:
            return None
        start, error, kind = self._lost
        return Damage(start, self._base + len(self._buffer) - start, error, kind)

    def abandon_partial(self) -> bool:
        """At the end of the bytes: skip an incomplete chunk if a whole one lies inside it.

        That happens where bytes were lost inside a chunk near the end. Returns whether there is more to read.
        """
        if self._head is None or self._strict:
            return False
        found, budget = self._position, self._RESCAN_FACTOR * self.pending + self._RESCAN_FREE_BYTES
        while budget > 0 and (found := self._buffer.find(layout.SYNC, found + len(layout.SYNC))) >= 0:
            data = bytes(self._buffer[found : found + layout.CHUNK_HEAD_BYTES])
            try:
                size = parse_head(data).size
                budget -= size
                parse_chunk(bytes(self._buffer[found : found + size]))
            except FormatError:
                continue
            error = Truncated(f"bytes are missing from the {layout.chunk_name(self._head.type)}", self.offset)
            self._lost = (self.offset, error, self._head.type)
            self._head = None
            self._position = found
            return True
        return False

    def _read_prologue(self) -> bool:
        data = bytes(self._buffer[: layout.PROLOGUE_BYTES])
        check_magic(data)
        if len(data) < layout.PROLOGUE_BYTES:
            return False
        try:
            self._prologue = Prologue.parse(data)
        except ChecksumMismatch as error:
            if self._strict:
                raise
            # The magic fits: the version bytes are damaged, and may have been any that are known.
            self._prologue = Prologue(minor=layout.VERSION_MINOR)
            self._lost = (0, error, None)
        self._position = layout.PROLOGUE_BYTES
        return True

    def _read_chunk(self) -> Chunk | None:
        if self._head is None:
            available = self.pending
            if available < layout.CHUNK_HEAD_BYTES:
                start = bytes(self._buffer[self._position : self._position + len(layout.SYNC)])
                if not layout.SYNC.startswith(start):
                    raise CorruptChunk("no chunk begins where one must", self.offset)
                return None
            data = bytes(self._buffer[self._position : self._position + layout.CHUNK_HEAD_BYTES])
            self._head = parse_head(data, self.offset)
        head = self._head
        if self.pending < head.size:
            return None
        self._head = None
        chunk = _checked(head, bytes(self._buffer[self._position : self._position + head.size]))
        self._position += head.size
        return chunk

    def _skip_damage(self, error: FormatError) -> None:
        """Mark the bytes at the current position as damaged, and step past the sync word there."""
        head = None
        if isinstance(error, ChecksumMismatch) and error.offset == self.offset:
            with suppress(FormatError):  # otherwise the head is damaged, and no length is known
                data = bytes(self._buffer[self._position : self._position + layout.CHUNK_HEAD_BYTES])
                head = parse_head(data, self.offset)
        if self._lost is None:
            self._lost = (self.offset, error, None if head is None else head.type)
        step = len(layout.SYNC) if self._buffer.startswith(layout.SYNC, self._position) else 1
        self._position += step if head is None else self._step_past_bad_checksum(head)

    def _step_past_bad_checksum(self, head: ChunkHead) -> int:
        """How far to step: past the sync word, to search inside the chunk, or past the chunk after too much of that."""
        self._rescanned += head.size
        if self._rescanned <= self._RESCAN_FACTOR * self.offset + self._RESCAN_FREE_BYTES:
            return len(layout.SYNC)
        return head.size

    def _resynchronise(self) -> Damage | None:
        """Move to the next sync word with a fitting check; the stretch before it, or None if more bytes are needed."""
        while True:
            found = self._buffer.find(layout.SYNC, self._position)
            if found < 0:
                self._position = max(self._position, len(self._buffer) - len(layout.SYNC) + 1)
                return None
            self._position = found
            if self.pending < layout.CHUNK_HEAD_BYTES:
                return None
            try:
                self._head = parse_head(bytes(self._buffer[found : found + layout.CHUNK_HEAD_BYTES]), self.offset)
            except FormatError:
                self._position += len(layout.SYNC)
                continue
            assert self._lost is not None
            start, error, kind = self._lost
            self._lost = None
            return Damage(start, self.offset - start, error, kind)
