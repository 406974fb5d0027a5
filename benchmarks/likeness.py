"""Frames as the scripts pass them on to networks and measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # [H, W, 3] RGB
Floats = NDArray[np.float64]


def batches(frames: Sequence[Frame], size: int = 16) -> Iterator[torch.Tensor]:
    """uint8 [H, W, 3] -> [n, 3, H, W] in [-1, 1], at most `size` at a time."""
    for start in range(0, len(frames), size):
        stack = np.stack(frames[start : start + size])
        yield torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(127.5).sub(1)
