"""Cutting an aligned square out of a frame: an antialiased similarity warp."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stylecodec.geometry import CropTransform

Frame = NDArray[np.uint8]  # [H, W, 3] RGB

MARGIN = 3  # pixels around the square that the interpolation and the filter before it may touch
SHARP = 0.75  # source pixels per crop pixel: a finer crop is not filtered
SPREAD = 1 / 16  # of a squared crop pixel: variance of what a crop pixel averages, along each of its axes


def warp(frame: Frame, transform: CropTransform, size: int) -> Frame:
    """The aligned square as [size, size, 3] uint8; what lies outside the frame is its mirror image.

    Bicubic samples of a picture in which nothing is left that would alias: a crop pixel of two source pixels and more
    is sampled from their averages, and what SPREAD still asks for a short binomial filter does. All in float, rounded
    once (Pillow's 8-bit transform cuts fractions off: half a level too dark).
    """
    samples = _sampled(frame, transform, size)
    levels = samples.clamp_(0, 255).round_().to(torch.uint8).permute(1, 2, 0).contiguous()
    return cast(Frame, levels.numpy())


def warp_grey(frame: Frame, transform: CropTransform, size: int) -> NDArray[np.float32]:
    """The same square as its mean over the colours, [size, size] float32, not rounded."""
    return cast(NDArray[np.float32], _sampled(frame, transform, size, grey=True)[0].numpy())


def _sampled(frame: Frame, transform: CropTransform, size: int, grey: bool = False) -> Tensor:
    """[3, size, size] float32, or [1, size, size] with grey."""
    step = transform.side / size  # source pixels per crop pixel
    shrink = max(1, 2 * int(step / 2))
    low = np.floor(transform.quad.min(axis=0)).astype(int) - MARGIN * shrink
    high = np.ceil(transform.quad.max(axis=0)).astype(int) + MARGIN * shrink
    high += (low - high) % shrink  # a whole number of blocks
    region = torch.from_numpy(_region(frame, low[0], low[1], high[0], high[1]))
    picture = region.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    if grey:
        picture = picture.mean(dim=0, keepdim=True)
    if shrink > 1:
        picture = _averaged(picture, shrink)
    left = SPREAD * step**2 - (shrink**2 - 1) / 12  # of the variance, in source pixels: the averages have theirs
    if step > SHARP and left > 0:
        picture = _smoothed(picture, left / shrink**2)
        low, high = low + shrink, high - shrink
    # grid_sample counts -1..1 across the output and across the picture.
    linear = transform.crop_to_source(2.0)[:, :2] * (2 / (high - low))[:, None]
    middle = 2 * (np.asarray(transform.center) - low) / (high - low) - 1
    at = (2 * np.arange(size) + 1) / size - 1
    grid = at[None, :, None] * linear[:, 0] + (at[:, None, None] * linear[:, 1] + middle)
    samples = F.grid_sample(
        picture[None], torch.from_numpy(grid[None]).float(), "bicubic", padding_mode="border", align_corners=False
    )
    return samples[0]


def _averaged(picture: Tensor, by: int) -> Tensor:
    """[C, H, W] -> [C, H/by, W/by], the means of blocks; avg_pool2d takes three times as long."""
    rows = picture[:, ::by].clone()
    for below in range(1, by):
        rows += picture[:, below::by]
    blocks = rows[..., ::by].clone()
    for beside in range(1, by):
        blocks += rows[..., beside::by]
    return blocks.mul_(1 / by**2)


def _smoothed(picture: Tensor, variance: float) -> Tensor:
    """[C, H, W] -> [C, H-2, W-2]: the filter (w, 1 - 2w, w) of this variance, 0..0.5, down and across."""
    side, middle = variance / 2, 1 - variance
    rows = (picture[:, :-2] + picture[:, 2:]).mul_(side).add_(picture[:, 1:-1], alpha=middle)
    return (rows[..., :-2] + rows[..., 2:]).mul_(side).add_(rows[..., 1:-1], alpha=middle)


def _region(frame: Frame, left: int, top: int, right: int, bottom: int) -> Frame:
    """frame[top:bottom, left:right], continued by mirror images of the frame."""
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return np.ascontiguousarray(frame[top:bottom, left:right])
    rows, columns = _mirrored(top, bottom, height), _mirrored(left, right, width)
    first, last = rows.min(), rows.max()  # a column of these alone, and none of the slow indexing by pairs
    return cast(Frame, np.take(np.take(frame[first : last + 1], columns, axis=1), rows - first, axis=0))


def _mirrored(begin: int, end: int, count: int) -> NDArray[np.intp]:
    """Indices begin..end-1 folded back into 0..count-1: … 1 0 | 0 1 2 … n-1 | n-1 n-2 …"""
    index = np.arange(begin, end) % (2 * count)
    return np.where(index < count, index, 2 * count - 1 - index)
