"""Ribbons: strands as strips of triangles, and the points of a surface at which they start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylecodec.training.heads.assets import Floats, Ints

Array = NDArray[np.floating]
VERTEX_FLOATS = 10  # position 3, tangent 3, place along, side, seed, half width


def sample_surface(
    vertices: Array, faces: Ints, count: int, rng: np.random.Generator, weight: Array | None = None
) -> tuple[Ints, Array]:
    """Uniform points on triangles: face numbers [count], barycentric coordinates [count, 3]."""
    a = vertices[faces[:, 1]] - vertices[faces[:, 0]]
    b = vertices[faces[:, 2]] - vertices[faces[:, 0]]
    area = np.linalg.norm(np.cross(a, b), axis=1) * (1.0 if weight is None else weight)
    total = np.cumsum(area)
    face = np.minimum(np.searchsorted(total, rng.random(count) * total[-1]), len(faces) - 1)
    u = rng.random((count, 2))
    over = u.sum(1) > 1
    u[over] = 1 - u[over]
    return face.astype(np.int32), np.c_[1 - u.sum(1), u]


def ribbon_buffer(width: Array, seed: Array) -> tuple[Floats, Ints]:
    """Vertex buffer [N, M, 2, 10] with all but positions and tangents filled, and triangle indices."""
    n, m = width.shape
    v = np.zeros((n, m, 2, VERTEX_FLOATS), np.float32)
    v[..., 6] = np.linspace(0, 1, m)[None, :, None]
    v[..., 7] = np.array([-1, 1])
    v[..., 8] = seed[:, None, None]
    v[..., 9] = width[:, :, None]
    first = (np.arange(n)[:, None] * m + np.arange(m - 1)[None]) * 2
    return v, (first[..., None] + np.array([0, 1, 2, 2, 1, 3])).reshape(-1).astype(np.int32)


def fill_ribbons(buffer: Floats, points: Array) -> None:
    """Writes positions and unit tangents of points [N, M, 3] into a ribbon buffer."""
    tangent = np.empty_like(points)
    tangent[:, 1:-1] = points[:, 2:] - points[:, :-2]
    tangent[:, 0] = points[:, 1] - points[:, 0]
    tangent[:, -1] = points[:, -1] - points[:, -2]
    tangent /= np.maximum(np.sqrt(np.einsum("nmk,nmk->nm", tangent, tangent)), 1e-9)[..., None]
    buffer[..., 0:3] = points[:, :, None]
    buffer[..., 3:6] = tangent[:, :, None]
