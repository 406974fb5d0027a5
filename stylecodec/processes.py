"""Cores that this program may use, and processes that it starts."""

from __future__ import annotations

import os
import time
from threading import Thread

WATCH_SECONDS = 0.5


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_with(starter: int) -> None:
    """From now on, end this process when the process `starter`, which began it, is gone, however it went.

    Nobody would wait for the result. To be called once, by the process that was started.
    """
    Thread(target=_watch, args=(starter,), daemon=True).start()


def _watch(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
