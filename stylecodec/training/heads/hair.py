"""Hairstyles as ribbons on the head.

A style is grown once, on the mean head, from a fixed random stream; an identity only bends the result with the
shape of its skull. So hair is a smooth (in fact linear) function of the head geometry: nothing pops, and a small
network can learn each style as one shape.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stylecodec.training.heads.assets import Floats, Ints
from stylecodec.training.heads.model import HeadModel, unit
from stylecodec.training.heads.ribbons import Array, fill_ribbons, ribbon_buffer, sample_surface

HAIRLINE = (  # azimuth from straight ahead in degrees, height of the hairline in cm
    (0, 20, 40, 55, 66, 76, 84, 98, 112, 125, 180.0),
    (11.1, 11.1, 10.5, 8.6, 6.4, 2.6, 2.2, 5.2, 4.2, 0.5, -2.6),
)
DOWN, BACKWARD, FORWARD, UP = (np.array(v, float) for v in ((0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0)))
PART_AT = 2.6  # cm beside the middle


def azimuth(rest: Array) -> Array:
    """Degrees from straight ahead, 0..180, of points [N, 3] of the mean head."""
    return np.asarray(np.degrees(np.arctan2(np.abs(rest[:, 0]), rest[:, 2] - 1.0)))


def above_hairline(rest: Array) -> Array:
    """Height [N] in cm of points of the mean head above the hairline."""
    return np.asarray(rest[:, 1] - np.interp(azimuth(rest), *HAIRLINE))


@dataclass(frozen=True)
class Roots:
    """Where strands start, on the mean head."""

    rest: Array  # [N, 3]
    normal: Array  # [N, 3]
    height: Array  # [N] above the hairline, cm
    top: Array  # [N] 0 at ear height .. 1 on the crown
    front: Array  # [N] 0 behind .. 1 at the brow
    azimuth: Array  # [N] degrees
    side: Array  # [N] -1 or 1: on which side of the parting
    bangs: NDArray[np.bool_]  # [N] strands that fall over the forehead


Comb = Callable[[Roots, Array, int], Array]  # roots, current points [N, 3], step -> wanted directions [N, 3]


@dataclass(frozen=True)
class Style:
    """How one hairstyle grows. Lengths in cm."""

    comb: Comb
    length: Callable[[Roots, np.random.Generator], Array]
    count: int = 2600
    points: int = 9
    width: float = 0.24  # half width of a ribbon
    volume: float = 0.6  # how far the top layer stands off
    hug: float = 1.0  # how firmly strands follow the skull
    stiffness: float = 0.5
    wave: tuple[float, float, float] = (0.0, 1.0, 0.5)  # amplitude, frequency, flattening
    middle_part: bool = False
    face_opening: bool = False  # long styles keep clear of the face
    bangs: bool = False
    deep: float = 0.9  # exponent of the layer distribution, larger = more strands close to the skull
    gloss: float = 0.8
    bun: bool = False


def _column(x: Array) -> Array:
    return x[:, None]


def _sides(x: Array, y: Array | float, z: Array | float) -> Array:
    return np.stack([x, np.broadcast_to(y, x.shape), np.broadcast_to(z, x.shape)], 1)


def _buzz(r: Roots, p: Array, k: int) -> Array:
    return np.asarray(1.2 * r.normal + 0.4 * FORWARD)


def _crop(r: Roots, p: Array, k: int) -> Array:
    lift = 0.55 if k < 2 else 0.0
    return 0.9 * FORWARD + lift * r.normal + _sides(0.15 * r.side, 0, 0) + 0.15 * DOWN * _column(1 - r.top)


def _pixie(r: Roots, p: Array, k: int) -> Array:
    fall = 0.15 + 1.3 * np.clip((np.abs(p[:, 0]) - 3.0) / 3.5, 0, 1) + 0.06 * k * r.front
    lift = 0.8 if k < 2 else 0.0
    return _sides(0.9 * r.side, -0.1, 0.55 * r.front - 0.15) + lift * r.normal + DOWN * _column(fall)


def _sidepart(r: Roots, p: Array, k: int) -> Array:
    fall = 0.1 + 1.6 * np.clip((np.abs(p[:, 0]) - 3.2) / 3.5, 0, 1)
    lift = 1.1 * np.clip(1.5 * r.top, 0.2, 1) if k < 2 else np.zeros_like(r.top)
    return _sides(1.0 * r.side, 0, -0.25) + r.normal * _column(lift) + DOWN * _column(fall)


def _quiff(r: Roots, p: Array, k: int) -> Array:
    lift = 1.2 * r.top + 0.25 if k < 3 else np.full_like(r.top, 0.1)
    return r.normal * _column(lift) + BACKWARD * (0.35 + 0.14 * k) + 0.25 * UP * _column(r.front)


def _slick(r: Roots, p: Array, k: int) -> Array:
    return np.asarray(BACKWARD + r.normal * (0.5 if k < 2 else 0.02) + DOWN * (0.025 * k))


def _fall(r: Roots, p: Array, k: int, back: float = -0.45) -> Array:
    out = _sides(1.0 * r.side, 0, np.where(r.azimuth < 60, back, -0.35))
    g = float(np.clip((k - 1) / 2.0, 0, 1))
    way = 0.9 * (1 - g) * out + DOWN * (0.25 + 2.0 * g) + r.normal * (0.75 if k < 2 else 0.0)
    if r.bangs.any():
        over = FORWARD * (1.2 * (1 - g)) + DOWN * (0.2 + 1.6 * g) + _sides(0.10 * r.rest[:, 0], 0, 0)
        way = np.where(r.bangs[:, None], over + r.normal * (0.6 if k < 2 else 0.0), way)
    return way


def _bob(r: Roots, p: Array, k: int) -> Array:
    return _fall(r, p, k, -0.25)


def _curly(r: Roots, p: Array, k: int) -> Array:
    # strands rise and then lie over, each patch its own way: soft tufts instead of spikes
    phase = 1.3 * r.rest[:, 0] + 0.9 * r.rest[:, 1] + 1.1 * r.rest[:, 2]
    over = np.cross(r.normal, unit(_sides(np.cos(phase), np.sin(phase), np.cos(1.7 * phase))))
    return r.normal * max(0.0, 1.0 - 0.13 * k) + over * (0.16 * k) + DOWN * (0.03 * k)


def _bun(r: Roots, p: Array, k: int) -> Array:
    return np.asarray(unit(BUN_AT - p) + r.normal * (0.35 if k < 1 else 0.0))


BUN_AT = np.array([0.0, 14.6, -4.2])


def _between(low: float, high: float) -> Callable[[Roots, np.random.Generator], Array]:
    return lambda r, rng: rng.uniform(low, high, len(r.top))


def _by_top(limit: float, long: float, front: float, short: float) -> Callable[[Roots, np.random.Generator], Array]:
    def length(r: Roots, rng: np.random.Generator) -> Array:
        return np.where(r.top > limit, long + front * r.front, short) * rng.uniform(0.85, 1.15, len(r.top))

    return length


def _hanging(base: float) -> Callable[[Roots, np.random.Generator], Array]:
    def length(r: Roots, rng: np.random.Generator) -> Array:
        full = base * rng.uniform(0.93, 1.06, len(r.top)) * (1 - 0.18 * (1 - r.top))
        fringe = 4.4 + 1.0 * r.height + 0.25 * np.abs(r.rest[:, 0]) + rng.normal(0, 0.15, len(r.top))
        return np.where(r.bangs, fringe, full)

    return length


def _slick_length(r: Roots, rng: np.random.Generator) -> Array:
    return np.where(r.top > 0.1, 8.0, np.where(r.azimuth < 100, 1.6, 3.0)) * rng.uniform(0.85, 1.15, len(r.top))


def _bun_length(r: Roots, rng: np.random.Generator) -> Array:
    return 1.12 * np.asarray(np.linalg.norm(BUN_AT - r.rest, axis=1))


def _curly_length(r: Roots, rng: np.random.Generator) -> Array:
    return rng.uniform(3.6, 5.6, len(r.top)) * (0.6 + 0.5 * r.top)


_LONG = {"face_opening": True, "points": 13, "width": 0.32, "stiffness": 0.6, "count": 1400}
STYLES: dict[str, Style] = {
    "buzz": Style(_buzz, _between(0.4, 0.6), 3600, 3, 0.13, 0.2, 0.0, gloss=0.3),
    "crop": Style(_crop, _by_top(0.25, 1.8, 1.6, 0.9), 3200, 6, 0.18, 0.6, 0.5, gloss=0.6),
    "sidepart": Style(_sidepart, _by_top(0.2, 5.2, 0.0, 1.5), width=0.22, volume=0.75),
    "slick": Style(_slick, _slick_length, width=0.22, volume=0.4),
    "quiff": Style(_quiff, _by_top(0.25, 4.8, 1.5, 1.1), 2800, 8, 0.22, 0.9, 0.35),
    "pixie": Style(_pixie, _by_top(0.15, 5.0, 0.0, 2.8), width=0.24, volume=0.7),
    "bob": Style(_bob, _hanging(15.5), volume=1.1, **_LONG),  # type: ignore[arg-type]
    "long": Style(_fall, _hanging(27), volume=0.7, middle_part=True, **_LONG),  # type: ignore[arg-type]
    "wavy": Style(_fall, _hanging(24), volume=1.15, wave=(0.42, 1.0, 0.5), **(_LONG | {"points": 16})),  # type: ignore[arg-type]
    "bangs": Style(_fall, _hanging(26), volume=0.6, middle_part=True, bangs=True, **_LONG),  # type: ignore[arg-type]
    "bobbangs": Style(_fall, _hanging(14.5), volume=1.1, bangs=True, **_LONG),  # type: ignore[arg-type]
    "curly": Style(_curly, _curly_length, 2600, 9, 0.30, 0.0, 0.0, wave=(0.25, 1.6, 1.0), deep=3.0, gloss=0.25),
    "bun": Style(_bun, _bun_length, 2400, 9, 0.26, 0.22, bun=True),
}
STYLE_NAMES = (*STYLES, "bald")


@dataclass(frozen=True)
class Strands:
    """Ribbons grown on the mean head: points [N, M, 3], half widths [N, M], seeds [N]."""

    points: Array
    width: Array
    seed: Array
    gloss: float


@dataclass
class Hairdo:
    """Strands bound to a model: `place` bends them to a head."""

    strands: Strands
    weights: sp.csr_matrix  # [N * M, C] from displacements of control vertices
    controls: Ints  # [C] vertices
    buffer: Floats  # [N, M, 2, 10] reused
    indices: Ints

    def place(self, displacement: Floats) -> Floats:
        """Vertex buffer [N, M, 2, 10] for a head whose vertices moved by displacement [V, 3] from the mean."""
        n, m, _ = self.strands.points.shape
        moved = (self.weights @ displacement[self.controls]).reshape(n, m, 3)
        fill_ribbons(self.buffer, self.strands.points + moved)
        return self.buffer


class Hairdresser:
    """Grows styles on the mean head of a model and keeps them."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        rest = model.assets.vertices.astype(np.float64)
        centers = rest[model.skin_faces].mean(1)
        side = np.abs(centers[:, 0])
        ear = (side > 7.7) & (centers[:, 1] < 4.6) & (centers[:, 1] > -3.2) & (centers[:, 2] > -4)
        self._rest = rest
        self._faces = model.skin_faces[~ear]
        self._scalp = model.skin_faces[~ear & (above_hairline(centers) > -0.1)]
        self._normals = model.normals(model.assets.vertices)
        surface = np.unique(self._faces)
        self._tree = cKDTree(rest[surface])
        self._tree_points, self._tree_normals = rest[surface], self._normals[surface]
        step = max(1, len(surface) // 700)
        self._controls = surface[np.random.default_rng(5).permutation(len(surface))[::step]].astype(np.int32)
        self._made: dict[tuple[str, int], Hairdo] = {}

    def hairdo(self, style: str, part_side: int) -> Hairdo:
        """A style of STYLES with its parting on one side (-1, 1); grown on first use."""
        key = (style, part_side)
        if key not in self._made:
            strands = self._grow(STYLES[style], style, PART_AT * part_side)
            buffer, indices = ribbon_buffer(strands.width, strands.seed)
            weights = self._bind(strands.points.reshape(-1, 3))
            self._made[key] = Hairdo(strands, weights, self._controls, buffer, indices)
        return self._made[key]

    def _bind(self, points: Array) -> sp.csr_matrix:
        """Smooth weights [P, C]: points near the skull move with it, points far away with its large shape."""
        near = min(24, len(self._controls))
        distance, column = cKDTree(self._rest[self._controls]).query(points, k=near)
        distance = np.asarray(distance)
        sigma = 0.9 + 0.7 * distance[:, :1]
        w = np.exp(-0.5 * (distance / sigma) ** 2) + 1e-9
        w /= w.sum(1, keepdims=True)
        row = np.repeat(np.arange(len(points)), near)
        return sp.csr_matrix((w.ravel(), (row, column.ravel())), shape=(len(points), len(self._controls)))

    def _roots(self, style: Style, part: float, rng: np.random.Generator) -> Roots:
        face, bary = sample_surface(self._rest, self._scalp, style.count, rng)
        corner = self._scalp[face]
        rest = np.einsum("ij,ijk->ik", bary, self._rest[corner])
        height = above_hairline(rest) + rng.normal(0, 0.10, style.count)
        keep = height > 0.05
        rest, height, corner, bary = rest[keep], height[keep], corner[keep], bary[keep]
        normal = unit(np.einsum("ij,ijk->ik", bary, self._normals[corner]))
        at = part * (0.15 if style.middle_part else 1.0)
        side = np.where(rest[:, 0] - at + rng.normal(0, 0.25, len(rest)) > 0, 1.0, -1.0)
        around = azimuth(rest)
        bangs = (around < 40) & (rest[:, 2] > 3.0) & (height < 3.2) & style.bangs
        top, front = np.clip((rest[:, 1] - 6) / 7, 0, 1), np.clip((rest[:, 2] - 2) / 7, 0, 1)
        return Roots(rest, normal, height, top, front, around, side, bangs)

    def _grow(self, style: Style, name: str, part: float) -> Strands:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        r = self._roots(style, part, rng)
        n, m = len(r.rest), style.points
        layer = np.sort(rng.random(n) ** style.deep)[::-1]  # outer strands first: they hide the others early
        length = style.length(r, rng)
        jitter = rng.normal(0, 1, (n, 3))
        step = length / (m - 1)
        points = np.zeros((n, m, 3))
        points[:, 0] = r.rest - 0.08 * r.normal
        d: Array = unit(style.comb(r, r.rest, 0) + 0.03 * jitter)
        off = 0.10 + style.volume * layer * (0.55 + 0.45 * r.top)
        above = out = None
        for k in range(1, m):
            if k > 1:
                d = unit((1 - style.stiffness) * d + style.stiffness * unit(style.comb(r, points[:, k - 1], k)))
                d = unit(d + 0.03 * jitter)
            if above is not None and out is not None and style.hug > 0:
                near = np.clip(1.6 - (above - off) / 0.8, 0, 1) * style.hug
                d = unit(d - out * _column(np.maximum((d * out).sum(1), 0) * near))
            q: Array = points[:, k - 1] + d * _column(step)
            q, above, out = self._push_out(q, np.minimum(off, 0.12 + step * k * 0.7))
            if style.face_opening:
                self._clear_face(q, r.bangs)
            points[:, k] = q
            d = unit(q - points[:, k - 1])
        width = style.width * np.clip(0.40 + 0.9 * r.height, 0.40, 1.0)
        return self._finish(style, points, width, step, rng)

    def _push_out(self, q: Array, off: Array) -> tuple[Array, Array, Array]:
        """Keeps points at least `off` cm outside the skin; also their height over it and its normal."""
        distance, row = self._tree.query(q)
        normal = self._tree_normals[row]
        height = ((q - self._tree_points[row]) * normal).sum(1)
        push = np.where(distance > 6, 0.0, np.clip(off - height, 0, 2.0))
        return q + normal * _column(push), height + push, normal

    @staticmethod
    def _clear_face(q: Array, bangs: NDArray[np.bool_]) -> None:
        limit = np.interp(q[:, 1], [-20, -8, 0, 5, 8.5, 10.3, 11.3], [7.0, 7.6, 8.0, 7.7, 6.3, 3.6, 0.0])
        inside = (q[:, 2] > 2.5) & (np.abs(q[:, 0]) < limit) & (q[:, 1] < 11.0) & ~bangs
        x = q[inside, 0]
        q[inside, 0] = np.sign(x) * (0.5 * limit[inside] + 0.5 * np.abs(x))
        q[inside, 2] -= 0.25

    def _finish(self, style: Style, points: Array, width: Array, step: Array, rng: np.random.Generator) -> Strands:
        n, m, _ = points.shape
        if style.bun:
            ball = _bun_ball(260, m, rng)
            points, width = np.concatenate([points, ball]), np.r_[width, np.full(len(ball), 0.26)]
            step = np.r_[step, np.full(len(ball), 0.5)]
            n = len(points)
        amplitude, frequency, flat = style.wave
        if amplitude > 0.01:
            along = np.arange(m)[None] * _column(step)
            center = rng.integers(0, n, max(40, n // 20))
            clump = cKDTree(points[center, 0]).query(points[:, 0])[1]
            phase = _column((rng.random(len(center)) * 2 * np.pi)[clump] + rng.normal(0, 0.3, n))
            tangent = unit(np.gradient(points, axis=1))
            e1 = unit(np.cross(tangent, [0.2, 0.3, 1.0]))
            e2 = np.cross(tangent, e1)
            swing = (amplitude * np.clip(along / 3.0, 0, 1))[..., None]
            turn = (frequency * along + phase)[..., None]
            points = points + swing * (np.cos(turn) * e1 + flat * np.sin(turn) * e2)
        if m > 4 and style.wave[0] == 0:
            for _ in range(2):
                points[:, 1:-1] = 0.25 * points[:, :-2] + 0.5 * points[:, 1:-1] + 0.25 * points[:, 2:]
        along_01 = np.linspace(0, 1, m)
        taper = 1 - 0.85 * np.clip((along_01 - 0.55) / 0.45, 0, 1) ** 1.5
        spread = 1 + 0.25 * rng.uniform(-1, 1, n)
        return Strands(points, _column(width * spread) * taper, np.asarray(rng.random(n)), style.gloss)


def _bun_ball(count: int, m: int, rng: np.random.Generator) -> Array:
    """Strands [count, m, 3] wound around a ball."""
    radius = 2.5 + 0.2 * rng.random(count)
    start = rng.random(count) * 2 * np.pi
    tilt = rng.normal(0, 0.5, count)
    axis = unit(np.c_[np.sin(tilt), 0.5 * np.cos(tilt), np.full(count, 0.9)] + rng.normal(0, 0.35, (count, 3)))
    a1 = unit(np.cross(axis, [0.3, 1, 0.2]))
    a2 = np.cross(axis, a1)
    turn = (start[:, None] + np.linspace(0, 2.0, m))[..., None]
    up = rng.uniform(-0.8, 0.8, count)
    ring = np.cos(turn) * a1[:, None] + np.sin(turn) * a2[:, None]
    flat = (radius * np.sqrt(1 - up**2))[:, None, None] * ring
    return np.asarray(BUN_AT + np.array([0, 0.6, -0.6]) + flat + (radius * up)[:, None, None] * axis[:, None])
