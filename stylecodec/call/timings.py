"""What stages took, of the last frames, in bounded memory; threads may share one."""

from __future__ import annotations

import threading
from collections import deque

KEPT = 3000  # measurements of a stage: two minutes at 25 per second


class Timings:
    """Seconds by stage."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._lock = kept, threading.Lock()
        self._seconds: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """One measurement."""
        with self._lock:
            self._seconds.setdefault(stage, deque(maxlen=self._kept)).append(seconds)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._seconds.clear()

    def values(self, stage: str) -> list[float]:
        """The last measurements of a stage, in seconds."""
        with self._lock:
            return list(self._seconds.get(stage, ()))

    def percentile(self, stage: str, percent: float) -> float | None:
        """That of the last measurements in seconds (the nearest rank), None where there is none."""
        values = sorted(self.values(stage))
        return values[min(int(len(values) * percent / 100), len(values) - 1)] if values else None

    def table(self) -> dict[str, dict[str, float]]:
        """{stage: {"p50": ms, "p95": ms}}."""
        found: dict[str, dict[str, float]] = {}
        with self._lock:
            stages = list(self._seconds)
        for stage in stages:
            half, most = self.percentile(stage, 50), self.percentile(stage, 95)
            if half is not None and most is not None:
                found[stage] = {"p50": round(1000 * half, 1), "p95": round(1000 * most, 1)}
        return found
