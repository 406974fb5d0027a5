"""The loss of pixels that training, refinement and personalisation share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pixel_loss(output: Tensor, target: Tensor, weight: Tensor, gradients: float = 0.5, scales: int = 3) -> Tensor:
    """Weighted L1 of pixels, and `gradients` times that of differences between neighbours at `scales` octaves.

    output, target [N, C, H, W]; weight [N, 1, H, W].
    """
    error = output - target
    total = (error.abs() * weight).mean()
    for octave in range(scales if gradients else 0):
        if octave:
            error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
        across = (error.diff(dim=-1).abs() * weight[..., 1:]).mean()
        down = (error.diff(dim=-2).abs() * weight[..., 1:, :]).mean()
        total = total + gradients * (across + down)
    return total
