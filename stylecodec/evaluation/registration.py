"""Laying an output's squares onto the reference's, as a whole: one move for all frames of a video.

Landmarks tell where a face is to a fraction of a pixel, and off by another fraction in every video, which costs more of
a PSNR than many codecs do. So of two videos of one person the pixels have the last word: zoom, turn and shift, the same
for all frames, with which the squares differ least (Gauss-Newton on grey pictures, faces weighing more than the scene).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .faces import AlignedFaces, as_batch
from .matching import Matching
from .move import Move

FRAMES = 24  # of a video, at most, that are looked at
SIDES = (64, 128)  # pixels at which squares are laid upon each other, one after the other
STEPS = 6  # at each
SIGMA = 0.25  # of the side: how far from the middle pixels weigh


def registered(reference: AlignedFaces, output: AlignedFaces, matching: Matching) -> Move:
    """The move of the output's squares; none where it would be too large to be an error of landmarks."""
    count = len(matching.reference)
    if not count:
        return Move()
    some = np.unique(np.linspace(0, count - 1, min(FRAMES, count)).round().astype(int))
    move = torch.zeros(4, dtype=torch.float64)
    cpu = torch.device("cpu")
    for side in SIDES:
        a = as_batch(reference.crops[matching.reference[some]], cpu, side).double().mean(dim=1, keepdim=True)
        b = as_batch(output.crops[matching.output[some]], cpu, side).double().mean(dim=1, keepdim=True)
        for _ in range(STEPS):
            move = move + _step(a, b, move)
    zoom, turn, across, down = move.tolist()
    found = Move(float(np.log(np.hypot(1 + zoom, turn))), float(np.rad2deg(np.arctan2(turn, 1 + zoom))), across, down)
    return found if found.small and found.some else Move()


def _step(a: Tensor, b: Tensor, move: Tensor) -> Tensor:
    """What is to be added to a move [4] of pictures b to lay them onto a, [n, 1, S, S] both."""
    zoom, turn, across, down = move
    theta = torch.stack([torch.stack([1 + zoom, -turn, 2 * across]), torch.stack([turn, 1 + zoom, 2 * down])])
    grid = F.affine_grid(theta.expand(len(b), -1, -1), list(b.shape), align_corners=False)
    warped = F.grid_sample(b, grid, mode="bicubic", padding_mode="border", align_corners=False)
    side = b.shape[-1]
    slope_y, slope_x = torch.gradient(warped, spacing=1 / side, dim=(2, 3))
    line = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    weight = torch.exp(-(x.square() + y.square()) / (2 * SIGMA**2))
    columns = (slope_x * x + slope_y * y, slope_y * x - slope_x * y, slope_x, slope_y)
    jacobian = torch.stack([(column * weight).flatten() for column in columns], dim=1)
    error = ((a - warped) * weight).flatten()
    normal = jacobian.T @ jacobian
    normal = normal + 1e-9 * (1 + torch.diagonal(normal).sum()) * torch.eye(4, dtype=torch.float64)
    step: Tensor = torch.linalg.solve(normal, jacobian.T @ error)
    return step
