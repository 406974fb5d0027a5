"""Similarity transforms, the FFHQ square and the aligned crop (numpy only).

Pixel convention: coordinates are continuous, x to the right, y down; pixel i covers [i, i+1), its centre is
i + 0.5, an image of width W spans 0..W. Tools that count pixel centres as whole numbers (dlib) need + 0.5.

Angles are degrees; a positive roll turns clockwise in the image as it is looked at.

    crop coordinates                    source coordinates
    (0,0) ┌────────┐ (S,0)              a square of side `side`, its centre at `center`,
          │   ·    │          ◄──►      its own x axis pointing to (cos roll, sin roll)
    (0,S) └────────┘ (S,S)              and its y axis to (−sin roll, cos roll)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stylecodec.errors import OptionError

Points = NDArray[np.float64]  # [N, 2] (x, y), or [2] for one point
Matrix = NDArray[np.float64]  # [2, 3]: p' = M[:, :2] p + M[:, 2]


@dataclass(frozen=True)
class Similarity:
    """p' = scale · R(rotation) · p + (tx, ty); a positive rotation is clockwise in the image."""

    scale: float = 1.0
    rotation_deg: float = 0.0
    tx: float = 0.0
    ty: float = 0.0

    @property
    def matrix(self) -> Matrix:
        """[2, 3] float64."""
        angle = np.deg2rad(self.rotation_deg)
        c, s = self.scale * np.cos(angle), self.scale * np.sin(angle)
        return np.array([[c, -s, self.tx], [s, c, self.ty]])

    def apply(self, points: ArrayLike) -> Points:
        """Move points [..., 2]."""
        return apply_affine(self.matrix, points)

    def inverse(self) -> Similarity:
        """The transform that undoes this one."""
        back = Similarity(1.0 / self.scale, -self.rotation_deg)
        tx, ty = -back.apply([self.tx, self.ty])
        return Similarity(back.scale, back.rotation_deg, float(tx), float(ty))

    def __matmul__(self, first: Similarity) -> Similarity:
        """`a @ b` moves by b, then by a."""
        tx, ty = self.apply([first.tx, first.ty])
        turned = self.rotation_deg + first.rotation_deg
        return Similarity(self.scale * first.scale, turned, float(tx), float(ty))

    @classmethod
    def fit(cls, source: ArrayLike, target: ArrayLike) -> Self:
        """The least-squares similarity that takes source [N, 2] to target [N, 2], N >= 2, without mirroring.

        With centred points as complex numbers the optimum is the regression coefficient ⟨s, t⟩ / ⟨s, s⟩.
        """
        src, dst = np.asarray(source, np.float64), np.asarray(target, np.float64)
        src_mean, dst_mean = src.mean(0), dst.mean(0)
        s, t = src - src_mean, dst - dst_mean
        zs, zt = s[:, 0] + 1j * s[:, 1], t[:, 0] + 1j * t[:, 1]
        power = float(np.vdot(zs, zs).real)
        if power == 0.0:
            raise OptionError("a similarity needs at least two different points")
        a = np.vdot(zs, zt) / power
        turn = cls(float(abs(a)), float(np.rad2deg(np.angle(a))))
        tx, ty = dst_mean - turn.apply(src_mean)
        return cls(turn.scale, turn.rotation_deg, float(tx), float(ty))


def apply_affine(matrix: ArrayLike, points: ArrayLike) -> Points:
    """Move points [..., 2] by a [2, 3] matrix."""
    m = np.asarray(matrix, np.float64)
    result: Points = np.asarray(points, np.float64) @ m[:, :2].T + m[:, 2]
    return result


def invert_affine(matrix: ArrayLike) -> Matrix:
    """The inverse of a [2, 3] matrix."""
    m = np.asarray(matrix, np.float64)
    linear = np.linalg.inv(m[:, :2])
    return np.concatenate([linear, -(linear @ m[:, 2:])], axis=1)


@dataclass(frozen=True)
class CropTransform:
    """The aligned square of one frame, in source pixels: centre, side and the head's roll in the image."""

    center: tuple[float, float]
    side: float
    roll_deg: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([*self.center, self.side, self.roll_deg]).all() and self.side > 0):
            raise OptionError(f"a crop needs finite numbers and a positive side, not {self}")

    def crop_to_source(self, size: float) -> Matrix:
        """[2, 3]: coordinates in a crop of size×size pixels → source coordinates."""
        turn = Similarity(self.side / size, self.roll_deg)
        tx, ty = np.asarray(self.center) - turn.apply([size / 2, size / 2])
        return Similarity(turn.scale, turn.rotation_deg, float(tx), float(ty)).matrix

    def source_to_crop(self, size: float) -> Matrix:
        """[2, 3]: source coordinates → coordinates in a crop of size×size pixels."""
        return invert_affine(self.crop_to_source(size))

    def to_source(self, points: ArrayLike, size: float = 1.0) -> Points:
        """Crop points [..., 2] → source. With size 1 the points are crop units 0..1."""
        return apply_affine(self.crop_to_source(size), points)

    def to_crop(self, points: ArrayLike, size: float = 1.0) -> Points:
        """Source points [..., 2] → crop. With size 1 the result is in crop units 0..1."""
        return apply_affine(self.source_to_crop(size), points)

    @property
    def quad(self) -> Points:
        """[4, 2] source corners: top left, bottom left, bottom right, top right."""
        return self.to_source([[0, 0], [0, 1], [1, 1], [1, 0]])

    def scaled(self, factor: float) -> CropTransform:
        """The same square seen in an image resized by `factor`."""
        x, y = self.center
        return CropTransform((x * factor, y * factor), self.side * factor, self.roll_deg)

    def moved(self, zoom: float, across: float, down: float) -> CropTransform:
        """The square with e^zoom times its side, its centre moved along the face's own axes by shares of its side."""
        x, y = self.to_source([0.5 + across, 0.5 + down])
        return CropTransform((float(x), float(y)), self.side * float(np.exp(zoom)), self.roll_deg)


@dataclass(frozen=True)
class Alignment:
    """How a model pack's square differs from the FFHQ square.

    scale: its side over FFHQ's (avatar packs 1.08, FFHQ packs 1). lift: how far its centre moves up along
    the face's own up axis, in half-sides taken after scaling (avatar packs 0.035, FFHQ packs 0).
    """

    scale: float = 1.0
    lift: float = 0.0

    def apply(self, ffhq: CropTransform) -> CropTransform:
        """FFHQ square → the pack's square."""
        side = ffhq.side * self.scale
        up = np.array([np.sin(np.deg2rad(ffhq.roll_deg)), -np.cos(np.deg2rad(ffhq.roll_deg))])
        x, y = np.asarray(ffhq.center) + up * (self.lift * side / 2)
        return CropTransform((float(x), float(y)), side, ffhq.roll_deg)


AVATAR_ALIGNMENT = Alignment(scale=1.08, lift=0.035)
FFHQ_ALIGNMENT = Alignment()


def ffhq_square(eye_left: ArrayLike, eye_right: ArrayLike, mouth: ArrayLike) -> CropTransform:
    """The FFHQ square from the eye centres and the middle of the mouth corners, all [2].

    "Left" is the image's left. With e = eye_right − eye_left and m = mouth − mid(eyes): the x axis is along
    e − rot90(m), rot90(m) = (−m_y, m_x); its half-side is max(2·|e|, 1.8·|m|); the centre is
    mid(eyes) + 0.1·m (the FFHQ dataset's crop).
    """
    left, right = np.asarray(eye_left, np.float64), np.asarray(eye_right, np.float64)
    eyes = (left + right) / 2
    e, m = right - left, np.asarray(mouth, np.float64) - eyes
    x = e - np.array([-m[1], m[0]])
    if float(np.hypot(*x)) == 0.0:
        raise OptionError("the eyes and the mouth fall on one point: no square can be drawn")
    half = max(2.0 * float(np.hypot(*e)), 1.8 * float(np.hypot(*m)))
    cx, cy = eyes + 0.1 * m
    return CropTransform((float(cx), float(cy)), 2.0 * half, float(np.rad2deg(np.arctan2(x[1], x[0]))))


def ffhq_anchors(landmarks: ArrayLike) -> tuple[Points, Points, Points]:
    """Landmarks [P >= 68, 2] in the iBUG order → left eye, right eye, mouth, each [2], as seen in the image."""
    p: NDArray[Any] = np.asarray(landmarks, np.float64)
    return p[36:42].mean(0), p[42:48].mean(0), (p[48] + p[54]) / 2


def ffhq_crop(landmarks: ArrayLike) -> CropTransform:
    """The FFHQ square of landmarks [P >= 68, 2] in the iBUG order."""
    return ffhq_square(*ffhq_anchors(landmarks))


def ffhq_quad(landmarks: ArrayLike) -> Points:
    """[4, 2] corners of the FFHQ square: top left, bottom left, bottom right, top right."""
    return ffhq_crop(landmarks).quad


def aligned_crop(landmarks: ArrayLike, alignment: Alignment = FFHQ_ALIGNMENT) -> CropTransform:
    """The square a pack wants for landmarks [P >= 68, 2], in the coordinates of the landmarks."""
    return alignment.apply(ffhq_crop(landmarks))
