"""Live streams in RTP packets: chunks to datagrams and back. No I/O (SPEC 11; RFC 3550).

    sender     chunks ──► Packetizer ──► datagrams
    receiver   datagrams ──► JitterBuffer ──► Depacketizer ──► bytes of chunks for a StreamReader

It is own code because a stream uses so little of RTP (one header and one goodbye packet) that a library would be a
dependency without a benefit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self
from zlib import crc32

from ...errors import CorruptChunk, FormatError, LimitExceeded, Truncated
from .. import layout
from ..chunks import parse_chunk
from ..varint import pack_varint, parse_varint

CLOCK = 90_000  # ticks per second of RTP time stamps
PAYLOAD_TYPE = 96  # the first dynamic one
HEADER_BYTES = 12  # of RTP
UDP_IPV4_BYTES = 8 + 20  # headers of each datagram
MTU = 1200  # bytes of a datagram's payload, RTP header included: fits every path in use
WHOLE, FRAGMENT = 0, 1  # forms of a payload
FRAGMENT_HEAD = struct.Struct("<I3s3s")  # CRC-32 of the chunk, offset, length of the bare chunk
BYE = 203  # RTCP packet type

MAX_BARE_BYTES = (1 << 21) - 1  # of a chunk, so that its length and offsets have three bytes
_PARTIAL_CHUNKS = 8  # that may wait for fragments at a time
_PARTIAL_BYTES = 1 << 22
_MAX_FRAGMENTS = 1 << 12  # of one chunk


@dataclass(frozen=True)
class RtpPacket:
    """An RTP packet (RFC 3550 section 5.1); written without contributing sources, extension and padding."""

    sequence: int  # 0..65535
    timestamp: int  # 0..2^32-1, of CLOCK
    ssrc: int
    payload: bytes
    marker: bool = False
    payload_type: int = PAYLOAD_TYPE

    def __bytes__(self) -> bytes:
        second = self.marker << 7 | self.payload_type
        return struct.pack("!BBHII", 0x80, second, self.sequence, self.timestamp, self.ssrc) + self.payload

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a datagram. Raises Truncated or CorruptChunk for what is no RTP packet."""
        if len(data) < HEADER_BYTES:
            raise Truncated(f"an RTP packet has at least {HEADER_BYTES} bytes, not {len(data)}")
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        if first >> 6 != 2:
            raise CorruptChunk(f"an RTP packet of version {first >> 6}")
        start, end = HEADER_BYTES + 4 * (first & 15), len(data)
        if first & 0x10:  # an extension: skipped
            if end < start + 4:
                raise Truncated("an RTP packet ends inside its header extension")
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if first & 0x20:
            end -= data[-1]
        if end < start:
            raise Truncated("an RTP packet ends inside its header")
        return cls(sequence, timestamp, ssrc, data[start:end], bool(second >> 7), second & 0x7F)


def goodbye(ssrc: int) -> bytes:
    """The RTCP packet that ends a stream (RFC 3550 section 6.6)."""
    return struct.pack("!BBHI", 0x81, BYE, 1, ssrc)


def goodbye_from(data: bytes) -> int | None:
    """The source (SSRC) whose stream the datagram ends, or None if it is no such packet."""
    if len(data) < 8 or data[0] >> 6 != 2 or not data[0] & 31 or data[1] != BYE:
        return None
    return int.from_bytes(data[4:8], "big")


# --- chunks and their short form on the wire ----------------------------------------------------------------


def bare_chunk(chunk: bytes) -> bytes:
    """A chunk without what the transport provides: type, flags, length, payload, CRC-32.

    Raises CorruptChunk, and LimitExceeded above MAX_BARE_BYTES.
    """
    parsed = parse_chunk(chunk)
    if parsed.size != len(chunk):
        raise CorruptChunk("bytes follow the chunk")
    bare = chunk[4:6] + pack_varint(len(parsed.payload)) + parsed.payload + chunk[-layout.CHUNK_CRC_BYTES :]
    if len(bare) > MAX_BARE_BYTES:
        raise LimitExceeded(f"a chunk of {parsed.size:,} bytes is too long for a live stream")
    return bare


def parse_bare(data: bytes, position: int = 0) -> tuple[bytes, int]:
    """The chunk at `position` in its full form, and where the next one begins.

    The CRC-32 is not checked here. Raises Truncated, CorruptChunk and LimitExceeded.
    """
    if len(data) < position + 3:
        raise Truncated("a payload ends inside a chunk")
    kind, flags = data[position], data[position + 1]
    length, size = parse_varint(data, position + 2, 0, "a chunk's length")
    start = position + 2 + size
    if length > layout.max_payload(kind):
        raise LimitExceeded(f"the {layout.chunk_name(kind)} announces {length:,} bytes")
    end = start + length + layout.CHUNK_CRC_BYTES
    if len(data) < end:
        raise Truncated("a payload ends inside a chunk")
    head = layout.SYNC + struct.pack("<BBI", kind, flags, length)
    return head + struct.pack("<H", crc32(head) & 0xFFFF) + data[start:end], end


class Packetizer:
    """Chunks in, datagrams out. Small chunks of one moment share a datagram, long ones are divided.

    mtu: bytes of a datagram's payload at most (LimitExceeded outside 76..65507). sequence, timestamp: the first ones;
    RFC 3550 asks for random numbers.
    """

    def __init__(
        self, ssrc: int, *, mtu: int = MTU, payload_type: int = PAYLOAD_TYPE, sequence: int = 0, timestamp: int = 0
    ) -> None:
        if not HEADER_BYTES + 64 <= mtu <= 65_507:
            raise LimitExceeded(f"datagrams of {mtu} bytes are outside {HEADER_BYTES + 64}..65507")
        self.ssrc = ssrc
        self._mtu, self._payload_type = mtu, payload_type
        self._sequence, self._timestamp = sequence, timestamp

    def packets(self, chunks: Iterable[bytes], seconds: Fraction | float) -> list[bytes]:
        """Datagrams with chunks of one moment of the stream, in seconds. The last one has the marker bit."""
        payloads: list[bytes] = []
        room = self._mtu - HEADER_BYTES
        gathered = bytes([WHOLE])
        for chunk in chunks:
            bare = bare_chunk(chunk)
            if len(gathered) + len(bare) <= room:
                gathered += bare
                continue
            if len(gathered) > 1:
                payloads.append(gathered)
                gathered = bytes([WHOLE])
            if 1 + len(bare) <= room:
                gathered += bare
            else:
                payloads += _fragments(bare, room)
        if len(gathered) > 1:
            payloads.append(gathered)
        return [self._packet(payload, seconds, payload is payloads[-1]) for payload in payloads]

    def _packet(self, payload: bytes, seconds: Fraction | float, last: bool) -> bytes:
        stamp = (self._timestamp + round(seconds * CLOCK)) & 0xFFFFFFFF
        packet = RtpPacket(self._sequence, stamp, self.ssrc, payload, last, self._payload_type)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return bytes(packet)


def _fragments(bare: bytes, room: int) -> list[bytes]:
    """Payloads with the parts of a bare chunk that is too long for one datagram."""
    step = room - 1 - FRAGMENT_HEAD.size
    crc = int.from_bytes(bare[-layout.CHUNK_CRC_BYTES :], "little")
    total = len(bare).to_bytes(3, "little")
    return [
        bytes([FRAGMENT]) + FRAGMENT_HEAD.pack(crc, at.to_bytes(3, "little"), total) + bare[at : at + step]
        for at in range(0, len(bare), step)
    ]


class Depacketizer:
    """Payloads in, chunks out, in full form.

    Fragments name their chunk by its CRC-32, so that the repetition of a chunk can supply the fragments that were lost
    the first time. Invalid payloads and given-up chunks are counted in `dropped`. Memory is bounded.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._partial: dict[tuple[int, int], tuple[bytearray, dict[int, int]]] = {}  # (crc, total): bytes, {start: end}

    def feed(self, payload: bytes) -> bytes:
        """The bytes of the chunks that this payload completes."""
        try:
            if payload[:1] == bytes([WHOLE]):
                return b"".join(_whole(payload))
            if payload[:1] == bytes([FRAGMENT]):
                return self._fragment(payload[1:])
        except FormatError:
            pass
        self.dropped += 1
        return b""

    def _fragment(self, data: bytes) -> bytes:
        if len(data) <= FRAGMENT_HEAD.size:
            raise Truncated("a fragment is empty")
        crc, offset, total = FRAGMENT_HEAD.unpack_from(data)
        start, size = int.from_bytes(offset, "little"), int.from_bytes(total, "little")
        part = data[FRAGMENT_HEAD.size :]
        if size > MAX_BARE_BYTES or start + len(part) > size:
            raise LimitExceeded("a fragment does not lie inside its chunk")
        key = crc, size
        buffer, parts = self._partial.pop(key) if key in self._partial else (bytearray(size), {})
        if len(parts) >= _MAX_FRAGMENTS:
            raise LimitExceeded(f"a chunk in more than {_MAX_FRAGMENTS:,} fragments")
        buffer[start : start + len(part)] = part
        parts[start] = max(start + len(part), parts.get(start, 0))
        if not _covered(parts, size):
            self._partial[key] = buffer, parts  # the latest at the end
            self._forget()
            return b""
        chunk, end = parse_bare(bytes(buffer))
        if end != size:
            raise CorruptChunk("bytes follow the chunk")
        return chunk

    def _forget(self) -> None:
        """Give up the chunks that have waited longest while there are too many, or too many bytes."""
        while len(self._partial) > _PARTIAL_CHUNKS or sum(size for _, size in self._partial) > _PARTIAL_BYTES:
            del self._partial[next(iter(self._partial))]
            self.dropped += 1


def _whole(payload: bytes) -> list[bytes]:
    chunks, position = [], 1
    while position < len(payload):
        chunk, position = parse_bare(payload, position)
        chunks.append(chunk)
    return chunks


def _covered(parts: dict[int, int], size: int) -> bool:
    reached = 0
    for start in sorted(parts):
        if start > reached:
            return False
        reached = max(reached, parts[start])
    return reached == size


def wire_bytes(datagrams: Sequence[bytes]) -> int:
    """Bytes of these datagrams on an IPv4 network, headers of UDP and IP included."""
    return sum(len(datagram) + UDP_IPV4_BYTES for datagram in datagrams)
