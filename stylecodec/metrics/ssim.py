"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, 2004), of batches with gradients and of 8-bit pictures.

`ssim_map` is for losses: flat windows that overlap by half. `picture_ssim` is for figures: the paper's Gaussian window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

WINDOW, STRIDE = 8, 4  # pixels: flat windows that overlap by half, which cost a fraction of a Gaussian at each pixel
K1, K2, RANGE = 0.01, 0.03, 2.0  # the paper's constants; pictures lie in [-1, 1]
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, from the full picture to a sixteenth
SIGMA, REACH = 1.5, 3.5  # pixels, of the paper's window; deviations after which it is cut off
BORDER = round(REACH * SIGMA)  # pixels at the edge of a picture whose window reaches beyond it
LEAST_MS_SIDE = 16 * (2 * BORDER + 1)  # pixels: one window fits into the coarsest scale


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


def picture_ssim(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Two pictures [H, W, C] of values 0 to 255 -> SSIM around each pixel, mean of the channels [H, W]."""
    lightness, structure = _terms(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return np.asarray((lightness * structure).mean(axis=2), np.float64)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two pictures [H, W, C] -> how alike brightness, and contrast with structure, are around each pixel [H, W, C]."""

    def blurred(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(x, (SIGMA, SIGMA, 0), truncate=REACH), np.float64)

    mean_x, mean_y = blurred(x), blurred(y)
    both, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    lightness = (2 * both + c1) / (squares + c1)
    structure = (2 * (blurred(x * y) - both) + c2) / (blurred(x * x) + blurred(y * y) - squares + c2)
    return lightness, structure


def mean_ssim(a: NDArray[Any], b: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """The mean of `picture_ssim` where the weights [H, W] are; without them away from the border of half a window."""
    found = picture_ssim(a, b)
    if weight is not None:
        return float((found * weight).sum() / max(float(np.sum(weight)), 1e-6))
    return float(found[BORDER:-BORDER, BORDER:-BORDER].mean())


def ms_ssim(a: NDArray[Any], b: NDArray[Any]) -> float:
    """SSIM over five scales (Wang, Simoncelli, Bovik, 2003) of pictures [H, W, C] of values 0 to 255, at most 1.

    Sides are multiples of 16, LEAST_MS_SIDE or more, else ValueError. Brightness counts at the coarsest scale alone,
    and the border of half a window nowhere.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(x.shape[:2]) < LEAST_MS_SIDE or any(side % 16 for side in x.shape[:2]):
        raise ValueError(f"MS-SSIM takes sides of {LEAST_MS_SIDE} pixels or more, multiples of 16, not {x.shape[:2]}")
    product = np.ones(x.shape[2])
    for scale, exponent in enumerate(SCALES):
        if scale:
            x, y = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2, -1).mean(axis=(1, 3)) for p in (x, y))
        lightness, structure = _terms(x, y)
        alike = lightness * structure if scale == len(SCALES) - 1 else structure
        product *= np.maximum(alike[BORDER:-BORDER, BORDER:-BORDER].mean(axis=(0, 1)), 0) ** exponent
    return float(product.mean())
