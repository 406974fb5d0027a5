"""Cutting an aligned square out of a frame: an antialiased similarity warp."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylecodec.geometry import CropTransform

Frame = NDArray[np.uint8]  # [H, W, 3] RGB

MARGIN = 4  # pixels around the square that the interpolation may touch


def warp(frame: Frame, transform: CropTransform, size: int) -> Frame:
    """The aligned square as [size, size, 3] uint8; what lies outside the frame is its mirror image.

    Bicubic samples, four per crop pixel where the crop is coarser than the frame, are averaged; a frame more than
    twice as fine as those samples is averaged down first. So nothing between source and crop aliases.
    """
    step = transform.side / size  # source pixels per crop pixel
    over = 2 if step > 0.75 else 1
    shrink = max(1, int(step / over))
    left, top = np.floor(transform.quad.min(axis=0)).astype(int) - MARGIN * shrink
    right, bottom = np.ceil(transform.quad.max(axis=0)).astype(int) + MARGIN * shrink
    picture = Image.fromarray(_region(frame, left, top, right, bottom))
    if shrink > 1:
        picture = picture.reduce(shrink)
    matrix = transform.crop_to_source(size * over)
    matrix[:, 2] -= (left, top)
    matrix /= shrink
    samples = picture.transform(
        (size * over, size * over),
        Image.Transform.AFFINE,
        tuple(float(v) for v in matrix.ravel()),
        Image.Resampling.BICUBIC,
    )
    return cast(Frame, np.array(samples if over == 1 else samples.reduce(over)))


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
