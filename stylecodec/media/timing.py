"""When the frames of a video are shown, from its packets alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A last frame that stays for so many frames or more is a pause, which is told by repeating it at its end.
PAUSE = 2.0
MOST_PARTS = 1001  # largest denominator of a rate
# Frames that are further apart than the first are a screen that stands still, not a rate, when the last of them stays
# for less than half as long, but no less than the second.
SLOW, SHORTEST = 0.2, 1 / 120  # seconds


@dataclass(frozen=True)
class PacketTime:
    """Times of a packet in the stream's units; None where the file does not tell. duration 0: not told."""

    pts: int | None
    dts: int | None
    duration: int


@dataclass(frozen=True)
class Timing:
    """When the frames are shown: seconds from the first one, in order.

    rate: frames per second; of a variable rate the one that most frames follow. variable: no constant rate fits.
    end: seconds at which the last frame ends. origin: time stamp of the first frame in the stream's own units; None:
    frames have none, and the n-th frame decoded is shown at the n-th of the times. sound_origin: the same moment as
    sound counts it. pause: the last time repeats the frame before it, which stays that long.
    """

    seconds: Floats
    rate: Fraction
    variable: bool
    end: float
    origin: int | None
    sound_origin: int = 0
    pause: bool = False

    @property
    def step(self) -> float:
        """Seconds from frame to frame at the rate."""
        return float(1 / self.rate)

    def fields(self) -> Timing:
        """The times of two fields for each frame."""
        ends = np.append(self.seconds[1:], self.end)
        seconds = np.stack([self.seconds, (self.seconds + ends) / 2], axis=1).ravel()
        return replace(self, seconds=seconds, rate=2 * self.rate)


def timing_of(
    packets: Sequence[PacketTime],
    unit: Fraction | None,
    told: Sequence[Fraction],
    first: int | None,
    by_number: bool,
    longest: float | None,
) -> Timing:
    """The times of all frames from the packets that carry them.

    unit: seconds of a time stamp. told: rates that the container tells, best first. first: time stamp of the first
    frame that can be decoded. by_number: the container counts packets and has no times of presentation (AVI), so the
    n-th frame shown takes the n-th time. longest: seconds of the file by its header; no last frame stays beyond it.
    """
    stamps = [packet.dts if by_number else packet.pts for packet in packets]
    known = np.array([stamp for stamp in stamps if stamp is not None], np.int64)
    if unit is None or len(known) <= len(stamps) / 2:  # damage may take single ones
        seconds = np.arange(max(1, len(stamps))) / float(told[0])
        return Timing(seconds, told[0], False, float(seconds[-1] + 1 / told[0]), None)
    times = np.unique(known)
    # A recording begun between key frames holds packets that show nothing.
    if first is not None and first in times and not by_number:
        times = times[times >= first]
    seconds = (times - times[0]) * float(unit)
    rate, variable = _fit_rate(seconds, told, float(unit))
    stay = max((p.duration for p, s in zip(packets, stamps, strict=True) if s == times[-1]), default=0) * float(unit)
    if not variable and rate * Fraction(SLOW) < 1 and SHORTEST <= stay < 0.5 / float(rate):
        rate, variable = Fraction(1 / stay).limit_denominator(MOST_PARTS), True
    origin = None if by_number else int(times[0])
    timing = Timing(seconds, rate, variable, float(seconds[-1] + 1 / rate), origin, int(times[0]))
    return _with_pause(timing, stay, longest)


def _with_pause(timing: Timing, stay: float, longest: float | None) -> Timing:
    """The timing with its last frame repeated, where it stays much longer than a frame."""
    end = float(timing.seconds[-1]) + stay
    if longest is not None:
        end = min(end, longest)
    last = end - timing.step
    if last - timing.seconds[-1] < (PAUSE - 1) * timing.step:
        return timing
    return replace(timing, seconds=np.append(timing.seconds, last), variable=True, end=end, pause=True)


def _fit_rate(seconds: Floats, told: Sequence[Fraction], unit: float) -> tuple[Fraction, bool]:
    """The constant rate that these times follow (off by at most half a frame), or the most usual one and True."""
    if len(seconds) < 2:
        return told[0], False
    mean = (len(seconds) - 1) / float(seconds[-1])
    numbers = np.arange(len(seconds))
    for rate in (*told, Fraction(mean).limit_denominator(MOST_PARTS)):
        if np.abs(seconds - numbers / float(rate)).max() <= 0.5 / float(rate) + unit:
            return rate, False
    usual = float(np.median(np.diff(seconds)))
    for rate in told:
        if abs(float(1 / rate) - usual) <= unit:  # time stamps are rounded to their unit
            return rate, True
    return Fraction(1 / usual).limit_denominator(MOST_PARTS), True
