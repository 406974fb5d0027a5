"""Items made ahead by a thread: decoding and cutting frames beside the networks that look at them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..nets.isolation import isolated

T = TypeVar("T")


class _End:
    """What ends the items: None, or what was raised in their place."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """The same items in the same order, made by a thread of its own, `count` of them ahead.

    What making them raises is raised here in its place. Where the items are left early the thread ends, and a generator
    of them is closed in it.
    """
    made: queue.Queue[T | _End] = queue.Queue(count)
    left = threading.Event()
    maker = threading.Thread(target=_make, args=(items, made, left), daemon=True)
    maker.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()
        while maker.is_alive():
            _drain(made)
            maker.join(0.01)


def _make(items: Iterable[T], made: queue.Queue[T | _End], left: threading.Event) -> None:
    end = _End()
    try:
        with isolated():
            for item in items:
                made.put(item)
                if left.is_set():
                    break
            close = getattr(items, "close", None)
            if close is not None:
                close()
    except BaseException as error:
        end = _End(error)
    made.put(end)


def _drain(made: queue.Queue[T | _End]) -> None:
    """Make room for the one item that the thread may wait to hand over."""
    while not made.empty():
        made.get()
