"""Playing live: groups that arrive when they do, to one frame per tick. No I/O, no clock (SPEC 6).

Two clocks never agree: over ten minutes 200 ppm are 120 ms, by which frames would come late, or wait. So the time of
stream time 0 follows the quickest arrivals of the last seconds, too slowly to be seen.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..checks import check_time
from ..groups import FrameGroup
from ..header import StreamHeader
from ..layout import MAX_GROUP_FRAMES

# Seconds of the first window and of later ones; the quickest arrival in one tells how clocks and the way have changed.
FIRST_SECONDS, WINDOW_SECONDS = 2.0, 10.0
GENTLE = 0.005  # seconds that the origin is moved after a window, unless frames have come late all through it


@dataclass(frozen=True)
class PlayoutFrame:
    """The frame to show at a tick. number: of the frame that is due. held: whether an earlier one replaces it."""

    number: int
    packet: npt.NDArray[np.floating]  # [35]
    identity: int  # slot
    held: bool


class Playout:
    """Groups in as they arrive, one frame per tick out: where a frame is missing, the one before it is held.

    The first frame of the first group is due `delay` seconds after it arrives, every other one accordingly; what the
    clocks differ by is made up for.
    delay: how much the delay of the network may vary, in seconds; OptionError if negative or not finite.
    """

    def __init__(self, header: StreamHeader, delay: float = 0.1) -> None:
        check_time(delay)
        self._rate, self._scale = header.rate, header.time_scale
        self._delay = delay
        self._origin: float | None = None  # the caller's time of stream time 0
        self._window: float | None = None  # when it began
        self._quickest = math.inf  # in it: the least time of arrival, less the stream time
        self._length = FIRST_SECONDS
        self._frames: OrderedDict[int, tuple[Fraction, npt.NDArray[np.floating], int]] = OrderedDict()
        self._last: PlayoutFrame | None = None
        self.late = 0  # frames that came after their time

    def push(self, group: FrameGroup, now: float) -> None:
        """Take a group that arrived at `now`, in seconds of any steady clock. Groups come in order of their frames."""
        for row in range(len(group)):
            number = group.first_frame + row
            time = number / self._rate if group.pts is None else Fraction(int(group.pts[row]), self._scale)
            if self._origin is None:
                self._origin = now + self._delay - float(time)
            if row == 0:
                self._follow(now, float(time))
            if self._last is not None and number <= self._last.number and group.pts is None:
                self.late += 1
                continue
            self._frames[number] = time, group.packets[row], group.identity
        while len(self._frames) > 4 * MAX_GROUP_FRAMES:
            self._frames.popitem(last=False)

    def _follow(self, now: float, time: float) -> None:
        """A group whose first frame is of this stream time has arrived: move the origin as the clocks drift."""
        assert self._origin is not None
        self._window = now if self._window is None else self._window
        self._quickest = min(self._quickest, now - time)
        if now - self._window < self._length:
            return
        off = self._quickest + self._delay - self._origin
        self._origin += off if abs(off) > self._delay + GENTLE else min(max(off, -GENTLE), GENTLE)
        self._window, self._quickest, self._length = now, math.inf, WINDOW_SECONDS

    @property
    def waiting(self) -> int:
        """Frames whose time has not come."""
        return len(self._frames)

    def time(self, stream_seconds: float) -> float | None:
        """When what has this stream time is due, picture or sound; None before the first group."""
        return None if self._origin is None else self._origin + stream_seconds

    def frame(self, now: float) -> PlayoutFrame | None:
        """The frame that is due at `now`; None before the first."""
        if self._origin is None:
            return None
        elapsed = now - self._origin + 1e-6
        latest = self._last
        while self._frames:
            number, (time, packet, slot) = next(iter(self._frames.items()))
            if float(time) > elapsed:
                break
            del self._frames[number]
            latest = PlayoutFrame(number, packet, slot, held=False)
        if latest is None:
            return None
        # With presentation times nobody knows which number is due.
        due = latest.number if self._scale else int(elapsed * float(self._rate))
        if due > latest.number:
            latest = replace(latest, number=due, held=True)
        self._last = latest
        return latest
