"""Opus packets into samples."""

from __future__ import annotations

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from stylecodec.errors import MediaError
from stylecodec.media.opus import SAMPLE_RATE, OpusTrack, opus_head


def decode_opus(track: OpusTrack, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """A track as mono samples [n], -1..1, `rate` per second; the first sounds with the first video frame.

    Where packets are missing there is silence. MediaError for packets that are no Opus.
    """
    context = av.CodecContext.create("libopus", "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = SAMPLE_RATE
    context.layout = "mono" if track.channels == 1 else "stereo"
    context.extradata = opus_head(track.channels, 0)  # what goes before the first frame is cut here
    length = max((packet.pts + packet.duration for packet in track.packets), default=0)
    samples = np.zeros(length, np.float32)
    try:
        for packet in track.packets:
            for frame in context.decode(av.Packet(packet.data)):
                part = _mono(frame)[: packet.duration]
                samples[packet.pts : packet.pts + len(part)] = part
    except av.FFmpegError as error:
        raise MediaError(f"the sound cannot be decoded: {error.strerror}") from error
    return _at_rate(samples[track.pre_skip :], rate)


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    values = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype != np.float32:
        values = values.astype(np.float32) / 32768
    return np.asarray(values.mean(axis=0), np.float32)


def _at_rate(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """48,000 samples per second to `rate`, by FFmpeg's resampler."""
    if rate == SAMPLE_RATE or not len(samples):
        return samples
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    parts = [one.to_ndarray()[0] for given in (frame, None) for one in resampler.resample(given)]
    return np.asarray(np.concatenate(parts), np.float32)
