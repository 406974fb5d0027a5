"""How a head moved from one picture to the next, by its pixels: what landmarks tremble shows as motion of the patch.

Each frame's patch is cut where its own landmarks say, so of one head two patches would be alike if landmarks were
exact. A similarity with brightness and contrast takes one to the other (Lucas and Kanade 1981, the slopes of the first
patch as in Baker and Matthews 2004; Geman–McClure weights as in Black and Yacoob 1997). What it finds is how the error
of the landmarks changed, to hundredths of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from stylecodec.face.detect import Frame
from stylecodec.face.warp import warp_grey
from stylecodec.geometry import CropTransform

Floats = NDArray[np.float64]

PATCH = 80  # pixels, side of a patch
SPANS = 2.6  # distances between the eyes in it
# Brows to the tip of the nose, cheekbones: what hardly moves with the mouth. Centre and half axes in the patch.
RIGID = (0.5, 0.53, 0.40, 0.30)
EYES, LIDS = 0.5, (0.30, 0.20)  # of the span: from the middle to an eye; half axes of what blinks there
BLUR = 1.2  # pixels, sigma
STEPS = 15  # Gauss–Newton, at most
DONE = 0.005  # pixels: a smaller step is the last
FARTHEST, MOST_TURN, MOST_GROWTH = 8.0, 0.15, 0.15  # pixels, radians, ratio that are believed
OUTLIER = 4.0  # Geman–McClure scale over the usual error
LEAST_OUTLIER = 4.0  # grey levels, of the same
ALIKE = 10.0  # grey levels: usual error of two patches of one head
FLAT = 1.0  # grey levels per pixel, RMS slope of a patch with too little in it


@dataclass(frozen=True)
class Patch:
    """A blurred grey patch [PATCH, PATCH] around the eyes; side: its side in source pixels."""

    grey: Floats
    side: float


def _inside() -> NDArray[np.bool_]:
    down, across = (np.indices((PATCH, PATCH)) + 0.5) / PATCH
    cx, cy, rx, ry = RIGID
    rigid = ((across - cx) / rx) ** 2 + ((down - cy) / ry) ** 2 < 1
    eye = (np.abs(across - 0.5) * SPANS - EYES) / LIDS[0], (down - 0.5) * SPANS / LIDS[1]
    return np.asarray(rigid & (eye[0] ** 2 + eye[1] ** 2 > 1), np.bool_)


INSIDE = _inside()
_rows, _columns = np.nonzero(INSIDE)
CORNERS = np.array([[RIGID[0] + a * RIGID[2], RIGID[1] + b * RIGID[3]] for a in (-1, 1) for b in (-1, 1)])
X, Y = _columns + 0.5 - PATCH / 2, _rows + 0.5 - PATCH / 2  # pixels from the middle of the patch


def patch_of(frame: Frame, corner: Floats, roll_deg: float, span: float) -> Patch | None:
    """The patch around the middle of the eye corners [2] of a head with this roll and span; None where what is compared
    of it reaches beyond the frame."""
    if not span > 1:
        return None
    square = CropTransform((float(corner[0]), float(corner[1])), SPANS * span, roll_deg)
    corners = square.to_source(CORNERS)
    if (corners < 0).any() or (corners > (frame.shape[1], frame.shape[0])).any():
        return None
    grey = warp_grey(frame, square, PATCH).astype(np.float64)
    return Patch(gaussian_filter(grey, BLUR), square.side)


def moved(first: Patch, second: Patch) -> Floats | None:
    """[3]: where the middle of the first patch is in the second, across and down in spans, and its turn in radians.

    None when they do not show one head well enough to say.
    """
    slope_y, slope_x = (np.gradient(first.grey, axis=axis) for axis in (0, 1))
    gx, gy, level = slope_x[INSIDE], slope_y[INSIDE], first.grey[INSIDE]
    if float(np.sqrt(np.mean(gx**2 + gy**2))) < FLAT:
        return None
    columns = np.column_stack([gx * X + gy * Y, gy * X - gx * Y, gx, gy, level - level.mean(), np.ones_like(level)])
    ratio = first.side / second.side - 1
    growth, turn, across, down = ratio, 0.0, 0.0, 0.0
    gain, offset, done = 1.0, 0.0, False
    for _ in range(STEPS + 1):
        px = (1 + growth) * X - turn * Y + across + PATCH / 2 - 0.5
        py = turn * X + (1 + growth) * Y + down + PATCH / 2 - 0.5
        seen = map_coordinates(second.grey, [py, px], order=1, mode="nearest")
        error = seen - gain * (level - level.mean()) - level.mean() - offset
        usual = float(np.median(np.abs(error)))
        if done:
            place = np.array([across, down]) * SPANS / PATCH
            return np.append(place, turn) if usual <= ALIKE else None
        scale = max(LEAST_OUTLIER, OUTLIER * usual)
        weighted = columns * ((scale**2 / (scale**2 + error**2)) ** 2)[:, None]
        step = np.linalg.lstsq(weighted.T @ columns, weighted.T @ error, rcond=None)[0]
        growth, turn, across, down = growth - step[0], turn - step[1], across - step[2], down - step[3]
        gain, offset = gain + step[4], offset + step[5]
        far = max(abs(across), abs(down)) > FARTHEST or abs(turn) > MOST_TURN or abs(growth - ratio) > MOST_GROWTH
        if far:
            return None
        done = bool(np.abs(step[2:4]).max() < DONE and np.abs(step[:2]).max() * PATCH < 2 * DONE)
    return None
