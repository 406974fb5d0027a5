"""Chunks that only a renderer needs: personalised generators and what is behind the head (SPEC 13 and 14).

Readers check them; all tools that do not render copy them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .background import Background
from .delta import Personalization
from .layout import CHUNK_HEAD_BYTES, ChunkType

if TYPE_CHECKING:
    from .file import StreamFile


def parse_attached(chunk_type: int, payload: bytes, offset: int = 0) -> Personalization | Background:
    """The content of a chunk of layout.ATTACHED_TYPES; FormatError."""
    if chunk_type == ChunkType.GENERATOR_DELTA:
        return Personalization.parse(payload, offset)
    return Background.parse(payload, offset)


def admit(found: dict[bytes, Personalization], one: Personalization) -> None:
    """Keep a personalised generator by the digest of its identity: of several the first that brings its delta, else
    the first."""
    known = found.get(one.identity)
    if known is None or (known.delta is None and one.delta is not None):
        found[one.identity] = one


def personalizations(stream: StreamFile) -> Mapping[bytes, Personalization]:
    """The personalised generators of the identities that a stream holds or names, by the digest of the identity.

    Raises FormatError as StreamFile.unknown_chunks.
    """
    found: dict[bytes, Personalization] = {}
    for _, chunk in stream.unknown_chunks(lambda kind: kind == ChunkType.GENERATOR_DELTA):
        one = Personalization.parse(chunk.payload, chunk.offset + CHUNK_HEAD_BYTES)
        if one.identity in stream.identity_digests:
            admit(found, one)
    return found


def background(stream: StreamFile) -> Background | None:
    """What is behind the head in a stream, the first such chunk; None for what the generator makes of it.

    Raises FormatError as StreamFile.unknown_chunks.
    """
    for _, chunk in stream.unknown_chunks(lambda kind: kind == ChunkType.BACKGROUND):
        return Background.parse(chunk.payload, chunk.offset + CHUNK_HEAD_BYTES)
    return None
