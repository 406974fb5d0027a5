"""How a run of hours goes: done, failed, rate and time left of each stage, for people and for programs."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any, TextIO

from ..progress import Progress, ProgressCallback, silent
from .records import Record

RECENT = 200  # clips of which the rate is
EVENT_SECONDS = 5.0  # between two events of progress for programs


class CorpusProgress:
    """Told by the run what is done. progress: draws; events: takes JSON lines, None for no program."""

    def __init__(self, progress: ProgressCallback = silent, events: TextIO | None = None) -> None:
        self._progress, self._events = progress, events
        self.stage, self.total, self.done, self.failed = "", 0, 0, 0
        self._times: deque[float] = deque(maxlen=RECENT)
        self._told = 0.0

    def begin(self, stage: str, total: int, unit: str = "clips", **facts: Any) -> None:
        """A stage of so many clips (or people)."""
        self.stage, self.total, self.unit, self.done = stage, total, unit, 0
        self._times.clear()
        self._times.append(time.monotonic())
        self._tell("stage", stage=stage, total=total, unit=unit, **facts)

    def step(self, failed: bool, record: Record | None = None) -> None:
        """One more is done."""
        self.done += 1
        self.failed += failed
        self._times.append(time.monotonic())
        if record is not None:
            self._tell("clip", **json.loads(record.line()))
        self._progress(Progress(self.stage, self.done, self.total, self.unit, self.words()))
        if self._events is not None and time.monotonic() - self._told > EVENT_SECONDS:
            self._told = time.monotonic()
            self._tell("progress", **self.facts())

    @property
    def rate(self) -> float | None:
        """Clips per second, of late."""
        taken = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / taken if taken > 0 else None

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        rate = self.rate
        left = None if not rate else round((self.total - self.done) / rate, 1)
        per_second = None if rate is None else round(rate, 4)
        names = {"stage": self.stage, "done": self.done, "total": self.total, "failed": self.failed}
        return names | {"per_second": per_second, "seconds_left": left}

    def words(self) -> str:
        """For people: failures so far, rate, time left."""
        facts = self.facts()
        said = [f"{self.failed:,} failed"] if self.failed else []
        if facts["per_second"]:
            rate = facts["per_second"]
            said.append(f"{rate:.1f} per second" if rate >= 1 else f"{rate * 60:.1f} per minute")
            said.append(f"{duration_words(facts['seconds_left'])} left")
        return ", ".join(said)

    def end(self, summary: dict[str, Any]) -> None:
        """The run is over."""
        self._tell("end", **summary)

    def _tell(self, event: str, **facts: Any) -> None:
        if self._events is not None:
            print(json.dumps({"event": event, **facts}), file=self._events, flush=True)


def duration_words(seconds: float) -> str:
    """"3 h 12 min" of so many seconds."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


