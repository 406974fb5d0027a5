"""Sound between a stream's audio chunks and a track of Opus packets, whose times begin at different places."""

from __future__ import annotations

from collections.abc import Iterator

from .bitstream import AudioChunk, StreamFile
from .media.opus import OpusPacket, OpusTrack

CHUNK_PACKETS = 50  # a second of 20 ms packets


def audio_chunks(sound: OpusTrack | None) -> Iterator[AudioChunk]:
    """Chunks of a second; a stream counts audio time from the first frame, a track from the decoder's start."""
    packets = sound.packets if sound else ()
    for start in range(0, len(packets), CHUNK_PACKETS):
        part = packets[start : start + CHUNK_PACKETS]
        yield AudioChunk(part[0].pts - (sound.pre_skip if sound else 0), tuple(packet.data for packet in part))


def opus_track(stream: StreamFile) -> OpusTrack | None:
    """The stream's sound as the muxer takes it: times from the decoder's start, never backwards."""
    config = stream.audio_config
    if config is None:
        return None
    packets, played = [], 0
    for chunk in stream.audio_chunks():
        pts = chunk.first_packet_pts + config.pre_skip
        for data, duration in zip(chunk.packets, chunk.durations, strict=True):
            if pts >= played:
                packets.append(OpusPacket(pts, duration, data))
                played = pts + duration
            pts += duration
    return OpusTrack(config.sample_rate, config.channels, config.pre_skip, tuple(packets)) if packets else None
