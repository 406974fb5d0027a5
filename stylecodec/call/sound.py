"""Sound of a call: samples of a clock of their own, brought to the picture's, into Opus packets with stream times.

A sound card counts 48,000 samples where our clock counts a second and 200 µs: after ten minutes sound and picture would
be 120 ms apart. So samples are stretched, by a few thousandths at most, to follow the times at which they came.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..bitstream import AudioChunk, AudioConfig
from ..media.capture import Sound
from ..media.opus import PACKET_SAMPLES, SAMPLE_RATE
from ..media.opus_encoder import OpusEncoder

Samples = NDArray[np.float32]

STRETCH = 0.005  # of the length, at most
SETTLING = 2.0  # seconds in which a difference is made up for
GAP = 0.2  # seconds: what is more is a gap, filled with silence, or too much sound, left out
WAITING_PACKETS = 50  # a second of them that wait for the picture to begin
PRE_ROLL = 9600  # samples before the first frame that may be sent: a decoder settles in them


class SteadySound:
    """Samples that come with times of another clock -> samples that follow these times."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._given = 0.0  # samples, those owed to rounding included
        self._off = 0.0  # samples that are missing, a running mean
        self._before: np.float32 = np.float32(0)

    @property
    def begun(self) -> float | None:
        """The time of the first sample; None before."""
        return self._begun

    def __call__(self, sound: Sound) -> Samples:
        """The next samples [n] at 48 kHz -> [m], about as many."""
        count = len(sound.samples)
        if not count:
            return sound.samples
        if self._begun is None:
            self._begun = sound.seconds
        missing = (sound.seconds - self._begun) * SAMPLE_RATE - self._given
        if abs(missing) > GAP * SAMPLE_RATE:
            return self._after_gap(round(missing), sound.samples)
        self._off += (missing - self._off) * min(count / SAMPLE_RATE / SETTLING, 1.0)
        stretch = 1 + float(np.clip(self._off / SAMPLE_RATE / SETTLING, -STRETCH, STRETCH))
        whole = int(self._given)
        self._given += count * stretch
        wanted = int(self._given) - whole
        out = np.interp(
            np.arange(1, wanted + 1) * (count / max(wanted, 1)),
            np.arange(count + 1),
            np.concatenate([[self._before], sound.samples]),
        )
        self._before = sound.samples[-1]
        return np.asarray(out, np.float32)

    def _after_gap(self, missing: int, samples: Samples) -> Samples:
        self._off, self._before = 0.0, samples[-1]
        out = np.concatenate([np.zeros(max(missing, 0), np.float32), samples])[max(-missing, 0) :]
        self._given += len(out)
        return out


class SoundCoder:
    """Sound of any thread in, audio chunks for the encoder's thread out; what nobody takes is dropped, oldest first."""

    def __init__(self, bitrate: int) -> None:
        self._lock = threading.Lock()
        self._encoder = OpusEncoder(bitrate, 1)
        self._steady = SteadySound()
        self._packets: deque[tuple[int, bytes]] = deque(maxlen=WAITING_PACKETS)
        self._count = 0  # packets coded
        self.config = AudioConfig(SAMPLE_RATE, 1, self._encoder.pre_skip)

    def heard(self, sound: Sound) -> None:
        """Samples from the source."""
        with self._lock:
            self._encoder.feed(self._steady(sound)[:, None])
            for packet in self._encoder.taken():
                self._packets.append((self._count, packet))
                self._count += 1

    def chunk(self, origin: float | None) -> AudioChunk | None:
        """The packets since the last call; origin: the source's time of stream time 0, None while it has none."""
        with self._lock:
            if origin is None or self._steady.begun is None:
                return None
            first = round((self._steady.begun - origin) * SAMPLE_RATE) - self.config.pre_skip
            ready = [(first + number * PACKET_SAMPLES, data) for number, data in self._packets]
            self._packets.clear()
        ready = [(time, data) for time, data in ready if time >= -PRE_ROLL]
        return AudioChunk(ready[0][0], tuple(data for _, data in ready)) if ready else None
