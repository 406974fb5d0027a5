"""Workers that are processes of this machine: each the one process of an executor of its own.

One executor for all would call every task of all workers broken when one process dies.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from types import FrameType
from typing import Any

import torch

from ..processes import cores, leave_with
from .work import Settings, Task, Worker

LEAVING_SECONDS = 10.0  # that a worker has to clean up in
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_worker: Worker | None = None
_at_work = False


def _begin(starter: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started the workers decides
    signal.signal(signal.SIGTERM, _leave)
    leave_with(starter)


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave by an exception where a clip is at work, so that what is half written is removed."""
    if _at_work:
        raise SystemExit(128 + number)
    os._exit(0)


def _load(settings: Settings) -> int:
    global _worker
    _worker = Worker(settings)
    return os.getpid()


def _do(task: Task) -> Any:
    global _at_work
    assert _worker is not None
    _at_work = True
    try:
        return _worker(task)
    except SystemExit:
        _worker.clear()
        os._exit(1)
    finally:
        _at_work = False


class LocalHand:
    """One process."""

    def __init__(self, settings: Settings) -> None:
        self._executor = ProcessPoolExecutor(1, get_context("spawn"), _begin, (os.getpid(),))
        with _started_with(settings.options.threads):
            self.ready: Future[Any] = self._executor.submit(_load, settings)

    def submit(self, task: Any) -> Future[Any]:
        """Begin a task."""
        return self._executor.submit(_do, task)

    def end(self) -> None:
        """Ask the process to leave, and kill it when it does not."""
        processes = list((self._executor._processes or {}).values())
        for process in processes:
            process.terminate()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join(LEAVING_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
        self._executor.shutdown(wait=True)


class LocalPool:
    """So many processes."""

    depth = 1
    died: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def __init__(self, settings: Settings, size: int) -> None:
        self.settings, self.size = settings, size
        self._hired = 0

    def hire(self) -> LocalHand:
        """Start a process; where there are several GPUs, they take turns."""
        device = device_of(self.settings.device, self._hired)
        self._hired += 1
        return LocalHand(replace(self.settings, device=device))

    def close(self) -> None:
        """Nothing is left."""


def usual_workers(settings: Settings) -> int:
    """One per GPU, or per so many cores as a worker has threads."""
    if settings.device.startswith("cuda"):
        return torch.cuda.device_count() if settings.device == "cuda" else 1
    return max(1, cores() // settings.options.threads)


def device_of(device: str, number: int) -> str:
    """The device of worker `number`: "cuda" stands for all GPUs in turn."""
    if device != "cuda":
        return device
    return f"cuda:{number % max(torch.cuda.device_count(), 1)}"


@contextmanager
def _started_with(threads: int) -> Iterator[None]:
    """Processes that are started within have so many threads for sums, and do not hear Ctrl-C."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
