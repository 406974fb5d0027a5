"""Packets to levels of the compact profile: the steps for a quality, and the levels that cost least for their error.

    metric, quality ──► steps ──► nearest levels ──► fit ──► trellis ──► fit ──► …
                          ▲                                     │
                          └──────── error too large or small ◄──┘

A face that moves little is coded finer than the quality asks for, in proportion, as an error that a lively one hides is
a large part of its motion.

A trellis runs along time for one parameter after the other: a level off the nearest is taken where it saves more
bytes than it spoils, as the metric of `sensitivity` judges it, which knows how errors of parameters add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...bitstream import ALPHA_COUNT, PARAMS_PER_FRAME
from ...bitstream.compact.coding import magnitude_bits
from ...bitstream.compact.modelling import fitted, number_in_group
from ...bitstream.compact.prediction import OWN_CHANGE, OWN_REST, UNIT
from ...bitstream.compact.quantiser import Levels, Quantiser
from ...progress import Progress, ProgressCallback, silent
from .sensitivity import Metrics

QUANTISING = "quantising the motion"  # the stage's name in reports of progress
Floats = NDArray[np.float64]

ROUNDS = 3
REACH = 2  # levels either side of the nearest that the trellis may take
EXCHANGE = 0.2  # how many squared steps of error, shown in the picture, one bit is worth
STEP_POWER = 0.8  # the error grows with this power of the steps, as small changes are dropped altogether
LIVELY = 11.0  # RMS levels by which a face's own motion (its α) changes pictures from which on it is not coded finer
FINEST = 0.35  # of the error that the quality allows: what is left where a face does not move
LEAST_SHARE = 1e-4  # of the largest sensitivity: parameters that show less are taken to show this much


def compact_packets(
    packets: NDArray[np.floating],
    metrics: Metrics,
    quality: float,
    group_frames: int,
    progress: ProgressCallback = silent,
    cuts: Sequence[int] = (),
) -> tuple[Quantiser, NDArray[np.float32]]:
    """A quantiser for packets [n, 35], and the packets that it holds exactly.

    metrics: by `pixels` the error is measured, by `perceptual` it is shared out among the parameters.
    quality: the PSNR in dB to aim at, between the pictures of these packets and of those given; more, by up to 9 dB,
    for a face that is not LIVELY. group_frames: frames from one start of a group to the next; it begins anew at each of
    the frames `cuts`.
    """
    exact = np.asarray(packets, np.float64)
    diagonal = np.diag(metrics.perceptual)
    shown = np.sqrt(np.maximum(diagonal, LEAST_SHARE * max(float(diagonal.max()), 1e-12)))
    error = target = 255 * 10 ** (-quality / 20) * error_share(exact, metrics.pixels)  # RMS levels
    passes = 0
    for number in range(ROUNDS):
        quantiser = Quantiser.for_steps(error * math.sqrt(12 / PARAMS_PER_FRAME) / shown)
        levels = quantiser.levels(exact)
        for _ in range(1 + (number == ROUNDS - 1)):
            quantiser = fitted(quantiser, levels, group_frames, cuts)
            told = partial(_tell, progress, passes)
            levels = trellis(exact, levels, quantiser, metrics.perceptual, group_frames, told, cuts)
            passes += 1
        reached = rms_error(exact - quantiser.values(levels), metrics.pixels)
        if reached > 0:
            error *= min(max(target / reached, 0.25), 4.0) ** (1 / STEP_POWER)
    quantiser = fitted(quantiser, levels, group_frames, cuts)
    return quantiser, quantiser.values(levels)


def error_share(packets: Floats, metric: Floats) -> float:
    """How much of the error that a quality allows is left to packets [n, 35], FINEST to 1, by how the face moves.

    The head's pose does not count: beside it the face may stand still.
    """
    face = packets - packets.mean(axis=0)
    face[:, :-ALPHA_COUNT] = 0
    return min(max(rms_error(face, metric) / LIVELY, FINEST), 1.0)


def rms_error(errors: Floats, metric: Floats) -> float:
    """The RMS error of the pictures, in levels of 255, that errors [n, 35] of the packets make."""
    return math.sqrt(max(float(np.einsum("ti,ij,tj->", errors, metric, errors)) / len(errors), 0.0))


def _tell(progress: ProgressCallback, passes: int, parameters: int) -> None:
    done = passes * PARAMS_PER_FRAME + parameters
    progress(Progress(QUANTISING, done, (ROUNDS + 1) * PARAMS_PER_FRAME, "steps"))


def trellis(
    exact: Floats,
    levels: Levels,
    quantiser: Quantiser,
    metric: Floats,
    group_frames: int,
    told: Callable[[int], None] = lambda parameters: None,
    cuts: Sequence[int] = (),
) -> Levels:
    """Better levels than `levels` [n, 35] for the packets `exact` [n, 35]: one pass over the parameters.

    told: called with the number of parameters done. cuts: as of `compact_packets`.
    """
    steps = quantiser.steps
    result = levels.astype(np.int64)
    errors = exact - result * steps
    place = number_in_group(len(levels), group_frames, cuts)
    worth = EXCHANGE * float(np.median(np.diag(metric) * steps**2))
    for k in range(PARAMS_PER_FRAME):
        own = max(float(metric[k, k]), 1e-12)
        others = errors @ metric[:, k] - errors[:, k] * metric[k, k]
        candidates = np.rint(exact[:, k] / steps[k]).astype(np.int64)[:, None] + np.arange(-REACH, REACH + 1)
        off = exact[:, k, None] - candidates * steps[k]
        cost = own * off**2 + 2 * off * others[:, None]
        price = worth * magnitude_bits(quantiser.spread[k])
        result[:, k] = _path(candidates, cost, _offsets(result, quantiser, k, place), price, place)
        errors[:, k] = exact[:, k] - result[:, k] * steps[k]
        told(k + 1)
    return result.astype(np.int32)


def _offsets(
    levels: NDArray[np.int64], quantiser: Quantiser, k: int, place: NDArray[np.int64]
) -> NDArray[np.int64]:
    """[n]: prediction of parameter k less its last level, or in the first frame of a group its rest level."""
    change = np.diff(levels, axis=0, prepend=levels[:1])
    last = np.concatenate([levels[:1, k], levels[:-1, k]])
    total = np.full(len(levels), UNIT // 2)
    for term in quantiser.terms:
        if term.target != k:
            continue
        if term.source == OWN_CHANGE:
            before = np.concatenate([[0], change[:-1, k]])
            total += term.weight * np.where(place > 1, before, 0)
        elif term.source == OWN_REST:
            total += term.weight * (quantiser.rest[k] - last)
        else:
            total += term.weight * change[:, term.source]
    return np.where(place == 0, quantiser.rest[k], total // UNIT)


def _path(
    candidates: NDArray[np.int64], cost: Floats, offsets: NDArray[np.int64], price: Floats, place: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The cheapest way through candidates [n, c]: cost [n, c] of each, and price of the residuals between them."""
    count, width = candidates.shape
    back = np.zeros((count, width), np.int64)
    total = np.zeros(width)
    most = len(price) - 1
    for frame in range(count):
        if place[frame] == 0:
            best = int(total.argmin())
            back[frame] = best
            residual = np.abs(candidates[frame] - offsets[frame])
            total = total[best] + cost[frame] + price[np.minimum(residual, most)]
            continue
        residual = np.abs(candidates[frame][None, :] - candidates[frame - 1][:, None] - offsets[frame])
        ways = total[:, None] + price[np.minimum(residual, most)]
        back[frame] = ways.argmin(axis=0)
        total = ways.min(axis=0) + cost[frame]
    return _trace(candidates, back, int(total.argmin()))


def _trace(candidates: NDArray[np.int64], back: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    path: list[int] = []
    rows: Sequence[Sequence[int]] = candidates.tolist()
    ways: Sequence[Sequence[int]] = back.tolist()
    for frame in range(len(rows) - 1, -1, -1):
        path.append(rows[frame][last])
        last = ways[frame][last]
    return np.array(path[::-1], np.int64)
