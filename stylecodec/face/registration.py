"""Registration of a head to key frames by a parametric model of its motion (2203.14512 section 3.2).

    key frame ◄── motion of the face's rigid part ── frame t       translation ─► affine ─► planar perspective
        └► when what is left says that the plane does not hold any more, frame t is the next key frame

The model is that of Black and Yacoob (1997) for a face: u = a0 + a1 x + a2 y + p0 x² + p1 xy,
v = a3 + a4 x + a5 y + p0 xy + p1 y², found coarse to fine with Geman-McClure's robust error, brightness and contrast
allowed to change. Frames are compared with their key frame and not with each other, so of a head that keeps its pose
nothing adds up. Where key frames follow each other the track goes on without a jump, and the landmarks, by their median
over all frames of a key, say where it truly is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from stylecodec.face.detect import Frame
from stylecodec.face.flow import INSIDE, LEAST_OUTLIER, OUTLIER, PATCH, Patch, patch_of

Floats = NDArray[np.float64]

TRANSLATION, AFFINE, PLANAR = 2, 6, 8  # parameters of the models, in the order a0 a3 a1 a2 a4 a5 p0 p1
LEVELS = ((4, TRANSLATION), (2, AFFINE), (1, AFFINE), (1, PLANAR))  # pixels of the patch per pixel, model
STEPS = 6  # Gauss-Newton per level
DONE = 0.003  # pixels: a smaller step is the last
FARTHEST, MOST_TURN, MOST_GROWTH = 12.0, 0.35, 0.25  # pixels, radians, ratio that are believed of one key frame
BENT = 0.10  # how much stretching across may differ from that down, or the axes' angle from a right one: out of plane
ALIKE = 7.0  # grey levels: usual error from which on another key frame is needed
HOPELESS = 20.0  # grey levels: that is not the same head
CONTRAST = (0.3, 3.0)  # of the frame over the key's, that is believed


@dataclass(frozen=True)
class Motion:
    """The eight parameters, x and y in patch pixels from its middle; usual: median error in grey levels."""

    values: Floats
    usual: float

    @property
    def turn(self) -> float:
        """Radians, clockwise in the picture."""
        return float(self.values[4] - self.values[3]) / 2

    @property
    def growth(self) -> float:
        """How much larger, as a ratio less 1."""
        return float(self.values[2] + self.values[5]) / 2

    @property
    def believed(self) -> bool:
        """Whether it can be the motion of a head between frames of one key."""
        across, down = self.values[0], self.values[1]
        near = max(abs(across), abs(down)) <= FARTHEST and abs(self.turn) <= MOST_TURN
        return bool(near and abs(self.growth) <= MOST_GROWTH and self.usual <= HOPELESS)

    @property
    def holds(self) -> bool:
        """Whether the key frame still serves."""
        bent = max(abs(self.values[2] - self.values[5]), abs(self.values[3] + self.values[4]))
        return bool(self.usual <= ALIKE and bent <= BENT and abs(self.growth) <= MOST_GROWTH / 2)


def _basis(scale: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """x and y from the middle, in patch pixels, of the pixels of a level that are compared, and which these are."""
    side = PATCH // scale
    inside = INSIDE.reshape(side, scale, side, scale).mean(axis=(1, 3)) > 0.5
    rows, columns = np.nonzero(inside)
    x, y = ((np.asarray(places, np.float64) + 0.5) * scale - PATCH / 2 for places in (columns, rows))
    return x, y, np.asarray(inside, np.bool_)


_BASES = {scale: _basis(scale) for scale, _ in LEVELS}


def flow_of(values: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """u and v of the eight parameters at places x, y."""
    a0, a3, a1, a2, a4, a5, p0, p1 = values
    return a0 + a1 * x + a2 * y + p0 * x * x + p1 * x * y, a3 + a4 * x + a5 * y + p0 * x * y + p1 * y * y


def _smaller(grey: Floats, scale: int) -> Floats:
    if scale == 1:
        return grey
    side = PATCH // scale
    blurred: Floats = gaussian_filter(grey, 0.5 * scale)
    return np.asarray(blurred.reshape(side, scale, side, scale).mean(axis=(1, 3)))


def register(key: Patch, patch: Patch, start: Floats | None = None) -> Motion | None:
    """Where the key's pixels are in another patch; start: the eight parameters to begin with. None when lost."""
    values = np.zeros(PLANAR) if start is None else start.copy()
    usual, gain = np.inf, 1.0
    for scale, count in LEVELS:
        x, y, inside = _BASES[scale]
        first, second = _smaller(key.grey, scale), _smaller(patch.grey, scale)
        slope_y, slope_x = (np.gradient(first, axis=axis)[inside] / scale for axis in (0, 1))
        level = first[inside]
        middle = level - level.mean()
        fields = (slope_x, slope_y, slope_x * x, slope_x * y, slope_y * x, slope_y * y)
        bends = (slope_x * x * x + slope_y * x * y, slope_x * x * y + slope_y * y * y)
        columns = np.column_stack([*(fields + bends)[:count], middle, np.ones_like(level)])
        size = np.sqrt((columns**2).mean(axis=0)) + 1e-9
        gain, offset = 1.0, 0.0
        for _ in range(STEPS):
            u, v = flow_of(values, x, y)
            places = [(y + v + PATCH / 2) / scale - 0.5, (x + u + PATCH / 2) / scale - 0.5]
            seen = map_coordinates(second, places, order=1, mode="nearest")
            error = seen - gain * middle - level.mean() - offset
            usual = float(np.median(np.abs(error)))
            spread = max(LEAST_OUTLIER, OUTLIER * usual)
            weighted = columns / size * ((spread**2 / (spread**2 + error**2)) ** 2)[:, None]
            step = np.linalg.lstsq(weighted.T @ (columns / size), weighted.T @ error, rcond=None)[0] / size
            values[:count] -= step[:count]
            gain, offset = gain + step[-2], offset + step[-1]
            if not np.isfinite(values).all():
                return None
            if np.abs(step[:TRANSLATION]).max() < DONE:
                break
    found = Motion(values, usual)
    return found if found.believed and CONTRAST[0] < gain < CONTRAST[1] else None


@dataclass(frozen=True)
class Placed:
    """Where a head is in a frame: the middle of the eye corners [2] in source pixels and the roll in radians, as its
    key frame has them; key: the number of that key frame."""

    corner: Floats
    roll: float
    key: int


class Registrar:
    """Follows a head from frame to frame of a clip."""

    def __init__(self) -> None:
        self._key: Patch | None = None
        self._motion: Floats | None = None
        self._corner, self._roll, self._span = np.zeros(2), 0.0, 1.0  # of the track, in the frame before
        self._key_roll, self._number = 0.0, -1

    def __call__(self, frame: Frame, corner: Floats, roll: float, span: float) -> Placed:
        """The next frame; corner [2], roll in radians and span in pixels: of its head as landmarks have them."""
        if self._key is not None:
            patch = patch_of(frame, self._corner, float(np.rad2deg(self._roll)), self._span)
            found = None if patch is None else register(self._key, patch)
            if patch is not None and found is not None:
                self._follow(patch, found)
                if not found.holds:
                    self._begin(frame)
                return Placed(self._corner.copy(), self._roll, self._number)
        self._corner, self._roll, self._span = corner.copy(), roll, span
        self._number += 1
        self._key = patch_of(frame, corner, float(np.rad2deg(roll)), span)
        return Placed(corner.copy(), roll, self._number)

    def lose(self) -> None:
        """A frame without a face: what follows begins anew."""
        self._key = None

    def _follow(self, patch: Patch, found: Motion) -> None:
        """Move the track to where the middle of the key is in this patch, which was cut by the track."""
        scale = patch.side / PATCH
        c, s = np.cos(self._roll), np.sin(self._roll)
        across, down = found.values[0] * scale, found.values[1] * scale
        self._corner = self._corner + np.array([c * across - s * down, s * across + c * down])
        self._roll += found.turn
        # The next patch is cut as large as the head is now.
        self._span = float(self._span * (1 + found.growth))

    def _begin(self, frame: Frame) -> None:
        """This frame is the next key, cut by the track itself: no jump."""
        self._number += 1
        self._key = patch_of(frame, self._corner, float(np.rad2deg(self._roll)), self._span)


@dataclass(frozen=True)
class Registered:
    """The registered heads of a clip's n frames with a face."""

    corner: Floats  # [n, 2] source pixels
    roll: Floats  # [n] radians
    key: NDArray[np.intp]  # [n] number of each frame's key


def anchored(
    registered: Registered, corner: Floats, roll: Floats, span: Floats, smooth_over: float
) -> tuple[Floats, Floats]:
    """Corner [n, 2] and roll [n] of the registered track, laid where landmarks (corner, roll, span) say it is.

    What landmarks differ by is a median over each key's frames; from key to key it changes gently, over so many frames.
    """
    turn = np.unwrap(registered.roll)
    away = roll - turn
    away = away - 2 * np.pi * np.round(np.median(away) / (2 * np.pi))
    c, s = np.cos(-turn), np.sin(-turn)
    d = (corner - registered.corner) / span[:, None]
    own = np.column_stack([c * d[:, 0] - s * d[:, 1], s * d[:, 0] + c * d[:, 1], away])
    offsets = np.empty_like(own)
    for key in np.unique(registered.key):
        rows = registered.key == key
        offsets[rows] = np.median(own[rows], axis=0)
    if len(np.unique(registered.key)) > 1:
        padded = np.pad(offsets, ((1, 1), (0, 0)), mode="edge")
        offsets = gaussian_filter(padded, (smooth_over, 0), mode="nearest")[1:-1]
    x, y = offsets[:, 0] * span, offsets[:, 1] * span
    c, s = np.cos(turn), np.sin(turn)
    moved = registered.corner + np.column_stack([c * x - s * y, s * x + c * y])
    return np.asarray(moved, np.float64), np.asarray(turn + offsets[:, 2], np.float64)
