"""Where the chunks of a file are, by its index (SPEC 5.6); scan.py finds them without one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, Truncated, UnsupportedVersion
from . import layout
from .chunks import Chunk, ChunkHead, parse_chunk, parse_head
from .index import End, Index
from .layout import ChunkType
from .reader import StreamReport
from .source import ByteSource


class ChunkFile:
    """A stream file, read chunk by chunk."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.source.size

    def head(self, offset: int) -> ChunkHead:
        """The head of the chunk at `offset`, checked."""
        return parse_head(self.source.read(offset, layout.CHUNK_HEAD_BYTES), offset)

    def chunk(self, offset: int, chunk_type: int) -> Chunk:
        """The chunk at `offset`, checked. Its length is compared with limit and file before it is read.

        Raises CorruptChunk where the chunk there has another type, and what `parse_chunk` raises.
        """
        head = self.head(offset)
        if head.type != chunk_type:
            raise CorruptChunk(f"the index points at the {layout.chunk_name(head.type)} by mistake", offset)
        if offset + head.size > self.size:
            raise Truncated(f"the file ends inside the {layout.chunk_name(head.type)}", self.size)
        return parse_chunk(self.source.read(offset, head.size), offset)


@dataclass(frozen=True)
class ChunkTable:
    """Where the chunks of a file are. first_frames: of each group, in the order of the GROUP entries."""

    entries: npt.NDArray[np.void]  # layout.INDEX_ENTRY, of every intact chunk before the index
    sizes: npt.NDArray[np.int64]  # bytes of each
    first_frames: npt.NDArray[np.int64]
    index_bytes: int  # INDEX and END chunks
    report: StreamReport | None  # of the scan, None where the table comes from the index

    def of(self, chunk_type: int) -> npt.NDArray[np.void]:
        """The entries of one type."""
        rows: npt.NDArray[np.void] = self.entries[self.entries["type"] == chunk_type]
        return rows

    def frames_before(self) -> npt.NDArray[np.int64]:
        """The number of the frame that each chunk precedes, int64, in the order of `entries`."""
        after = np.zeros(len(self.entries) + 1, np.int64)
        groups = np.flatnonzero(self.entries["type"] == ChunkType.GROUP)
        after[groups + 1] = self.first_frames + self.entries["count"][groups]
        before: npt.NDArray[np.int64] = np.maximum.accumulate(after)[:-1]
        return before


def load_table(source: ChunkFile) -> ChunkTable:
    """The table from END and INDEX. Raises FormatError where they are missing, damaged or contradict the file."""
    end_at = source.size - layout.CHUNK_OVERHEAD - layout.END_BYTES
    if end_at < layout.PROLOGUE_BYTES:
        raise Truncated("the file is too short for an END chunk", source.size)
    last = source.chunk(end_at, ChunkType.END)
    end = End.parse(last.payload, last.payload_offset)
    if end.stream_length != source.size or not layout.PROLOGUE_BYTES < end.index_offset < end_at:
        raise CorruptChunk("the END chunk does not fit the file", last.payload_offset)
    chunk = source.chunk(end.index_offset, ChunkType.INDEX)
    if chunk.offset + chunk.size != end_at:
        raise CorruptChunk("the index does not reach to the END chunk", chunk.offset)
    entries = Index.parse(chunk.payload, chunk.payload_offset).entries
    for entry in entries[~np.isin(entries["type"], list(layout.DEFINED_TYPES))]:
        head = source.head(int(entry["offset"]))
        if head.mandatory:
            raise UnsupportedVersion("the stream needs a reader of a later version", head.offset)
    ends = np.append(entries["offset"][1:], np.uint64(chunk.offset))
    if (ends <= entries["offset"]).any():
        raise CorruptChunk("the index points behind itself", chunk.payload_offset)
    counts = entries["count"][entries["type"] == ChunkType.GROUP].astype(np.int64)
    if entries["type"][0] != ChunkType.HEADER or not counts.all() or counts.sum() != end.frame_count:
        raise CorruptChunk("the index does not account for all frames", chunk.payload_offset)
    first_frames = np.cumsum(counts) - counts
    sizes = (ends - entries["offset"]).astype(np.int64)
    return ChunkTable(entries, sizes, first_frames, source.size - end.index_offset, None)
