"""The Fréchet distance of two sets of features, taken for normally distributed: FID (1706.08500), FVD (1812.01717)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SAMPLES = 2  # of each set: one alone has no covariance


def frechet_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Features [n, d] and [m, d] -> |mean a - mean b|² + tr(A + B - 2 (A B)^½), A and B their covariances.

    With centred features X, Y the last trace is the sum of the singular values of X Yᵀ over √((n - 1)(m - 1)), which
    holds for fewer samples than dimensions too. ValueError for fewer than two samples.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(x), len(y)) < LEAST_SAMPLES:
        raise ValueError(f"a Fréchet distance needs {LEAST_SAMPLES} samples of each set or more")
    apart = float(np.square(x.mean(axis=0) - y.mean(axis=0)).sum())
    x, y = ((v - v.mean(axis=0)) / np.sqrt(len(v) - 1) for v in (x, y))
    common = float(np.linalg.svd(x @ y.T, compute_uv=False).sum())
    return max(0.0, apart + float(np.square(x).sum() + np.square(y).sum()) - 2 * common)
