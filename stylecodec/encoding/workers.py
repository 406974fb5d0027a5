"""Gradients of several losses side by side: on a CPU two small batches in two threads beat one batch on two cores.

The layers are small, so that one operation shared by all cores waits more than it works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

MOST = 4  # threads; beyond that each has several cores


class Workers:
    """Threads for the losses of one optimiser on one device; on a GPU the losses come one after the other.

    To be used in a with block, which gives the cores back to single operations.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads = torch.get_num_threads()
        self.count = min(self._threads, MOST) if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count, "loss", torch.set_num_threads, (self._threads // self.count,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._threads)

    def gradients(self, losses: Sequence[Callable[[], Tensor]], leaves: Sequence[Tensor]) -> list[Tensor]:
        """The gradient of the losses' sum by each leaf; always added up in the order of the losses."""
        work = partial(_gradients, leaves=leaves)
        parts = list(map(work, losses)) if self._pool is None else list(self._pool.map(work, losses))
        total = [torch.zeros_like(leaf) for leaf in leaves]
        for part in parts:
            for place, gradient in zip(total, part, strict=True):
                if gradient is not None:
                    place += gradient
        return total


def _gradients(loss: Callable[[], Tensor], leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    with torch.enable_grad():
        found: Sequence[Tensor | None] = torch.autograd.grad(loss(), leaves, allow_unused=True)
    return found
