"""Codes of one frame after another to packets: smoothed with a bounded look-ahead, held where there is no face.

With one frame of look-ahead the Gaussian is that of `frames.smooth` but for what it gives to frames further ahead,
a few thousandths at 25 frames per second.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...bitstream import PARAMS_PER_FRAME
from ..frames import ROLL

Packet = NDArray[np.float32]  # [35] yaw, pitch, roll in degrees, α 0..31
REACH = 4.0  # sigmas: what is further away counts for nothing


@dataclass(frozen=True)
class LivePacket:
    """What is sent of one frame. seconds: of the frame, in the source's time. held: it showed no face."""

    seconds: float
    packet: Packet
    held: bool
    number: int  # of the frame among all that were given


class CausalMotion:
    """Packets in frame by frame, None for a frame without a face; packets out, `look_ahead` frames later.

    sigma: of the Gaussian in seconds, 0 for none. The roll is left as it is. A frame without a face repeats the packet
    of the frame before it; nothing comes out before the first face. Where frames are too far apart for the Gaussian to
    reach from one to the next, none is waited for.
    """

    def __init__(self, sigma: float, look_ahead: int) -> None:
        self._sigma, self._look_ahead = sigma, look_ahead
        self._past: deque[tuple[float, Packet]] = deque(maxlen=32)  # frames with a face, out already
        self._waiting: deque[tuple[int, float, Packet | None]] = deque()
        self._last: Packet | None = None
        self._count = 0
        self._time: float | None = None  # of the frame before

    @property
    def waiting(self) -> int:
        """Frames that have not come out."""
        return len(self._waiting)

    def frame(self, seconds: float, packet: Packet | None) -> list[LivePacket]:
        """The next frame, at a time that increases; what is ready."""
        near = self._time is not None and seconds - self._time <= REACH * self._sigma
        self._time = seconds
        self._waiting.append((self._count, seconds, packet))
        self._count += 1
        return self._ready(self._look_ahead if near else 0)

    def flush(self) -> list[LivePacket]:
        """What waits for frames that will not come."""
        return self._ready(0)

    def _ready(self, kept: int) -> list[LivePacket]:
        out = []
        while len(self._waiting) > kept:
            number, seconds, packet = self._waiting.popleft()
            if packet is None:
                self._past.clear()
            else:
                self._last = self._smoothed(seconds, packet)
                self._past.append((seconds, packet))
            if self._last is not None:
                out.append(LivePacket(seconds, self._last, packet is None, number))
        return out

    def _smoothed(self, seconds: float, packet: Packet) -> Packet:
        if self._sigma <= 0:
            return packet
        ahead: list[tuple[float, Packet]] = []
        for _, time, later in self._waiting:
            if later is None:
                break
            ahead.append((time, later))
        near = [*((t, p) for t, p in self._past if seconds - t <= REACH * self._sigma), (seconds, packet), *ahead]
        weights = np.exp(-0.5 * ((np.array([time for time, _ in near]) - seconds) / self._sigma) ** 2)
        values = np.stack([one for _, one in near])
        smoothed = np.asarray((weights / weights.sum()) @ values, np.float32)
        smoothed[ROLL] = packet[ROLL]
        return smoothed


def packet_of(pose: NDArray[np.float32], roll: float, alpha: NDArray[np.float32]) -> Packet:
    """A packet of pose [2] and roll in degrees and α [32]."""
    packet = np.empty(PARAMS_PER_FRAME, np.float32)
    packet[:ROLL], packet[ROLL], packet[ROLL + 1 :] = pose, roll, alpha
    return packet
