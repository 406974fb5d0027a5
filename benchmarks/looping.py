"""Longer clips and streams out of short ones, by repetition."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stylecodec.bitstream import AUDIO_CLOCK, AudioChunk, StreamFile, StreamWriter, TimedGroup, mux
from stylecodec.media import VideoReader, VideoWriter, encode_opus
from stylecodec.media.opus import looped_track

SOUND_BITRATE = 64_000  # of a looped clip's own sound, before any codec of ours


def looped_clip(source: Path, target: Path, seconds: float) -> int:
    """A video of so many seconds that repeats a clip, picture and sound, encoded anew; returns its frames."""
    reader = VideoReader(source)
    track = encode_opus(source, SOUND_BITRATE) if reader.has_audio else None
    sound = looped_track(track, seconds) if track else None
    width, height = reader.width // 2 * 2, reader.height // 2 * 2
    total, written = round(seconds * reader.rate), 0
    with VideoWriter(target, width, height, reader.rate, sound) as writer:
        while written < total:
            for _, frame in reader.frames():
                if written == total:
                    break
                writer.write(np.ascontiguousarray(frame[:height, :width]))
                written += 1
    return written


def looped_stream(source: StreamFile, seconds: float) -> bytes:
    """A stream of so many seconds that repeats another one's packets and sound, in groups of the same length.

    The rate is taken as constant, the first identity serves throughout.
    """
    header = dataclasses.replace(source.header, time_scale=0, live=False)
    packets = source.packets(0, source.frame_count)
    total = round(seconds * header.rate)
    sound = _looped_sound(source, seconds) if source.audio_config else iter(())
    writer = StreamWriter(header, source.audio_config)
    step = len(source.group(0))
    groups = (
        TimedGroup(start / float(header.rate), _cyclic(packets, start, min(start + step, total)))
        for start in range(0, total, step)
    )
    return b"".join(mux(writer, source.identities[0], groups, sound))


def account(data: bytes) -> tuple[dict[str, int], float]:
    """Bytes by part and duration in seconds of a stream in memory."""
    with StreamFile.open(io.BytesIO(data)) as stream:
        return stream.byte_account(), stream.duration_seconds


def _cyclic(packets: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    return packets[np.arange(start, stop) % len(packets)]


def _looped_sound(source: StreamFile, seconds: float) -> Iterator[AudioChunk]:
    chunks = list(source.audio_chunks())
    pts, number = chunks[0].first_packet_pts, 0
    while pts < seconds * AUDIO_CLOCK:
        chunk = chunks[number % len(chunks)]
        yield dataclasses.replace(chunk, first_packet_pts=pts)
        pts += sum(chunk.durations)
        number += 1
