"""How much each region of a render counts in the training, and PSNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Weight of a pixel by what the renderer says it shows; names as in the data set's meta.json, the rest counts 1.
REGION_WEIGHTS: Mapping[str, float] = {
    "brow": 4.0,
    "eye": 8.0,
    "iris": 8.0,
    "pupil": 8.0,
    "lip": 8.0,
    "mouth": 8.0,
    "teeth": 8.0,
    "tongue": 8.0,
    "nose": 2.0,
    "skin": 2.0,
}


def region_weights(classes: Sequence[str]) -> Tensor:
    """Weight per class id [n_classes]; a class takes the weight of the first region its name begins with."""
    return torch.tensor(
        [next((w for part, w in REGION_WEIGHTS.items() if name.startswith(part)), 1.0) for name in classes]
    )


def weight_map(labels: Tensor, weights: Tensor, size: int) -> Tensor:
    """Labels uint8 [n, H, W] -> weights [n, 1, size, size]."""
    full = weights[labels.long()][:, None]
    return full if full.shape[-1] == size else F.interpolate(full, size=(size, size), mode="area")
