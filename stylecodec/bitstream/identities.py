"""The identities of a stream file, by slot (SPEC 5.2 and 5.8): read when they are asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, FormatError, LimitExceeded
from . import layout
from .identity import Identity, IdentityReference
from .layout import ChunkType
from .table import ChunkFile, ChunkTable

IntArray = npt.NDArray[np.int64]
Recall = Callable[[bytes], Identity | None]
"""Gives the identity of a digest, or None where it is not known."""


class IdentityTable:
    """Identities by slot. minor: the stream's minor version. recall: for those that the file only refers to."""

    def __init__(self, chunks: ChunkFile, table: ChunkTable, minor: int, recall: Recall | None) -> None:
        self._chunks, self._table, self._recall = chunks, table, recall
        self.predicts = minor >= layout.PREDICTED_MINOR  # whether some may be predicted from others
        self._known: dict[int, Identity] = {}

    @cached_property
    def references(self) -> tuple[IdentityReference, ...]:
        """Identities that the file names by their digest, by slot; it may contain them as well."""
        found: dict[int, IdentityReference] = {}
        for offset in self._table.of(ChunkType.IDENTITY_REFERENCE)["offset"]:
            chunk = self._chunks.chunk(int(offset), ChunkType.IDENTITY_REFERENCE)
            reference = IdentityReference.parse(chunk.payload, chunk.payload_offset)
            found.setdefault(reference.slot, reference)
        return tuple(found[slot] for slot in sorted(found))

    @cached_property
    def digests(self) -> frozenset[bytes]:
        """SHA-256 of the latents that the file contains or names, without damaged chunks; no latent is decoded."""
        digest = slice(layout.IDENTITY_HEAD_BYTES - layout.DIGEST_BYTES, layout.IDENTITY_HEAD_BYTES)
        found: set[bytes] = set()
        for chunk_type in (ChunkType.IDENTITY, ChunkType.IDENTITY_REFERENCE):
            for offset in self._table.of(chunk_type)["offset"]:
                with suppress(FormatError):
                    found.add(self._chunks.chunk(int(offset), chunk_type).payload[digest])
        return frozenset(found)

    @property
    def slots(self) -> list[int]:
        """Of the identities that the file contains."""
        return sorted({int(slot) for slot in self._table.of(ChunkType.IDENTITY)["slot"]})

    def of_slot(self, slot: int) -> Identity:
        """The identity of a slot; CorruptChunk if it is missing, FormatError if it is only named and not known."""
        return self._of_slot(slot, 0)

    def named(self, slot: int) -> Identity | IdentityReference:
        """The identity of a slot, or the reference where the file contains no more than that."""
        named = {reference.slot: reference for reference in self.references}
        return named[slot] if self._first_chunk(slot) is None and slot in named else self.of_slot(slot)

    def sizes(self) -> Iterator[tuple[Identity, int]]:
        """The identities that the file contains, each with the bytes of the first chunk that gives it."""
        for slot in self.slots:
            yield self.of_slot(slot), int(self._table.sizes[self._given(slot)[0]])

    def _given(self, slot: int) -> IntArray:
        """The entries of the table, by number, that give the identity of a slot."""
        entries = self._table.entries
        return np.flatnonzero((entries["type"] == ChunkType.IDENTITY) & (entries["slot"] == slot))

    def _first_chunk(self, slot: int) -> int | None:
        """The offset of the first chunk that gives the identity of a slot."""
        given = self._given(slot)
        return int(self._table.entries["offset"][given[0]]) if len(given) else None

    def _of_slot(self, slot: int, predictions: int) -> Identity:
        """predictions: how many identities are predicted from this one, one after the other."""
        if slot in self._known:
            return self._known[slot]
        if predictions > layout.MAX_PREDICTIONS:
            raise LimitExceeded(f"an identity is predicted over more than {layout.MAX_PREDICTIONS} others")
        offset = self._first_chunk(slot)
        if offset is None:
            return self._recalled(slot)

        def base_of(other: int) -> Identity | None:
            """A base comes before, so that none is asked for twice."""
            first = self._first_chunk(other)
            if first is None and not any(reference.slot == other for reference in self.references):
                return None
            return None if first is not None and first > offset else self._of_slot(other, predictions + 1)

        chunk = self._chunks.chunk(offset, ChunkType.IDENTITY)
        identity = Identity.parse(chunk.payload, chunk.payload_offset, base_of if self.predicts else None)
        if identity.slot != slot:
            raise CorruptChunk("an identity and the index disagree", chunk.payload_offset)
        self._known[slot] = identity
        return identity

    def _recalled(self, slot: int) -> Identity:
        """An identity that the file does not contain."""
        digest = next((reference.digest for reference in self.references if reference.slot == slot), None)
        if digest is None:
            raise CorruptChunk(f"the identity of slot {slot} is missing from this file")
        found = self._recall(digest) if self._recall is not None else None
        if found is None:
            raise FormatError(
                f"this file only names its identity {digest.hex()[:16]}, which is not known here; "
                "import the person's identity card (stylecodec identity import)"
            )
        self._known[slot] = replace(found, slot=slot, base=None)
        return self._known[slot]
