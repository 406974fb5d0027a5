"""Index sensitivity (Eq. 5): how much a picture changes per unit of one StyleSpace index, in a region and in all.

    S_k = G(L_ss + δ_k at index i),   Γ_{f,i} = 1/|{δ}| Σ_k LPIPS(S_k · M_f, S_{k-1} · M_f) / |δ_k - δ_{k-1}|

Indices are perturbed many at a time, and each from its own layer on: what lies below is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .perceptual import Perceptual, masked_mean
from .rendering import Perturbed

Index = tuple[int, int]  # (layer, channel)
AT_ONCE = 48  # pictures


@dataclass(frozen=True)
class Sensitivities:
    """Γ of some indices: [F, n] in each of F regions, [n] over the whole picture."""

    indices: tuple[Index, ...]
    regions: NDArray[np.float64]
    whole: NDArray[np.float64]


def measure(
    perturbed: Perturbed, indices: Sequence[Index], deltas: Sequence[float], masks: Tensor, perceptual: Perceptual
) -> Sensitivities:
    """Γ of these indices at one latent; deltas: {δ_k}, rising, 0 among them; masks: [F, S, S] on the picture's side.

    A region's Γ is the mean over its own pixels. An index of a layer above the picture's side shows nothing: 0.
    """
    steps = torch.tensor(sorted(deltas), dtype=torch.float32)
    middle = int((steps == 0).nonzero()[0])
    widths = steps.diff().to(masks)
    regions = torch.cat([masks, torch.ones_like(masks[:1])])[None]
    base = perceptual.features(perturbed.base.clamp(-1, 1))
    found = np.zeros((len(regions[0]), len(indices)))
    visible = [k for k in range(len(indices)) if indices[k][0] in perturbed.layers]
    order = sorted(visible, key=lambda k: indices[k])
    others = torch.cat([steps[:middle], steps[middle + 1 :]])
    few = max(1, AT_ONCE // len(others))
    for layer, group in groupby(order, key=lambda k: indices[k][0]):
        rows = list(group)
        for start in range(0, len(rows), few):
            part = rows[start : start + few]
            channels = torch.tensor([indices[k][1] for k in part]).repeat_interleave(len(others))
            made = perturbed.pictures(layer, channels, others.repeat(len(part)))
            features = perceptual.features(made.clamp(-1, 1))
            found[:, part] = _gammas(features, base, len(part), middle, widths, regions).cpu().numpy()
    return Sensitivities(tuple(indices), found[:-1], found[-1])


@torch.no_grad()
def _gammas(
    features: list[Tensor], base: list[Tensor], count: int, middle: int, widths: Tensor, regions: Tensor
) -> Tensor:
    """Γ [F + 1, count] from the features of `count` indices, all their perturbed pictures one after the other."""
    total = torch.zeros(())
    for own, still in zip(features, base, strict=True):
        each = own.reshape(count, -1, *own.shape[1:])
        walk = torch.cat([each[:, :middle], still.expand(count, -1, -1, -1)[:, None], each[:, middle:]], dim=1)
        apart = walk.diff(dim=1).square().sum(dim=2, keepdim=True)  # [count, K, 1, s, s]
        means = masked_mean(apart.flatten(0, 1), regions).reshape(count, len(widths), -1)
        total = total.to(means) + (means / widths[:, None]).sum(dim=1) / (len(widths) + 1)
    return total.T


def learning_rates(gammas: NDArray[np.float64]) -> NDArray[np.float64]:
    """η_{f,i} of Eq. 8 for the Γ [n] of the indices of one attribute: the more an index shows, the smaller its step."""
    return np.asarray(np.exp(-1.5 * gammas / max(float(gammas.max(initial=0.0)), 1e-12)))
