"""Items made ahead by a thread: the same items, errors and an early end included."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from stylecodec.encoding.ahead import ahead


class Counted:
    """Numbers from 0 on, which knows how many were made, where, and whether it was closed."""

    def __init__(self, count: int, fails: bool = False) -> None:
        self.count, self.fails = count, fails
        self.made, self.closed, self.threads = 0, False, set[int]()

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.threads.add(threading.get_ident())
                self.made += 1
                yield number
            if self.fails:
                raise ValueError("the tape is torn")
        finally:
            self.closed = True
            self.threads.add(threading.get_ident())


def test_items_come_in_order_from_one_other_thread() -> None:
    counted = Counted(100)
    assert list(ahead(counted.items(), 4)) == list(range(100))
    assert counted.closed
    assert len(counted.threads) == 1
    assert threading.get_ident() not in counted.threads


def test_no_more_is_made_than_was_asked_for() -> None:
    counted = Counted(100)
    made = ahead(counted.items(), 3)
    assert next(made) == 0
    for _ in range(1000):
        assert counted.made <= 6  # one taken, three waiting, one in the hand, one being made
    made.close()
    assert counted.closed


def test_an_error_comes_after_what_was_made_before_it() -> None:
    made = ahead(Counted(5, fails=True).items(), 2)
    assert [next(made) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the tape is torn"):
        next(made)


@pytest.mark.parametrize("taken", [0, 1, 50])
def test_leaving_early_ends_the_thread_and_closes_the_items(taken: int) -> None:
    before, counted = threading.active_count(), Counted(1000)
    made = ahead(counted.items(), 4)
    for _ in range(taken):
        next(made)
    made.close()
    assert threading.active_count() == before
    assert counted.closed == (taken > 0)  # what was never begun is nothing to close


def test_the_host_s_settings_of_torch_do_not_reach_the_items() -> None:
    def drawn() -> Iterator[torch.dtype]:
        yield torch.zeros(1).dtype

    torch.set_default_dtype(torch.float64)
    try:
        assert list(ahead(drawn(), 2)) == [torch.float32]
    finally:
        torch.set_default_dtype(torch.float32)
