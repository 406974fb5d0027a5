"""Eq. 1 of 2203.14512, to the letter: L_ID = argmax over near-frontal L_t of the likeness of G(L_t) to I_t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..frames import to_input
from ..identity.selection import Candidate, IdentityChoice
from .inversion import Inverter


def choose(candidates: Sequence[Candidate], inverter: Inverter) -> IdentityChoice:
    """The identity among near-frontal candidates (one at least), whose latents are their inversions L_t."""
    latents = torch.from_numpy(np.stack([one.w_id for one in candidates])).float()
    crops = to_input([one.crop for one in candidates], inverter.device)
    similarity = inverter.similarity(crops, inverter.pictures(latents))
    best = int(similarity.argmax())
    return IdentityChoice(candidates[best].w_id, candidates[best].frame, float(similarity[best]), 1, len(candidates))
