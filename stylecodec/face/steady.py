"""Noise against motion: measurements of a head, smoothed where it is still and believed where it moves.

    measurements ─► wrong ones out ─► how large is the noise? (one figure for all of them)
                                  └─► how strongly does the head accelerate? (around each frame)
                                                     └─► a track that bends only as much as that explains

The track x minimises Σ (y_k − x_k)² / r + Σ (x_{k−1} − 2 x_k + x_{k+1})² / q_k over the measurements y: the
fixed-interval (Rauch–Tung–Striebel) smoother of a head whose velocity is a random walk, r and q_k the variances of
noise and acceleration, written as one banded system. With q constant it is a low pass whose cutoff is (q / r)^¼ radians
per frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.ndimage import convolve1d, gaussian_filter1d, median_filter
from scipy.special import gammaincinv

Floats = NDArray[np.float64]

CUBIC_NOISE = 1 + 34 / 36  # variance of a value less the cubic through its four neighbours, in units of the noise's
# Second derivatives: of a parabola fitted to 7 frames, little moved by noise, and the difference, for quicker motion.
BENDS = (np.array([5.0, 0.0, -3.0, -4.0, -3.0, 0.0, 5.0]) / 42, np.array([1.0, -2.0, 1.0]))
NEAR = 21  # frames around a value that say how far off the curve is usual
UNUSUAL = 5.0  # times that: a wrong value
WINDOW = 5.0  # frames, sigma of the window in which the acceleration is looked at
NOISE_MARGIN = 2.5  # times what noise alone would give, that is not yet believed to be acceleration
ALERT = 2.0  # variance of the acceleration in the model, in units of what is seen of it
USUAL_RATE = 25.0  # frames per second for which `Noise.wrong` is told
CALM = 0.1  # radians per frame: cutoff where the head does not accelerate


@dataclass(frozen=True)
class Noise:
    """What is known of a measurement, in its own units: bounds of the noise's standard deviation, and how far from
    its neighbours' curve a value must be, at least, to count as a wrong one."""

    least: float
    most: float
    wrong: float

    def at(self, rate: float) -> Noise:
        """For that many frames per second: heads get the farther off a curve, the rarer the frames."""
        return replace(self, wrong=self.wrong * max(1.0, USUAL_RATE / rate) ** 2)


def steady(values: Floats, times: Floats, noise: Noise, calm: float = CALM) -> Floats:
    """Measurements [n, d] at whole, rising frame numbers [n] → [n, d], smoothed by what they say of noise and motion.

    The d columns are one thing's (x and y of a point): they share noise and acceleration. `calm` is the cutoff in
    radians per frame for a still head. Exact for one and two measurements; frames between them may be missing.
    """
    if len(values) < 3:
        return values.copy()
    at = np.rint(times - times[0]).astype(np.intp)
    grid = np.arange(at[-1] + 1)
    right = ~wrong_ones(values, times, noise.wrong)
    even = np.column_stack([np.interp(grid, at[right], column[right]) for column in values.T])
    r = noise_level(values[right], times[right], noise) ** 2
    q = np.maximum(calm**4 * r, ALERT * acceleration(even, r))
    weights = np.zeros(len(grid))
    weights[at[right]] = 1.0
    calmed: Floats = smoothed(even, weights, r / q)[at]
    return calmed


def smoothed(values: Floats, weights: Floats, stiffness: Floats) -> Floats:
    """[n, d] that minimises Σ weight · (value − x)² + Σ stiffness · (second difference of x)²; weights, stiffness [n].

    At least two weights must be above 0.
    """
    count = len(values)
    if count < 3:
        return values.copy()
    s = stiffness[1:-1]
    bands = np.zeros((3, count))  # upper form of LAPACK: two diagonals above the main one, and that
    bands[2] = weights
    bands[2, :-2] += s
    bands[2, 1:-1] += 4 * s
    bands[2, 2:] += s
    bands[1, 1:-1] -= 2 * s
    bands[1, 2:] -= 2 * s
    bands[0, 2:] = s
    return np.asarray(solveh_banded(bands, weights[:, None] * values), np.float64)


def off_the_curve(values: Floats, times: Floats, length: int) -> tuple[Floats, Floats]:
    """How far a run of `length` values, from each of [n, d] on, is from the cubic through two before and two after it.

    [n] the smallest distance in the run, and [n] the neighbours' from each other across the run; NaN where those four
    are not the next frames.
    """
    off, across = np.full(len(values), np.nan), np.full(len(values), np.nan)
    starts = np.arange(2, len(values) - length - 1)
    starts = starts[times[starts + length + 1] - times[starts - 2] == length + 3]
    knots = (-2, -1, length, length + 1)
    apart = np.full((length, len(starts)), np.inf)
    for k in range(length):
        shares = [np.prod([(k - b) / (a - b) for b in knots if b != a]) for a in knots]
        expected = sum(share * values[starts + knot] for share, knot in zip(shares, knots, strict=True))
        apart[k] = np.linalg.norm(values[starts + k] - expected, axis=1)
    off[starts] = apart.min(axis=0)
    across[starts] = np.linalg.norm(values[starts + length] - values[starts - 1], axis=1)
    return off, across


def wrong_ones(values: Floats, times: Floats, least: float) -> NDArray[np.bool_]:
    """[n]: single values and pairs that jump away from those around them by `least` or more, and back.

    A step is none, nor is what happens all the time.
    """
    wrong = np.zeros(len(values), np.bool_)
    found = []
    for length in (1, 2):
        off, across = off_the_curve(values, times, length)
        usual = median_filter(np.nan_to_num(off), NEAR, mode="nearest")
        jumps = np.flatnonzero(off > np.maximum(np.maximum(least, UNUSUAL * usual), across))
        found += [(-float(off[k]), int(k), length) for k in jumps]
    for _, first, length in sorted(found):
        if not wrong[max(0, first - 2) : first + length + 2].any():  # else it is the neighbour of a worse one
            wrong[first : first + length] = True
    return wrong


def noise_level(values: Floats, times: Floats, noise: Noise) -> float:
    """Standard deviation of the noise of measurements [n, d], from how far they usually are from a smooth curve."""
    off, _ = off_the_curve(values, times, 1)
    off = off[np.isfinite(off)]
    if not len(off):
        return noise.most
    usual = np.sqrt(2 * gammaincinv(values.shape[1] / 2, 0.5))  # median length of a d-vector of unit variance
    return float(np.clip(np.median(off) / usual / np.sqrt(CUBIC_NOISE), noise.least, noise.most))


def acceleration(values: Floats, variance: float = 0.0) -> Floats:
    """[n]: mean square of the acceleration of values [n, d] around each frame, in their unit per frame².

    As far as noise of this variance does not explain it.
    """
    found = np.zeros(len(values))
    for bend in BENDS:
        reach = len(bend) // 2
        lengthened = np.pad(values, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
        square = (convolve1d(lengthened, bend, axis=0)[reach:-reach] ** 2).mean(axis=1)
        around = gaussian_filter1d(square, WINDOW, mode="nearest")
        found = np.maximum(found, around - NOISE_MARGIN * variance * float(bend @ bend))
    return found
