"""Thin spectacle frames: tubes, rigid to the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylecodec.training.heads.assets import Floats, Ints
from stylecodec.training.heads.model import HeadModel, unit

GLASSES_NAMES = ("none", "round", "rectangular", "oval", "aviator")
# half width, half height (cm), exponent of the superellipse, droop of the outer lower corner, tube radius
_RIMS = {
    "round": (2.45, 2.35, 2.0, 0.0, 0.10),
    "rectangular": (2.75, 1.75, 4.5, 0.0, 0.15),
    "oval": (2.65, 1.85, 2.2, 0.0, 0.12),
    "aviator": (2.75, 2.25, 2.7, 0.35, 0.10),
}
_RING = 8
Curve = NDArray[np.floating]


def frame(model: HeadModel, base: Floats, style: str) -> tuple[Floats, Ints]:
    """Vertices [N, 6] (position, normal) in head space and triangle indices for a resting head."""
    width, height, power, droop, radius = _RIMS[style]
    points = base[model.assets.landmarks]
    bridge = points[28]  # upper nose ridge
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    front = max(float(points[17:27, 2].max()), float(points[36:48, 2].max()) + 0.9)
    z0 = min(max(front, float(bridge[2]) - 0.6), float(bridge[2]) + 0.8)
    y0 = float(eyes[0][1] + eyes[1][1]) / 2 - 0.35
    gap = 0.85  # half the distance between the rims at the nose
    ear_side = float(np.percentile(np.abs(base[model.skin_faces.ravel(), 0][_near_ear(model)]), 50))
    tubes: list[tuple[Floats, bool]] = []
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / power)
    y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / power)
    for side, eye in ((-1, eyes[0]), (1, eyes[1])):
        cx = max(abs(float(eye[0])), gap + width - 0.35)
        px = cx + width * x - droop * (y < 0) * y * 0.5 * np.sign(x)
        py = y0 + height * y * (1 - 0.12 * droop * (y > 0))
        tubes.append((_curve(side * px, py, z0 - 0.035 * (px - 1) ** 2), True))
        outer = cx + width
        zs = z0 - 0.035 * (outer - 1) ** 2
        s = np.linspace(0, 1, 12)
        ax = outer + (max(ear_side - 0.1, outer + 0.2) - outer) * np.clip(2.5 * s, 0, 1) ** 0.7
        ay = y0 + 0.5 * height + (3.9 - y0 - 0.5 * height) * s
        tubes.append((_curve(side * ax, ay, zs + (-1.5 - zs) * s), False))
    bx = np.linspace(-1, 1, 9)
    inner = max(abs(float(eyes[1][0])), gap + width - 0.35) - width
    tubes.append((_curve(inner * bx, y0 + 0.35 * height + 0.35 * (1 - bx**2), z0 + 0.25 * (1 - bx**2)), False))
    return _sweep(tubes, radius)


def _near_ear(model: HeadModel) -> NDArray[np.bool_]:
    rest = model.assets.vertices[model.skin_faces.ravel()]
    near = (np.abs(rest[:, 0]) > 6) & (np.abs(rest[:, 1] - 4.0) < 1.0) & (np.abs(rest[:, 2] - 1.0) < 2.0)
    return near if near.any() else np.ones(len(rest), bool)


def _curve(x: Curve, y: Curve | float, z: Curve) -> Floats:
    return np.stack(np.broadcast_arrays(x, y, z), 1).astype(np.float32)


def _sweep(tubes: list[tuple[Floats, bool]], radius: float) -> tuple[Floats, Ints]:
    """Circles swept along curves (points [P, 3], closed?)."""
    vertices, indices, first = [], [], 0
    turn = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
    for points, closed in tubes:
        p = points.astype(np.float64)
        tangent = unit(np.roll(p, -1, 0) - np.roll(p, 1, 0) if closed else np.gradient(p, axis=0))
        e1 = unit(np.cross(tangent, np.array([0.12, 0.2, 1.0])))
        e2 = np.cross(tangent, e1)
        normal = np.cos(turn)[None, :, None] * e1[:, None] + np.sin(turn)[None, :, None] * e2[:, None]
        vertices.append(np.concatenate([p[:, None] + radius * normal, normal], -1).reshape(-1, 6))
        count = len(p)
        i = np.arange(count if closed else count - 1)[:, None]
        j = np.arange(_RING)[None]
        a, b = i * _RING + j, i * _RING + (j + 1) % _RING
        c, d = ((i + 1) % count) * _RING + j, ((i + 1) % count) * _RING + (j + 1) % _RING
        indices.append(first + np.stack([a, b, c, c, b, d], -1).reshape(-1))
        first += count * _RING
    return np.concatenate(vertices).astype(np.float32), np.concatenate(indices).astype(np.int32)
