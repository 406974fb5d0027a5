"""Networks in threads beside one another: each has a share of torch's threads, and is quicker with few of them.

Small pictures through small networks gain little from several threads each; two at once, a thread each, gain nearly
twice. Where torch may use one thread alone, everything runs in the thread of the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

from .isolation import isolated

MOST_AT_ONCE = 4  # of the same work: more would take much memory

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Iterable[T], device: torch.device) -> Iterator[R]:
    """`work` of every item, in their order, on the CPU of several at once; at most one more than that is taken ahead.

    `work` must not depend on what it did before. What it raises is raised here in its place.
    """
    count = min(torch.get_num_threads(), MOST_AT_ONCE) if device.type == "cpu" else 1
    if count < 2:
        yield from map(work, items)
        return
    with _threads(count, torch.get_num_threads() // count) as pool:
        begun: deque[Future[R]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(_isolated, work, item))
                if len(begun) > count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()


class Begin(Protocol):
    """Begins `work` of an item, and returns what waits for its result."""

    def __call__(self, work: Callable[[T], R], item: T) -> Callable[[], R]: ...


@contextmanager
def beside() -> Iterator[Begin]:
    """A thread beside the caller's, where one work after the other is done; without one to spare it is done at once."""
    spare = torch.get_num_threads() - 1
    if not spare:
        yield _at_once
        return
    with _threads(1, spare) as pool:

        def begin(work: Callable[[T], R], item: T) -> Callable[[], R]:
            return pool.submit(_isolated, work, item).result

        yield begin


def _at_once(work: Callable[[T], R], item: T) -> Callable[[], R]:
    result = work(item)
    return lambda: result


def _isolated(work: Callable[[T], R], item: T) -> R:
    with isolated():
        return work(item)


@contextmanager
def _threads(count: int, each: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads, in each of which torch has `each` threads."""
    own = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(own)  # of threads that begin later: it is the last call's number that they have
