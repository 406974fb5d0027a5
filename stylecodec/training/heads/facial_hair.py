"""Brows and beards: short ribbons rooted in face triangles, so that they follow every expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stylecodec.training.heads.assets import FACE, Floats, Ints
from stylecodec.training.heads.model import HeadModel, unit
from stylecodec.training.heads.ribbons import Array, fill_ribbons, ribbon_buffer, sample_surface

BROW_SPREAD = 9.8 / 1024  # half height of a brow of thickness 1, in UV units
BEARD_CHANNEL = 2  # channel of paint[0] with the beard region


class RootedStrands:
    """Strands at fixed barycentric coordinates of fixed triangles.

    A strand leaves along `along` (two coefficients on the triangle's edges) or, if that is None, along the fixed
    direction `heading` bent into the surface; `across` moves its root within the triangle plane per unit of
    thickness - 1.
    """

    def __init__(
        self,
        faces: Ints,
        bary: Array,
        length: Array,
        *,
        along: Array | None,
        across: Array | None,
        heading: Array | None,
        lift: float,
        width: float,
        points: int,
        rng: np.random.Generator,
    ) -> None:
        self.faces, self.bary = faces, bary.astype(np.float32)
        self.length = length.astype(np.float32)
        self.along = None if along is None else along.astype(np.float32)
        self.across = None if across is None else across.astype(np.float32)
        self.heading = None if heading is None else heading.astype(np.float32)
        self.lift, self.points = lift, points
        place = np.linspace(0, 1, points)
        shape = np.broadcast_to(width * (1 - 0.85 * place**1.3), (len(faces), points))
        self.buffer, self.indices = ribbon_buffer(shape, rng.random(len(faces)))

    def place(self, vertices: Floats, normals: Floats, length: float = 1.0, thickness: float = 1.0) -> Floats:
        """Vertex buffer [N, M, 2, 10] on a posed face; length and thickness scale the strands and their bed."""
        corner = vertices[self.faces]
        e1, e2 = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        root = np.einsum("ij,ijk->ik", self.bary, corner)
        normal = unit(np.einsum("ij,ijk->ik", self.bary, normals[self.faces]))
        if self.across is not None:
            root = root + (thickness - 1) * (self.across[:, :1] * e1 + self.across[:, 1:] * e2)
        if self.along is not None:
            way = unit(self.along[:, :1] * e1 + self.along[:, 1:] * e2)
            base = 0.015
        else:
            heading = self.heading if self.heading is not None else np.zeros_like(normal)
            way = unit(heading - 0.75 * normal * (heading * normal).sum(1, keepdims=True))
            base = 0.04
        k = np.linspace(0, 1, self.points, dtype=np.float32)[None, :, None]
        size = length * self.length[:, None, None]
        rise = self.lift * size * (k - 0.8 * k * k) + base
        fill_ribbons(self.buffer, root[:, None] + way[:, None] * k * size + normal[:, None] * rise)
        return self.buffer


def _locate(uv: Array, points: Array) -> tuple[NDArray[np.intp], Array, Array]:
    """Triangle and barycentric coordinates of UV points; also inverse edge matrices [N, 2, 2]."""
    near = min(12, len(uv))
    candidates = cKDTree(uv.mean(1)).query(points, k=near)[1].reshape(len(points), near)
    a = uv[candidates]  # [N, near, 3, 2]
    edges = np.stack([a[:, :, 1] - a[:, :, 0], a[:, :, 2] - a[:, :, 0]], -1)
    flat = np.abs(np.linalg.det(edges)) < 1e-12
    edges[flat] = np.eye(2)
    inverse = np.linalg.inv(edges)
    l12 = np.einsum("nkij,nkj->nki", inverse, points[:, None] - a[:, :, 0])
    bary = np.concatenate([1 - l12.sum(-1, keepdims=True), l12], -1)
    inside = np.where(flat, -np.inf, bary.min(-1))
    best = inside.argmax(1)
    rows = np.arange(len(points))
    b = np.clip(bary[rows, best], 0, 1)
    return candidates[rows, best], b / b.sum(1, keepdims=True), inverse[rows, best]


def brows(model: HeadModel, count: int = 420) -> RootedStrands:
    """Both brows, along the curves of the assets."""
    a = model.assets
    rng = np.random.default_rng(11)
    face = a.triangle_material == FACE
    uv = a.corner_uv[a.triangles[face]].astype(np.float64)
    points: list[Array] = []
    ways: list[Array] = []
    offsets: list[Array] = []
    places: list[Array] = []
    for curve in a.brow_curves.astype(np.float64):
        half = count // 2
        t = (np.arange(half) + rng.random(half)) / half
        t = 0.02 + 0.93 * t
        x = t * (len(curve) - 1)
        j = np.minimum(x.astype(int), len(curve) - 2)
        at = curve[j] + (x - j)[:, None] * (curve[j + 1] - curve[j])
        tangent = unit(curve[j + 1] - curve[j])
        up = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
        up *= np.where(up[:, 1:] > 0, 1.0, -1.0)
        spread = BROW_SPREAD * (0.30 + 0.70 * np.minimum(1, 1.7 * t)) * np.where(t < 0.92, 1, 1 - 4 * (t - 0.92))
        v = rng.uniform(-1, 1, half)
        offset = up * (0.85 * v * spread)[:, None]
        rise = np.clip((t - 0.55) / 0.45, 0, 1)
        side = 0.25 + 0.5 * rise - 0.78 * (v > 0) * (1 - rise)
        way = unit(-tangent * (1 - 0.55 * rise)[:, None] + up * side[:, None]) + rng.normal(0, 0.06, (half, 2))
        for bag, part in ((points, at + offset), (ways, way), (offsets, offset), (places, t)):
            bag.append(part)
    p, t = np.concatenate(points), np.concatenate(places)
    triangle, bary, inverse = _locate(uv, p)
    length = (0.62 + 0.2 * rng.random(len(p))) * np.where(t > 0.9, 0.75, 1.0) * np.where(t < 0.15, 0.7, 1.0)
    return RootedStrands(
        model.faces[face][triangle],
        bary,
        length,
        along=(inverse @ np.concatenate(ways)[..., None])[..., 0],
        across=(inverse @ np.concatenate(offsets)[..., None])[..., 0],
        heading=None,
        lift=0.18,
        width=0.040,
        points=4,
        rng=rng,
    )


def beard(model: HeadModel, count: int = 2200) -> RootedStrands:
    """Full beard and moustache over the region painted in the assets; length 1 is about a centimetre."""
    a = model.assets
    rng = np.random.default_rng(12)
    face = a.triangle_material == FACE
    faces = model.faces[face]
    uv = a.corner_uv[a.triangles[face]].mean(1)
    size = a.paint[0].shape[0]
    ix, iy = (np.clip((uv[:, k] * size).astype(int), 0, size - 1) for k in (0, 1))
    weight = a.paint[0][iy, ix, BEARD_CHANNEL] / 255.0
    weight = np.where(weight > 0.35, weight, 0)
    rest = a.vertices.astype(np.float64)
    triangle, bary = sample_surface(rest, faces, count, rng, weight if weight.any() else None)
    center = rest[faces[triangle]].mean(1)
    x, y = center[:, 0], center[:, 1]
    heading = np.c_[np.sign(x) * np.clip(np.abs(x) / 5, 0, 0.25), np.full(count, -1.0), np.full(count, 0.05)]
    moustache = (y > -2.9) & (np.abs(x) < 3)
    heading[moustache] = np.c_[np.sign(x), np.full(count, -0.75), np.zeros(count)][moustache]
    heading = unit(heading + rng.normal(0, 0.10, heading.shape))
    return RootedStrands(
        faces[triangle],
        bary,
        0.8 + 0.4 * rng.random(count),
        along=None,
        across=None,
        heading=heading,
        lift=0.5,
        width=0.10,
        points=4,
        rng=rng,
    )
