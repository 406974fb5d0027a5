"""Structural similarity over five scales (Wang, Simoncelli, Bovik, 2003), as torchmetrics has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..extras import need_extra

LEAST_SIDE = 161  # pixels: the window of 11 pixels must fit into a sixteenth of the picture


def ms_ssim(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Two pictures [H, W, C] of values 0 to 255, sides of LEAST_SIDE or more -> at most 1; MissingDependency."""
    need_extra("evaluate", "MS-SSIM")
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure

    x, y = (torch.from_numpy(np.asarray(p, np.float64)).permute(2, 0, 1)[None] for p in (a, b))
    return float(measure(x, y, data_range=255.0))
