"""The parametric head: shape + expression + gaze -> vertices, normals and landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from stylecodec.errors import OptionError
from stylecodec.training.heads.assets import BACK, EYE_LEFT, EYE_RIGHT, FACE, Floats, HeadAssets, Ints

SHAPE_SIZE = 60
ASYMMETRY = 0.18  # share of the left-right difference of the identity modes that is kept
# The resting face: a hint of a smile reads as friendly, and the brow ends lie level.
REST = {"mouthSmile": 0.24, "browOuterUp": 0.02, "browInnerUp": -0.28, "cheekSquint": 0.12}
# ICT's browDown drops the middle of the brow and leaves its inner end up, which reads as worry, not as a frown.
FURROW = {"browInnerUp": -1.0, "browOuterUp": 0.22}
# Image order, left to right, of the thirteen forehead points of the 81-point dlib model.
FOREHEAD_ORDER = (77, 75, 76, 68, 69, 70, 71, 80, 72, 73, 79, 74, 78)
UPPER_LIDS, LOWER_LIDS = ((37, 38), (43, 44)), ((40, 41), (46, 47))
LOWER_LID = 0.90  # the lower lid rests this many iris radii below the eye centre
LIP_GAP = 0.02  # cm between the inner lips at rest
LANDMARKS = 83


@dataclass(frozen=True)
class Eye:
    """One eyeball: centre [3] and unit gaze axis [3] in head space, radius in cm."""

    center: Floats
    axis: Floats
    radius: float


@dataclass(frozen=True)
class Posed:
    """A head with an expression: vertices [V, 3], the weights that were applied [K], eyes right and left."""

    vertices: Floats
    weights: Floats
    right: Eye
    left: Eye


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """[3, 3] matrix for degrees: yaw>0 to the head's left, pitch>0 up, roll>0 clockwise in the image."""
    y, x, z = np.deg2rad([yaw, -pitch, -roll])
    cy, sy, cx, sx, cz, sz = np.cos(y), np.sin(y), np.cos(x), np.sin(x), np.cos(z), np.sin(z)
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx, np.float32)


def unit(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Vectors of length one along the last axis (zero vectors stay zero)."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9))


def sphere_center(points: Floats) -> Floats:
    """Least-squares centre [3] of points [N, 3] on a sphere."""
    a = np.c_[2 * points, np.ones(len(points), np.float32)].astype(np.float64)
    solution = np.linalg.lstsq(a, (points.astype(np.float64) ** 2).sum(1), rcond=None)[0]
    return np.asarray(solution[:3], np.float32)


class HeadModel:
    """Deforms the mean head. All index tables are made once, from the materials and landmarks of the assets."""

    def __init__(self, assets: HeadAssets) -> None:
        self.assets = assets
        self.names = assets.expression_names
        self.index = {n: i for i, n in enumerate(self.names)}
        self.shape_size = min(SHAPE_SIZE, len(assets.identities))
        v0 = assets.vertices
        self.faces: Ints = assets.corner_vertex[assets.triangles]
        count = len(self.faces)
        rows, cols = self.faces.ravel(), np.repeat(np.arange(count), 3)
        self._face_sum = sp.csr_matrix((np.ones(3 * count, np.float32), (rows, cols)), shape=(len(v0), count))
        material = assets.triangle_material
        self.eye_right = np.unique(self.faces[material == EYE_RIGHT])
        self.eye_left = np.unique(self.faces[material == EYE_LEFT])
        self.skin_faces = self._outer_skin()
        basis = assets.expressions.copy()
        for side in "LR":
            self._compose(basis, f"browDown_{side}", {f"{n}_{side}": w for n, w in FURROW.items()})
        self._basis: Floats = basis.reshape(len(self.names), -1)
        self._shapes: Floats = assets.identities[: self.shape_size].reshape(self.shape_size, -1)
        self._mirror = cKDTree(v0).query(v0 * np.array([-1, 1, 1], np.float32))[1]
        self.landmark_vertices = np.r_[assets.landmarks, self._forehead()].astype(np.int32)
        rest = np.zeros(len(self.names), np.float32)
        for name, weight in REST.items():
            for side in "LR":
                if f"{name}_{side}" in self.index:
                    rest[self.index[f"{name}_{side}"]] = weight
        self._rest: Floats = (rest @ self._basis).reshape(-1, 3)
        self._softness = self._soft_direction()

    def _compose(self, basis: Floats, name: str, parts: dict[str, float]) -> None:
        if name in self.index:
            for part, weight in parts.items():
                if part in self.index:
                    basis[self.index[name]] += weight * self.assets.expressions[self.index[part]]

    def _outer_skin(self) -> Ints:
        """Triangles [N, 3] of face and head without the pockets behind lips and lids.

        The pockets are patches of the back-head material of their own; the outer patch holds the crown.
        """
        material = self.assets.triangle_material
        back = self.faces[material == BACK]
        count = len(self.assets.vertices)
        edges = np.r_[back[:, :2], back[:, 1:]]
        graph = sp.coo_matrix((np.ones(len(edges), np.int8), edges.T), shape=(count, count))
        part = connected_components(graph, directed=False)[1]
        crown = back.ravel()[self.assets.vertices[back.ravel(), 1].argmax()]
        return np.concatenate([self.faces[material == FACE], back[part[back[:, 0]] == part[crown]]])

    def _forehead(self) -> Ints:
        """Thirteen vertices along the hairline, in dlib-81's numbering (68..80)."""
        v0 = self.assets.vertices
        face = np.unique(self.faces[self.assets.triangle_material == FACE])
        found = []
        for angle in np.linspace(np.pi * 0.965, np.pi * 0.035, 13):
            target = np.array([7.3 * np.cos(angle), 4.6 + 6.7 * np.sin(angle) ** 0.9])
            distance = ((v0[face, :2] - target) ** 2).sum(1) + 1e3 * (v0[face, 2] < 1.5)
            found.append(int(face[distance.argmin()]))
        ordered = np.zeros(13, np.int32)
        for place, number in enumerate(FOREHEAD_ORDER):
            ordered[number - 68] = found[place]
        return ordered

    def _soft_direction(self) -> Floats:
        """Unit direction [I] in shape space towards softer features, from linear measurements of landmarks."""
        points = self.assets.landmarks
        modes, mean = self.assets.identities[: self.shape_size], self.assets.vertices

        def wider(i: int, j: int) -> Floats:
            a, b = points[i], points[j]
            axis = unit(mean[a] - mean[b])
            return np.asarray((modes[:, a] - modes[:, b]) @ axis, np.float32)

        def depth(i: int) -> Floats:
            return np.asarray(modes[:, points[i], 2], np.float32)

        g = -1.6 * (wider(27, 33) + wider(31, 35) + wider(5, 11)) - 1.2 * wider(4, 12) - 0.6 * wider(3, 13)
        g = g + 1.6 * (wider(62, 51) + wider(57, 66)) + wider(36, 39) + wider(42, 45)
        g = g - 0.4 * depth(30) + 0.2 * depth(33) + 1.5 * (depth(27) - 0.5 * (depth(20) + depth(23)))
        g = g + 0.3 * (wider(37, 41) + wider(38, 40) + wider(43, 47) + wider(44, 46)) - 0.6 * wider(8, 57)
        g = g + 0.8 * (wider(20, 37) + wider(23, 44))
        return np.asarray(unit(g), np.float32)

    @property
    def softness(self) -> Floats:
        """Unit direction [I] in shape space towards softer features."""
        return self._softness

    def weights(self, named: dict[str, float]) -> Floats:
        """Weight vector [K] from names; OptionError for a name that the geometry does not have."""
        out = np.zeros(len(self.names), np.float32)
        for name, value in named.items():
            if name not in self.index:
                raise OptionError(f"the geometry has no expression {name!r}")
            out[self.index[name]] = value
        return out

    def raw_shape(self, shape: Floats) -> Floats:
        """Vertices [V, 3] of shape coefficients [I], mostly symmetric, before any styling."""
        d = (shape[: self.shape_size] @ self._shapes).reshape(-1, 3)
        mirrored = d[self._mirror] * np.array([-1, 1, 1], np.float32)
        mixed = 0.5 * (1 + ASYMMETRY) * d + 0.5 * (1 - ASYMMETRY) * mirrored
        return np.asarray(self.assets.vertices + mixed, np.float32)

    def eye_opening(self, vertices: Floats) -> float:
        """Mean height of the lid opening over mean eye width (dimensionless, about 0.3)."""
        q = vertices[self.assets.landmarks]
        height = sum(float(np.linalg.norm(q[i] - q[j])) for i, j in ((37, 41), (38, 40), (43, 47), (44, 46)))
        width = sum(float(np.linalg.norm(q[i] - q[j])) for i, j in ((36, 39), (42, 45)))
        return 0.5 * height / max(width, 1e-6)

    def neutral(self, shape: Floats, eye_size: float = 1.0, lid: float = 0.8, iris: float = 0.38) -> Floats:
        """Resting head [V, 3]: shape, eyes enlarged by eye_size, upper lids resting on the iris.

        lid is the height of the lid edge above the eye centre as a fraction of the iris radius, iris the
        angular iris radius in radians. Without this some shapes stare and others look half asleep.
        """
        base = self.raw_shape(shape)
        for eye in (self.eye_right, self.eye_left):
            q = base - sphere_center(base[eye])
            r = np.linalg.norm(q * np.array([1, 1, 0.6], np.float32), axis=1)
            base = base + q * ((eye_size - 1) * np.exp(-((r / 2.6) ** 4)))[:, None]
        base = np.asarray(base + self._rest, np.float32)
        base = self._rest_lids(base, "eyeSquint", LOWER_LIDS, -LOWER_LID, iris, (0.0, 0.8))
        base = self._rest_lids(base, "eyeBlink", UPPER_LIDS, lid, iris, (-0.20, 0.60))
        return self._shut_lips(base)

    def _rest_lids(
        self,
        base: Floats,
        shape: str,
        lids: tuple[tuple[int, ...], tuple[int, ...]],
        height: float,
        iris: float,
        limits: tuple[float, float],
    ) -> Floats:
        """Blends in a lid shape until the lid edges lie `height` iris radii above the eye centre (or at a limit)."""
        for side, eye, points in (("R", self.eye_right, lids[0]), ("L", self.eye_left, lids[1])):
            name = self.index.get(f"{shape}_{side}")
            if name is None:
                continue
            motion = self._basis[name].reshape(-1, 3)
            center = sphere_center(base[eye])
            radius = float(np.linalg.norm(base[eye] - center, axis=1).max())
            rows = self.assets.landmarks[list(points)]
            missing = float(center[1]) + height * radius * float(np.sin(iris)) - float(base[rows, 1].mean())
            speed = float(motion[rows, 1].mean())
            amount = np.clip(missing / speed if abs(speed) > 1e-3 else 0.0, *limits)
            base = np.asarray(base + amount * motion, np.float32)
        return base

    def _shut_lips(self, base: Floats) -> Floats:
        """Closes (or opens) the jaw a little until the lips just meet."""
        jaw = self.index.get("jawOpen")
        if jaw is None:
            return base
        drop = self._basis[jaw].reshape(-1, 3)
        upper, lower = self.assets.landmarks[61:64], self.assets.landmarks[[67, 66, 65]]
        gap = float((base[upper, 1] - base[lower, 1]).mean()) - LIP_GAP
        opening = float((drop[upper, 1] - drop[lower, 1]).mean())
        amount = np.clip(gap / max(opening, 1e-3), -0.05, 0.20)
        return np.asarray(base - amount * drop, np.float32)

    def pose_face(self, base: Floats, weights: Floats, gaze: ArrayLike = (0.0, 0.0)) -> Posed:
        """Expression on a resting head. gaze = (yaw, pitch) in degrees, + towards the subject's left and up.

        The lids follow the gaze: the eyeLook weights are set from it, whatever was given for them, so that a
        stored weight vector can be posed again. A closing lid pushes the eyeball back a little, or the iris
        would show through.
        """
        w = np.array(weights, np.float32)
        yaw, pitch = (float(g) for g in np.asarray(gaze, np.float32))
        up, down, left, right = max(pitch, 0) / 25, max(-pitch, 0) / 25, max(yaw, 0) / 30, max(-yaw, 0) / 30
        follow = {"eyeLookUp_": (up, up), "eyeLookDown_": (down, down)}
        follow |= {"eyeLookOut_": (left, right), "eyeLookIn_": (right, left)}
        for stem, pair in follow.items():
            for side, value in zip("LR", pair, strict=True):
                if stem + side in self.index:
                    w[self.index[stem + side]] = value
        used = np.flatnonzero(w)
        v = base.copy()
        if len(used):
            v += (w[used] @ self._basis[used]).reshape(-1, 3)
        turn = rotation(yaw, pitch, 0)
        eyes = []
        for side, rows in (("R", self.eye_right), ("L", self.eye_left)):
            center = sphere_center(base[rows])
            shut = 0.0
            for name, share in ((f"eyeBlink_{side}", 1.0), (f"eyeSquint_{side}", 0.3)):
                shut += share * float(w[self.index[name]]) if name in self.index else 0.0
            back = np.array([0, 0, -0.42 * float(np.clip(shut, 0, 1)) ** 2], np.float32)
            v[rows] = (base[rows] - center) @ turn.T + center + back
            radius = float(np.linalg.norm(base[rows] - center, axis=1).max())
            eyes.append(Eye(center + back, turn[:, 2].copy(), radius))
        return Posed(v, w, eyes[0], eyes[1])

    def normals(self, vertices: Floats) -> Floats:
        """Unit vertex normals [V, 3] (area-weighted)."""
        a, b, c = (vertices[self.faces[:, k]] for k in range(3))
        e, f = b - a, c - a
        cross = np.empty_like(e)
        cross[:, 0] = e[:, 1] * f[:, 2] - e[:, 2] * f[:, 1]
        cross[:, 1] = e[:, 2] * f[:, 0] - e[:, 0] * f[:, 2]
        cross[:, 2] = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
        n = self._face_sum @ cross
        n /= np.maximum(np.sqrt(np.einsum("ij,ij->i", n, n)), 1e-9)[:, None]
        return np.asarray(n, np.float32)

    def landmarks(self, posed: Posed) -> Floats:
        """[83, 3] points in head space: iBUG 68, dlib's forehead 13, iris centres (right eye first)."""
        irises = [e.center + e.radius * e.axis for e in (posed.right, posed.left)]
        return np.asarray(np.r_[posed.vertices[self.landmark_vertices], np.stack(irises)], np.float32)
