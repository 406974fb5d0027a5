"""An identity latent to levels: those that cost few bits and change the pictures little.

A row of W+ acts on the pictures only by the styles that the affine layers make of it, fewer than its 512 numbers and
not all of them seen. What the nearest levels would spend on the rest is saved: of the levels with a small error of the
styles, those are taken that differ from the row before in few places, as the form predicts each row from that one.

    error of a row e ──► e · (Aᵀ diag(weight of each style) A + ridge) · e + price · bits ──► least, level by level
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ...bitstream import IDENTITY_ROWS
from ...nets.stylegan2 import Generator

Floats = NDArray[np.float64]

BIT_PRICE = 0.06  # of the mean of the metric's diagonal: what a bit is worth, in squared steps of error
LEAVING_BITS, FURTHER_BITS = 3.4, 1.3  # what a first difference from the row before costs, and each size above 1
# Of the mean of a row's diagonal, added to it: so much weigh errors that today's pictures do not show. Without it the
# latent would go far from where it was, and the flow, which is not linear, would show that in other poses.
RIDGE = 0.5
LEAST_RIDGE = 1e-6  # of the mean over all rows, for rows that do nothing
MOST_CHANGES = 2048  # of levels in a row, so that the search ends


def row_metrics(generator: Generator, weights: list[Floats]) -> Floats:
    """What errors e [512] of each row of W+ do to the pictures, e · metric · e: float64 [18, 512, 512].

    weights: per StyleSpace layer [C_l], the mean squared change of the pictures by a unit of each style
    (sensitivity.style_weights). The flow of the pose rows is taken to be none, as it nearly is at frontal poses.
    """
    metrics = np.zeros((IDENTITY_ROWS, generator.w_dim, generator.w_dim))
    with torch.no_grad():
        unit = torch.eye(generator.w_dim, device=generator.constant.device)
        for weight, layer, entry in zip(weights, generator.modulated(), generator.layout.layers, strict=True):
            slopes = (layer.affine(unit) - layer.affine(torch.zeros_like(unit[:1]))).double().cpu().numpy()
            metrics[entry.row] += (slopes * weight) @ slopes.T
    mean = metrics.diagonal(axis1=1, axis2=2).mean(1)
    ridges = RIDGE * mean + max(LEAST_RIDGE * float(mean.mean()), np.finfo(np.float32).tiny)
    metrics[:, np.arange(generator.w_dim), np.arange(generator.w_dim)] += ridges[:, None]
    return metrics


def rounded_levels(latent: Floats, metrics: Floats, step: float) -> NDArray[np.int32]:
    """Levels int32 [18, 512] for a latent [18, 512] in steps of `step`; metrics: of `row_metrics`."""
    price = BIT_PRICE * float(metrics.diagonal(axis1=1, axis2=2).mean())
    levels = np.zeros(latent.shape)
    before = levels[0]
    for row, metric in enumerate(metrics):
        levels[row] = before = before + _changes(latent[row] / step - before, metric, price)
    return levels.astype(np.int32)


def coarse_levels(levels: NDArray[np.int32], metrics: Floats, thrift: float) -> NDArray[np.int32]:
    """Levels int32 [18, 512] with some of the changes from row to row that `levels` has, those that are seen most.

    The others are left to a refinement, which so has all that the coarse levels lack and nothing else. thrift: what a
    bit is worth, in units of what it is in `rounded_levels`: the more, the fewer changes. metrics: of `row_metrics`.
    """
    price = thrift * BIT_PRICE * float(metrics.diagonal(axis1=1, axis2=2).mean())
    found = np.zeros(levels.shape)
    before = found[0]
    for row, metric in enumerate(metrics):
        change = (levels[row] - (levels[row - 1] if row else 0)).astype(np.float64)
        found[row] = before = before + _seen_most(change, levels[row] - before, metric, price)
    return found.astype(np.int32)


def _seen_most(change: Floats, error: Floats, metric: Floats, price: float) -> Floats:
    """Those of the changes [512] that make an error [512] smaller by more than they cost, best first; 0 elsewhere."""
    taken, left = np.zeros_like(change), change != 0
    cost = price * (LEAVING_BITS + FURTHER_BITS * (np.abs(change) - 1))
    slope = metric @ error
    while True:
        gain = np.where(left, change * (2 * slope - change * metric.diagonal()) - cost, -1)
        best = int(gain.argmax())
        if gain[best] <= 0:
            return taken
        slope -= metric[best] * change[best]
        taken[best], left[best] = change[best], False


def _changes(wanted: Floats, metric: Floats, price: float) -> Floats:
    """Whole numbers [512] near `wanted`, most of them 0: always that one is changed which gains most."""
    changes, paid = np.zeros_like(wanted), np.zeros_like(wanted)
    own, slope = metric.diagonal(), metric @ -wanted  # slope: half the derivative of the error
    leaving, further = price * LEAVING_BITS, price * FURTHER_BITS
    for _ in range(MOST_CHANGES):
        aim = changes - slope / own
        size = np.rint(np.maximum(np.abs(aim) - further / 2 / own, 0))
        cost = np.where(size > 0, leaving + further * (size - 1), 0)
        target = np.copysign(size, aim)
        move = target - changes
        gain = paid - cost - move * (2 * slope + move * own)
        dropped = paid + changes * (2 * slope - changes * own)
        best, worst = int(gain.argmax()), int(dropped.argmax())
        if max(gain[best], dropped[worst]) <= 1e-9 * price:
            break
        if gain[best] >= dropped[worst]:
            place, value, paid[best] = best, target[best], cost[best]
        else:
            place, value, paid[worst] = worst, 0.0, 0.0
        slope += metric[place] * (value - changes[place])
        changes[place] = value
    return changes
