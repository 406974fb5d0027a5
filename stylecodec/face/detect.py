"""Where the face is: dlib's HOG detector on a downscaled frame, and where dlib's model files lie."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylecodec.errors import MissingDependency

Frame = NDArray[np.uint8]  # [H, W, 3] RGB

POINTS_5 = "shape_predictor_5_face_landmarks.dat"  # free of restrictions
RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"  # free of restrictions
POINTS_68 = "shape_predictor_68_face_landmarks.dat"  # trained on iBUG 300-W: no commercial use

DETECT_SIZE = 640  # longest side of the frame that is searched; faces must span an eighth of it
RETRY_SIZE = 1280  # once more at this size when nothing is found
LARGEST_SIZE = 2560  # and at last at this size, but no more than twice the frame's own
SMALL = 100  # pixels at RETRY_SIZE: a face as narrow as that is looked for enlarged where it was a moment ago
AROUND = 4.0  # sides of the part of the frame that is then searched, in those of the face's box
AGAIN_WIDTH = 110  # pixels of the face's box where it is looked for again: the detector's own window has 80
AGAIN_AROUND = 2.2  # sides of the part that is searched then, in those of the box
TOO_SMALL = "one narrower than 40 pixels, or than a 32nd of the picture's longer side, is not found"
STRONG = 0.0  # score from which a new face is believed
WEAK = -0.5  # score from which a face is believed where one was a moment ago
SAME_FACE = 0.3  # overlap from which two boxes show one face


def model_file(name: str) -> Path:
    """A file of the package face_recognition_models, found without importing it (its import needs pkg_resources).

    Raises MissingDependency when the package or the file is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "models" / name
        if file.is_file():
            return file
    raise MissingDependency(f"{name} was not found: install it with `pip install face_recognition_models`")


@dataclass(frozen=True)
class Box:
    """An upright rectangle in frame pixels (continuous coordinates, see geometry.py)."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels from top to bottom."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Square pixels."""
        return max(0.0, self.width) * max(0.0, self.height)

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0..1."""
        both = Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )
        if both.width <= 0 or both.height <= 0:
            return 0.0
        return both.area / (self.area + other.area - both.area)

    def grown(self, factor: float) -> Box:
        """The same centre, sides times a factor."""
        dx, dy = self.width * (factor - 1) / 2, self.height * (factor - 1) / 2
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)

    def contains(self, points: NDArray[Any]) -> bool:
        """Do all points [N, 2] lie inside?"""
        x, y = points[:, 0], points[:, 1]
        return bool(((x >= self.left) & (x <= self.right) & (y >= self.top) & (y <= self.bottom)).all())

    def as_tuple(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom)."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True)
class Detection:
    """A face; the score is the detector's margin (0 is its usual threshold, 2 a clear frontal face)."""

    box: Box
    score: float


class Detector(Protocol):
    """Finds one face; `near` is where it was a moment ago."""

    def __call__(self, frame: Frame, near: Box | None = None) -> Detection | None: ...


@runtime_checkable
class QuickDetector(Protocol):
    """A detector that is quicker where the face was a moment ago."""

    def again(self, frame: Frame, box: Box) -> Detection | None: ...


class FaceDetector:
    """dlib's frontal HOG detector on a frame whose longest side is at most DETECT_SIZE.

    Returns the largest face, or the one nearest to `near`, for which a weaker answer is enough. When nothing is
    found it looks once more at RETRY_SIZE, for small faces, and for smaller ones at LARGEST_SIZE: everywhere when no
    face is known, around `near` when that is small. TOO_SMALL tells what is missed even then. thorough: look those
    further times; without them a frame takes the same time whether it shows a face or not.
    """

    def __init__(self, thorough: bool = True) -> None:
        self._detector: Any = dlib.get_frontal_face_detector()
        self._thorough = thorough

    def __call__(self, frame: Frame, near: Box | None = None) -> Detection | None:
        """The face in a frame [H, W, 3] uint8 RGB, None when there is none."""
        longest = max(frame.shape[:2])
        for size in (min(longest, DETECT_SIZE), RETRY_SIZE)[: 2 if self._thorough else 1]:
            found = choose(self._search(frame, size / longest), near)
            if found is not None:
                return found
        if not self._thorough:
            return None
        size = min(2 * longest, LARGEST_SIZE)
        if size <= RETRY_SIZE or (near is not None and near.width * RETRY_SIZE > SMALL * longest):
            return None
        return choose(self._enlarged(frame, size / longest, near), near)

    def _enlarged(self, frame: Frame, scale: float, near: Box | None) -> list[Detection]:
        """Faces in a frame that is made larger, or in the part of it around `near`."""
        if near is None:
            return self._search(frame, scale)
        part = near.grown(AROUND)
        left, top = max(0, int(part.left)), max(0, int(part.top))
        seen = frame[top : max(top + 1, int(part.bottom)), left : max(left + 1, int(part.right))]
        if not seen.size:
            return []
        return self._within(seen, scale, left, top)

    def _within(self, seen: Frame, scale: float, left: int, top: int) -> list[Detection]:
        """Faces in a part of a frame that begins at `left`, `top`."""
        return [
            Detection(Box(b.left + left, b.top + top, b.right + left, b.bottom + top), found.score)
            for found in self._search(seen, scale)
            for b in (found.box,)
        ]

    def again(self, frame: Frame, box: Box) -> Detection | None:
        """The face that was in `box` a moment ago, looked for around it alone, at the size that is quickest.

        None does not say that it is gone: another size may show it.
        """
        part = box.grown(AGAIN_AROUND)
        left, top = max(0, int(part.left)), max(0, int(part.top))
        seen = frame[top : max(top + 1, int(part.bottom)), left : max(left + 1, int(part.right))]
        if not seen.size or box.width < 1:
            return None
        found = self._within(seen, AGAIN_WIDTH / box.width, left, top)
        return choose([one for one in found if one.box.overlap(box) >= SAME_FACE], box)

    def all(self, frame: Frame) -> list[Detection]:
        """Every face in a frame whose longest side is at most DETECT_SIZE, or that is averaged down to it."""
        longest = max(frame.shape[:2])
        return [face for face in self._search(frame, min(longest, DETECT_SIZE) / longest) if face.score >= STRONG]

    def _search(self, frame: Frame, scale: float) -> list[Detection]:
        height, width = frame.shape[:2]
        if scale != 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            frame = cast(Frame, np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)))
        boxes, scores, _ = self._detector.run(np.ascontiguousarray(frame), 0, WEAK)
        x, y = width / frame.shape[1], height / frame.shape[0]
        # dlib names the last pixel inside; ours is the edge behind it.
        return [
            Detection(Box(b.left() * x, b.top() * y, (b.right() + 1) * x, (b.bottom() + 1) * y), float(s))
            for b, s in zip(boxes, scores, strict=True)
        ]


def choose(found: Sequence[Detection], near: Box | None) -> Detection | None:
    """The face that goes on from `near`, else the largest strong one, else None."""
    if near is not None:
        same = [d for d in found if d.box.overlap(near) >= SAME_FACE]
        if same:
            return max(same, key=lambda d: d.box.overlap(near))
    strong = [d for d in found if d.score >= STRONG]
    return max(strong, key=lambda d: d.box.area, default=None)
