"""The identity of somebody who is seen in one picture, or in a few frames of a video of which the best is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...packs.store import ModelPack
from ...progress import ProgressCallback, silent
from ..frames import Crop, FrameCodes
from ..motion.feedforward import analyse
from ..options import PORTRAIT, EncodeOptions
from .fitting import fit_identity
from .selection import CandidatePool, select


def portrait_identity(
    crops: Sequence[Crop], pack: ModelPack, device: torch.device, progress: ProgressCallback = silent
) -> NDArray[np.float16]:
    """The latent [18, 512] of the face in upright crops [256, 256, 3]: the best of them by Eq. 1, fitted to that crop."""
    codes = analyse(list(crops), pack, device)
    best = 0
    if len(crops) > 1:
        options = EncodeOptions(identity_average=1)
        pool = CandidatePool(options)
        pool.offer(range(len(crops)), crops, codes)
        best = select(pool.candidates(), pack, device, options).frame
    one = slice(best, best + 1)
    own = FrameCodes(codes.w_id[one], codes.pose[one], codes.alpha[one])
    return fit_identity(own.w_id[0], [crops[best]], own, pack, device, PORTRAIT, progress).latent
