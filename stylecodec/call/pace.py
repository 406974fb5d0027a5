"""As many frames as can be encoded in time, evenly spaced: every k-th."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from .feed import Say

MOST = 10  # every tenth frame at least
CALM_SECONDS = 2.0  # between two changes
ROOM = 1.1  # times what a frame takes must fit into its time; a smaller k must leave SPARE
SPARE = 1.3
SHARE = 0.1  # of a new measurement in the running means


class FrameSkip:
    """Chooses the frames to encode by what encoding takes, and says when that changes. Threads may share one."""

    def __init__(
        self, say: Say = lambda sentence: None, clock: Callable[[], float] = time.monotonic, most: int = MOST
    ) -> None:
        self.every = 1  # frames from one that is encoded to the next
        self._say, self._clock, self._most = say, clock, most
        self._interval = self._busy = 0.0  # running means in seconds
        self._last: float | None = None
        self._number = 0
        self._changed: float | None = None
        self._lock = threading.Lock()

    def wanted(self, seconds: float) -> bool:
        """Whether the next frame, at this time of the source, is to be encoded."""
        with self._lock:
            if self._last is not None and 0 < seconds - self._last < 1:
                self._interval = _mean(self._interval, seconds - self._last)
            self._last = seconds
            self._number += 1
            return self._number % self.every == 0

    def took(self, busy: float) -> None:
        """The encoder took so many seconds for a frame."""
        with self._lock:
            self._busy = _mean(self._busy, busy)
            now = self._clock()
            self._changed = now if self._changed is None else self._changed
            if not self._interval or now - self._changed < CALM_SECONDS:
                return
            every = self.every
            if self._busy * ROOM > every * self._interval:
                every = min(math.ceil(self._busy * ROOM / self._interval), self._most)
            elif every > 1 and self._busy * SPARE < (every - 1) * self._interval:
                every -= 1
            if every == self.every:
                return
            self.every, self._changed = every, now
            told = f"a frame takes {1000 * self._busy:.0f} ms of {1000 * self._interval:.0f}"
        self._say(f"{told}: every frame is sent" if every == 1 else f"{told}: 1 of {every} is sent")


def _mean(old: float, new: float) -> float:
    return new if not old else old + SHARE * (new - old)
