"""Work in threads beside one another: its order, what it raises, what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from stylecodec.nets.threads import beside, side_by_side

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch's threads, as they were afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    assert in_a_new_thread() == request.param
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    """How many threads torch has in one that begins now."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_the_order_stays(threads: int) -> None:
    assert list(side_by_side(lambda n: n * n, range(50), CPU)) == [n * n for n in range(50)]
    assert list(side_by_side(lambda n: n, [], CPU)) == []


def test_several_are_under_way_at_once(threads: int) -> None:
    together = threading.Barrier(threads, timeout=10)
    assert list(side_by_side(lambda n: (together.wait(), n)[1], range(2 * threads), CPU)) == list(range(2 * threads))


def test_each_thread_has_its_share_and_a_clean_state(threads: int) -> None:
    def state(_: int) -> tuple[int, bool]:
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    with torch.inference_mode():
        assert set(side_by_side(state, range(8), CPU)) == {(1, threads == 1)}


def test_few_are_taken_ahead(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    for done in side_by_side(lambda n: n, items(), CPU):
        assert len(taken) <= done + 1 + (threads if threads > 1 else 0)


def test_an_error_comes_in_its_place(threads: int) -> None:
    some = side_by_side(lambda n: 1 / (5 - n), range(20), CPU)
    assert [next(some) for _ in range(5)] == [1 / (5 - n) for n in range(5)]
    with pytest.raises(ZeroDivisionError):
        next(some)


def test_leaving_early_ends_the_threads(threads: int) -> None:
    before = threading.active_count()
    some = side_by_side(lambda n: n, range(1000), CPU)
    assert next(some) == 0
    some.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_gpu_is_asked_by_one_thread(threads: int) -> None:
    mine = threading.get_ident()
    assert set(side_by_side(lambda n: threading.get_ident(), range(8), torch.device("meta"))) == {mine}


def test_work_beside(threads: int) -> None:
    with beside() as begin:
        waits = [begin(lambda n: (n, threading.get_ident()), n) for n in range(5)]
        found = [wait() for wait in waits]
    assert [n for n, _ in found] == list(range(5))
    assert len({thread for _, thread in found}) == 1
    assert (found[0][1] == threading.get_ident()) == (threads == 1)


def test_what_fails_beside_is_raised_where_it_is_waited_for() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with beside() as begin:
        wait = begin(lambda n: 1 / n, 0)
        with pytest.raises(ZeroDivisionError):
            wait()
    torch.set_num_threads(before)
