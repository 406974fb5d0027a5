"""Several processes that train one network: same weights, different batches, averaged gradients.

On a CPU two processes of one thread each train nearly twice as fast as one process of two threads: the layers are
small. The processes are spawned, so the program's main module must be one that can be imported without doing its work
(`if __name__ == "__main__":`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from ..processes import WATCH_SECONDS, leave_with


def rank() -> int:
    """Number of this process in its team, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes the team has."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(parameters: Iterable[nn.Parameter | Tensor]) -> None:
    """Replace every gradient by its mean over the team (a missing one counts as zero)."""
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


def _member(number: int, processes: int, meeting: str, threads: int, starter: int, work: Callable[[], None]) -> None:
    leave_with(starter)
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=processes)
    try:
        work()
    finally:
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the teardown of a busy machine's threads was once seen to abort a member whose work was done


def run(work: Callable[[], None], processes: int, watch: Callable[[], None] | None = None) -> None:
    """Call the picklable `work` in a team of `processes` (in this process when it is 1).

    watch: called here now and then while the team works.
    """
    if processes <= 1:
        work()
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            meeting = str(Path(folder) / "meeting")
            arguments = (processes, meeting, threads, os.getpid(), work)
            members = spawn(_member, arguments, nprocs=processes, join=False)  # type: ignore[no-untyped-call]
            while not members.join(WATCH_SECONDS):
                if watch is not None:
                    watch()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
