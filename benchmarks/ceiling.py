"""What the machine can do at most, and what the generator asks of it, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import time_call
from stylecodec.nets.stylegan2 import Generator

# (batch, channels, side) of 3x3 convolutions; the fastest is the ceiling.
CONVOLUTIONS = ((1, 256, 64), (4, 64, 128), (4, 128, 64), (16, 256, 64))


def waiter(device: torch.device) -> Callable[[], object] | None:
    """What to call before the clock is read."""
    return torch.cuda.synchronize if device.type == "cuda" else None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def ceiling(device: torch.device, dtype: torch.dtype, budget: float) -> dict[str, Any]:
    """The best rates seen: GFLOP/s of a matrix product and of a 3x3 convolution, GB/s of a copy (read and write)."""
    wait, gpu = waiter(device), device.type == "cuda"
    side = 8192 if gpu else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = time_call(lambda: a @ b, budget, wait=wait)
    rates = []
    for batch, channels, width in CONVOLUTIONS[: 4 if gpu else 3]:
        x = torch.randn(batch, channels, width, width, device=device).to(dtype, memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
        timing = time_call(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1), budget / 3, wait=wait)  # type: ignore[misc]
        rates.append(2 * 9 * channels**2 * width**2 * batch / timing.best)
    source = torch.empty((1 << 30) if gpu else (1 << 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = time_call(lambda: target.copy_(source), budget / 3, wait=wait)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "gemm_gflops": 2 * side**3 / product.best / 1e9,
        "conv_gflops": max(rates) / 1e9,
        "copy_gb_per_second": 2 * source.numel() / copy.best / 1e9,
    }


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the products and convolutions in a call (a multiply-add counts two)."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


@torch.inference_mode()
def block_rows(
    generator: Generator, styles: list[Tensor], noise: bool, dtype: torch.dtype, budget: float
) -> list[dict[str, Any]]:
    """Per resolution of the generator: milliseconds and GFLOP per picture, GFLOP/s and MiB of one feature map."""
    rows: list[dict[str, Any]] = []
    count = len(styles[0])
    x, image = generator.seed(count, dtype), None
    for size in generator.resolutions:

        def block(size: int = size, x: Tensor = x, image: Tensor | None = image) -> tuple[Tensor, Tensor]:
            return generator.grow(size, x, image, styles, noise, reference=False)

        timing = time_call(block, budget, wait=waiter(x.device))
        work = flops(block) / count
        x, image = block()
        rows.append(
            {
                "resolution": size,
                "channels": x.shape[1],
                "ms": 1000 * timing.median / count,
                "gflop": work / 1e9,
                "gflop_per_second": work * count / timing.median / 1e9,
                "map_mib": x.numel() * x.element_size() / count / 2**20,
            }
        )
    return rows
