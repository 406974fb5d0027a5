"""The quantiser of a stream, fitted to its packets by statistics, without networks. Only writers need it.

An encoder that renders (encoding.rate) chooses steps by the effect of each parameter on the picture; `plain_steps` is
for all others. Rest levels, activity classes and prediction terms are fitted to the resulting levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .. import layout
from ..header import Profile, StreamHeader
from .prediction import OWN_CHANGE, OWN_REST, UNIT, Term
from .quantiser import Levels, Quantiser
from .tables import ACTIVITY_OF_CLASS

PLAIN_QUALITY = 60.0  # dB, of the following plain steps:
PLAIN_ANGLE_STEP = 0.05  # degrees
PLAIN_ALPHA_STEP = 0.2  # of the RMS deviation of all alpha
QUALITY_PER_HALF = 6.0  # by which the quality rises when steps are halved

_TERMS_PER_TARGET = 4
_TERM_BITS = 26  # that a term must save: its 3 bytes and a margin

Floats = npt.NDArray[np.float64]


def plain_steps(packets: npt.ArrayLike, quality: float = PLAIN_QUALITY) -> Floats:
    """Steps, float64 [35], for packets [n, 35], chosen without pictures and so finer than most clips need.

    quality: in dB. All angles have one step and all alpha another, in proportion to their RMS deviation.
    """
    alpha = np.asarray(packets, np.float64)[:, layout.PARAMS_PER_FRAME - layout.ALPHA_COUNT :]
    moved = float(np.sqrt(np.mean((alpha - alpha.mean(0)) ** 2)))
    steps = np.full(layout.PARAMS_PER_FRAME, PLAIN_ANGLE_STEP)
    steps[-layout.ALPHA_COUNT :] = PLAIN_ALPHA_STEP * moved or 1.0
    finer: Floats = steps * 2.0 ** ((PLAIN_QUALITY - quality) / QUALITY_PER_HALF)
    return finer


def plain_quantiser(packets: npt.ArrayLike, group_frames: int, quality: float = PLAIN_QUALITY) -> Quantiser:
    """A quantiser for packets [n, 35] in groups of `group_frames` frames, fitted without pictures."""
    quantiser = Quantiser.for_steps(plain_steps(packets, quality))
    return fitted(quantiser, quantiser.levels(packets), group_frames)


def compact_header(header: StreamHeader, quantiser: Quantiser) -> StreamHeader:
    """The header of the same stream in the compact profile."""
    return replace(header, profile=Profile.COMPACT, quantiser=quantiser)


def number_in_group(count: int, group_frames: int, cuts: Sequence[int] = ()) -> npt.NDArray[np.int64]:
    """Int64 [count]: how many frames of its group come before each frame. A group also ends at a cut."""
    begins = np.zeros(count, np.int64)
    begins[list(cuts)] = cuts
    return np.asarray((np.arange(count) - np.maximum.accumulate(begins)) % group_frames, np.int64)


def fitted(quantiser: Quantiser, levels: Levels, group_frames: int, cuts: Sequence[int] = ()) -> Quantiser:
    """The same steps with rest levels, activity classes and terms fitted to levels [n, 35].

    cuts: frames with which a group begins, beside those that follow from `group_frames`.
    """
    rest = np.rint(np.median(levels, axis=0)).astype(np.int64)
    changes, sources = _sources(levels, rest, number_in_group(len(levels), group_frames, cuts))
    terms: list[Term] = []
    spread = []
    for target in range(layout.PARAMS_PER_FRAME):
        chosen = _choose(changes[:, target], sources, target)
        terms += sorted(chosen)
        left = changes[:, target].astype(np.int64)
        if chosen:
            left = left - (UNIT // 2 + sum(t.weight * sources[t.source][:, target] for t in chosen)) // UNIT
        spread.append(_activity_class(left))
    return Quantiser(quantiser.codes, tuple(int(level) for level in rest), tuple(spread), tuple(terms))


def _sources(
    levels: Levels, rest: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], dict[int, npt.NDArray[np.int64]]]:
    """Changes int64 [m, 35] of all frames but the first of each group, and the sources that may predict them.

    Each source is [m, 35], by target; that of another parameter is the same for all targets. place: [n]
    of the frames in their groups.
    """
    inside = np.flatnonzero(place)
    wide = levels.astype(np.int64)
    changes = wide[inside] - wide[inside - 1]
    before = wide[inside - 1] - wide[np.maximum(inside - 2, 0)]
    before[place[inside] == 1] = 0
    sources = {OWN_CHANGE: before, OWN_REST: rest - wide[inside - 1]}
    shape = changes.shape
    sources |= {k: np.broadcast_to(changes[:, k : k + 1], shape) for k in range(layout.PARAMS_PER_FRAME)}
    return changes, sources


def _choose(change: npt.NDArray[np.int64], sources: dict[int, npt.NDArray[np.int64]], target: int) -> list[Term]:
    """The terms that save more bits than they take, found one by one by least squares."""
    if not change.any():
        return []
    candidates = [*range(target), OWN_CHANGE, OWN_REST]
    wanted = change.astype(np.float64)
    columns = {source: sources[source][:, target].astype(np.float64) for source in candidates}
    columns = {source: column for source, column in columns.items() if column.any()}
    chosen: list[int] = []
    weights: Floats = np.zeros(0)
    best = _bits(wanted)
    while len(chosen) < _TERMS_PER_TARGET:
        tried = []
        for source in columns.keys() - set(chosen):
            matrix = np.stack([columns[s] for s in (*chosen, source)], axis=1)
            exact = np.linalg.solve(matrix.T @ matrix + np.eye(len(chosen) + 1), matrix.T @ wanted)
            rounded = np.clip(np.rint(exact * UNIT), -128, 127)
            tried.append((_bits(wanted - matrix @ rounded / UNIT), source, rounded))
        if not tried:
            break
        bits, source, rounded = min(tried, key=lambda row: row[:2])
        if bits > best - _TERM_BITS:
            break
        best, weights = bits, rounded
        chosen.append(source)
    return [Term(target, s, int(w)) for s, w in zip(chosen, weights, strict=True) if w]


def _bits(residual: Floats) -> float:
    """The approximate cost of residuals in bits: the entropy of a Gaussian of their power, rounded to integers."""
    return float(len(residual) * 0.5 * np.log2(np.mean(residual**2) + 1 / 12))


def _activity_class(residual: npt.NDArray[np.int64]) -> int:
    """The class whose activity has the ratio nearest to 1 to the mean magnitude."""
    mean = 4096 * float(np.abs(residual).mean()) if len(residual) else 0.0
    small = 60  # so that magnitudes below a 70th of a level do not matter
    return int(np.abs(np.log((np.array(ACTIVITY_OF_CLASS) + small) / (mean + small))).argmin())
