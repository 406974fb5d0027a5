"""One loop that keeps workers busy, whatever they are: a worker that dies costs the task that it had.

Workers have a task at a time, or `depth` of them where one is to wait for them, so nothing piles up in front of them.
What they are made of is a Pool's business: processes of this machine (local.py) or actors of a Ray cluster
(ray_cluster.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import StylecodecError

TRIES = 3  # workers that may die over a task before it counts as failed
STARTS = 3  # workers that may die one after the other while they load the models
LOOK_SECONDS = 0.5  # between two looks at what takes too long


class Hand(Protocol):
    """One worker. ready: done when it has loaded its models; its error is what went wrong there."""

    ready: Future[Any]

    def submit(self, task: Any) -> Future[Any]:
        """Begin a task."""
        ...

    def end(self) -> None:
        """End it at once, whatever it does; what it has half written is removed."""
        ...


class Pool(Protocol):
    """Where workers come from. size: how many; depth: tasks that each may have; died: errors that say that one did."""

    size: int
    depth: int
    died: tuple[type[BaseException], ...]

    def hire(self) -> Hand:
        """Start a worker."""
        ...

    def close(self) -> None:
        """Give back what the workers ran on; they have ended."""
        ...


@dataclass
class _Given:
    """A task on its way. died: workers that did, over it; since: when it was given to the one that has it."""

    task: Any
    died: int = 0
    since: float = 0.0


@dataclass
class _Worker:
    hand: Hand
    at_work: dict[Future[Any], _Given] = field(default_factory=dict)
    loaded: bool = False


class Dispatcher:
    """The workers of a run. They stay, with their models, from one list of tasks to the next.

    lost: makes what a task that cannot be done gives, of the task and a sentence. timeout: seconds of a task.
    """

    def __init__(self, pool: Pool, lost: Callable[[Any, str], Any], timeout: float | None = None) -> None:
        self.pool, self.lost, self.timeout = pool, lost, timeout
        self._workers: list[_Worker] = []
        self._again: deque[_Given] = deque()  # tasks that a dead worker had
        self._failed_starts = 0

    @property
    def ready(self) -> int:
        """Workers that have loaded their models."""
        return sum(worker.loaded for worker in self._workers)

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """What becomes of the tasks, in the order in which they are done.

        Raises what a worker raised while it loaded its models, StylecodecError where workers die there.
        """
        waiting = (_Given(task) for task in tasks)
        given = next(waiting, None)
        while True:
            while given is not None and (worker := self._free()) is not None:
                given.since = time.monotonic()
                worker.at_work[worker.hand.submit(given.task)] = given
                given = self._again.popleft() if self._again else next(waiting, None)
            if given is None and not any(worker.at_work for worker in self._workers):
                return
            while given is not None and len(self._workers) < self.pool.size:
                self._workers.append(_Worker(self.pool.hire()))
            futures = [future for worker in self._workers for future in worker.at_work]
            futures += [worker.hand.ready for worker in self._workers if not worker.loaded]
            wait(futures, LOOK_SECONDS, FIRST_COMPLETED)
            for worker in list(self._workers):
                yield from self._done_by(worker)
            if given is None and self._again:
                given = self._again.popleft()

    def close(self) -> None:
        """End all workers."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.hand.end()
        self.pool.close()

    def _free(self) -> _Worker | None:
        """The worker with least to do, if it may have more."""
        ready = [worker for worker in self._workers if worker.loaded and len(worker.at_work) < self.pool.depth]
        return min(ready, key=lambda worker: len(worker.at_work), default=None)

    def _done_by(self, worker: _Worker) -> Iterator[Any]:
        """The results of what a worker has done; one that died, or takes too long, leaves."""
        dead = self._died_loading(worker)
        for future in [future for future in worker.at_work if future.done()]:
            error = future.exception()
            if isinstance(error, self.pool.died):
                dead = True
            elif error is not None:
                raise error
            else:
                worker.at_work.pop(future)
                yield future.result()
        if dead:
            for number, given in enumerate(self._left(worker)):
                given.died += number == 0  # the others were waiting behind it
                if given.died < TRIES:
                    self._again.append(given)
                else:
                    yield self.lost(given.task, f"its worker was ended from outside {TRIES} times (no memory?)")
        elif self.timeout is not None and worker.at_work:
            first = next(iter(worker.at_work.values()))
            if time.monotonic() - first.since > self.timeout * len(worker.at_work):
                self._again += self._left(worker)[1:]
                yield self.lost(first.task, f"it took more than {self.timeout / 60:g} minutes")

    def _left(self, worker: _Worker) -> list[_Given]:
        """What a worker had to do, which is no more."""
        self._workers.remove(worker)
        worker.hand.end()
        return list(worker.at_work.values())

    def _died_loading(self, worker: _Worker) -> bool:
        if worker.loaded or not worker.hand.ready.done():
            return False
        error = worker.hand.ready.exception()
        if error is None:
            worker.loaded, self._failed_starts = True, 0
            return False
        if not isinstance(error, self.pool.died):
            raise error
        self._failed_starts += 1
        if self._failed_starts >= STARTS:
            said = f"{STARTS} workers ended while they loaded the models: is there memory for so many?"
            raise StylecodecError(said) from error
        return True
