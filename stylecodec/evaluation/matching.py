"""Which frame of an output shows what a frame of the reference shows: matched by time, after a constant delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .faces import AlignedFaces
from .options import MOST_DELAY

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SLACK = 0.002  # seconds that containers may round a time by
THUMBNAIL = 32  # pixels per side of what a delay is found by
GAIN, SURE = 0.05, 0.5  # a delay is believed that correlates so much better than none, and as well as that
LEAST_PAIRS, LEAST_SHARE = 8, 0.5  # frames of the shorter video that must be left to tell a delay by


@dataclass(frozen=True)
class Matching:
    """Pairs of frames (reference[k], output[k]) that are shown at one time, in order; both show a face.

    delay: seconds by which the output is late. frames: the same in frames of the reference. at_once: pairs before those
    without a face were left out. apart: the largest difference of times within a pair, seconds. found_by: the
    correlation that the delay was found by, with and without it; None where it was given.
    """

    reference: Indices
    output: Indices
    delay: float
    frames: float
    at_once: int
    apart: float
    found_by: tuple[float, float] | None


def matched(reference: AlignedFaces, output: AlignedFaces, delay: int | None = None) -> Matching:
    """Match an output to its reference. delay: in frames of the reference; None: looked for, up to MOST_DELAY."""
    step = _step(reference.seconds)
    found_by = None
    if delay is None:
        seconds, found_by = found_delay(reference, output)
    else:
        seconds = delay * step
    a, b = pairs_at(reference.seconds, output.seconds, seconds)
    apart = np.abs(output.seconds[b] - reference.seconds[a] - seconds)
    seen = reference.found[a] & output.found[b]
    largest = float(apart.max()) if len(apart) else 0.0
    return Matching(a[seen], b[seen], seconds, seconds / step, len(a), largest, found_by)


def pairs_at(reference: Floats, output: Floats, delay: float) -> tuple[Indices, Indices]:
    """For each time of the reference the nearest of the output after a delay, if it is within half a frame of it."""
    if not len(reference) or not len(output):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    tolerance = min(_step(reference), _step(output)) / 2 + SLACK
    wanted = reference + delay
    after = np.clip(np.searchsorted(output, wanted), 1, max(len(output) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(output) - 1)
    nearest = np.where(np.abs(output[after] - wanted) < np.abs(output[before] - wanted), after, before)
    near = np.abs(output[nearest] - wanted) <= tolerance
    return np.flatnonzero(near), nearest[near]


def _step(seconds: Floats) -> float:
    """The usual time from a frame to the next."""
    return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1 / 25


def found_delay(reference: AlignedFaces, output: AlignedFaces) -> tuple[float, tuple[float, float]]:
    """The delay in seconds under which what moves in both correlates best, and the correlations with it and without.

    What stands still (who is seen, in what light) is taken out: the mean of thumbnails of the squares over time. A
    delay that is hardly better than none is none.
    """
    step = min(_step(reference.seconds), _step(output.seconds))
    a, b = moving(reference), moving(output)
    reach = round(MOST_DELAY / step)
    scores = {k: _correlation(reference, output, a, b, k * step) for k in sorted(range(-reach, reach + 1), key=abs)}
    best = max(scores, key=lambda k: (scores[k], -abs(k)))
    if scores[best] < max(scores[0] + GAIN, SURE):
        best = 0
    return best * step, (scores[best], scores[0])


def _correlation(reference: AlignedFaces, output: AlignedFaces, a: Floats, b: Floats, delay: float) -> float:
    i, j = pairs_at(reference.seconds, output.seconds, delay)
    seen = reference.found[i] & output.found[j]
    i, j = i[seen], j[seen]
    if len(i) < max(LEAST_PAIRS, LEAST_SHARE * min(reference.found.sum(), output.found.sum())):
        return -1.0 if delay else 0.0
    x, y = a[i] - a[i].mean(axis=0), b[j] - b[j].mean(axis=0)
    power = float(np.square(x).sum() * np.square(y).sum()) ** 0.5
    return float((x * y).sum()) / power if power > 0 else 0.0


def moving(faces: AlignedFaces) -> Floats:
    """Grey thumbnails [n, THUMBNAIL²] of the squares."""
    grey = [np.asarray(Image.fromarray(crop).convert("L").resize((THUMBNAIL, THUMBNAIL))) for crop in faces.crops]
    return np.array(grey, np.float64).reshape(len(grey), -1)
