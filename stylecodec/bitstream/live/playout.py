"""Playing live: groups that arrive when they do, to one frame per tick. No I/O, no clock (SPEC 6)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..checks import check_time
from ..groups import FrameGroup
from ..header import StreamHeader
from ..layout import MAX_GROUP_FRAMES


@dataclass(frozen=True)
class PlayoutFrame:
    """The frame to show at a tick. number: of the frame that is due. held: whether an earlier one replaces it."""

    number: int
    packet: npt.NDArray[np.floating]  # [35]
    identity: int  # slot
    held: bool


class Playout:
    """Groups in as they arrive, one frame per tick out: where a frame is missing, the one before it is held.

    The first frame of the first group is due `delay` seconds after it arrives, every other one accordingly.
    delay: how much the delay of the network may vary, in seconds; OptionError if negative or not finite.
    """

    def __init__(self, header: StreamHeader, delay: float = 0.1) -> None:
        check_time(delay)
        self._rate, self._scale = header.rate, header.time_scale
        self._delay = delay
        self._origin: float | None = None  # the caller's time of stream time 0
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
            if self._last is not None and number <= self._last.number and group.pts is None:
                self.late += 1
                continue
            self._frames[number] = time, group.packets[row], group.identity
        while len(self._frames) > 4 * MAX_GROUP_FRAMES:
            self._frames.popitem(last=False)

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
