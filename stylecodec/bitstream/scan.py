"""Reading all of a stream, tolerantly: to check it, or to find its chunks without an index (SPEC 8)."""

from __future__ import annotations

import numpy as np

from . import layout
from .groups import FrameGroup
from .identities import Recall
from .index import IndexEntry
from .layout import ChunkType
from .reader import StreamReader, StreamReport
from .source import Source, read_blocks
from .table import ChunkFile, ChunkTable


def check(source: Source) -> StreamReport:
    """Read all of a stream, tolerantly, and report what is whole, damaged and missing.

    A file object that cannot seek, such as stdin, is read as it comes, whatever its length.
    Raises BadMagic or UnsupportedVersion where reading makes no sense, and OSError.
    """
    reader = StreamReader(strict=False)
    for block in read_blocks(source):
        reader.feed(block)
    reader.flush()
    return reader.close()


def scan_table(source: ChunkFile, recall: Recall | None = None) -> ChunkTable:
    """The table from reading the whole file tolerantly. recall: for identities that others are predicted from."""
    found: list[tuple[IndexEntry, int]] = []
    first_frames: list[int] = []
    reader = StreamReader(strict=False, on_chunk=lambda entry, size: found.append((entry, size)), recall=recall)
    for block in source.source.blocks():
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
