"""Progress of long work on stderr: a bar on a terminal, lines in a log, nothing in the first two seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS = 2.0  # work that is done by then shows no progress
LINE_SECONDS = 5.0  # between two lines in a log


@dataclass(frozen=True)
class Progress:
    """How far a stage of long work is: `done` of `total` units, None where their number is not known yet."""

    stage: str  # in plain words: "finding the face"
    done: float
    total: float | None
    unit: str = "frames"
    note: str = ""  # how it goes: "31.2 dB"


ProgressCallback = Callable[[Progress], None]
"""Called by long work whenever it has something to tell; what it raises ends the work."""


def silent(event: Progress) -> None:
    """Tell nobody."""


class ProgressDisplay:
    """A ProgressCallback that draws; a context manager that leaves the terminal as it was.

    shown: True or False; None shows progress where stderr is a terminal.
    """

    def __init__(self, shown: bool | None = None) -> None:
        terminal = sys.stderr.isatty()
        self._shown = terminal if shown is None else shown
        self._terminal = terminal
        self._begun = monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._stage_begun, self._stage_first = self._begun, 0.0
        self._next_line = self._begun + QUIET_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Progress) -> None:
        """Show the event, or not."""
        now = monotonic()
        if event.stage != self._stage:
            self._stage, self._stage_begun, self._stage_first, self._task = event.stage, now, event.done, None
        if not self._shown or now - self._begun < QUIET_SECONDS:
            return
        if self._terminal:
            self._draw(event)
        elif now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            of = "" if event.total is None else f" of {event.total:.0f}"
            rate = (event.done - self._stage_first) / max(now - self._stage_begun, 1e-3)
            how = event.note if event.unit != "frames" else f"{rate:.1f} per second"
            print(
                f"{event.stage}: {event.done:.0f}{of} {event.unit}{how and ', '}{how}", file=sys.stderr, flush=True
            )

    def _draw(self, event: Progress) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if self._task is None:
            # The stage may have begun unseen; start its clock at its first visible frame.
            self._task = self._bar.add_task(
                event.stage, total=event.total, completed=event.done, unit=event.unit  # type: ignore[arg-type]
            )
        words = f"{event.stage} ({event.note})" if event.note else event.stage
        self._bar.update(self._task, completed=event.done, total=event.total, description=words)


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
