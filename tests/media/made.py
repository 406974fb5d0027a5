"""Tiny media files that tests make themselves."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition


def flat(level, width=64, height=48):
    """A flat picture [height, width, 3]; level: a grey, or three numbers."""
    return np.full((height, width, 3), level, np.uint8)


def frame_of(array, number, rate=25, layout="rgb24"):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=layout)
    frame.pts, frame.time_base = number, 1 / Fraction(rate)
    return frame


def tone(rate=48_000, seconds=1.0, level=0.5, frequency=440):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def sound_of(samples, rate, layout):
    """Frames of 1,024 samples of [channels, n]."""
    for at in range(0, samples.shape[1], 1024):
        block = np.ascontiguousarray(samples[:, at : at + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
        yield frame


def write_tracks(path, videos=(), sounds=(), rate=25):
    """A file of several tracks. videos: dictionaries of frames [n, H, W, 3] (and codec, default, options, pix_fmt,
    title); sounds: of samples [channels, n] (and codec, default, flags)."""
    with av.open(str(path), "w") as container:
        streams = []
        for video in videos:
            pictures = video["frames"]
            stream = container.add_stream(
                video.get("codec", "libx264"), rate=video.get("rate", rate), options=video.get("options", {})
            )
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = video.get("pix_fmt", "yuv420p")
            frames = [frame_of(p, n, video.get("rate", rate)) for n, p in enumerate(pictures)]
            streams.append((stream, frames, video))
        for sound in sounds:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound["samples"])]
            stream = container.add_stream(sound.get("codec", "aac"), rate=48_000, layout=layout)
            own = stream.codec_context.format.name
            resampler = av.AudioResampler(format=own, layout=layout, rate=48_000)
            frames = [out for one in sound_of(sound["samples"], 48_000, layout) for out in resampler.resample(one)]
            streams.append((stream, frames, sound))
        for stream, _, about in streams:
            stream.disposition = Disposition.default if about.get("default") else Disposition(about.get("flags", 0))
            stream.metadata.update(about.get("metadata", {}))
        coded = []
        for stream, frames, _ in streams:
            coded += [(float(frame.time or 0), stream, frame) for frame in frames]
        for _, stream, frame in sorted(coded, key=lambda one: one[0]):
            container.mux(stream.encode(frame))
        for stream, _, _ in streams:
            container.mux(stream.encode(None))
    return path
