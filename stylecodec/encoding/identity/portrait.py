"""The identity of somebody who is seen in one picture, or in a few frames of a video of which the best is taken."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ...bitstream import Identity
from ...errors import FaceNotFound
from ...face.warp import Frame, warp
from ...packs.store import ModelPack
from ...progress import ProgressCallback, silent
from ..frames import CROP_SIZE, FrameCodes
from ..front_end import FrontEnd
from ..motion.feedforward import analyse
from ..options import PORTRAIT, EncodeOptions
from .fitting import fit_identity
from .selection import CandidatePool, select


def portrait_identity(
    images: Iterable[Frame],
    front_end: FrontEnd,
    pack: ModelPack,
    device: torch.device,
    progress: ProgressCallback = silent,
) -> Identity:
    """The face in images, uint8 [H, W, 3] each: the best of them by Eq. 1, with a latent fitted to that one.

    Images without a face are passed over; FaceNotFound when none has one.
    """
    crops, failure = [], FaceNotFound("the video shows no frame")
    for image in images:
        try:
            crops.append(warp(image, front_end.still(image), CROP_SIZE))
        except FaceNotFound as error:
            failure = error
    if not crops:
        raise failure
    codes = analyse(crops, pack, device)
    best = 0
    if len(crops) > 1:
        options = EncodeOptions(identity_average=1)
        pool = CandidatePool(options)
        pool.offer(range(len(crops)), crops, codes)
        best = select(pool.candidates(), pack, device, options).frame
    one = slice(best, best + 1)
    own = FrameCodes(codes.w_id[one], codes.pose[one], codes.alpha[one])
    return Identity(fit_identity(own.w_id[0], [crops[best]], own, pack, device, PORTRAIT, progress).latent)
