"""How the bytes of a stream file divide by purpose."""

from __future__ import annotations

from . import layout
from .layout import ChunkType
from .table import ChunkTable

#: The purpose of each chunk type; any other is "other".
_PURPOSE = {
    ChunkType.HEADER: "header",
    ChunkType.IDENTITY: "identity",
    ChunkType.IDENTITY_REFERENCE: "identity",
    ChunkType.GROUP: "packets",
    ChunkType.AUDIO_CONFIG: "audio",
    ChunkType.AUDIO: "audio",
    ChunkType.GENERATOR_DELTA: "personalization",
    ChunkType.BACKGROUND: "background",
}
_PARTS = ("total", "header", "identity", "packets", "audio", "index", "personalization", "background", "other")


def byte_account(table: ChunkTable, size: int) -> dict[str, int]:
    """Bytes by purpose, of a file of `size` bytes; all but "total" add up to it.

    "header" includes the prologue, "index" the END chunk. "other" is private, unknown, damaged and incomplete chunks.
    """
    account = dict.fromkeys(_PARTS, 0)
    account["total"] = size
    account["header"] = layout.PROLOGUE_BYTES
    account["index"] = table.index_bytes
    for chunk_type, purpose in _PURPOSE.items():
        account[purpose] += int(table.sizes[table.entries["type"] == chunk_type].sum())
    account["other"] = size - sum(n for part, n in account.items() if part not in ("total", "other"))
    return account
