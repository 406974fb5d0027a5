"""Workers that die, hang, or cannot start, played by futures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from stylecodec.corpus import dispatch
from stylecodec.corpus.dispatch import Dispatcher
from stylecodec.errors import PackNotFound, StylecodecError


class Died(Exception):
    pass


class Played:
    """A pool whose workers do what `act(worker number, task)` says: a value, an exception, or None for never."""

    died: tuple[type[BaseException], ...] = (Died,)

    def __init__(self, act: Callable[[int, Any], Any], size: int = 2, depth: int = 1, start: Any = "ready") -> None:
        self.act, self.size, self.depth, self.start = act, size, depth, start
        self.hired = self.ended = 0
        self.closed = False
        self.most = 0

    def hire(self) -> Worker:
        self.hired += 1
        return Worker(self, self.hired)

    def close(self) -> None:
        self.closed = True


def settled(value: Any) -> Future[Any]:
    future = Future[Any]()
    if isinstance(value, BaseException):
        future.set_exception(value)
    elif value is not None:
        future.set_result(value)
    return future


class Worker:
    def __init__(self, pool: Played, number: int) -> None:
        self.pool, self.number, self.given = pool, number, list[Future[Any]]()
        self.ready = settled(pool.start)

    def submit(self, task: Any) -> Future[Any]:
        self.given.append(settled(self.pool.act(self.number, task)))
        return self.given[-1]

    def end(self) -> None:
        self.pool.ended += 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOOK_SECONDS", 0.01)


def run(pool: Played, tasks: list[Any], timeout: float | None = None) -> list[Any]:
    dispatcher = Dispatcher(pool, lambda task, why: (task, why), timeout)
    try:
        return list(dispatcher.run(tasks))
    finally:
        dispatcher.close()
        assert pool.closed
        assert pool.ended == pool.hired


def test_every_task_is_done_once() -> None:
    assert sorted(run(Played(lambda worker, task: task * 2), list(range(1, 9)))) == list(range(2, 18, 2))
    assert run(Played(lambda worker, task: task), []) == []


def test_a_worker_that_dies_costs_the_task_that_it_had() -> None:
    died: list[Any] = []

    def act(worker: int, task: int) -> Any:
        if task == 3 and not died:
            died.append(worker)
            return Died()
        return task

    pool = Played(act)
    assert sorted(run(pool, [1, 2, 3, 4, 5])) == [1, 2, 3, 4, 5]
    assert pool.hired == 3


def test_a_task_that_kills_its_workers_fails() -> None:
    pool = Played(lambda worker, task: Died() if task == 2 else task)
    found = run(pool, [1, 2, 3])
    assert {1, 3} < set(found)
    ((task, why),) = [one for one in found if isinstance(one, tuple)]
    assert task == 2
    assert "3 times" in why


def test_what_waits_behind_a_task_that_kills_is_not_blamed() -> None:
    dead = set()

    def act(worker: int, task: Any) -> Any:
        if task == 2:
            dead.add(worker)
        return Died() if worker in dead else task

    found = run(Played(act, size=1, depth=2), [2, 3, 4])
    assert {3, 4} < set(found)
    assert [one[0] for one in found if isinstance(one, tuple)] == [2]


def test_a_task_that_hangs_is_given_up() -> None:
    found = run(Played(lambda worker, task: None if task == 2 else task, depth=2), [1, 2, 3, 4], timeout=0.05)
    assert {1, 3, 4} < set(found)
    ((task, why),) = [one for one in found if isinstance(one, tuple)]
    assert task == 2
    assert "more than" in why


def test_workers_that_cannot_start() -> None:
    with pytest.raises(StylecodecError, match="while they loaded the models"):
        run(Played(lambda worker, task: task, start=Died()), [1])
    with pytest.raises(PackNotFound):
        run(Played(lambda worker, task: task, start=PackNotFound("no")), [1])


def test_a_worker_that_never_gets_ready_holds_nothing_up() -> None:
    """As an actor that waits for a node that is gone."""

    class Half(Played):
        def hire(self) -> Worker:
            worker = super().hire()
            if self.hired > 1:
                worker.ready = Future()
            return worker

    assert run(Half(lambda worker, task: task), [1, 2, 3]) == [1, 2, 3]


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    dispatcher = Dispatcher(Played(lambda worker, task: task), lambda task, why: None)
    results = dispatcher.run(tasks())
    next(results)
    assert len(taken) <= 4
    dispatcher.close()
