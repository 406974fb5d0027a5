"""Peak signal-to-noise ratio: 10 log10(range² / mean squared error), in dB; pictures of 8 bits or in [-1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_ERROR = 1e-10  # mean squared error in the unit of the range, from which pictures count as equal: 100 dB


def psnr(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Pictures [N, C, H, W] in [-1, 1] (output clamped) -> dB [N], where the weights [N, 1, H, W] are, if given."""
    error = ((output.clamp(-1, 1) - target) / 2).square()
    if weight is None:
        mean = error.mean(dim=(1, 2, 3))
    else:
        error = error.mean(dim=1, keepdim=True)
        mean = (error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp_min(1e-6)
    return -10 * torch.log10(mean.clamp_min(LEAST_ERROR))


def picture_psnr(a: NDArray[Any], b: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """dB between pictures [..., H, W, C] of values 0 to 255, where the weights [..., H, W] are, if given."""
    error = np.square((np.asarray(a, np.float64) - np.asarray(b, np.float64)) / 255).mean(axis=-1)
    mean = float(error.mean() if weight is None else (error * weight).sum() / max(float(np.sum(weight)), 1e-9))
    return float(-10 * np.log10(max(mean, LEAST_ERROR)))
