"""Several processes that train one network: same weights, different batches, averaged gradients.

On a CPU two processes of one thread each train nearly twice as fast as one process of two threads: the layers are
small. The processes are spawned, so the program's main module must be one that can be imported without doing its work
(`if __name__ == "__main__":`).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import get_context

from .errors import StylecodecError
from .processes import WATCH_SECONDS, leave_with

LEAVING_SECONDS = 10.0  # that a worker has to clean up in when the work ends early


def rank() -> int:
    """Number of this process among the workers, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many workers there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(parameters: Iterable[nn.Parameter | Tensor]) -> None:
    """Replace every gradient by its mean over the workers (a missing one counts as zero)."""
    if not dist.is_initialized():
        return
    chosen = list(parameters)
    flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in chosen])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(chosen, torch.split(flat, [p.numel() for p in chosen]), strict=True):
        p.grad = part.view_as(p)


def agree(value: float) -> float:
    """The first process's value, on all of them."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return float(box[0])


def gather_rows(table: Tensor) -> None:
    """Fill `table` [n, ...], of which the process of rank r keeps the rows r, r + size, ..., with everybody's rows."""
    if not dist.is_initialized():
        return
    mine = torch.zeros(len(table), dtype=torch.bool)
    mine[rank() :: size()] = True
    table[~mine] = 0
    dist.all_reduce(table)


def _worker(
    number: int,
    processes: int,
    meeting: str,
    threads: int,
    starter: int,
    failures: SimpleQueue[Exception],
    work: Callable[[], None],
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end by an exception: half-written files are removed
    leave_with(starter)
    torch.set_num_threads(threads)
    code = 1
    try:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=processes)
        work()
        dist.destroy_process_group()
        code = 0
    except KeyboardInterrupt:
        pass  # who started the workers says so
    except Exception as error:
        failures.put(_told(error))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the teardown of a busy machine's threads was once seen to abort a worker whose work was done


def _told(error: Exception) -> Exception:
    """What the starter is to raise: an error of ours as it is, any other in one sentence, its traceback as a note."""
    if not isinstance(error, StylecodecError):
        said = f"one of the processes that share the work failed with {type(error).__name__}: {error}"
        error, trace = RuntimeError(said), traceback.format_exc()
        error.add_note(trace)
    return error


def _watched(workers: Sequence[SpawnProcess], failures: SimpleQueue[Exception], watch: Callable[[], None]) -> None:
    """Wait for all workers; raises what one of them failed with."""
    while running := [worker.sentinel for worker in workers if worker.exitcode is None]:
        wait(running, WATCH_SECONDS)
        code = min((worker.exitcode for worker in workers if worker.exitcode), default=0)
        if code >= 0 and not failures.empty():
            raise failures.get()
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise RuntimeError(f"one of the processes that share the work {how}")
        watch()


def _end(workers: Iterable[SpawnProcess]) -> None:
    """End workers that are still at work, after they have cleaned up."""
    begun = [worker for worker in workers if worker.pid is not None]
    for worker in begun:
        worker.terminate()
    for worker in begun:
        worker.join(LEAVING_SECONDS)
        worker.kill()
        worker.join()


def run(work: Callable[[], None], processes: int, watch: Callable[[], None] | None = None) -> None:
    """Call the picklable `work` in each of so many `processes` (in this process when it is 1).

    watch: called here now and then while they work. What it raises ends them, as an interruption does.
    Raises the StylecodecError that a worker ended with, RuntimeError for anything else.
    """
    if processes <= 1:
        work()
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    context = get_context("spawn")
    failures: SimpleQueue[Exception] = context.SimpleQueue()
    try:
        with tempfile.TemporaryDirectory() as folder:
            given = (processes, str(Path(folder) / "meeting"), threads, os.getpid(), failures, work)
            workers = [context.Process(target=_worker, args=(me, *given), daemon=True) for me in range(processes)]
            try:
                for worker in workers:
                    worker.start()
                _watched(workers, failures, watch or (lambda: None))
            finally:
                _end(workers)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
