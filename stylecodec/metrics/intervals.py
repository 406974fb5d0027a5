"""How sure a mean over frames is: a bootstrap interval that knows that neighbouring frames are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

RESAMPLINGS, SEED, SHARE = 1000, 0, 0.95
LEAST_BLOCKS = 4  # that frames are divided into: few frames are drawn in shorter blocks
AT_ONCE = 1 << 16  # numbers of frames that a statistic is asked for together
LEAST_DEFINED = 0.9  # of the resamplings, in which a statistic must be defined for an interval of it


def resampled(count: int, block: int) -> Indices:
    """[RESAMPLINGS, count] numbers of frames: blocks of `block` successive ones put together anew, always the same.

    Circular block bootstrap (Politis and Romano, 1992): drawing single frames would take those of a second for as many
    independent ones, and the interval would come out too narrow.
    """
    block = max(1, min(block, count // LEAST_BLOCKS))
    starts = np.random.default_rng(SEED).integers(0, count, (RESAMPLINGS, -(-count // block)))
    places = (starts[:, :, None] + np.arange(block)) % count
    return places.reshape(RESAMPLINGS, -1)[:, :count]


def interval(count: int, block: int, statistic: Callable[[Indices], Floats]) -> tuple[float, float] | None:
    """The 95 % interval of a statistic of frames; None for fewer than two of them, or where it is mostly not defined.

    statistic: numbers of frames [m, count] -> [m], its value for each row of them, NaN where it is not defined.
    """
    if count < 2:
        return None
    few = max(1, AT_ONCE // count)  # rows: what bounds the memory
    drawn = resampled(count, block)
    found = np.concatenate([statistic(drawn[first : first + few]) for first in range(0, len(drawn), few)])
    found = found[np.isfinite(found)]
    if len(found) < LEAST_DEFINED * RESAMPLINGS:
        return None
    low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def mean_interval(values: Floats, block: int) -> tuple[float, float] | None:
    """The interval of the mean of values [n], one per frame."""
    return interval(len(values), block, lambda places: values[places].mean(axis=1))
