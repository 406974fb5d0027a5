"""The personalised generators and the background of a stream file (SPEC 13 and 14)."""

from __future__ import annotations

from collections.abc import Mapping

from .background import Background
from .delta import Personalization
from .file import StreamFile
from .layout import ChunkType


def admit(found: dict[bytes, Personalization], one: Personalization) -> None:
    """Add a personalised generator to `found`, by the digest of its identity.

    Of several for one identity the first that contains its delta is kept, else the first.
    """
    known = found.get(one.identity)
    if known is None or (known.delta is None and one.delta is not None):
        found[one.identity] = one


def personalizations(stream: StreamFile) -> Mapping[bytes, Personalization]:
    """The personalised generators of the identities that a stream contains or names, by the digest of the identity.

    Raises FormatError as StreamFile.extras.
    """
    found: dict[bytes, Personalization] = {}
    for _, one in stream.extras(lambda kind: kind == ChunkType.GENERATOR_DELTA):
        if isinstance(one, Personalization) and one.identity in stream.identity_digests:
            admit(found, one)
    return found


def background(stream: StreamFile) -> Background | None:
    """The first background of a stream, None without one.

    Raises FormatError as StreamFile.extras.
    """
    for _, one in stream.extras(lambda kind: kind == ChunkType.BACKGROUND):
        if isinstance(one, Background):
            return one
    return None
