"""The face's square in frames that come one at a time: what align.py does for a whole clip, without its future.

    frame ─► LiveTracker: anchors, or none ─► CausalSquares: calm position and roll, side of the last seconds ─► square

Position and roll go through the one-euro filter (Casiez, Roussel and Vogel 2012): a still head is smoothed, a quick one
is believed. What landmarks quickly slip over the head, as its pixels show (flow.py), is taken out before. Medians over
the last seconds stand for those over a shot. Memory does not grow with time.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from stylecodec.face.align import SHOT_JUMP, SHOT_ZOOM, SIZE_SLACK, EyeFrames
from stylecodec.face.detect import SAME_FACE, Box, Detector, FaceDetector, Frame, QuickDetector
from stylecodec.face.flow import Patch, moved, patch_of
from stylecodec.face.landmarks import Dlib5, FollowingLandmarker, Landmarker, Landmarks
from stylecodec.face.track import (
    CORNERS,
    across_eyes,
    alike,
    anchors_of,
    box_of,
    held_near,
    plausible,
    turned,
)
from stylecodec.geometry import AVATAR_ALIGNMENT, Alignment, CropTransform

Floats = NDArray[np.float64]

LOOK_SECONDS = 0.3  # from one sighting to the next while the face is followed
SEARCH_SECONDS = 0.1  # the same while no face is known
PATIENCE = 1.5  # seconds that a lost face is waited for where it was, before another one is taken
FOLLOW_SECONDS = 1.8  # that a face is followed without any sighting
MEDIAN_SECONDS = 10.0  # over which medians stand for those of a shot
MOST_REMEMBERED = 600  # frames, whatever the rate
STILL_HZ = 1.0  # cutoff of the filter for a head that does not move
PLACE_HZ = 10.0  # that the cutoff rises per eye span per second
ROLL_HZ = 0.4  # that it rises per degree per second
SPEED_HZ = 1.5  # cutoff of the speed
SLIP_SECONDS = 0.5  # time constant: what slips more slowly the landmarks tell, what is faster the pixels
SIDE_SECONDS = 0.3  # time constant with which the side follows


class OneEuro:
    """The one-euro filter of values [d], which share one speed. still: cutoff in Hz at rest; quick: Hz per speed."""

    def __init__(self, still: float, quick: float) -> None:
        self._still, self._quick = still, quick
        self._value: Floats | None = None
        self._before: Floats | None = None
        self._speed: Floats = np.zeros(0)
        self._time = 0.0

    def __call__(self, seconds: float, value: Floats) -> Floats:
        """The next measurement [d], at a time that increases."""
        if self._value is None or self._before is None:
            self._value, self._before, self._speed, self._time = value, value, np.zeros_like(value), seconds
            return value
        step = max(seconds - self._time, 1e-3)
        self._speed = self._speed + _share(SPEED_HZ, step) * ((value - self._before) / step - self._speed)
        cutoff = self._still + self._quick * float(np.linalg.norm(self._speed))
        self._value = self._value + _share(cutoff, step) * (value - self._value)
        self._before, self._time = value, seconds
        return self._value

    def restart(self) -> None:
        """What follows begins anew."""
        self._value = self._before = None


def _share(cutoff: float, step: float) -> float:
    """The share of a new value in a low pass of `cutoff` Hz, `step` seconds after the last one."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff * step))


class LiveTracker:
    """Follows one face through frames that come one at a time.

    The detector looks every LOOK_SECONDS, and where the two landmarkers do not agree; between, the checker traces the
    face, as in FaceTracker. Of several faces the one that was followed is followed on: another one is taken when it has
    not been seen for PATIENCE seconds.
    """

    def __init__(self, detector: Detector, landmarker: Landmarker, checker: Landmarker | None = None) -> None:
        self._detector, self._landmarker, self._checker = detector, landmarker, checker
        self._tracer = checker or landmarker
        self._near: Box | None = None  # where the face was, while it is lost
        self._points: Floats | None = None  # the tracer's anchors in the frame before; None: no face is followed
        self._before: Floats | None = None  # and in the one before that
        self._landmarks: Landmarks | None = None  # all points in the frame before
        self._now = 0.0  # time of this frame
        self._looked = self._lost = self._sighted = -np.inf  # when the detector looked, the face was lost, and seen
        self.sightings = 0  # runs of the detector

    def __call__(self, seconds: float, frame: Frame) -> Floats | None:
        """Anchors [7, 2] of the face in the next frame [H, W, 3] uint8 RGB; None where there is none."""
        self._now = seconds
        found = self._begin(frame) if self._points is None else self._go_on(frame)
        if found is None and self._points is not None:
            self._lose()
        return found

    def _lose(self) -> None:
        if self._points is not None:
            self._near, self._lost, self._looked = box_of(self._points), self._now, -np.inf
        self._points = self._before = self._landmarks = None

    def _look(self, frame: Frame, near: Box | None) -> Box | None:
        self._looked = self._now
        self.sightings += 1
        seen = self._detector(frame, near)
        return None if seen is None else seen.box

    def _sees(self, frame: Frame, box: Box) -> Box | None:
        """The detector's box of the face that is followed, about in `box`; None where it does not see it there."""
        if isinstance(self._detector, QuickDetector) and (near := self._detector.again(frame, box)) is not None:
            self._looked = self._sighted = self._now
            return near.box
        seen = self._look(frame, box)
        if seen is None or seen.overlap(box) < SAME_FACE:
            return None
        self._sighted = self._now
        return seen

    def _begin(self, frame: Frame) -> Floats | None:
        """Look for a face where none is followed."""
        if self._near is not None and self._now - self._lost > PATIENCE:
            self._near = None
        if self._now - self._looked < SEARCH_SECONDS:
            return None
        seen = self._look(frame, self._near)
        if seen is None or (self._near is not None and seen.overlap(self._near.grown(1.3)) < SAME_FACE / 2):
            return None
        self._sighted = self._now
        return self._measured(frame, seen)

    def _go_on(self, frame: Frame) -> Floats | None:
        """Trace the face that was followed."""
        assert self._points is not None
        ahead = self._points if self._before is None else 2 * self._points - self._before
        for expected in (box_of(ahead), box_of(self._points)):
            traced = anchors_of(self._tracer(frame, expected))
            if plausible(traced, expected):
                break
        else:
            seen = self._sees(frame, box_of(self._points))
            return None if seen is None else self._measured(frame, seen)
        box = box_of(traced)
        if self._now - self._looked < LOOK_SECONDS:
            return self._measured(frame, box)
        seen = self._sees(frame, box)
        if seen is None and not self._followed(frame, box):
            return None
        return self._measured(frame, seen or box)

    def _followed(self, frame: Frame, box: Box) -> bool:
        """Whether a face that the detector does not see is there for two landmarkers that agree."""
        if self._checker is None or self._now - self._sighted > FOLLOW_SECONDS:
            return False
        return alike(anchors_of(self._landmarker(frame, box)), anchors_of(self._checker(frame, box)))

    def _measured(self, frame: Frame, box: Box) -> Floats | None:
        """The anchors of the face in a box, kept for the next frame; None where they look like no face."""
        points = self._landmarks_in(frame, box)
        kept: Landmarks | None = points
        anchors = traced = anchors_of(points)
        if self._checker is not None:
            traced = anchors_of(self._checker(frame, box))
            if not alike(anchors, traced):
                kept = None  # the next ones are measured from their box
                if self._looked < self._now and self._sees(frame, box) is None:
                    return None
            anchors = held_near(anchors, traced)
        if not plausible(anchors, box):
            return None
        self._before, self._points, self._near, self._landmarks = self._points, traced, None, kept
        return anchors

    def _landmarks_in(self, frame: Frame, box: Box) -> Landmarks:
        if isinstance(self._landmarker, FollowingLandmarker) and self._landmarks is not None:
            followed: Landmarks = self._landmarker.follow([frame], [self._landmarks])[0]
            return followed
        return self._landmarker(frame, box)


class CausalSquares:
    """Anchors of one frame after another to the pack's square, as `align.shot_squares` lays it over a shot.

    rate: of the frames, per second, about.
    """

    def __init__(self, alignment: Alignment = AVATAR_ALIGNMENT, rate: float = 25.0) -> None:
        self._alignment = alignment
        self._length = min(max(int(MEDIAN_SECONDS * rate), 1), MOST_REMEMBERED)
        self._jumped = False
        self._last: CropTransform | None = None
        self._forget()

    def _forget(self) -> None:
        self._place, self._roll = OneEuro(STILL_HZ, PLACE_HZ), OneEuro(STILL_HZ, ROLL_HZ)
        self._sizes = OneEuro(STILL_HZ, 0.0)
        self._slipped = self._slow = self._slower = np.zeros(3)  # in all, and once and twice through a low pass
        self._seen: deque[tuple[float, ...]] = deque(maxlen=self._length)  # offset [2], side, two sizes, span
        self._side: float | None = None
        self._time = 0.0
        self._turn: float | None = None  # roll in radians of the frame before, unwrapped
        self._middle: tuple[Floats, float] | None = None  # of the eye corners, and the side, in the frame before

    def __call__(self, seconds: float, anchors: Floats, slip: Floats | None = None) -> CropTransform:
        """The square of a frame at `seconds`, which increase, with a face [7, 2].

        slip [3]: how the head moved under its anchors since the frame before, as `flow.moved` tells it.
        """
        pose = EyeFrames.of(anchors[None])
        if self._jumps(pose):
            if not self._jumped and self._last is not None:  # a single wrong frame is no cut
                self._jumped = True
                return self._last
            self._forget()
        self._jumped = False
        self._last = self._laid(seconds, pose, np.zeros(3) if slip is None else slip)
        return self._last

    def lose(self) -> None:
        """A frame without a face: what was quick is forgotten, what was learnt of the face stays."""
        self._place.restart()
        self._roll.restart()
        self._sizes.restart()
        self._turn, self._middle = None, None

    def _jumps(self, pose: EyeFrames) -> bool:
        if self._middle is None:
            return False
        before, side = self._middle
        now = float(pose.side[0])
        jump = float(np.hypot(*(pose.corner[0] - before))) / min(side, now)
        return jump > SHOT_JUMP or max(now / side, side / now) > SHOT_ZOOM

    def _laid(self, seconds: float, pose: EyeFrames, slip: Floats) -> CropTransform:
        corner, span, side = pose.corner[0], float(pose.span[0]), float(pose.side[0])
        self._middle = corner, side
        quick = self._quick(seconds, slip)
        roll = float(pose.roll[0])
        corner = corner - turned(quick[:2] * span, np.array(roll))
        roll -= float(quick[2])
        if self._turn is not None:
            roll = self._turn + float(np.angle(np.exp(1j * (roll - self._turn))))
        self._turn = roll
        sizes = self._sizes(seconds, np.log([max(span, 1e-3), max(float(np.hypot(*pose.mouth[0])), 1e-3)]))
        units = (pose.eyes[0] + 0.1 * pose.mouth[0]) / side / self._alignment.scale
        self._seen.append((*units, side, *sizes, span))
        medians = np.median(np.array(self._seen), axis=0)
        unit = float(medians[5])
        corner = unit * self._place(seconds, corner / unit)
        roll = float(np.deg2rad(self._roll(seconds, np.array([np.rad2deg(roll)]))[0]))
        wide = self._followed_side(seconds, float(medians[2]), sizes - medians[3:5]) * self._alignment.scale
        offset = medians[:2] - np.array([0.0, self._alignment.lift / 2])
        x, y = corner + turned(wide * offset, np.array(roll))
        return CropTransform((float(x), float(y)), wide, float(np.rad2deg(roll)))

    def _quick(self, seconds: float, slip: Floats) -> Floats:
        """[3]: what the landmarks slipped over the head faster than in SLIP_SECONDS (`without_slips`).

        The low pass is Brown's double exponential smoothing: a steady drift, to which errors of the pixels add up, is
        none of it.
        """
        self._slipped = self._slipped - slip
        share = 1.0 - float(np.exp(-max(seconds - self._time, 0.0) / SLIP_SECONDS))
        self._slow = self._slow + share * (self._slipped - self._slow)
        self._slower = self._slower + share * (self._slow - self._slower)
        return self._slipped - 2 * self._slow + self._slower

    def _followed_side(self, seconds: float, usual: float, change: Floats) -> float:
        """The side: the median, and what a head that comes nearer exceeds SIZE_SLACK by, gently (`shot_sides`)."""
        common = float(np.abs(change).min()) if change.prod() > 0 else 0.0
        beyond = float(np.sign(change[0])) * max(common - float(np.log1p(SIZE_SLACK)), 0.0)
        wanted = usual * float(np.exp(beyond))
        if self._side is None:
            self._side = wanted
        else:
            share = 1.0 - float(np.exp(-max(seconds - self._time, 0.0) / SIDE_SECONDS))
            self._side += share * (wanted - self._side)
        self._time = seconds
        return self._side


class LiveAligner:
    """The square of the face in frames that come one at a time.

    >>> aligner = LiveAligner(make_landmarker("pack", pack.landmarks(), pack.alignment), alignment=pack.alignment)
    >>> square = aligner(seconds, frame)  # CropTransform, or None without a face

    detector and checker: dlib's when left out, at one size only, so that a frame without a face takes no longer.
    """

    def __init__(
        self,
        landmarker: Landmarker,
        detector: Detector | None = None,
        *,
        alignment: Alignment = AVATAR_ALIGNMENT,
        rate: float = 25.0,
        checker: Landmarker | None = None,
    ) -> None:
        if detector is None:
            detector = FaceDetector(thorough=False)
            checker = checker or (None if isinstance(landmarker, Dlib5) else Dlib5())  # it cannot check itself
        self._tracker = LiveTracker(detector, landmarker, checker)
        self._squares = CausalSquares(alignment, rate)
        self._patch: Patch | None = None  # of the frame before

    def __call__(self, seconds: float, frame: Frame) -> CropTransform | None:
        """The square in the next frame [H, W, 3] uint8 RGB; None without a face. seconds: its time, which increases."""
        anchors = self._tracker(seconds, frame)
        if anchors is None:
            self._squares.lose()
            self._patch = None
            return None
        return self._squares(seconds, anchors, self._slip(frame, anchors))

    def _slip(self, frame: Frame, anchors: Floats) -> Floats | None:
        across = across_eyes(anchors)
        roll = float(np.rad2deg(np.arctan2(across[1], across[0])))
        before, self._patch = self._patch, patch_of(frame, anchors[CORNERS].mean(axis=0), roll, np.hypot(*across) / 2)
        return moved(before, self._patch) if before and self._patch else None
