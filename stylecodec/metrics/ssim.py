"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, 2004) of batches of pictures, differentiable."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

WINDOW, STRIDE = 8, 4  # pixels: flat windows that overlap by half, which cost a fraction of a Gaussian at each pixel
K1, K2, RANGE = 0.01, 0.03, 2.0  # the paper's constants; pictures lie in [-1, 1]


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Two of pictures [N, C, H, W] in [-1, 1] -> SSIM of windows, mean of channels [N, 1, H / 4 - 1, W / 4 - 1]."""
    a, b = a.float(), b.float()
    mean_a, mean_b, square_a, square_b, product = (windows(x) for x in (a, b, a * a, b * b, a * b))
    both, squares = mean_a * mean_b, mean_a.square() + mean_b.square()
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    lightness = (2 * both + c1) / (squares + c1)
    structure = (2 * (product - both) + c2) / (square_a + square_b - squares + c2)
    return (lightness * structure).mean(dim=1, keepdim=True)


def windows(x: Tensor) -> Tensor:
    """The mean of [N, C, H, W] in each window."""
    return F.avg_pool2d(x, WINDOW, STRIDE)
