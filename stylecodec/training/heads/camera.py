"""Head pose, pinhole camera and the FFHQ-like crop that frames every picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stylecodec.geometry import AVATAR_ALIGNMENT
from stylecodec.training.heads.assets import Floats
from stylecodec.training.heads.model import rotation, unit

DISTANCE = 95.0  # cm from the camera to the origin of head space: a portrait lens, little perspective
NEAR, FAR = 40.0, 160.0
PIVOT = np.array([0.0, -2.5, -1.0])  # cm; the head turns about the top of the neck
CROP_SCALE, CROP_LIFT = AVATAR_ALIGNMENT.scale, AVATAR_ALIGNMENT.lift
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Crop:
    """A square on the image plane z = 1 (y up): centre, half side, and the unit vector of its x axis."""

    center: tuple[float, float]
    half: float
    x_axis: tuple[float, float] = (1.0, 0.0)


def head_matrices(
    yaw: float, pitch: float, roll: float, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Matrix, Matrix]:
    """4x4 matrices of the head and of the body, which follows only a little; shift in cm (x right, y up)."""
    return _about_pivot(rotation(yaw, pitch, roll), shift), _about_pivot(
        rotation(0.22 * yaw, 0.08 * pitch, 0.12 * roll), (0.55 * shift[0], 0.55 * shift[1])
    )


def _about_pivot(r: Floats, shift: tuple[float, float]) -> Matrix:
    m = np.eye(4)
    m[:3, :3] = r
    m[:3, 3] = PIVOT - r @ PIVOT + np.array([shift[0], shift[1], 0.0])
    return m


def to_plane(points: NDArray[np.floating], head: Matrix) -> Matrix:
    """Points [N, 3] of head space -> [N, 2] on the plane z = 1 before the camera, y up."""
    q = points @ head[:3, :3].T + head[:3, 3]
    return np.asarray(q[:, :2] / (DISTANCE - q[:, 2:3]))


def ffhq_crop(landmarks: Floats, head: Matrix, scale: float = CROP_SCALE, lift: float = CROP_LIFT) -> Crop:
    """The aligned square of FFHQ from 68+ landmarks [.., 3], enlarged by scale and lifted along its own up axis.

    Give the landmarks of the neutral expression: then the frame does not breathe with the mouth.
    """
    xy = to_plane(landmarks, head)
    right, left = xy[36:42].mean(0), xy[42:48].mean(0)
    mouth, eyes = (xy[48] + xy[54]) / 2, (right + left) / 2
    across, down = left - right, mouth - eyes
    x = unit(across + np.array([-down[1], down[0]]))
    half = scale * max(2.0 * float(np.linalg.norm(across)), 1.8 * float(np.linalg.norm(down)))
    center = eyes + 0.1 * down + lift * half * np.array([-x[1], x[0]])
    return Crop((float(center[0]), float(center[1])), half, (float(x[0]), float(x[1])))


def projection(crop: Crop) -> Matrix:
    """4x4 matrix from world space to clip space such that the crop fills the picture."""
    (cx, cy), (ax, ay), h = crop.center, crop.x_axis, crop.half
    depth, offset = (FAR + NEAR) / (NEAR - FAR), 2 * FAR * NEAR / (NEAR - FAR)
    p = np.array(
        [
            [ax / h, ay / h, (ax * cx + ay * cy) / h, 0],
            [-ay / h, ax / h, (-ay * cx + ax * cy) / h, 0],
            [0, 0, depth, offset],
            [0, 0, -1, 0],
        ]
    )
    view = np.eye(4)
    view[2, 3] = -DISTANCE
    return np.asarray(p @ view)


def to_picture(points: NDArray[np.floating], head: Matrix, crop: Crop) -> Floats:
    """Points [N, 3] of head space -> [N, 2] in crop units, 0..1 over the picture, y down."""
    q = np.c_[points @ head[:3, :3].T + head[:3, 3], np.ones(len(points))] @ projection(crop).T
    ndc = q[:, :2] / q[:, 3:]
    return np.asarray(np.c_[ndc[:, 0] * 0.5 + 0.5, 0.5 - ndc[:, 1] * 0.5], np.float32)


def light_matrix(direction: NDArray[np.floating], head: Matrix) -> Matrix:
    """4x4 orthographic matrix of the shadow map: a 34 x 38 x 48 cm box about the head, seen from the light."""
    x = unit(np.cross(np.array([0.0, 1.0, 0.0]), direction))
    a = np.stack([x, np.cross(direction, x), -direction]) / np.array([[17.0], [19.0], [24.0]])
    m = np.eye(4)
    m[:3, :3] = a
    m[:3, 3] = -a @ (head[:3, :3] @ np.array([0.0, 2.0, 0.0]) + head[:3, 3])
    return m
