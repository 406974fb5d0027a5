"""Samples into Opus packets, by libopus."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from stylecodec.media.opus import PACKET_SAMPLES, SAMPLE_RATE, OpusPacket, OpusTrack

Samples = NDArray[np.float32]  # [n, channels], -1..1
SPEECH_BITRATE = 32_000  # up to here Opus is told that it codes speech


class OpusEncoder:
    """Takes samples in blocks of any length and cuts them into packets."""

    def __init__(self, bitrate: int, channels: int) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = SAMPLE_RATE
        context.layout = "mono" if channels == 1 else "stereo"
        context.format = "flt"
        context.bit_rate = bitrate
        context.time_base = Fraction(1, SAMPLE_RATE)
        speech = bitrate <= SPEECH_BITRATE * channels
        context.options = {
            "application": "voip" if speech else "audio",
            "frame_duration": "20",
            "vbr": "constrained",  # the rate is part of what the stream promises
        }
        context.open()
        self._context = context
        self._channels = channels
        self.pre_skip: int = struct.unpack_from("<H", context.extradata or b"", 10)[0]
        self._rest = np.zeros((0, channels), np.float32)
        self._coded: list[bytes] = []
        self._samples = self._packets = 0

    def feed(self, samples: Samples) -> None:
        """Code as many whole packets of samples [n, channels] as there are."""
        if not len(samples):
            return
        self._samples += len(samples)
        data = np.concatenate([self._rest, samples])
        whole = len(data) // PACKET_SAMPLES * PACKET_SAMPLES
        for begin in range(0, whole, PACKET_SAMPLES):
            self._packet(data[begin : begin + PACKET_SAMPLES])
        self._rest = data[whole:]

    def _packet(self, samples: Samples) -> None:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.reshape(1, -1)), format="flt", layout=self._context.layout.name
        )
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._packets * PACKET_SAMPLES
        frame.time_base = Fraction(1, SAMPLE_RATE)
        self._packets += 1
        self._coded.extend(bytes(p) for p in self._context.encode(frame))

    def taken(self) -> list[bytes]:
        """The packets coded since the last call, which are not kept: for sound that has no end."""
        coded, self._coded = self._coded, []
        return coded

    def finish(self) -> OpusTrack:
        """All packets; the decoder's delay is filled up so that the last sample comes out."""
        total = self._samples + self.pre_skip
        missing = -(-total // PACKET_SAMPLES) * PACKET_SAMPLES - self._samples
        self.feed(np.zeros((missing, self._channels), np.float32))
        packets = tuple(
            OpusPacket(n * PACKET_SAMPLES, PACKET_SAMPLES, data) for n, data in enumerate(self._coded)
        )
        return OpusTrack(SAMPLE_RATE, self._channels, self.pre_skip, packets)
