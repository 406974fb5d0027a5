"""StreamWriter: objects in, bytes of a stream out. No I/O (SPEC 4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy.typing as npt

from ..errors import CorruptChunk, LimitExceeded
from . import layout
from .account import byte_account
from .audio import AudioChunk, AudioConfig
from .chunks import Prologue, pack_chunk
from .events import Attachment, UnknownChunk
from .groups import FrameGroup
from .header import StreamHeader
from .identity import Identity, IdentityReference
from .index import End, Index, IndexEntry
from .layout import ChunkType


def group_frames(rate: Fraction) -> int:
    """Frames of a group by default: one second, within the limits of SPEC 7."""
    return min(max(round(rate), 1), layout.MAX_GROUP_FRAMES)


class StreamWriter:
    """Writes one stream; the caller stores or sends the returned bytes in the order of the calls.

    Usage:
        writer = StreamWriter(header)
        data = writer.start() + writer.identity(Identity(latent)) + writer.group(packets) + writer.finish()

    predicts: whether identities with a base are written as predicted from it where it came before, which makes a
    stream of minor version 1; else, and where it did not, they are written whole.
    Raises a FormatError without an offset for values outside the format, RuntimeError for calls out of order.
    """

    def __init__(
        self, header: StreamHeader, audio: AudioConfig | None = None, *, live: bool = False, predicts: bool = False
    ) -> None:
        self.header = replace(header, live=live or header.live)
        self._predicts = predicts
        self.audio_config = audio
        self.frame_count = 0
        self.bytes_written = 0
        self._sizes: Counter[int] = Counter()  # bytes by chunk type
        self._slots: dict[bytes, int] = {}
        self._bases: dict[bytes, Identity] = {}  # as they were written, where others may be predicted from them
        self._slot: int | None = None
        self._last_pts = -1
        self._last_audio_pts: int | None = None
        self._entries: list[IndexEntry] = []
        self._finished = False

    def start(self) -> bytes:
        """Prologue, HEADER and, with audio, AUDIO_CONFIG."""
        if self.bytes_written:
            raise RuntimeError("the stream has started already")
        data = bytes(Prologue(minor=layout.PREDICTED_MINOR if self._predicts else layout.FIRST_MINOR))
        self.bytes_written = len(data)
        data += self._chunk(ChunkType.HEADER, bytes(self.header), mandatory=True)
        if self.audio_config is not None:
            data += self._chunk(ChunkType.AUDIO_CONFIG, bytes(self.audio_config))
        return data

    def identity(self, identity: Identity) -> bytes:
        """An IDENTITY chunk; the groups that follow use it. A known latent keeps its slot."""
        self._require_open()
        slot = self._slots.get(identity.digest, len(self._slots))
        base = None if identity.base is None else self._bases.get(identity.base.digest)
        if base is not None and (base.slot == slot or base.predictions == layout.MAX_PREDICTIONS):
            base = None
        sent = replace(identity, slot=slot, base=base)
        data = self._chunk(ChunkType.IDENTITY, bytes(sent), slot=slot, mandatory=True)
        self._slots[identity.digest] = self._slot = slot
        if self._predicts:
            self._bases.setdefault(identity.digest, sent)
        return data

    def reference(self, identity: Identity | IdentityReference, *, mandatory: bool = False) -> bytes:
        """An IDENTITY_REFERENCE chunk in place of an IDENTITY; the groups that follow use it.

        mandatory: this stream will not contain the latent itself (SPEC 5.8).
        """
        self._require_open()
        slot = self._slots.get(identity.digest, len(self._slots))
        payload = bytes(IdentityReference(identity.digest, slot))
        data = self._chunk(ChunkType.IDENTITY_REFERENCE, payload, slot=slot, mandatory=mandatory)
        self._slots[identity.digest] = self._slot = slot
        return data

    def use_identity(self, identity: Identity | IdentityReference) -> None:
        """Let the groups that follow use an identity written earlier. Writes no bytes."""
        if identity.digest not in self._slots:
            raise RuntimeError("this identity has not been written")
        self._slot = self._slots[identity.digest]

    def group(self, packets: npt.ArrayLike, pts: npt.ArrayLike | None = None) -> bytes:
        """A GROUP chunk with the next frames.

        packets: [n, 35], n in 1..1024: yaw, pitch, roll in degrees, alpha 0..31; rounded to fp16, or in the compact
            profile to the nearest levels of the header's quantiser.
        pts: int64 [n] in ticks of 1/time_scale s; needed if and only if the rate is variable.
        """
        self._require_open()
        if self._slot is None:
            raise RuntimeError("a group needs an identity before it")
        if (pts is not None) != self.header.variable_rate:
            raise CorruptChunk("presentation times go with a header that has a time scale, and only with it")
        group = FrameGroup(self.frame_count, packets, pts, self._slot, self.header.quantiser)  # type: ignore[arg-type]
        if group.pts is not None:
            if group.pts[0] <= self._last_pts:
                raise CorruptChunk("presentation times do not increase from group to group")
            self._last_pts = int(group.pts[-1])
        data = self._chunk(ChunkType.GROUP, bytes(group), self._slot, len(group), mandatory=True)
        self.frame_count = group.end_frame
        return data

    def audio(self, chunk: AudioChunk) -> bytes:
        """An AUDIO chunk."""
        if self.audio_config is None:
            raise RuntimeError("the stream was begun without audio")
        if self._last_audio_pts is not None and chunk.first_packet_pts <= self._last_audio_pts:
            raise CorruptChunk("the times of the audio chunks do not increase")
        data = self._chunk(ChunkType.AUDIO, bytes(chunk), count=len(chunk.packets))
        self._last_audio_pts = chunk.first_packet_pts
        return data

    def extra(self, chunk_type: int, payload: bytes, *, mandatory: bool = False) -> bytes:
        """A chunk of a private type, 0x80..0xFF. Readers that do not know it skip it, or stop if it is mandatory."""
        if not 0x80 <= chunk_type <= 0xFF:
            raise LimitExceeded(f"chunk type 0x{chunk_type:02x} is not for private use")
        return self._chunk(chunk_type, payload, mandatory=mandatory)

    def attach(self, attachment: Attachment) -> bytes:
        """A GENERATOR_DELTA or BACKGROUND chunk; it comes before the first group that needs it."""
        return self._chunk(attachment.chunk_type, bytes(attachment))

    def copy(self, chunk: UnknownChunk) -> bytes:
        """A chunk of a type that this version does not define, as it was read but not mandatory."""
        if chunk.type in layout.DEFINED_TYPES:
            raise LimitExceeded(f"a {layout.chunk_name(chunk.type)} is not copied unread")
        return self._chunk(chunk.type, chunk.payload)

    def finish(self) -> bytes:
        """INDEX and END; nothing when live."""
        if self._finished:
            return b""
        if not self.bytes_written:
            raise RuntimeError("the stream has not started")
        if self.header.live:
            self._finished = True
            return b""
        data, index_offset = b"", 0
        if len(self._entries) <= layout.MAX_INDEX_ENTRIES:
            index_offset = self.bytes_written
            data = self._chunk(ChunkType.INDEX, bytes(Index.of(self._entries)))
        length = self.bytes_written + layout.CHUNK_OVERHEAD + layout.END_BYTES
        data += self._chunk(ChunkType.END, bytes(End(index_offset, self.frame_count, length)))
        self._finished = True
        return data

    def byte_account(self) -> dict[str, int]:
        """Bytes by purpose that were written so far; all but "total" add up to it, see account.byte_account."""
        return byte_account(self._sizes, self.bytes_written)

    def _require_open(self) -> None:
        if self._finished or not self.bytes_written:
            raise RuntimeError("the stream is finished" if self._finished else "the stream has not started")

    def _chunk(
        self, chunk_type: int, payload: bytes, slot: int = 0, count: int = 0, mandatory: bool = False
    ) -> bytes:
        self._require_open()
        data = pack_chunk(chunk_type, payload, mandatory)
        # A live stream has no end and no index: its writer must not grow.
        if not self.header.live and len(self._entries) <= layout.MAX_INDEX_ENTRIES:
            self._entries.append(IndexEntry(self.bytes_written, chunk_type, slot, count))
        self.bytes_written += len(data)
        self._sizes[int(chunk_type)] += len(data)
        return data
