"""The `fast` analysis: one pass of the hybrid encoder per frame (2302.07848), and smoothing in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from ...packs.store import ModelPack

CROP_SIZE = 256

Crop = NDArray[np.uint8]  # [256, 256, 3] RGB


@dataclass(frozen=True)
class FrameCodes:
    """Codes of n frames."""

    w_id: NDArray[np.float16]  # [n, 18, 512]
    pose: NDArray[np.float32]  # [n, 2] yaw, pitch in degrees, within the pack's ranges
    alpha: NDArray[np.float32]  # [n, 32]

    def __len__(self) -> int:
        return len(self.pose)


def to_input(crops: Sequence[Crop], device: torch.device) -> Tensor:
    """Crops uint8 [256, 256, 3] -> network input [n, 3, 256, 256] in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(crops)).to(device)
    return stacked.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


@torch.inference_mode()
def analyse(crops: Sequence[Crop], pack: ModelPack, device: torch.device) -> FrameCodes:
    """The codes of a batch of aligned crops."""
    code = pack.feedforward(device)(to_input(crops, device))
    low, high = np.array([pack.card.pose.yaw, pack.card.pose.pitch], np.float32).T
    return FrameCodes(
        w_id=code.w_id.to(torch.float16).cpu().numpy(),
        pose=np.clip(code.pose.cpu().numpy().astype(np.float32), low, high),
        alpha=code.alpha.cpu().numpy().astype(np.float32),
    )


def smooth(codes: NDArray[np.float32], sigma_frames: float) -> NDArray[np.float32]:
    """Gaussian over time of [n, k]; the ends are extended by their first and last values."""
    if sigma_frames <= 0 or len(codes) < 2:
        return codes
    return np.asarray(gaussian_filter1d(codes, sigma_frames, axis=0, mode="nearest"), np.float32)
