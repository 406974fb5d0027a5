"""Longer clips out of short ones, by repetition."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
