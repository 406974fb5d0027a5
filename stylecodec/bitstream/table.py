"""Where the chunks of a file are: from its index, or by reading all of it (SPEC 5.6 and 8)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, Truncated, UnsupportedVersion
from . import layout
from .chunks import Chunk, parse_chunk, parse_head
from .groups import FrameGroup
from .index import End, Index, IndexEntry
from .layout import ChunkType
from .reader import StreamReader, StreamReport

BLOCK_BYTES = 1 << 16


class ChunkFile:
    """A seekable binary file, read chunk by chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, count: int) -> bytes:
        """That many bytes from there; Truncated if the file has fewer."""
        self.file.seek(offset)
        data = self.file.read(count)
        if len(data) < count:
            raise Truncated("the file ends early", offset + len(data))
        return data

    def chunk(self, offset: int, chunk_type: int) -> Chunk:
        """One chunk, checked; its length is held against limit and file before it is read."""
        head = parse_head(self.read(offset, layout.CHUNK_HEAD_BYTES), offset)
        if head.type != chunk_type:
            raise CorruptChunk(f"the index points at the {layout.chunk_name(head.type)} by mistake", offset)
        if offset + head.size > self.size:
            raise Truncated(f"the file ends inside the {layout.chunk_name(head.type)}", self.size)
        return parse_chunk(self.read(offset, head.size), offset)


@dataclass(frozen=True)
class ChunkTable:
    """Where the chunks are. first_frames: of each group, in the order of the GROUP entries."""

    entries: npt.NDArray[np.void]  # layout.INDEX_ENTRY, of every intact chunk before the index
    sizes: npt.NDArray[np.int64]  # bytes of each
    first_frames: npt.NDArray[np.int64]
    index_bytes: int  # INDEX and END chunks
    report: StreamReport | None  # of the scan, None when the index of the file served

    def of(self, chunk_type: int) -> npt.NDArray[np.void]:
        """The entries of one type."""
        rows: npt.NDArray[np.void] = self.entries[self.entries["type"] == chunk_type]
        return rows

    def frames_before(self) -> npt.NDArray[np.int64]:
        """Of each entry: the number of the frame it precedes."""
        after = np.zeros(len(self.entries) + 1, np.int64)
        groups = np.flatnonzero(self.entries["type"] == ChunkType.GROUP)
        after[groups + 1] = self.first_frames + self.entries["count"][groups]
        before: npt.NDArray[np.int64] = np.maximum.accumulate(after)[:-1]
        return before


def load_table(source: ChunkFile) -> ChunkTable:
    """The table from END and INDEX; raises FormatError where they cannot be relied on."""
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
    for entry in entries[~np.isin(entries["type"], list(layout.DEFINED_TYPES | layout.ATTACHED_TYPES))]:
        head = parse_head(source.read(int(entry["offset"]), layout.CHUNK_HEAD_BYTES), int(entry["offset"]))
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


def scan_table(source: ChunkFile) -> ChunkTable:
    """The table from reading everything."""
    found: list[tuple[IndexEntry, int]] = []
    first_frames: list[int] = []
    reader = StreamReader(strict=False, on_chunk=lambda entry, size: found.append((entry, size)))
    source.file.seek(0)
    while block := source.file.read(BLOCK_BYTES):
        first_frames += (e.first_frame for e in reader.feed(block) if isinstance(e, FrameGroup))
    first_frames += (e.first_frame for e in reader.flush() if isinstance(e, FrameGroup))
    report = reader.close()
    closing = (ChunkType.INDEX, ChunkType.END)
    kept = [(entry, size) for entry, size in found if entry.type not in closing]
    entries = np.frombuffer(b"".join(bytes(entry) for entry, _ in kept), layout.INDEX_ENTRY)
    return ChunkTable(
        entries,
        np.array([size for _, size in kept], np.int64),
        np.array(first_frames, np.int64),
        sum(size for entry, size in found if entry.type in closing),
        report,
    )
