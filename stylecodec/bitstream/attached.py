"""Chunks that only a renderer needs, found in a stream file: personalised generators and the scene behind the head.

All other tools copy these chunks as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from .delta import Personalization
from .file import StreamFile
from .layout import ChunkType


def personalizations(stream: StreamFile) -> Mapping[bytes, Personalization]:
    """The personalised generators of a stream, by the digest of the identity that they belong to.

    Of two for one identity the last counts that brings its delta, else the last. Raises FormatError.
    """
    found: dict[bytes, Personalization] = {}
    for _, chunk in stream.unknown_chunks():
        if chunk.type == ChunkType.GENERATOR_DELTA:
            one = Personalization.parse(chunk.payload, chunk.offset)
            if one.delta is not None or one.identity not in found:
                found[one.identity] = one
    return found
