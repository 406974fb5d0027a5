"""Live streams: RTP packets out of a network, in any order, damaged and forged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from stylecodec.bitstream import FrameGroup, StreamHeader, StreamReader
from stylecodec.bitstream.live import LiveReceiver, Playout
from stylecodec.bitstream.live.transport import FRAGMENT, FRAGMENT_HEAD, Packetizer, RtpPacket, goodbye
from stylecodec.errors import FormatError

from . import streams
from .judging import MIB, Signature, Surface
from .mutating import Mutations, limit, mutated

MOST = 400  # datagrams of an input


def joined(datagrams: list[bytes]) -> bytes:
    """Datagrams as one string of bytes, each after its length."""
    return b"".join(len(one).to_bytes(2, "little") + one for one in datagrams)


def parted(data: bytes) -> list[bytes]:
    """The datagrams of `joined`; of damaged lengths whatever comes."""
    found: list[bytes] = []
    at = 0
    while at + 2 <= len(data) and len(found) < MOST:
        size = int.from_bytes(data[at : at + 2], "little")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found


@cache
def seeds() -> dict[str, bytes]:
    """What a sender gives for the streams of the seeds, in large and in small datagrams."""
    found = {}
    for name in ("raw with times", "compact", "attached", "raw"):
        for mtu in (1200, 200):
            chunks = streams.split(streams.sources()[name])[1:-2]  # live: without index and end
            packetizer = Packetizer(7, mtu=mtu, sequence=65_530, timestamp=1 << 31)
            packets = [one for k, chunk in enumerate(chunks) for one in packetizer.packets([chunk], Fraction(k, 25))]
            found[f"{name}, {mtu}"] = joined([*packets, goodbye(7)])
    return found


def _packets(rng: random.Random) -> list[bytes]:
    names = list(seeds())
    return parted(seeds()[rng.choices(names, [0.1 if name.startswith("raw,") else 1 for name in names])[0]])


def weather(rng: random.Random) -> bytes:
    """Datagrams lost, doubled, late, and of several senders."""
    packets = _packets(rng)
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(len(packets))
        match rng.randrange(4):
            case 0 if len(packets) > 1:
                del packets[at]
            case 1:
                packets.insert(at, packets[at])
            case 2:
                packets.insert(rng.randrange(len(packets)), packets.pop(at))
            case _:
                packets.insert(at, rng.choice(_packets(rng)))
    return joined(packets)


def damaged(rng: random.Random) -> bytes:
    """Some datagrams damaged, in their heads or anywhere."""
    packets = _packets(rng)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(packets))
        packets[at] = mutated(packets[at], rng, most=3, near=rng.random() < 0.6)[:65_507]
    return joined(packets)


def forged(rng: random.Random) -> bytes:
    """Fragments of chunks that do not exist, overlap, or claim the largest size; sequence numbers that jump."""
    packets = _packets(rng)
    sequence = rng.randrange(1 << 16)
    for _ in range(rng.randrange(1, 60)):
        size = rng.choice((1, 100, 1 << 20, (1 << 21) - 1, 1 << 21, (1 << 24) - 1))
        start = rng.choice((0, 1, size - 1, size, rng.randrange(size)))
        crc = rng.choice((0, rng.randrange(4)))
        head = FRAGMENT_HEAD.pack(crc, start.to_bytes(3, "little"), size.to_bytes(3, "little"))
        sequence = (sequence + rng.choice((1, 1, 1, 2, 3000, 3001, 32768))) & 0xFFFF
        body = bytes([FRAGMENT]) + head + rng.randbytes(rng.choice((0, 1, 30, 1000)))
        packets.insert(rng.randrange(len(packets) + 1), bytes(RtpPacket(sequence, 0, 7, body)))
    return joined(packets)


def fields(rng: random.Random) -> bytes:
    """Numbers of RTP heads and of bare chunks at their limits."""
    packets = _packets(rng)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(packets))
        packet = bytearray(packets[at])
        where, width = rng.randrange(min(30, len(packet))), rng.choice((1, 2, 3, 4))
        packet[where : where + width] = limit(rng, len(packet), width)
        packets[at] = bytes(packet)
    return joined(packets)


def read_live(data: bytes) -> Iterator[Signature]:
    """As a live decoder has them: receiver, tolerant reader, playout. Nothing may be raised before the reader."""
    receiver, reader = LiveReceiver(0.1), StreamReader(strict=False)
    playout: Playout | None = None
    now = 0.0
    for datagram in parted(data):
        now += 0.01
        for event in reader.feed(receiver.datagram(datagram, now)):
            yield streams.signature(event)
            if isinstance(event, StreamHeader):
                playout = Playout(event)
            elif isinstance(event, FrameGroup) and playout is not None:
                playout.push(event, now)
        if playout is not None:
            playout.frame(now)
    reader.feed(receiver.flush())
    reader.flush()
    reader.close()


def read_packets(data: bytes) -> Iterator[Signature]:
    for datagram in parted(data):
        try:
            yield "packet", RtpPacket.parse(datagram).payload
        except FormatError:
            continue


def surface() -> Surface:
    special = {"weather": weather, "damaged": damaged, "forged": forged, "limits": fields}
    weights = {name: 0.1 for name in seeds() if name.startswith("raw,")}
    # Chunks that wait for fragments may take 4 MiB, one more is being completed.
    readers = {"live": read_live, "packets": read_packets}
    return Surface("packets", readers, Mutations(seeds(), special, weights=weights), seeds(), fixed=16 * MIB)
