"""How alike two pictures are, for the scripts that compare what went in with what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Frame = NDArray[np.uint8]  # [H, W, 3] RGB
Floats = NDArray[np.float64]


def ssim(a: Frame, b: Frame) -> tuple[float, Floats]:
    """SSIM as Wang et al. (2004) define it, mean over the channels: of the whole picture, and its map [H, W]."""
    manner = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "full": True}
    value, found = structural_similarity(a, b, use_sample_covariance=False, **manner)  # type: ignore[no-untyped-call]
    return float(value), np.asarray(found.mean(axis=2), np.float64)


def batches(frames: Sequence[Frame], size: int = 16) -> Iterator[torch.Tensor]:
    """uint8 [H, W, 3] -> [n, 3, H, W] in [-1, 1], at most `size` at a time."""
    for start in range(0, len(frames), size):
        stack = np.stack(frames[start : start + size])
        yield torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(127.5).sub(1)
