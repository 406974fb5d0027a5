"""The `fast` analysis: one pass of the hybrid encoder per frame (2302.07848)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...packs.store import ModelPack
from ..frames import Crop, FrameCodes, to_input


@torch.inference_mode()
def analyse(crops: Sequence[Crop], pack: ModelPack, device: torch.device) -> FrameCodes:
    """The codes of a batch of aligned crops, uint8 [256, 256, 3] each; PackNotFound without a hybrid encoder."""
    code = pack.feedforward(device)(to_input(crops, device))
    low, high = np.array([pack.card.pose.yaw, pack.card.pose.pitch], np.float32).T
    return FrameCodes(
        w_id=code.w_id.to(torch.float16).cpu().numpy(),
        pose=np.clip(code.pose.cpu().numpy().astype(np.float32), low, high),
        alpha=code.alpha.cpu().numpy().astype(np.float32),
    )
