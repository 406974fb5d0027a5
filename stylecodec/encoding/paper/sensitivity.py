"""Index sensitivity (Eq. 5): how much a picture changes per unit of one StyleSpace index, in a region and in all.

    S_k = G(L_ss + δ_k at index i),   Γ_{f,i} = 1/|{δ}| Σ_k LPIPS(S_k · M_f, S_{k-1} · M_f) / |δ_k - δ_{k-1}|

Indices are perturbed many at a time, and each from its own layer on: what lies below is the same for all.

Γ alone does not tell an index that moves the lips from one that paints them: `measure` can also follow the landmark
features of the face (Movement) from one end of {δ_k} to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...metrics.landmark_features import POSE, features_of
from ...packs.store import ModelPack
from .perceptual import Perceptual, masked_mean
from .rendering import Perturbed

Index = tuple[int, int]  # (layer, channel)
AT_ONCE = 48  # pictures


@dataclass(frozen=True)
class Sensitivities:
    """What n indices do at one latent, or on average at several."""

    indices: tuple[Index, ...]
    regions: NDArray[np.float64]  # [F, n] Γ in each of F regions
    whole: NDArray[np.float64]  # [n] Γ over the whole picture
    inside: NDArray[np.float64]  # [n] share of the squared change of pixels that lies in the last region
    moved: NDArray[np.float64]  # [M, n] what each landmark feature moves per unit, signed; M is 0 where none is read

    @classmethod
    def mean(cls, several: Sequence[Sensitivities]) -> Sensitivities:
        """The mean over latents of the same indices."""
        columns = ("regions", "whole", "inside", "moved")
        return cls(several[0].indices, *(np.mean([getattr(one, name) for one in several], axis=0) for name in columns))

    @classmethod
    def joined(cls, parts: Sequence[Sensitivities]) -> Sensitivities:
        """Different indices of one latent."""
        columns = ("regions", "whole", "inside", "moved")
        indices = tuple(index for one in parts for index in one.indices)
        return cls(indices, *(np.concatenate([getattr(one, name) for one in parts], axis=-1) for name in columns))


class Movement:
    """What a face does in pictures [N, 3, S, S]: its landmark features but for those of the pose [N, M]."""

    def __init__(self, pack: ModelPack, device: torch.device) -> None:
        self._mesh = pack.face_mesh(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        return features_of(self._mesh(pictures))[:, :-POSE]


def measure(
    perturbed: Perturbed,
    indices: Sequence[Index],
    deltas: Sequence[float],
    masks: Tensor,
    perceptual: Perceptual,
    movement: Movement | None = None,
) -> Sensitivities:
    """These indices at one latent; deltas: {δ_k}, rising, 0 among them; masks: [F, S, S] on the picture's side.

    A region's Γ is the mean over its own pixels. An index of a layer above the picture's side shows nothing: 0.
    """
    steps = torch.tensor(sorted(deltas), dtype=torch.float32)
    middle = int((steps == 0).nonzero()[0])
    widths = steps.diff().to(masks)
    regions = torch.cat([masks, torch.ones_like(masks[:1])])[None]
    base = perceptual.features(perturbed.base.clamp(-1, 1))
    found, inside = np.zeros((len(regions[0]), len(indices))), np.zeros(len(indices))
    moved: list[tuple[list[int], NDArray[np.float64]]] = []
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
            made = made.clamp(-1, 1)
            features = perceptual.features(made)
            found[:, part] = _gammas(features, base, len(part), middle, widths, regions).cpu().numpy()
            inside[part] = _inside(made - perturbed.base.clamp(-1, 1), masks[-1], len(part))
            if movement is not None:
                ends = made.reshape(len(part), len(others), *made.shape[1:])[:, [0, -1]].flatten(0, 1)
                slopes = movement(ends).reshape(len(part), 2, -1).diff(dim=1)[:, 0] / (others[-1] - others[0])
                moved.append((part, slopes.T.double().cpu().numpy()))
    slopes_of = np.zeros((len(moved[0][1]) if moved else 0, len(indices)))
    for part, own in moved:
        slopes_of[:, part] = own
    return Sensitivities(tuple(indices), found[:-1], found[-1], inside, slopes_of)


@torch.no_grad()
def _inside(change: Tensor, mask: Tensor, count: int) -> NDArray[np.float64]:
    """Share [count] of the squared changes [count K, 3, S, S] that lies in a mask [S, S]."""
    squares = change.square().mean(dim=1)
    parts = [one.sum(dim=(1, 2)).reshape(count, -1).sum(dim=1) for one in (squares * mask, squares)]
    return np.asarray((parts[0] / parts[1].clamp_min(1e-12)).double().cpu().numpy())


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
