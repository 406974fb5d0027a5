"""The quantiser of a call, fixed before its first frame: its steps are shares of what the pack's codes move."""

from __future__ import annotations

import numpy as np
import torch

from ...bitstream import ALPHA_COUNT, PARAMS_PER_FRAME, Quantiser
from ...bitstream.compact.modelling import PLAIN_ALPHA_STEP, PLAIN_ANGLE_STEP, PLAIN_QUALITY, QUALITY_PER_HALF
from ...packs.store import ModelPack
from ..differentiable import CodeUnits


def pack_quantiser(pack: ModelPack, device: torch.device, quality: float) -> Quantiser:
    """Steps for about `quality` dB, from the deviation of each α over the expressions the pack was trained on."""
    steps = np.full(PARAMS_PER_FRAME, PLAIN_ANGLE_STEP)
    usual = CodeUnits(pack, device).scale[-ALPHA_COUNT:].double().cpu().numpy()
    steps[-ALPHA_COUNT:] = PLAIN_ALPHA_STEP * usual
    return Quantiser.for_steps(steps * 2.0 ** ((PLAIN_QUALITY - quality) / QUALITY_PER_HALF))
