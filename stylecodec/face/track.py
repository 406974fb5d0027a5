"""Pass 1 of the alignment: the face's anchors in every frame of a clip, in a memory that does not grow with frames.

Every frame is measured; the detector looks at every k-th. From one sighting to the next the checker, which is quick,
traces the face: each frame's box is laid where the points of the two frames before it lead, and then around the points
found there. So the boxes of quick heads are right as well, and the landmarker sees k frames at once, in a thread of its
own beside the search in the next k. Where a sighting is missing or the trace does not lead to it, the detector looks at
every frame; where it finds nothing, the box is carried on from the last points as long as two independent landmarkers
agree. As long as they do, a face that is found elsewhere is somebody else's. Beside the anchors, the pixels say how far
these slipped over the head since the frame before (flow.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stylecodec.face.detect import SAME_FACE, Box, Detector, Frame
from stylecodec.face.flow import Patch, moved, patch_of
from stylecodec.face.landmarks import (
    CORNERS_OF_5,
    CORNERS_OF_68,
    BatchLandmarker,
    FollowingLandmarker,
    Landmarker,
    Landmarks,
    five_point_anchors,
)
from stylecodec.face.registration import Registrar
from stylecodec.geometry import Similarity, ffhq_anchors
from stylecodec.nets.threads import beside

# Rows of an anchor array [7, 2]: four eye corners from left to right, eye centres, middle of the mouth corners.
CORNERS = slice(0, 4)
LEFT_EYE, RIGHT_EYE, MOUTH = 4, 5, 6
ANCHORS = 7
Chunk = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]
"""Anchors [n, 7, 2], slips [n, 3] and registered places [n, 4] of successive frames."""
_Anchors = list[NDArray[np.float64] | None]
"""Anchors [7, 2] of the face in successive frames, None where there is none."""

# A HOG box against the distance of the eyes, over the clips at hand: 2.3..3.0 wide, its centre 0.4..0.75 lower.
BOX_PER_EYES, BOX_DROP = 2.5, 0.5
EYES_PER_BOX = (0.15, 0.75)  # eye distances that are believed, in box widths
AGREEMENT = (
    0.2  # two landmarkers agree when no eye corner differs by more than this share of the eye distance
)
FOLLOW_LIMIT = 45  # frames that a face is followed without any sighting

# How far a network trained on drawn heads may be from the checker, which was trained on people. Shut eyes behind
# glasses tilt it by up to 16 degrees; elsewhere, over the clips at hand, it is within these bounds or near them.
TILT = 1.0  # degrees
SHIFT = 0.05  # of the eye distance
LOWER = 0.05  # of the eye distance: so much lower it sees the eye corners as a rule


def anchors_of(points: Landmarks) -> NDArray[np.float64]:
    """[7, 2] anchors of 5 or of at least 68 landmarks."""
    if len(points) == 5:
        corners = points[list(CORNERS_OF_5)].astype(np.float64)
        left, right, mouth = five_point_anchors(points)
    else:
        corners = points[list(CORNERS_OF_68)].astype(np.float64)
        left, right, mouth = ffhq_anchors(points)
    return np.concatenate([corners, np.stack([left, right, mouth])])


def box_of(anchors: NDArray[np.float64]) -> Box:
    """The box that the detector would draw, roughly, from anchors [7, 2]."""
    eyes, across = anchors[CORNERS].mean(0), anchors[RIGHT_EYE] - anchors[LEFT_EYE]
    distance = max(float(np.hypot(*across)), 1.0)
    down = np.array([-across[1], across[0]]) / distance
    drop = max(distance, 0.9 * float((anchors[MOUTH] - eyes) @ down))  # a turned head keeps its height
    x, y = eyes + BOX_DROP * drop * down
    half = BOX_PER_EYES * drop / 2
    return Box(float(x - half), float(y - half), float(x + half), float(y + half))


def plausible(anchors: NDArray[np.float64], box: Box) -> bool:
    """Do the anchors look like a face in this box?"""
    if not np.isfinite(anchors).all() or not box.grown(1.3).contains(anchors):
        return False
    across = anchors[RIGHT_EYE] - anchors[LEFT_EYE]
    low, high = EYES_PER_BOX
    upright = across[0] > 0 and anchors[MOUTH, 1] > anchors[CORNERS, 1].mean()
    return bool(upright and low < np.hypot(*across) / box.width < high)


def alike(anchors: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Do two anchor arrays [7, 2] show the same eyes?"""
    eyes = float(np.hypot(*(anchors[RIGHT_EYE] - anchors[LEFT_EYE])))
    return bool(np.hypot(*(anchors[CORNERS] - other[CORNERS]).T).max() <= AGREEMENT * eyes)


def across_eyes(anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Anchors [..., 7, 2] -> [..., 2]: from the left eye's corners to the right eye's, twice."""
    return np.asarray(anchors[..., 2, :] + anchors[..., 3, :] - anchors[..., 0, :] - anchors[..., 1, :])


def turned(vectors: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors [..., 2] turned by angles [...] in radians, clockwise in the image."""
    c, s = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def held_near(anchors: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Anchors [7, 2] turned and moved as a whole, no more than it takes for their eyes to be within TILT and SHIFT of
    those of `other`."""
    roll, true_roll = (np.arctan2(*across_eyes(a)[::-1]) for a in (anchors, other))
    corner, distance = anchors[CORNERS].mean(axis=0), float(np.hypot(*(other[RIGHT_EYE] - other[LEFT_EYE])))
    tilt = (roll - true_roll + np.pi) % (2 * np.pi) - np.pi
    turn = np.clip(tilt, -np.deg2rad(TILT), np.deg2rad(TILT)) - tilt
    usual = other[CORNERS].mean(axis=0) + turned(np.array([0.0, LOWER * distance]), true_roll)
    shift = corner - usual
    kept = min(1.0, SHIFT * distance / max(float(np.hypot(*shift)), 1e-9))
    return np.asarray(turned(anchors - corner, turn) + usual + kept * shift)


@dataclass(frozen=True)
class _Seen:
    """A landmarker's points [P, 2] in a frame, and the checker's anchors [7, 2] there."""

    points: Landmarks
    checked: NDArray[np.float64]

    def moved(self, checked: NDArray[np.float64]) -> Landmarks:
        """Where the points are, about, in a frame in which the checker has these anchors [7, 2]."""
        rows = [*range(CORNERS.start, CORNERS.stop), MOUTH]
        return Similarity.fit(self.checked[rows], checked[rows]).apply(self.points).astype(np.float32)


@dataclass(frozen=True)
class FaceTrack:
    """anchors [T, 7, 2] float32 in frame pixels, NaN where there is no face; slips [T, 3]: how the head moved under
    its anchors since the frame before, as `flow.moved` tells it, 0 where that is not known; sightings: runs of the
    detector. placed [T, 4]: centre, roll in radians and key of `registration.Placed`, None where heads were not
    registered; NaN where there is no face."""

    anchors: NDArray[np.float32]
    slips: NDArray[np.float64]
    sightings: int
    followed: int
    placed: NDArray[np.float64] | None = None

    @property
    def found(self) -> NDArray[np.bool_]:
        """[T]: does the frame show a face?"""
        return np.asarray(np.isfinite(self.anchors).all(axis=(1, 2)), np.bool_)


class FaceTracker:
    """Streams a clip's frames through detector and landmarker.

    checker: an independent landmarker (dlib's 5 points) that traces the face between sightings, holds a network's
    points near its own and follows the face where the detector finds nothing; without it the landmarker itself traces,
    and such frames count as frames without a face. stride: frames from one sighting to the next. register: follow the
    head by its pixels too, from key frame to key frame.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        checker: Landmarker | None = None,
        stride: int = 8,
        register: bool = False,
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._checker = checker
        self._tracer = checker or landmarker
        self._stride, self._register = stride, register
        self._registrar: Registrar | None = None
        self._sightings = self._followed = self._unseen = 0
        self._last: NDArray[np.float64] | None = None  # anchors of the frame before, None without a face
        self._traced: NDArray[np.float64] | None = None  # the tracer's in the frame before these, if it traced
        self._seen: _Seen | None = None  # the last points, None where the face was lost since
        self._patch: Patch | None = None  # of the frame before
        self._measuring: Callable[[], _Anchors] | None = None  # waits for the frames that are measured beside

    def __call__(self, frames: Iterable[Frame]) -> FaceTrack:
        """All frames [H, W, 3] uint8 RGB, once, in order; at most 2 stride + 1 of them are waiting."""
        self._sightings = self._followed = self._unseen = 0
        self._last = self._traced = self._seen = self._patch = self._measuring = None
        self._registrar = Registrar() if self._register else None
        chunks: list[Chunk] = [(np.zeros((0, ANCHORS, 2), np.float32), np.zeros((0, 3)), np.zeros((0, 4)))]
        chunks += self._chunks(iter(frames))
        anchors, slips, placed = (np.concatenate(column) for column in zip(*chunks, strict=True))
        return FaceTrack(anchors, slips, self._sightings, self._followed, placed if self._register else None)

    def _chunks(self, frames: Iterator[Frame]) -> Iterator[Chunk]:
        waiting, before = list(islice(frames, 1)), list[Frame]()
        begin = self._look(waiting[0], None) if waiting else None
        with beside() as begins:
            while waiting:
                waiting.extend(islice(frames, self._stride))
                boxes = [begin] if len(waiting) == 1 else self._boxes(waiting, begin)
                # All but the last, where the next search begins; the clip's last frame is a chunk of its own.
                chunk, rest = (waiting, []) if len(waiting) == 1 else (waiting[:-1], waiting[-1:])
                done = self._measured()
                self._measuring = begins(self._anchors, list(zip(chunk, boxes, strict=False)))
                if done is not None:
                    yield self._chunk(before, done)
                waiting, before, begin = rest, chunk, boxes[-1]
            done = self._measured()
            if done is not None:
                yield self._chunk(before, done)

    def _measured(self) -> _Anchors | None:
        """The anchors of the frames that were measured beside, if there are any: nothing is measured from then on."""
        return None if self._measuring is None else self._measuring()

    def _look(self, frame: Frame, near: Box | None) -> Box | None:
        self._sightings += 1
        seen = self._detector(frame, near)
        return seen.box if seen else None

    def _expected(self) -> Box | None:
        return box_of(self._last) if self._last is not None else None

    def _boxes(self, waiting: list[Frame], begin: Box | None) -> list[Box | None]:
        """The face's box in each of the waiting frames, None where it is not seen; `begin` is that of the first."""
        if begin is None:
            self._measured()  # what is known of the face is that of the frames before
        near, count = begin or self._expected(), len(waiting) - 1
        traced = self._trace(waiting, begin) if begin else []
        end = self._look(waiting[-1], box_of(traced[-1]) if traced else near)
        if traced and end and alike(traced[-1], anchors_of(self._tracer(waiting[-1], end))):
            self._traced = traced[-2]
            return [*(box_of(points) for points in traced[:-1]), end]
        self._traced = None
        boxes: list[Box | None] = [begin]
        if begin is None and end is None:
            return boxes * len(waiting)
        unseen = 0 if begin else self._unseen + 1
        for n, frame in enumerate(waiting[1:], 1):
            seen = self._look(frame, near) if n < count else end
            if seen and near and seen.overlap(near) < SAME_FACE and unseen < FOLLOW_LIMIT:
                anchors = self._agreed(frame, near)
                if anchors is not None:
                    seen, near = None, box_of(anchors)
            near, unseen = seen or near, 0 if seen else unseen + 1
            boxes.append(seen)
        return boxes

    def _trace(self, waiting: list[Frame], begin: Box) -> list[NDArray[np.float64]]:
        """The tracer's anchors [7, 2] in each of these frames, from the box of the first; empty when it is lost."""
        traced: list[NDArray[np.float64]] = []
        before, box = self._traced, begin
        for frame in waiting:
            points = anchors_of(self._tracer(frame, box))
            if not plausible(points, box):
                return []
            traced.append(points)
            box = box_of(points if before is None else 2 * points - before)
            before = points
        return traced

    def _anchors(self, seen: list[tuple[Frame, Box | None]]) -> _Anchors:
        """Anchors [7, 2] of the face in successive frames and their boxes, None where there is none."""
        sure = {n: (frame, box) for n, (frame, box) in enumerate(seen) if box is not None}
        frames, boxes = [frame for frame, _ in sure.values()], [box for _, box in sure.values()]
        measured = dict(zip(sure, self._measure(frames, boxes), strict=True))
        found: _Anchors = []
        for n, (frame, box) in enumerate(seen):
            anchors = measured.get(n)
            if anchors is not None and box is not None and plausible(anchors, box):
                self._last, self._unseen = anchors, 0
            else:
                self._last, self._seen = self._follow(frame), None
            found.append(self._last)
        return found

    def _chunk(self, frames: list[Frame], found: _Anchors) -> Chunk:
        """What is known of successive frames by their anchors; anchors and places are NaN where there is no face."""
        slips, placed = np.zeros((len(frames), 3)), np.full((len(frames), 4), np.nan)
        rows = np.full((len(frames), ANCHORS, 2), np.nan, np.float32)
        for n, (frame, anchors) in enumerate(zip(frames, found, strict=True)):
            if anchors is not None:
                rows[n] = anchors
            slips[n] = self._slip(frame, anchors)
            placed[n] = self._placed(frame, anchors)
        return rows, slips, placed

    def _placed(self, frame: Frame, anchors: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """[4]: where the registered head is in this frame; NaN without a face, or where heads are not registered."""
        nowhere = np.full(4, np.nan)
        if self._registrar is None:
            return nowhere
        if anchors is None:
            self._registrar.lose()
            return nowhere
        across = across_eyes(anchors)
        roll, span = float(np.arctan2(across[1], across[0])), float(np.hypot(*across)) / 2
        place = self._registrar(frame, anchors[CORNERS].mean(axis=0), roll, span)
        return np.array([*place.corner, place.roll, place.key])

    def _slip(self, frame: Frame, anchors: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """[3]: how the head moved under its anchors, from the frame before to this one; 0 where that is not known."""
        before, self._patch = self._patch, None
        if anchors is not None:
            across = across_eyes(anchors)
            roll = float(np.rad2deg(np.arctan2(across[1], across[0])))
            self._patch = patch_of(frame, anchors[CORNERS].mean(axis=0), roll, float(np.hypot(*across)) / 2)
        found = moved(before, self._patch) if before and self._patch else None
        return np.zeros(3) if found is None else found

    def at(self, frame: Frame, box: Box) -> NDArray[np.float64]:
        """Anchors [7, 2] of the face in a box of one picture."""
        self._seen = None
        return self._measure([frame], [box])[0]

    def _measure(self, frames: list[Frame], boxes: list[Box]) -> list[NDArray[np.float64]]:
        """Anchors [7, 2] of the face in each of these frames; a network's are held near the checker's."""
        if not isinstance(self._landmarker, BatchLandmarker):
            return [anchors_of(self._landmarker(f, b)) for f, b in zip(frames, boxes, strict=True)]
        if not frames:
            return []
        if self._checker is None:
            return [anchors_of(points) for points in self._landmarker.many(frames, boxes)]
        checked = [anchors_of(self._checker(f, b)) for f, b in zip(frames, boxes, strict=True)]
        if self._seen is not None and isinstance(self._landmarker, FollowingLandmarker):
            points = self._landmarker.follow(frames, [self._seen.moved(anchors) for anchors in checked])
        else:
            points = self._landmarker.many(frames, boxes)
        self._seen = _Seen(points[-1], checked[-1])
        return [held_near(anchors_of(p), anchors) for p, anchors in zip(points, checked, strict=True)]

    def _follow(self, frame: Frame) -> NDArray[np.float64] | None:
        """Anchors near the last ones when both landmarkers see the same eyes there, else None."""
        box = self._expected()
        if box is None or self._unseen >= FOLLOW_LIMIT:
            return None
        anchors = self._agreed(frame, box)
        if anchors is not None:
            self._unseen += 1
            self._followed += 1
        return anchors

    def _agreed(self, frame: Frame, box: Box) -> NDArray[np.float64] | None:
        """Anchors [7, 2] in a box in which both landmarkers see the same eyes, else None."""
        if self._checker is None:
            return None
        anchors = anchors_of(self._landmarker(frame, box))
        other = anchors_of(self._checker(frame, box))
        return anchors if plausible(anchors, box) and alike(anchors, other) else None
