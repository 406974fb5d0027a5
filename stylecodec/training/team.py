"""Several processes that train one network: same weights, different batches, averaged gradients.

On a CPU two processes of one thread each train nearly twice as fast as one process of two threads: the layers are
small.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn


def rank() -> int:
    """Number of this process in its team, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
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


def _member(number: int, size: int, meeting: str, threads: int, work: Callable[[], None]) -> None:
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=size)
    try:
        work()
    finally:
        dist.destroy_process_group()


def run(work: Callable[[], None], processes: int) -> None:
    """Call the picklable `work` in a team of `processes` (in this process when it is 1)."""
    if processes <= 1:
        work()
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        spawn(_member, (processes, meeting, threads, work), nprocs=processes)  # type: ignore[no-untyped-call]
