"""How the bytes of a stream divide by purpose."""

from __future__ import annotations

from collections.abc import Mapping

from . import layout
from .layout import ChunkType

#: The purpose of each chunk type; any other is "other".
_PURPOSE: dict[int, str] = {
    ChunkType.HEADER: "header",
    ChunkType.IDENTITY: "identity",
    ChunkType.IDENTITY_REFERENCE: "identity",
    ChunkType.GROUP: "packets",
    ChunkType.AUDIO_CONFIG: "audio",
    ChunkType.AUDIO: "audio",
    ChunkType.INDEX: "index",
    ChunkType.END: "index",
    ChunkType.GENERATOR_DELTA: "personalization",
    ChunkType.BACKGROUND: "background",
}
_PARTS = ("total", "header", "identity", "packets", "audio", "index", "personalization", "background", "other")


def byte_account(sizes: Mapping[int, int], total: int) -> dict[str, int]:
    """Bytes by purpose of a stream of `total` bytes whose chunks of each type take `sizes`; all but "total" add up.

    "header" includes the prologue, "index" the END chunk. "other" is private, unknown, damaged and incomplete chunks.
    """
    account = dict.fromkeys(_PARTS, 0)
    account["total"], account["header"] = total, layout.PROLOGUE_BYTES
    for chunk_type, size in sizes.items():
        account[_PURPOSE.get(chunk_type, "other")] += size
    account["other"] = total - sum(n for part, n in account.items() if part not in ("total", "other"))
    return account
