"""The FFHQ dataset's own crop of a picture, pixel for pixel, for networks that were trained on such crops.

The codec's warp (warp.py) samples the same square more carefully. This is the other way: shrink, cut out, pad with a
blurred mirror image, transform and reduce with Pillow, each step rounded to 8 bits, as the data set's pictures, e4e's,
ReStyle's and PTI's inputs were made (Karras et al., 1812.04948, appendix C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from stylecodec.errors import OptionError
from stylecodec.face.warp import Frame
from stylecodec.geometry import Points, ffhq_quad

FFHQ_SIZE, FFHQ_TRANSFORM = 1024, 4096  # the data set; StyleFlow
PTI_SIZE, PTI_TRANSFORM = 1024, 1024
E4E_SIZE, E4E_TRANSFORM = 256, 256  # e4e, ReStyle

BORDER = 0.1  # of the square's side, kept around it
PADDING = 0.3  # of the side, where the square leaves the picture
BLUR = 0.02  # of the side, sigma
PLAIN = 4  # pixels that may be missing before anything is padded
MAX_SIDE = 16384


@dataclass(frozen=True)
class Prepared:
    """A picture ready for the last transform, and where the square lies in it (Pillow's QUAD, eight numbers)."""

    picture: Image.Image
    quad: NDArray[np.float64]


def ffhq_picture(
    image: Frame, landmarks: ArrayLike, size: int = FFHQ_SIZE, transform_size: int | None = None
) -> Frame:
    """The aligned picture [size, size, 3] uint8 of a face in `image` [H, W, 3] uint8 RGB.

    landmarks: [P >= 68, 2] in the iBUG order; coordinates as published (the data set's, or dlib's whole pixels).
    transform_size: side of the picture that is reduced to `size`; by default FFHQ's 4096 for 1024, else `size`.
    """
    through = transform_size or (FFHQ_TRANSFORM if size == FFHQ_SIZE else size)
    if not 16 <= size <= through <= MAX_SIDE:
        raise OptionError(f"the aligned picture's sides must be 16 to {MAX_SIDE}, not {size} through {through}")
    ready = prepare(image, landmarks, size)
    corners = tuple(float(value) for value in ready.quad)
    aligned = ready.picture.transform(
        (through, through), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
    )
    if size < through:
        aligned = aligned.resize((size, size), Image.Resampling.LANCZOS)
    return cast(Frame, np.asarray(aligned))


def prepare(image: Frame, landmarks: ArrayLike, size: int) -> Prepared:
    """Everything before the transform: shrunk, cut out and padded."""
    quad = ffhq_quad(landmarks)
    side = float(np.hypot(*(quad[3] - quad[0])))
    picture = Image.fromarray(image)
    shrink = int(np.floor(side / size * 0.5))
    if shrink > 1:
        width, height = (int(np.rint(n / shrink)) for n in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(side * BORDER)), 3)
    picture, quad = _cut_out(picture, quad, border)
    picture, quad = _padded(picture, quad, side, border)
    return Prepared(picture, (quad + 0.5).flatten())


def _bounds(quad: Points) -> NDArray[np.int64]:
    """Left, top, right, bottom of the whole pixels around a quad."""
    return np.concatenate([np.floor(quad.min(axis=0)), np.ceil(quad.max(axis=0))]).astype(np.int64)


def _cut_out(picture: Image.Image, quad: Points, border: int) -> tuple[Image.Image, Points]:
    """The part of the picture that holds the square and a border."""
    left, top, right, bottom = (int(v) for v in _bounds(quad) + np.array([-border, -border, border, border]))
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    if right - left < picture.width or bottom - top < picture.height:
        picture = picture.crop((left, top, right, bottom))
        quad = quad - [left, top]
    return picture, quad


def _padded(picture: Image.Image, quad: Points, side: float, border: int) -> tuple[Image.Image, Points]:
    """The picture continued by its mirror image, which fades into a blur and then into its median colour."""
    left, top, right, bottom = (int(v) for v in _bounds(quad))
    missing = np.maximum(
        [-left + border, -top + border, right - picture.width + border, bottom - picture.height + border], 0
    )
    if missing.max() <= border - PLAIN:
        return picture, quad
    pad = np.maximum(missing, int(np.rint(side * PADDING)))
    pixels = np.asarray(picture, np.float32)
    pixels = np.pad(pixels, ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
    mask = _fade(pixels.shape[0], pixels.shape[1], pad)
    sigma = side * BLUR
    blurred = gaussian_filter(pixels, [sigma, sigma, 0])
    pixels += (blurred - pixels) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(mask, 0.0, 1.0)
    levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(levels), quad + pad[:2]


def _fade(height: int, width: int, pad: NDArray[np.int64]) -> NDArray[np.float64]:
    """[H, W, 1]: 0 at the rim of the old picture, 1 at the new one's, below 0 inside."""
    y, x = np.ogrid[:height, :width]
    across = np.minimum(np.float32(x) / pad[0], np.float32(width - 1 - x) / pad[2])
    down = np.minimum(np.float32(y) / pad[1], np.float32(height - 1 - y) / pad[3])
    fade: NDArray[np.float64] = np.maximum(1.0 - across, 1.0 - down)
    return fade[:, :, None]
