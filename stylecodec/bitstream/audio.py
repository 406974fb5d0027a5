"""Audio: Opus packets with their times, opaque to this package (SPEC 5.4 and 5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import CorruptChunk, LimitExceeded, Truncated, UnsupportedVersion
from . import layout
from .checks import exact_length, located
from .varint import pack_varint, parse_varint


@dataclass(frozen=True)
class AudioConfig:
    """The AUDIO_CONFIG chunk: how to set up the Opus decoder. Raises CorruptChunk and LimitExceeded.

    sample_rate: of the clock of all audio times, always 48,000. channels: 1..8. pre_skip: samples at 48 kHz at the
    start of the decoder's output that are not to be played (RFC 7845 section 4.2).
    """

    sample_rate: int = layout.AUDIO_CLOCK
    channels: int = 1
    pre_skip: int = 312

    def __post_init__(self) -> None:
        if self.sample_rate != layout.AUDIO_CLOCK:
            raise CorruptChunk(f"Opus runs on a clock of {layout.AUDIO_CLOCK} Hz, not {self.sample_rate}")
        if not 1 <= self.channels <= layout.MAX_AUDIO_CHANNELS:
            raise LimitExceeded(f"{self.channels} audio channels are outside 1..{layout.MAX_AUDIO_CHANNELS}")
        if not 0 <= self.pre_skip < 1 << 16:
            raise LimitExceeded(f"a pre-skip of {self.pre_skip} samples does not fit 16 bits")

    def __bytes__(self) -> bytes:
        return bytes(layout.AUDIO_CONFIG.build({"codec": int(layout.AudioCodec.OPUS), **vars(self)}))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> AudioConfig:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        exact_length(data, layout.AUDIO_CONFIG_BYTES, "audio configuration", offset)
        fields = layout.AUDIO_CONFIG.parse(data)
        if fields.codec != layout.AudioCodec.OPUS:
            raise UnsupportedVersion(f"audio codec {fields.codec} is not known to this reader", offset)
        return located(offset, cls, fields.sample_rate, fields.channels, fields.pre_skip)


@dataclass(frozen=True)
class AudioChunk:
    """The AUDIO chunk: consecutive Opus packets without a gap between them. Raises LimitExceeded.

    first_packet_pts: time of the first sample that the first packet decodes to, in 1/48000 s from the time of frame 0;
    negative for samples before it, such as the pre-skip. packets: 1..1024, of 1..61,440 bytes each.
    """

    first_packet_pts: int
    packets: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.packets) <= layout.MAX_AUDIO_PACKETS:
            raise LimitExceeded(
                f"an audio chunk has 1..{layout.MAX_AUDIO_PACKETS} packets, not {len(self.packets):,}"
            )
        if abs(self.first_packet_pts) > layout.MAX_TICKS:
            raise LimitExceeded(f"an audio time is above {layout.MAX_TICKS}")
        for packet in self.packets:
            _check_packet_length(len(packet))

    @property
    def durations(self) -> tuple[int, ...]:
        """Samples at 48 kHz of each packet; CorruptChunk where a packet is not Opus."""
        return tuple(opus_samples(packet) for packet in self.packets)

    def __bytes__(self) -> bytes:
        head = layout.AUDIO_HEAD.build({"pts": self.first_packet_pts, "count": len(self.packets)})
        lengths = b"".join(pack_varint(len(packet)) for packet in self.packets)
        return bytes(head) + lengths + b"".join(self.packets)

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> AudioChunk:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        position = layout.AUDIO_HEAD_BYTES
        if len(data) < position:
            raise Truncated(f"an audio chunk has at least {position} bytes", offset + len(data))
        fields = layout.AUDIO_HEAD.parse(data)
        if not 1 <= fields.count <= layout.MAX_AUDIO_PACKETS:
            raise LimitExceeded(f"an audio chunk of {fields.count:,} packets", offset + 8)
        lengths = []
        for _ in range(fields.count):
            length, size = parse_varint(data, position, offset, "audio packet lengths")
            located(offset + position, _check_packet_length, length)
            lengths.append(length)
            position += size
        exact_length(data, position + sum(lengths), "audio packets", offset)
        packets = []
        for length in lengths:
            packets.append(data[position : position + length])
            position += length
        return located(offset, cls, fields.pts, tuple(packets))


def opus_samples(packet: bytes) -> int:
    """Samples at 48 kHz in one Opus packet, from the frame size and count in its first bytes (RFC 6716 section 3.1).

    Raises CorruptChunk for a packet that is too short or lasts more than 120 ms.
    """
    if not packet:
        raise CorruptChunk("an Opus packet has at least one byte")
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:  # SILK: 10, 20, 40, 60 ms
        samples = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # hybrid: 10, 20 ms
        samples = (480, 960)[config & 1]
    else:  # CELT: 2.5, 5, 10, 20 ms
        samples = 120 << (config & 3)
    if code == 3:
        if len(packet) < 2:
            raise CorruptChunk("an Opus packet of several frames ends before their count")
        frames = packet[1] & 0x3F
    else:
        frames = 1 if code == 0 else 2
    if not 0 < frames * samples <= 5760:
        raise CorruptChunk(f"an Opus packet of {frames} frames of {samples} samples is impossible")
    return frames * samples


def _check_packet_length(length: int) -> None:
    if not 1 <= length <= layout.MAX_AUDIO_PACKET_BYTES:
        raise LimitExceeded(f"an audio packet of {length:,} bytes is outside 1..{layout.MAX_AUDIO_PACKET_BYTES:,}")
