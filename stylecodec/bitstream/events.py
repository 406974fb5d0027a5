"""What a StreamReader delivers: one object for each chunk, of the types of the specification or of none (SPEC 4)."""

from __future__ import annotations

from dataclasses import dataclass

from .audio import AudioChunk, AudioConfig
from .background import Background
from .delta import Personalization
from .groups import FrameGroup
from .header import StreamHeader
from .identity import Identity, IdentityReference
from .index import End, Index
from .layout import ChunkType


@dataclass(frozen=True)
class UnknownChunk:
    """A chunk of a type that this version does not define, 0x08..0x0F or 0x13..0xFF. offset: absolute, of the chunk."""

    type: int
    payload: bytes
    offset: int


Attachment = Personalization | Background
"""What only a renderer needs: a personalised generator, or what is behind the head (SPEC 13 and 14)."""

Extra = Personalization | Background | UnknownChunk
"""What tools that do not render copy as it is."""

Event = StreamHeader | Identity | IdentityReference | AudioConfig | FrameGroup | AudioChunk | Extra | Index | End
"""The content of one chunk."""


def parse_attachment(chunk_type: int, payload: bytes, offset: int = 0) -> Attachment:
    """The content of a chunk of layout.ATTACHMENT_TYPES. offset: absolute, of the payload. Raises FormatError."""
    kind = Personalization if chunk_type == ChunkType.GENERATOR_DELTA else Background
    return kind.parse(payload, offset)
