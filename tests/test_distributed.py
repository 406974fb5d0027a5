"""Two workers average what each has found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec import distributed
from stylecodec.errors import FormatError
from stylecodec.files import atomic_write


def work(folder: Path) -> None:
    """Gradients of 1 and 3 in the two processes; one parameter has none in the second."""
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    me = distributed.rank()
    loss = a.sum() * (1 + 2 * me)
    if me == 0:
        loss = loss + b.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    distributed.average_gradients([a, b])
    assert a.grad is not None
    assert b.grad is not None
    agreed = distributed.agree(7.0 + me)
    table = torch.full((3,), 4.0 + me)
    distributed.gather_rows(table)
    np.save(folder / f"{me}.npy", [*a.grad.tolist(), *b.grad.tolist(), agreed, *table.tolist()])


def work_and_fail(folder: Path, error: Exception) -> None:
    work(folder)
    failing_work(error)


def test_two_processes(tmp_path: Path) -> None:
    """What both found, and an error of ours, which comes over as it is."""
    looks: list[None] = []
    with pytest.raises(FormatError, match=r"^no stream$") as found:
        distributed.run(partial(work_and_fail, tmp_path, FormatError("no stream")), 2, lambda: looks.append(None))
    assert found.type is FormatError
    for me in (0, 1):
        assert np.load(tmp_path / f"{me}.npy").tolist() == [2.0, 2.0, 0.5, 0.5, 0.5, 7.0, 4.0, 5.0, 4.0]
    assert looks


def test_alone(tmp_path: Path) -> None:
    distributed.run(partial(work, tmp_path), 1)
    assert np.load(tmp_path / "0.npy").tolist() == [1.0, 1.0, 1.0, 1.0, 1.0, 7.0, 4.0, 4.0, 4.0]


ENDLESS = """
import os, sys, time
from functools import partial
from pathlib import Path
from stylecodec import distributed

def work(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    distributed.run(partial(work, Path(sys.argv[1])), 2)
"""


def runs(number: int) -> bool:
    """Whether there is a process of this number, and not only what its parent has not collected."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.is_file() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(os.name != "posix", reason="processes are counted by their signals")
def test_workers_do_not_outlive_who_started_them(tmp_path: Path) -> None:
    script, folder = tmp_path / "endless.py", tmp_path / "workers"
    script.write_text(ENDLESS)
    folder.mkdir()
    starter = subprocess.Popen([sys.executable, str(script), str(folder)], env=os.environ | {"PYTHONPATH": os.getcwd()})
    try:
        wait_for(lambda: len(list(folder.iterdir())) == 2)
        workers = [int(path.name) for path in folder.iterdir()]
        assert all(runs(worker) for worker in workers)
    finally:
        starter.kill()
        starter.wait()
    wait_for(lambda: not any(runs(worker) for worker in workers))


class Enough(BaseException):
    """Raised by who watches, as KeyboardInterrupt and SystemExit are."""


def long_work(folder: Path) -> None:
    """Ten minutes, in a file that is only half written."""
    (folder / str(os.getpid())).touch()
    with atomic_write(folder / f"{os.getpid()}.result"):
        time.sleep(600)


@pytest.mark.skipif(os.name != "posix", reason="processes are counted by their signals")
def test_workers_end_when_their_starter_is_interrupted(tmp_path: Path) -> None:
    def watch() -> None:
        if len(list(tmp_path.glob(".*.part"))) == 2:
            raise Enough

    with pytest.raises(Enough):
        distributed.run(partial(long_work, tmp_path), 2, watch)
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 2  # nothing half-written
    assert not any(runs(int(name)) for name in names)


def failing_work(error: Exception) -> None:
    """The second process fails while the first waits for it."""
    if distributed.rank():
        raise error
    distributed.agree(0.0)
    distributed.gather_rows(torch.zeros(2))


def test_other_errors_are_one_sentence() -> None:
    with pytest.raises(RuntimeError) as found:
        distributed.run(partial(failing_work, ZeroDivisionError("by nothing")), 2)
    sentence = "one of the processes that share the work failed with ZeroDivisionError: by nothing"
    assert str(found.value) == sentence
    assert "failing_work" in found.value.__notes__[0]


def dying_work() -> None:
    """The second process is killed while the first waits for it."""
    if distributed.rank():
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.gather_rows(torch.zeros(2))


@pytest.mark.skipif(os.name != "posix", reason="no signals")
def test_a_worker_that_is_killed() -> None:
    with pytest.raises(RuntimeError, match=rf"was ended by signal {signal.SIGKILL:d}$"):
        distributed.run(dying_work, 2)


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until `what` is true; fails when it does not come true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)
