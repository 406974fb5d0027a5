"""Live streams in RTP packets: chunks to datagrams and back, in order again. No I/O, no clock (SPEC 11; RFC 3550).

    sender     chunks ──► Packetizer ──► datagrams
    receiver   datagrams ──► JitterBuffer ──► Depacketizer ──► bytes of chunks, as a StreamReader takes them

The caller gives the time, in seconds of any clock that does not go back, so that everything here can be tested
without sockets.
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
UDP_IPV4_BYTES = 8 + 20  # what each datagram costs besides
MTU = 1200  # bytes of a datagram's payload, RTP header included: fits every path in use
WHOLE, FRAGMENT = 0, 1  # forms of a payload
FRAGMENT_HEAD = struct.Struct("<I3s3s")  # CRC-32 of the chunk, offset, length of the bare chunk
BYE = 203  # RTCP packet type

_MAX_JUMP = 3000  # sequence numbers: further off is another stream, until two follow each other (RFC 3550 A.1)
MAX_BARE_BYTES = (1 << 21) - 1  # of a chunk, so that its length and offsets have three bytes
_PARTIAL_CHUNKS = 8  # that may be waiting for fragments at a time
_PARTIAL_BYTES = 1 << 22
_MAX_FRAGMENTS = 1 << 12  # of one chunk


@dataclass(frozen=True)
class RtpPacket:
    """One packet of RFC 3550 section 5.1, without contributing sources, extension or padding when written."""

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
        """Raises Truncated or CorruptChunk for what is no RTP packet."""
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
    """The RTCP packet that says that nothing will follow (RFC 3550 section 6.6)."""
    return struct.pack("!BBHI", 0x81, BYE, 1, ssrc)


def goodbye_from(data: bytes) -> int | None:
    """The source that says goodbye, or None if the datagram is no such packet."""
    if len(data) < 8 or data[0] >> 6 != 2 or not data[0] & 31 or data[1] != BYE:
        return None
    return int.from_bytes(data[4:8], "big")


# --- chunks and their short form on the wire ----------------------------------------------------------------


def bare_chunk(chunk: bytes) -> bytes:
    """A whole chunk without what the transport gives anyway: type, flags, length, payload, CRC-32."""
    parsed = parse_chunk(chunk)
    if parsed.size != len(chunk):
        raise CorruptChunk("bytes follow the chunk")
    bare = chunk[4:6] + pack_varint(len(parsed.payload)) + parsed.payload + chunk[-layout.CHUNK_CRC_BYTES :]
    if len(bare) > MAX_BARE_BYTES:
        raise LimitExceeded(f"a chunk of {parsed.size:,} bytes is too long for a live stream")
    return bare


def parse_bare(data: bytes, position: int = 0) -> tuple[bytes, int]:
    """The chunk at `position` in its full form, and where the next one begins. The CRC-32 is not checked here."""
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
    """Chunks in, datagrams out. Small chunks of one moment share a datagram, long ones are cut.

    mtu: most bytes of a datagram's payload. sequence, timestamp: where to begin; RFC 3550 asks for random ones.
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
        """Datagrams with these chunks, all of one moment of the stream. The last has the marker bit."""
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
    """Payloads with the parts of a bare chunk that is too long for one."""
    step = room - 1 - FRAGMENT_HEAD.size
    crc = int.from_bytes(bare[-layout.CHUNK_CRC_BYTES :], "little")
    total = len(bare).to_bytes(3, "little")
    return [
        bytes([FRAGMENT]) + FRAGMENT_HEAD.pack(crc, at.to_bytes(3, "little"), total) + bare[at : at + step]
        for at in range(0, len(bare), step)
    ]


class Depacketizer:
    """Payloads in, chunks out, in full form.

    Fragments name the chunk they belong to by its CRC-32, so that those lost of one IDENTITY may come from its
    repetition. What makes no sense is counted in `dropped` and otherwise ignored. Memory is bounded.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._partial: dict[tuple[int, int], tuple[bytearray, dict[int, int]]] = {}  # (crc, total): bytes, {start: end}

    def feed(self, payload: bytes) -> bytes:
        """The chunks that this payload completes."""
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
            raise Truncated("a fragment holds nothing")
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
        """Give up the chunks that have waited longest where there are too many or too large ones."""
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


# --- order --------------------------------------------------------------------------------------------------


class JitterBuffer:
    """Puts packets of one source into order again, and waits for a missing one no longer than `delay` seconds.

    In order and without loss packets pass at once. capacity: packets held at most; beyond it nothing is waited for.
    """

    def __init__(self, delay: float = 0.1, capacity: int = 512) -> None:
        self.delay, self.capacity = delay, capacity
        self.received = self.lost = self.late = self.foreign = 0
        self.ssrc: int | None = None
        self._next: int | None = None  # extended sequence number of the packet to be given next
        self._highest = 0
        self._held: dict[int, tuple[float, RtpPacket]] = {}  # extended sequence number: arrival, packet
        self._odd: int | None = None  # the sequence number that would confirm a jump

    @property
    def deadline(self) -> float | None:
        """When `pop` has something to give even if nothing arrives; None while it has nothing to wait for."""
        return min(arrival for arrival, _ in self._held.values()) + self.delay if self._held else None

    def push(self, packet: RtpPacket, now: float) -> None:
        """Take a packet that arrived at `now`."""
        if self.ssrc is None:
            self.ssrc, self._highest = packet.ssrc, packet.sequence + (1 << 16)
        if packet.ssrc != self.ssrc:
            self.foreign += 1
            return
        self.received += 1
        number = self._extended(packet.sequence)
        if number is None:
            self.late += 1
        elif (self._next is not None and number < self._next) or number in self._held:
            self.late += 1  # given up, or a duplicate
        else:
            self._held[number] = now, packet
            self._highest = max(self._highest, number)

    def pop(self, now: float) -> list[RtpPacket]:
        """The packets that are due, in order."""
        given: list[RtpPacket] = []
        while self._held:
            first = min(self._held)
            waited = self.deadline is not None and now >= self.deadline
            if first != self._next and not waited and len(self._held) <= self.capacity:
                break
            if self._next is not None:
                self.lost += first - self._next
            given.append(self._held.pop(first)[1])
            self._next = first + 1
        return given

    def flush(self) -> list[RtpPacket]:
        """Nothing more will come: all that is held."""
        return self.pop(float("inf"))

    def _extended(self, sequence: int) -> int | None:
        """The sequence number counted on beyond 65535; None while it is not clear what it belongs to."""
        step = (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
        if abs(step) <= _MAX_JUMP:
            self._odd = None
            return self._highest + step
        if self._odd != sequence:
            self._odd = (sequence + 1) & 0xFFFF
            return None
        # Two in a row: the source began again.
        self._held.clear()
        self._odd, self._next = None, None
        self._highest += 1 << 17
        self._highest += (sequence - self._highest) % 0x10000
        return self._highest


def wire_bytes(datagrams: Sequence[bytes]) -> int:
    """Bytes of these datagrams on an IPv4 network, headers of UDP and IP included."""
    return sum(len(datagram) + UDP_IPV4_BYTES for datagram in datagrams)
