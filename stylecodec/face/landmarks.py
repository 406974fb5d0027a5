"""Facial points: dlib's 5 (built in), dlib's 68 or 81 (a user's choice, by file or in a pack), the pack's own network.

All landmarkers share one protocol: frame [H, W, 3] and a face box in, points [P, 2] float32 in frame pixels out.
Sets of 68 and more begin with the 68 points of the iBUG order (300 Faces in-the-Wild, Sagonas et al. 2013).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import dlib
import numpy as np
import torch
from numpy.typing import NDArray

from stylecodec.errors import OptionError
from stylecodec.face.detect import POINTS_5, POINTS_68, Box, Frame, model_file
from stylecodec.face.warp import warp
from stylecodec.geometry import AVATAR_ALIGNMENT, Alignment, CropTransform, aligned_crop, ffhq_anchors, ffhq_square
from stylecodec.nets.shape_predictor import ShapePredictor

Landmarks = NDArray[np.float32]  # [P, 2] frame pixels

# dlib's five: outer and inner corner of the eye on the image's right, the same on the left, base of the nose.
CORNERS_OF_5 = (2, 3, 1, 0)  # -> outer left, inner left, inner right, outer right (iBUG 36, 39, 42, 45)
CORNERS_OF_68 = (36, 39, 42, 45)
# From mid(eyes) to the mouth is this many times as far as to the base of the nose, along the face's down axis:
# 1.45 ± 0.13 over eight real people by the 68-point predictor, 1.45 ± 0.08 over near-frontal ICT renders.
MOUTH_PER_NOSE = 1.45
NEAR = 0.05  # two squares are alike: shift in sides, logarithm of the ratio of sides, turn in radians


class Landmarker(Protocol):
    """Finds the points of the face in a box."""

    def __call__(self, frame: Frame, box: Box) -> Landmarks: ...


@runtime_checkable
class BatchLandmarker(Protocol):
    """A landmarker that is quicker on many frames at once."""

    def many(self, frames: Sequence[Frame], boxes: Sequence[Box]) -> NDArray[np.float32]: ...


@runtime_checkable
class FollowingLandmarker(Protocol):
    """A landmarker that is quicker where it is known about where the points are."""

    def follow(self, frames: Sequence[Frame], expected: Sequence[Landmarks]) -> NDArray[np.float32]: ...


class DlibPredictor:
    """A dlib shape predictor: an ensemble of regression trees started from the box."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._predictor: Any = _read(Path(path))

    def __call__(self, frame: Frame, box: Box) -> Landmarks:
        """[P, 2]; dlib's whole pixels moved to their centres."""
        parts = self._predictor(np.ascontiguousarray(frame), dlib.rectangle(*_corners(box))).parts()
        return np.array([(p.x + 0.5, p.y + 0.5) for p in parts], np.float32)


def _read(file: Path) -> Any:
    if not file.is_file():
        raise OptionError(f"there is no landmark file {file}")
    try:
        return dlib.shape_predictor(str(file))
    except RuntimeError as error:
        raise OptionError(f"{file} is not a dlib shape predictor") from error


@cache
def _five_points() -> Any:
    return _read(model_file(POINTS_5))


class Dlib5(DlibPredictor):
    """Eye corners and the base of the nose: dlib's 5-point predictor, free of restrictions."""

    def __init__(self) -> None:
        self._predictor = _five_points()  # read once: it takes a twentieth of a second, and does not change


class Dlib68(DlibPredictor):
    """dlib's 68 points, or a user's 68- or 81-point file.

    The standard 68-point file was trained on iBUG 300-W, whose licence forbids commercial use: it is used only
    when asked for by name.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(model_file(POINTS_68) if path is None else path)


class PackPredictor:
    """A shape predictor that was imported into a pack; its points are those of dlib with the same file."""

    def __init__(self, net: ShapePredictor) -> None:
        self._net = net

    def __call__(self, frame: Frame, box: Box) -> Landmarks:
        """[P, 2]; whole pixels moved to their centres."""
        return (self._net.predict(frame, _corners(box)) + 0.5).astype(np.float32)


def _corners(box: Box) -> tuple[int, int, int, int]:
    """dlib names the last pixels inside; our edges are behind them."""
    return round(box.left), round(box.top), round(box.right) - 1, round(box.bottom) - 1


def five_point_square(points: NDArray[Any], alignment: Alignment) -> CropTransform:
    """The pack's square, roughly (sides within some 10 %), from dlib's five points [5, 2]."""
    left_eye, right_eye, mouth = five_point_anchors(points)
    return alignment.apply(ffhq_square(left_eye, right_eye, mouth))


def five_point_anchors(
    points: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Left eye, right eye (image's left and right) and an estimate of the mouth's middle, each [2].

    The mouth is put straight below the eyes, so that a turned head's nose does not tilt the square.
    """
    p = np.asarray(points, np.float64)
    left, right = (p[2] + p[3]) / 2, (p[0] + p[1]) / 2
    eyes, across = (left + right) / 2, right - left
    down = np.array([-across[1], across[0]]) / max(float(np.hypot(*across)), 1e-9)
    drop = max(float((p[4] - eyes) @ down), 0.3 * float(np.hypot(*across)))
    return left, right, eyes + MOUTH_PER_NOSE * drop * down


class PackLandmarks:
    """The pack's landmark network: [N, 3, S, S] in [-1, 1] -> [N, P, 2] in crop units.

    dlib's five points give a first square; the network's own points give a better one, on which it looks again
    (`refine`). The squares are those of the pack's alignment, on which the network was trained.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        alignment: Alignment = AVATAR_ALIGNMENT,
        *,
        size: int | None = None,
        refine: bool = True,
        start: Landmarker | None = None,
    ) -> None:
        self._net = net
        self._alignment = alignment
        self._size = size or int(getattr(net, "input_size", 128))
        self._refine = refine
        self._start = start or Dlib5()

    def __call__(self, frame: Frame, box: Box) -> Landmarks:
        """Points [P, 2] of the face in the box."""
        points: Landmarks = self.many([frame], [box])[0]
        return points

    def many(self, frames: Sequence[Frame], boxes: Sequence[Box]) -> NDArray[np.float32]:
        """Points [N, P, 2] of one face per frame; the network runs on all of them at once."""
        squares = [
            five_point_square(self._start(frame, box), self._alignment)
            for frame, box in zip(frames, boxes, strict=True)
        ]
        points = self._predict(frames, squares)
        if self._refine:
            again = [self._refined(p, square) for p, square in zip(points, squares, strict=True)]
            points = self._predict(frames, again)
        return points.astype(np.float32)

    def follow(self, frames: Sequence[Frame], expected: Sequence[Landmarks]) -> NDArray[np.float32]:
        """Points [N, P, 2] of one face per frame, expected [N, P, 2]: one pass of the network over all frames, another
        over those whose points ask for a square that is not NEAR the one that was looked at.

        Raises OptionError where expected points lie on one place.
        """
        squares = [aligned_crop(points, self._alignment) for points in expected]
        points = self._predict(frames, squares)
        again = [self._refined(p, square) for p, square in zip(points, squares, strict=True)]
        far = [n for n, (first, second) in enumerate(zip(squares, again, strict=True)) if not _near(first, second)]
        if far and self._refine:
            points[far] = self._predict([frames[n] for n in far], [again[n] for n in far])
        return points.astype(np.float32)

    def _refined(self, points: NDArray[np.float64], first: CropTransform) -> CropTransform:
        """The square that the points ask for; the first one when theirs is out of all reason."""
        anchors = ffhq_anchors(points)
        reach = float(np.abs(np.concatenate(anchors) - np.tile(first.center, 3)).max())
        spread = float(np.hypot(*(anchors[1] - anchors[0])))
        if not reach < first.side or spread < 0.05 * first.side:
            return first
        return aligned_crop(points, self._alignment)

    def _predict(self, frames: Sequence[Frame], squares: Sequence[CropTransform]) -> NDArray[np.float64]:
        crops = np.stack([warp(f, s, self._size) for f, s in zip(frames, squares, strict=True)])
        device = next((p.device for p in self._net.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            batch = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
            units = self._net(batch).double().cpu().numpy()
        return np.stack([square.to_source(u) for square, u in zip(squares, units, strict=True)])


def _near(first: CropTransform, second: CropTransform) -> bool:
    """Are two squares so much the same that the network sees the same points in both?"""
    shift = float(np.hypot(*np.subtract(second.center, first.center))) / first.side
    turn = (second.roll_deg - first.roll_deg + 180) % 360 - 180
    return shift < NEAR and abs(float(np.log(second.side / first.side))) < NEAR and abs(turn) < np.rad2deg(NEAR)


def make_landmarker(
    choice: str, net: torch.nn.Module | None = None, alignment: Alignment = AVATAR_ALIGNMENT
) -> Landmarker:
    """ "pack" or "predictor" (need `net`), "dlib5", "dlib68", or the path of a 68- or 81-point .dat file."""
    if choice == "pack":
        if net is None:
            raise OptionError('landmarks="pack" needs a pack with a landmark network')
        return PackLandmarks(net, alignment)
    if choice == "predictor":
        if not isinstance(net, ShapePredictor):
            raise OptionError('landmarks="predictor" needs a pack with a shape predictor')
        return PackPredictor(net)
    if choice == "dlib5":
        return Dlib5()
    if choice == "dlib68":
        return Dlib68()
    if choice.endswith(".dat"):
        return Dlib68(choice)
    raise OptionError(f'landmarks must be "pack", "predictor", "dlib5", "dlib68" or a .dat file, not "{choice}"')
