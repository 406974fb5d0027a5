"""Opus packets as the stream carries them, and the header a muxer wants (RFC 7845, RFC 3533). No av here."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

SAMPLE_RATE = 48_000  # Opus always counts in 48 kHz samples
PACKET_SAMPLES = 960  # 20 ms


@dataclass(frozen=True)
class OpusPacket:
    """One coded packet.

    pts and duration are samples of the decoder's output, which begins at 0: sample `pre_skip` of that output
    sounds together with the first video frame. So the first packet has pts 0, and pts never is negative.
    """

    pts: int
    duration: int
    data: bytes


@dataclass(frozen=True)
class OpusTrack:
    """A clip's sound. `packets` follow each other without gaps."""

    sample_rate: int
    channels: int
    pre_skip: int
    packets: tuple[OpusPacket, ...]

    @property
    def duration_seconds(self) -> float:
        """Seconds of sound after the pre-skip."""
        return max(0, sum(p.duration for p in self.packets) - self.pre_skip) / self.sample_rate

    @property
    def payload_bytes(self) -> int:
        """Bytes of all packets."""
        return sum(len(p.data) for p in self.packets)


def looped_track(track: OpusTrack, seconds: float) -> OpusTrack:
    """The same packets again and again, as many as fill the time."""
    packets: list[OpusPacket] = []
    pts = 0
    while pts < seconds * track.sample_rate + track.pre_skip:
        packet = track.packets[len(packets) % len(track.packets)]
        packets.append(replace(packet, pts=pts))
        pts += packet.duration
    return replace(track, packets=tuple(packets))


def opus_head(channels: int, pre_skip: int) -> bytes:
    """The 19-byte identification header (RFC 7845 §5.1), channel mapping family 0."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, SAMPLE_RATE, 0, 0)


def ogg_opus_stub(channels: int, pre_skip: int) -> bytes:
    """A whole Ogg Opus file with one silent packet: a template from which a muxer learns the stream's parameters."""
    vendor = b"stylecodec"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    silence = b"\xf8\xff\xfe"  # 20 ms, fullband CELT, mono, no energy
    return (
        _ogg_page(opus_head(channels, pre_skip), sequence=0, granule=0, flags=2)
        + _ogg_page(tags, sequence=1, granule=0, flags=0)
        + _ogg_page(silence, sequence=2, granule=PACKET_SAMPLES, flags=4)
    )


def _ogg_page(payload: bytes, *, sequence: int, granule: int, flags: int) -> bytes:
    """One Ogg page (RFC 3533 §6) with one packet of fewer than 255 bytes. flags: 2 first page, 4 last."""
    head = b"OggS" + struct.pack("<BBqII", 0, flags, granule, 1, sequence)
    rest = bytes([1, len(payload)]) + payload
    return head + struct.pack("<I", _ogg_crc(head + bytes(4) + rest)) + rest


def _ogg_crc(data: bytes) -> int:
    """CRC-32 with polynomial 0x04C11DB7, not reflected, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
