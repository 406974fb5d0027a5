"""Landmark features: what a face does, in 17 numbers read off the points of the face mesh.

They are lengths in units of the distance between the eyes, along the face's own axes, so that size, place and roll of
the picture do not matter, and they say the same of a person and of an avatar that is built otherwise, but for a
constant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..nets.face_mesh import EYE_CORNERS, IRIS, MESH, NOSE_BASE, FaceMesh
from ..packs.store import ModelPack

# fmt: off
NAMES = (
    "lips_apart", "mouth_width", "mouth_across", "mouth_down", "left_corner", "right_corner", "lips_height",
    "left_lids", "right_lids", "left_inner_brow", "left_outer_brow", "right_inner_brow", "right_outer_brow",
    "gaze_across", "gaze_down", "nose_across", "nose_down",
)
# fmt: on
NOISE_FLOOR = "landmark_noise_floor"  # the calibration of a pack that `noise_floor` reads
POSE = 2  # of them, the last
NOSE_TIP = 4
LEFT_CORNER, RIGHT_CORNER, TOP, BOTTOM = 61, 291, 0, 17  # of the mouth
INNER_LIPS = ((82, 87), (13, 14), (312, 317))
LEFT_LIDS, RIGHT_LIDS = ((160, 144), (158, 153)), ((385, 380), (387, 373))
BROWS = ((107, 66), (63, 70), (336, 296), (293, 300))  # inner, outer; left, right
LEFT_IRIS, RIGHT_IRIS = MESH, MESH + IRIS  # their centres
AT_ONCE = 8  # pictures that the mesh sees together


def features_of(points: Tensor) -> Tensor:
    """Points [n, 478, 2] of the face mesh -> [n, 17] in the order of NAMES.

    Gaps and widths; the mouth from the base of the nose; corners over the middle of the mouth; brows over their eye;
    irises from the middle of their eye. The last two tell the pose: the tip of the nose from the middle of the outer
    eye corners, and under the eyes in units of the base of the nose.
    """
    outer_left, inner_left, inner_right, outer_right = EYE_CORNERS
    left = (points[:, outer_left] + points[:, inner_left]) / 2
    right = (points[:, outer_right] + points[:, inner_right]) / 2
    eyes, between = (left + right) / 2, right - left
    unit: Tensor = torch.linalg.vector_norm(between, dim=1).clamp_min(1e-6)
    axis: Tensor = between / unit[:, None]

    def across(vectors: Tensor) -> Tensor:
        return torch.div((vectors * axis).sum(dim=1), unit)

    def down(vectors: Tensor) -> Tensor:
        return torch.div(vectors[:, 1] * axis[:, 0] - vectors[:, 0] * axis[:, 1], unit)

    def gap(*pairs: tuple[int, int]) -> Tensor:
        ends = torch.tensor(pairs, device=points.device)
        lengths = torch.linalg.vector_norm(points[:, ends[:, 0]] - points[:, ends[:, 1]], dim=2)
        return torch.div(lengths.mean(dim=1), unit)

    base, tip = points[:, NOSE_BASE], points[:, NOSE_TIP]
    mouth = points[:, [LEFT_CORNER, TOP, RIGHT_CORNER, BOTTOM]].mean(dim=1)
    brows = [down(e - points[:, list(b)].mean(dim=1)) for b, e in zip(BROWS, (left, left, right, right), strict=True)]
    looks = (points[:, LEFT_IRIS] - left, points[:, RIGHT_IRIS] - right)
    return torch.stack(
        [
            gap(*INNER_LIPS),
            gap((LEFT_CORNER, RIGHT_CORNER)),
            across(mouth - base),
            down(mouth - base),
            down(mouth - points[:, LEFT_CORNER]),
            down(mouth - points[:, RIGHT_CORNER]),
            gap((TOP, BOTTOM)),
            gap(*LEFT_LIDS),
            gap(*RIGHT_LIDS),
            *brows,
            (across(looks[0]) + across(looks[1])) / 2,
            (down(looks[0]) + down(looks[1])) / 2,
            across(tip - (points[:, outer_left] + points[:, outer_right]) / 2),
            down(tip - eyes) / down(base - eyes).clamp_min(1e-2),
        ],
        dim=1,
    )


def noise_floor(pack: ModelPack) -> tuple[float, ...]:
    """How much of each feature seems to be missing, RMS, where nothing is: [17], infinite for what cannot be read."""
    values = pack.calibration(NOISE_FLOOR).values
    return tuple(values[name] for name in NAMES)


class FeatureReader:
    """Reads the features off aligned pictures."""

    def __init__(self, pack: ModelPack, device: torch.device) -> None:
        self.mesh: FaceMesh = pack.face_mesh(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures [n, 3, S, S] in about [-1, 1] -> [n, 17] float32."""
        return torch.cat([features_of(self.mesh(few.clamp(-1, 1))) for few in torch.split(pictures.float(), AT_ONCE)])
