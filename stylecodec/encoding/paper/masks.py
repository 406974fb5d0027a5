"""The regions of an aligned face that the paper's losses are computed over, drawn from its landmarks.

    face    the closed outline of the 81-point model, forehead included
    rigid   that without eyes, mouth and brows: what moves with the head alone (L2 of Eq. 2)
    mouth   mouth, chin and jaw: the face below the nose (Eq. 10)
    eyes    eyes and brows (Eq. 11)
    pupils  what the lids leave open (Eq. 12)

A pack with an imported 81-point predictor is asked for its points; else the face mesh gives the same outlines.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull
from torch import Tensor
from torch.nn import functional as F

from ...decoding.render import to_uint8
from ...face.landmarks import PackPredictor
from ...packs.store import ModelPack
from ..frames import FACE_IN_CROP

Points = NDArray[np.float64]  # [n, 2] in units of the crop

SIDE = 256  # pixels, at which outlines are drawn
AT_ONCE = 8  # pictures that the mesh sees together
PREDICTED = 81  # points of a predictor that knows the forehead
FEATURES = ("mouth", "jaw", "lids", "gaze", "brows")  # 𝓕 of Eq. 5
AROUND_EYES, AROUND_PARTS = 0.14, 0.08  # of the distance between the eyes: how far a region reaches beyond its points

# fmt: off
# Of the face mesh: the outline, lips, lids, brows; of the 81 points the same (their forehead is not in order).
MESH = {
    "face": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    "mouth": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    "eye_left": (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    "eye_right": (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    "brow_left": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "brow_right": (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "nose": (2,),
}
PREDICTOR = {
    "face": (*range(17), 78, 74, 79, 73, 72, 80, 71, 70, 69, 68, 76, 75, 77),
    "mouth": tuple(range(48, 60)),
    "eye_left": tuple(range(36, 42)),
    "eye_right": tuple(range(42, 48)),
    "brow_left": tuple(range(17, 22)),
    "brow_right": tuple(range(22, 27)),
    "nose": (33,),
}
# fmt: on


@dataclass(frozen=True)
class FaceMasks:
    """Float [N, 1, S, S] in [0, 1] each, and how far the lids are apart [N], in distances between the eyes."""

    face: Tensor
    rigid: Tensor
    mouth: Tensor
    eyes: Tensor
    pupils: Tensor
    lids: Tensor

    def at(self, side: int) -> FaceMasks:
        """The same, averaged to another side."""
        small = [F.adaptive_avg_pool2d(one, side) for one in self.regions]
        return FaceMasks(small[0], small[1], small[2], small[3], small[4], self.lids)

    def rows(self, rows: Tensor) -> FaceMasks:
        """Some of them."""
        return FaceMasks(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def regions(self) -> tuple[Tensor, ...]:
        """The five masks."""
        return self.face, self.rigid, self.mouth, self.eyes, self.pupils


class FaceReader:
    """Draws the masks of aligned pictures; name: whose landmarks they are."""

    def __init__(self, pack: ModelPack, device: torch.device) -> None:
        self.device = device
        self.predictor: PackPredictor | None = None
        if pack.has("predictor") and (net := pack.predictor()).points >= PREDICTED:
            self.predictor, self.parts, self.name = PackPredictor(net), PREDICTOR, "81-point predictor"
        else:
            self.mesh, self.parts, self.name = pack.face_mesh(device), MESH, "face mesh"

    @torch.no_grad()
    def points(self, pictures: Tensor) -> NDArray[np.float64]:
        """Pictures [N, 3, S, S] in about [-1, 1] -> points [N, P, 2] in units of the crop."""
        if self.predictor is None:
            some = [self.mesh(few.float().clamp(-1, 1)) for few in torch.split(pictures, AT_ONCE)]
            return np.asarray(torch.cat(some).double().cpu().numpy())
        large = F.interpolate(pictures, size=SIDE, mode="area") if pictures.shape[-1] != SIDE else pictures
        frames = to_uint8(large.float()).cpu().numpy()
        return np.stack([self.predictor(frame, FACE_IN_CROP) for frame in frames]).astype(np.float64) / SIDE

    def __call__(self, pictures: Tensor) -> FaceMasks:
        """The masks of pictures [N, 3, S, S], with the side that these have."""
        points = self.points(pictures)
        drawn = [self._drawn(one) for one in points]
        layers = torch.from_numpy(np.stack([layer for layer, _ in drawn])).to(self.device).float() / 255
        lids = torch.tensor([gap for _, gap in drawn], device=self.device)
        face, rigid, mouth, eyes, pupils = (layers[:, k : k + 1] for k in range(5))
        return FaceMasks(face, rigid, mouth, eyes, pupils, lids).at(pictures.shape[-1])

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures [N, 3, S, S] -> masks [N, 5, S, S] of FEATURES."""
        layers = np.stack([self._features(points) for points in self.points(pictures)])
        return F.adaptive_avg_pool2d(torch.from_numpy(layers).to(self.device).float() / 255, pictures.shape[-1])

    def _features(self, points: Points) -> NDArray[np.uint8]:
        """uint8 [5, SIDE, SIDE] of one face."""
        part = {name: points[list(rows)] * SIDE for name, rows in self.parts.items()}
        left, right = part["eye_left"].mean(0), part["eye_right"].mean(0)
        unit = max(float(np.hypot(*(right - left))), 1.0)
        around = AROUND_PARTS * unit
        mouth = _filled([part["mouth"]], around)
        low = _below(part["nose"][0], left, right) & (mouth == 0)
        jaw = np.where(low, _filled([part["face"]]), 0).astype(np.uint8)
        gaze = _filled([part["eye_left"], part["eye_right"]])
        lids = np.where(gaze > 0, 0, _filled([part["eye_left"], part["eye_right"]], around)).astype(np.uint8)
        brows = np.where(gaze > 0, 0, _filled([part["brow_left"], part["brow_right"]], around)).astype(np.uint8)
        return np.stack([mouth, jaw, lids, gaze, brows])

    def _drawn(self, points: Points) -> tuple[NDArray[np.uint8], float]:
        """uint8 [5, SIDE, SIDE] of one face, and the gap of its lids."""
        part = {name: points[list(rows)] * SIDE for name, rows in self.parts.items()}
        left, right = part["eye_left"].mean(0), part["eye_right"].mean(0)
        unit = max(float(np.hypot(*(right - left))), 1.0)
        face = _filled([part["face"]])
        sides = [_hull(np.vstack([part[f"eye_{one}"], part[f"brow_{one}"]])) for one in ("left", "right")]
        eyes = np.minimum(_filled(sides, AROUND_EYES * unit), face)
        lips = _filled([part["mouth"]], AROUND_PARTS * unit)
        mouth = np.where(_below(part["nose"][0], left, right), np.maximum(face, lips), 0).astype(np.uint8)
        rigid = np.where(np.maximum(eyes, lips) > 0, 0, face).astype(np.uint8)
        pupils = _filled([part["eye_left"], part["eye_right"]])
        across, down = (right - left) / unit, np.array([left[1] - right[1], right[0] - left[0]]) / unit
        gaps = [
            np.ptp(part[f"eye_{one}"] @ down) / max(np.ptp(part[f"eye_{one}"] @ across), 1e-6)
            for one in ("left", "right")
        ]
        return np.stack([face, rigid, mouth, eyes, pupils]), float(np.mean(gaps))


def _filled(outlines: list[Points], around: float = 0.0) -> NDArray[np.uint8]:
    """uint8 [SIDE, SIDE]: 255 inside the outlines in pixels, and `around` pixels beyond them."""
    picture = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    for outline in outlines:
        corners = [(float(x), float(y)) for x, y in np.clip(outline, -SIDE, 2 * SIDE)]
        pen.polygon(corners, fill=255)
        if around >= 1:
            pen.line([*corners, *corners[:2]], fill=255, width=round(2 * around), joint="curve")
    return np.asarray(picture)


def _hull(points: Points) -> Points:
    spread = np.ptp(points, axis=0).min()
    return points[ConvexHull(points).vertices] if np.isfinite(points).all() and spread > 1e-3 else points


def _below(point: Points, left: Points, right: Points) -> NDArray[np.bool_]:
    """[SIDE, SIDE]: is the pixel below `point`, down being across the line between the eyes?"""
    down = np.array([left[1] - right[1], right[0] - left[0]])
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    return np.asarray((x - point[0]) * down[0] + (y - point[1]) * down[1] > 0)
