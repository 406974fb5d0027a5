"""The INDEX and END chunks: where every chunk is, and whether any is missing (SPEC 5.6 and 5.7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, LimitExceeded
from . import layout
from .checks import exact_length, located


@dataclass(frozen=True)
class IndexEntry:
    """The place of one chunk. slot: of a group or identity, else 0. count: its frames or audio packets, else 0."""

    offset: int
    type: int
    slot: int = 0
    count: int = 0

    def __bytes__(self) -> bytes:
        return struct.pack("<QBBH", self.offset, self.type, self.slot, self.count)


@dataclass(frozen=True, eq=False)
class Index:
    """The INDEX chunk. entries: one of layout.INDEX_ENTRY for each chunk before it, in file order.

    Raises CorruptChunk and LimitExceeded.
    """

    entries: npt.NDArray[np.void]

    def __post_init__(self) -> None:
        entries = np.ascontiguousarray(self.entries, dtype=layout.INDEX_ENTRY)
        object.__setattr__(self, "entries", entries)
        if not 1 <= len(entries) <= layout.MAX_INDEX_ENTRIES:
            raise LimitExceeded(f"an index has 1..{layout.MAX_INDEX_ENTRIES:,} entries, not {len(entries):,}")
        offsets = entries["offset"]
        if offsets[0] != layout.PROLOGUE_BYTES or (offsets[1:] <= offsets[:-1]).any():
            raise CorruptChunk("the offsets of the index do not increase from the first chunk on")

    @classmethod
    def of(cls, entries: list[IndexEntry]) -> Index:
        """The index of these chunks."""
        return cls(np.frombuffer(b"".join(map(bytes, entries)), layout.INDEX_ENTRY))

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __bytes__(self) -> bytes:
        return self.entries.tobytes()

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Index:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        whole = len(data) // layout.INDEX_ENTRY.itemsize * layout.INDEX_ENTRY.itemsize
        exact_length(data, whole, "index", offset)
        return located(offset, cls, np.frombuffer(data, layout.INDEX_ENTRY))


@dataclass(frozen=True)
class End:
    """The END chunk. index_offset: of the INDEX chunk, 0 without one. stream_length: in bytes, END included."""

    index_offset: int
    frame_count: int
    stream_length: int

    def __bytes__(self) -> bytes:
        return bytes(layout.END.build(vars(self)))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> End:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        exact_length(data, layout.END_BYTES, "END chunk", offset)
        fields = layout.END.parse(data)
        return cls(fields.index_offset, fields.frame_count, fields.stream_length)
