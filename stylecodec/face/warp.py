"""Cutting an aligned square out of a frame: an antialiased similarity warp."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from stylecodec.geometry import CropTransform

Frame = NDArray[np.uint8]  # [H, W, 3] RGB

MARGIN = 4  # pixels around the square that the interpolation may touch


def warp(frame: Frame, transform: CropTransform, size: int) -> Frame:
    """The aligned square as [size, size, 3] uint8; what lies outside the frame is its mirror image.

    Bicubic samples, four per crop pixel where the crop is coarser than the frame, are averaged; a frame more than
    twice as fine as those samples is averaged down first. So nothing between source and crop aliases. All in
    float, rounded once (Pillow's 8-bit transform cuts fractions off: half a level too dark).
    """
    step = transform.side / size  # source pixels per crop pixel
    over = 2 if step > 0.75 else 1
    shrink = max(1, int(step / over))
    low = np.floor(transform.quad.min(axis=0)).astype(int) - MARGIN * shrink
    high = np.ceil(transform.quad.max(axis=0)).astype(int) + MARGIN * shrink
    high += (low - high) % shrink  # a whole number of blocks
    region = torch.from_numpy(_region(frame, low[0], low[1], high[0], high[1]))
    picture = region.permute(2, 0, 1)[None].float()
    if shrink > 1:
        picture = F.avg_pool2d(picture, shrink)
    # grid_sample counts -1..1 across the output and across the picture.
    linear = transform.crop_to_source(2.0)[:, :2] * (2 / (high - low))[:, None]
    middle = 2 * (np.asarray(transform.center) - low) / (high - low) - 1
    theta = torch.from_numpy(np.column_stack([linear, middle])).float()[None]
    grid = F.affine_grid(theta, [1, 3, size * over, size * over], align_corners=False)
    samples = F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    crop = F.avg_pool2d(samples, over) if over > 1 else samples
    levels = crop[0].clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return cast(Frame, levels.numpy())


def _region(frame: Frame, left: int, top: int, right: int, bottom: int) -> Frame:
    """frame[top:bottom, left:right], continued by mirror images of the frame."""
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return np.ascontiguousarray(frame[top:bottom, left:right])
    rows, columns = _mirrored(top, bottom, height), _mirrored(left, right, width)
    return np.ascontiguousarray(frame[rows[:, None], columns])


def _mirrored(begin: int, end: int, count: int) -> NDArray[np.intp]:
    """Indices begin..end-1 folded back into 0..count-1: … 1 0 | 0 1 2 … n-1 | n-1 n-2 …"""
    index = np.arange(begin, end) % (2 * count)
    return np.where(index < count, index, 2 * count - 1 - index)
