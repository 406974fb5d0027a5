"""Chunks that only a renderer needs: personalised generators and what is behind the head (SPEC 13 and 14).

Readers check them; all tools that do not render copy them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .background import Background
from .delta import Personalization
from .layout import ChunkType

if TYPE_CHECKING:
    from .file import StreamFile


def parse_attached(chunk_type: int, payload: bytes, offset: int = 0) -> Personalization | Background:
    """The content of a chunk of layout.ATTACHED_TYPES; FormatError."""
    if chunk_type == ChunkType.GENERATOR_DELTA:
        return Personalization.parse(payload, offset)
    return Background.parse(payload, offset)


def personalizations(stream: StreamFile) -> Mapping[bytes, Personalization]:
    """The personalised generators of a stream, by the digest of the identity that they belong to.

    Of two for one identity the last counts that brings its delta, else the first. Raises FormatError.
    """
    found: dict[bytes, Personalization] = {}
    for _, chunk in stream.unknown_chunks():
        if chunk.type == ChunkType.GENERATOR_DELTA:
            one = Personalization.parse(chunk.payload, chunk.offset)
            if one.delta is not None or one.identity not in found:
                found[one.identity] = one
    return found


def background(stream: StreamFile) -> Background | None:
    """What is behind the head in a stream, the first such chunk; None for what the generator makes of it."""
    for _, chunk in stream.unknown_chunks():
        if chunk.type == ChunkType.BACKGROUND:
            return Background.parse(chunk.payload, chunk.offset)
    return None
