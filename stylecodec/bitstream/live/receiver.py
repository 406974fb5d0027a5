"""Receiving live: datagrams to the bytes of a stream, in order. No I/O, no clock (SPEC 6 and 11)."""

from __future__ import annotations

from collections import OrderedDict

from ...errors import FormatError
from ..chunks import Prologue
from ..identity import Identity
from .jitter import JitterBuffer
from .transport import Depacketizer, RtpPacket, goodbye_from


class IdentityCache:
    """The identities used last, by digest, for streams that only name them. limit: how many are kept."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, Identity] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, identity: Identity) -> None:
        """Keep an identity; if there are too many, forget the one unused for longest."""
        self._kept[identity.digest] = identity
        self._kept.move_to_end(identity.digest)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def recall(self, digest: bytes) -> Identity | None:
        """The identity of that SHA-256, or None: the `recall` of StreamReader and StreamFile."""
        if digest in self._kept:
            self._kept.move_to_end(digest)
        return self._kept.get(digest)


class LiveReceiver:
    """Datagrams in, in any order; bytes out for a tolerant StreamReader or a live Decoder.

    No datagram raises an error: what is no packet of the stream is counted and ignored. delay: seconds to wait for a
    missing packet; OptionError if negative or not finite.
    """

    def __init__(self, delay: float = 0.1) -> None:
        self.jitter = JitterBuffer(delay)
        self.ended = False  # the sender said goodbye
        self.unknown = 0  # datagrams that are no RTP packets
        self._depacketizer = Depacketizer()
        self._begun = False

    @property
    def dropped(self) -> int:
        """Payloads that are invalid, and chunks of which fragments are missing."""
        return self._depacketizer.dropped

    @property
    def deadline(self) -> float | None:
        """The time at which to call `poll` if no datagram comes before; None if there is nothing to wait for."""
        return self.jitter.deadline

    def datagram(self, data: bytes, now: float) -> bytes:
        """Take a datagram that arrived at `now`, in seconds of any steady clock; the bytes that are ready."""
        source = goodbye_from(data)
        if source is not None:
            if self.jitter.ssrc in (None, source):
                self.ended = True
            return self.poll(now)
        try:
            packet = RtpPacket.parse(data)
        except FormatError:
            self.unknown += 1
            return b""
        self.jitter.push(packet, now)
        return self.poll(now)

    def poll(self, now: float) -> bytes:
        """The bytes that are ready at `now`."""
        return self._bytes(self.jitter.pop(now))

    def flush(self) -> bytes:
        """The remaining bytes, after the last datagram."""
        return self._bytes(self.jitter.flush())

    def _bytes(self, packets: list[RtpPacket]) -> bytes:
        data = b"".join(self._depacketizer.feed(packet.payload) for packet in packets)
        if data and not self._begun:
            self._begun = True
            data = bytes(Prologue()) + data
        return data
