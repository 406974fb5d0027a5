"""How the feed-forward encoder misreads this person, learnt on a few frames and taken out of all.

    frames that the identity was fitted to, their codes ─► refined ─► codes - mean ↦ what refining changed, by ridge
                                                                      regression ─► every frame's codes, corrected

A network that was trained on other people reads a deep-set eye as half closed and a brow at rest as raised, in every
frame alike, or more so the wider the mouth. Refining the codes of every frame (preset `balanced`) mends that; a linear
map learnt from some thirty frames mends a good part of it, at a cost that does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..packs.store import ModelPack
from .codes import CodeUnits
from .feedforward import Crop, FrameCodes
from .options import EncodeOptions
from .refine import Refiner

CHUNK = 8  # frames that are refined together


@dataclass(frozen=True)
class Correction:
    """A linear map of codes in units [34]."""

    units: CodeUnits
    mean: Tensor  # [34] of the codes that it was learnt on
    offset: Tensor  # [34] what is added at the mean
    slope: Tensor  # [34, 34] what is added per unit away from it

    def __call__(self, codes: FrameCodes) -> FrameCodes:
        """Codes of n frames, corrected; the pose stays within the pack's reach."""
        given = self.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        mended = self.units.bound_(given + self.offset + (given - self.mean) @ self.slope)
        pose, alpha = (value.cpu().numpy() for value in self.units.split(mended))
        return FrameCodes(codes.w_id, pose, alpha)


def calibrate(
    crops: Sequence[Crop],
    codes: FrameCodes,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    progress: Callable[[int], None] | None = None,
) -> Correction:
    """Learn the correction on `crops` (1 and more), not neighbours in time, rendered with this identity latent.

    `progress` is told the number of frames done.
    """
    refiner = Refiner(pack, device, latent, replace(options, refine=replace(options.refine, smoothness=0.0)))
    units = refiner.scene.units
    given = units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    found = []
    for start in range(0, len(crops), CHUNK):
        part = slice(start, start + CHUNK)
        mended = refiner(crops[part], FrameCodes(codes.w_id[part], codes.pose[part], codes.alpha[part]))
        found.append(units.units(torch.from_numpy(mended.pose), torch.from_numpy(mended.alpha)))
        if progress is not None:
            progress(min(start + CHUNK, len(crops)))
    change = torch.cat(found) - given
    mean, offset = given.mean(0), change.mean(0)
    x, y = given - mean, change - offset
    damped = x.T @ x + options.fit.damping * torch.eye(x.shape[1], device=x.device)
    return Correction(units, mean, offset, torch.linalg.solve(damped, x.T @ y))
