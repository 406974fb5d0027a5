"""From a clip to its aligned squares: measured once (track.py), smoothed over time, cut in a second pass.

What is measured of a face is chosen so that expressions do not move the square:
- the roll and the position come from the four eye corners, which hardly move with lids and mouth;
- where the eye centres and the mouth lie relative to the corners is the median over the shot, not of the frame;
- the side is the median over the shot, but a head (or a camera) that comes nearer or goes away by more than a few
  hundredths is followed as far as it exceeds that: packets have no number for size.
Position and roll are measured in every frame. What the landmarks quickly slip over the head, as its pixels show, is
taken out of them (flow.py); the rest is smoothed as far as it is noise and not motion (steady.py), each shot on its
own. Frames without a face keep the last square and are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from stylecodec.errors import FaceNotFound, OptionError
from stylecodec.face.detect import TOO_SMALL, Detector, FaceDetector, Frame
from stylecodec.face.landmarks import Dlib5, Landmarker
from stylecodec.face.registration import Registered, anchored
from stylecodec.face.steady import USUAL_RATE, Noise, steady
from stylecodec.face.track import CORNERS, LEFT_EYE, MOUTH, RIGHT_EYE, FaceTrack, FaceTracker, across_eyes, turned
from stylecodec.face.warp import warp
from stylecodec.geometry import AVATAR_ALIGNMENT, Alignment, CropTransform

Floats = NDArray[np.float64]

# What landmarkers are known to do on heads that stand still: the pack's network and dlib's five points.
PLACE_NOISE = Noise(0.0005, 0.012, 0.12)  # in units of the eyes' span
ROLL_NOISE = Noise(0.03, 1.0, 4.0)  # degrees
SIZE_NOISE = Noise(0.002, 0.05, 0.3)  # of its logarithm, which is read off the mouth too
SLIP_SMOOTHING = 1.0  # seconds, sigma: what is slower the landmarks tell, what is faster the pixels
MEDIAN = 5  # frames of the median that takes out single wrong measurements before shots are told apart
SIZE_SLACK = 0.03  # of the side: smaller changes of size are left in the picture
SIZE_SMOOTHING = 0.2  # seconds, sigma over what of it is followed: it begins and ends gently
SHOT_JUMP = 0.25  # of the side, from one measured frame to the next: more is a cut, not a movement
SHOT_ZOOM = 1.35  # change of size from one measured frame to the next that is a cut


@dataclass(frozen=True)
class AlignReport:
    """What pass 1 saw. held: frames without a face, which keep the last square; first_face: index of the first
    frame with a face; shots: contiguous pieces, each with its own constant side; followed: frames in which the
    detector saw nothing but the landmarks held on; detections: runs of the detector."""

    frames: int
    held: int
    first_face: int
    shots: int
    followed: int
    detections: int


@dataclass(frozen=True)
class AlignedTrack:
    """One square per frame. found [T]: does the frame show a face (else its square is held)?"""

    squares: Floats  # [T, 4]: centre x, centre y, side, roll in degrees
    found: NDArray[np.bool_]
    report: AlignReport
    shot_starts: tuple[int, ...] = (0,)  # the first frame of each shot, as far as it shows a face
    seen: FaceTrack | None = None  # what the squares were laid by, to lay them again

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, frame: int) -> CropTransform:
        x, y, side, roll = (float(v) for v in self.squares[frame])
        return CropTransform((x, y), side, roll)

    def moved(self, by: Floats) -> AlignedTrack:
        """Every square moved: [T, 3] of zoom, across and down as in CropTransform.moved."""
        squares = [self[frame].moved(*map(float, by[frame])) for frame in range(len(self))]
        return replace(self, squares=np.array([[*square.center, square.side, square.roll_deg] for square in squares]))

    @property
    def roll_deg(self) -> Floats:
        """[T] degrees: what the decoder has to put back."""
        return self.squares[:, 3]

    @property
    def mean(self) -> CropTransform:
        """The mean square of the frames with a face, upright: the crop geometry of the stream header."""
        x, y, side, _ = (float(v) for v in self.squares[self.found].mean(axis=0))
        return CropTransform((x, y), side, 0.0)


class Aligner:
    """Aligns clips (two passes) and single pictures.

    >>> aligner = Aligner(make_landmarker("pack", pack.landmarks(), pack.alignment), alignment=pack.alignment)
    >>> track = aligner.track((frame for _, frame in reader.frames()), float(reader.rate))
    >>> for crop in crops((frame for _, frame in reader.frames()), track, 256): ...

    steady: smooth position and roll over time; else each frame's are as measured. detector and checker: dlib's when
    left out (injectable for tests). register: heads are followed by their pixels from key frame to key frame
    (registration.py), and landmarks only say where they are as a whole.
    """

    def __init__(
        self,
        landmarker: Landmarker,
        detector: Detector | None = None,
        *,
        alignment: Alignment = AVATAR_ALIGNMENT,
        steady: bool = True,
        stride: int = 8,
        checker: Landmarker | None = None,
        register: bool = False,
    ) -> None:
        if stride < 1:
            raise OptionError(f"stride must be >= 1, not {stride}")
        if detector is None:
            detector, checker = FaceDetector(), checker or Dlib5()
        self._detector = detector
        self._tracker = FaceTracker(detector, landmarker, checker, stride, register)
        self._alignment = alignment
        self._steady = steady

    def track(self, frames: Iterable[Frame], rate: float = USUAL_RATE) -> AlignedTrack:
        """Pass 1 over frames [H, W, 3] uint8 RGB, `rate` of them per second (the mean where it varies).

        Raises FaceNotFound when none of them shows a face, OptionError for a rate of 0 or less.
        """
        if not rate > 0:
            raise OptionError(f"the frame rate must be more than 0, not {rate}")
        return laid(self.measured(frames), rate, self._alignment, self._steady)

    def measured(self, frames: Iterable[Frame]) -> FaceTrack:
        """What pass 1 sees of the face in frames [H, W, 3] uint8 RGB, before any square is laid."""
        return self._tracker(frames)

    def split(self, track: AlignedTrack, cuts: Sequence[int], rate: float = USUAL_RATE) -> AlignedTrack:
        """What `track` returned, with shots that begin at each of these frames too; no picture is looked at."""
        if track.seen is None:
            raise ValueError("only what `track` returned can be split")
        return laid(track.seen, rate, self._alignment, self._steady, cuts)

    def still(self, image: Frame) -> CropTransform:
        """The square of one picture; FaceNotFound when it shows no face."""
        seen = self._detector(image, None)
        if seen is None:
            raise FaceNotFound(f"no face was found in the picture; {TOO_SMALL}")
        pose = EyeFrames.of(self._tracker.at(image, seen.box)[None])
        x, y, side, roll = (float(v) for v in shot_squares(pose, np.zeros(1), self._alignment, USUAL_RATE)[0])
        return CropTransform((x, y), side, roll)


def laid(
    seen: FaceTrack, rate: float, alignment: Alignment, calm: bool = True, cuts: Sequence[int] = ()
) -> AlignedTrack:
    """The squares of what was measured in a clip of `rate` frames per second; calm: smoothed over time.

    cuts: frames with which a shot begins, beside those at which the face jumps.

    Raises FaceNotFound when no frame shows a face.
    """
    count, found = len(seen.anchors), seen.found
    if not found.any():
        raise FaceNotFound(f"no face was found in any of the {count} frames; {TOO_SMALL}")
    pose = EyeFrames.of(seen.anchors[found], seen.slips[found])
    placed = None if seen.placed is None else seen.placed[found]
    indices = np.flatnonzero(found)
    times = indices.astype(np.float64)
    squares = np.empty((len(indices), 4))
    shots = split_shots(pose, np.searchsorted(indices, cuts).tolist())
    for shot in shots:
        part = pose.part(shot)
        if placed is not None:
            part = part.registered(placed[shot], rate * SLIP_SMOOTHING)
        squares[shot] = shot_squares(part, times[shot], alignment, rate, calm)
    # The last frame with a face at or before each frame; the first one for those before it.
    source = np.maximum(np.searchsorted(indices, np.arange(count), side="right") - 1, 0)
    report = AlignReport(
        frames=count,
        held=int(count - found.sum()),
        first_face=int(indices[0]),
        shots=len(shots),
        followed=seen.followed,
        detections=seen.sightings,
    )
    starts = tuple(int(indices[shot.start]) for shot in shots)
    return AlignedTrack(squares[source], found, report, starts, seen)


def crops(frames: Iterable[Frame], track: AlignedTrack, size: int = 256) -> Iterator[Frame]:
    """Pass 2: the aligned squares [size, size, 3] uint8 of the same frames in the same order."""
    for number, frame in zip(range(len(track)), frames, strict=False):
        yield warp(frame, track[number], size)


@dataclass(frozen=True)
class EyeFrames:
    """Faces in the frame of their own eyes, n of them: x along the eye corners, y down."""

    corner: Floats  # [n, 2] mean of the four eye corners, source pixels
    roll: Floats  # [n] radians, unwrapped
    eyes: Floats  # [n, 2] middle of the eye centres seen from `corner`
    span: Floats  # [n] from the left eye's corners to the right eye's
    mouth: Floats  # [n, 2] mouth seen from the middle of the eye centres
    side: Floats  # [n] side of the FFHQ square
    slip: Floats  # [n, 3] of `FaceTrack.slips`

    @classmethod
    def of(cls, anchors: NDArray[np.floating], slips: Floats | None = None) -> EyeFrames:
        """From anchors [n, 7, 2] without NaN, and slips [n, 3]: none when left out."""
        a = anchors.astype(np.float64)
        across = across_eyes(a)
        roll = np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
        corner = a[:, CORNERS].mean(axis=1)
        middle = (a[:, LEFT_EYE] + a[:, RIGHT_EYE]) / 2
        e, m = a[:, RIGHT_EYE] - a[:, LEFT_EYE], a[:, MOUTH] - middle
        side = 2 * np.maximum(2.0 * np.hypot(*e.T), 1.8 * np.hypot(*m.T))
        span = np.hypot(*across.T) / 2
        slip = np.zeros((len(a), 3)) if slips is None else slips
        return cls(corner, roll, turned(middle - corner, -roll), span, turned(m, -roll), side, slip)

    def registered(self, placed: Floats, smooth_over: float) -> EyeFrames:
        """The same where the registered track [n, 4] has it, which the landmarks lay down as a whole."""
        track = Registered(placed[:, :2], placed[:, 2], placed[:, 3].astype(np.intp))
        corner, roll = anchored(track, self.corner, self.roll, self.span, smooth_over)
        return replace(self, corner=corner, roll=roll, slip=np.zeros_like(self.slip))

    def part(self, which: slice) -> EyeFrames:
        """Some of them."""
        return EyeFrames(*(getattr(self, field.name)[which] for field in fields(self)))


def _median(values: Floats) -> Floats:
    """A short running median along the first axis; the ends repeat."""
    window = (min(MEDIAN, len(values) // 2 * 2 + 1),) + (1,) * (values.ndim - 1)
    return np.asarray(median_filter(values, window, mode="nearest"), np.float64)


def split_shots(pose: EyeFrames, known: Sequence[int] = ()) -> list[slice]:
    """Cut where the face jumps or changes its size at once; a single wrong frame is no cut.

    known: where there are cuts besides; jumps as near as MEDIAN frames to one of them are the same.
    """
    corner, side = _median(pose.corner), _median(pose.side)
    jump = np.hypot(*np.diff(corner, axis=0).T) / np.minimum(side[1:], side[:-1])
    zoom = np.maximum(side[1:] / side[:-1], side[:-1] / side[1:])
    cuts = np.flatnonzero((jump > SHOT_JUMP) | (zoom > SHOT_ZOOM)) + 1
    jumps = (int(c) for c in cuts if all(abs(c - other) > MEDIAN for other in known))
    ends = sorted({0, *jumps, *known, len(side)})
    return [slice(a, b) for a, b in pairwise(ends)]


def shot_squares(
    pose: EyeFrames, times: Floats, alignment: Alignment, rate: float, calm: bool = True
) -> Floats:
    """[n, 4] squares (centre x, y, side, roll in degrees) of one shot, whose frames have these numbers [n], `rate` of
    them per second. calm: position and roll smoothed over time, else as measured.

    FFHQ's centre is mid(eyes) + 0.1·mouth, its half-side max(2|e|, 1.8|m|); here everything
    that depends on the expression is a median over the shot, in units of the side.
    """
    corner, roll = pose.corner, pose.roll
    if calm:
        corner, roll = without_slips(pose, times, rate * SLIP_SMOOTHING)
        unit = float(np.median(pose.span))
        corner = unit * steady(corner / unit, times, PLACE_NOISE.at(rate))
        roll = np.deg2rad(steady(np.rad2deg(roll)[:, None], times, ROLL_NOISE.at(rate))[:, 0])
    side = shot_sides(pose, times, rate * SIZE_SMOOTHING)[:, None] * alignment.scale
    units = (pose.eyes + 0.1 * pose.mouth) / pose.side[:, None] / alignment.scale
    offset = np.median(units, axis=0) - np.array([0.0, alignment.lift / 2])  # up along the face's own axis
    center = corner + turned(side * offset, roll)
    return np.column_stack([center, side, np.rad2deg(roll)])


def without_slips(pose: EyeFrames, times: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Corner [n, 2] and roll [n] of one shot, without what the landmarks slipped over the head faster than in `sigma`
    frames. Slower than that the pixels are not asked, whose errors add up."""
    slipped = -np.cumsum(pose.slip, axis=0)
    quick = slipped - local_lines(slipped, times, sigma)
    return pose.corner - turned(quick[:, :2] * pose.span[:, None], pose.roll), pose.roll - quick[:, 2]


def shot_sides(pose: EyeFrames, times: Floats, sigma: float) -> Floats:
    """[n] sides of one shot: the median, and what the change of size exceeds SIZE_SLACK by, smoothed by `sigma` frames.

    A head that comes nearer grows between the eyes and from the eyes to the mouth alike. Turning changes only the
    first, nodding and the mouth itself only the second: so the smaller of two equal-signed changes counts.
    """
    sizes = np.log(np.column_stack([pose.span, np.hypot(*pose.mouth.T)]))
    calm = [steady(one[:, None], times, SIZE_NOISE) for one in sizes.T]
    change = np.column_stack(calm) - np.median(sizes, axis=0)
    common = np.where(change.prod(axis=1) > 0, np.abs(change).min(axis=1), 0.0)
    beyond = np.sign(change[:, 0]) * np.maximum(common - np.log1p(SIZE_SLACK), 0.0)
    if beyond.any():  # begin and end the zoom gently
        beyond = local_lines(beyond[:, None], times, sigma)[:, 0]
    return np.asarray(np.median(pose.side) * np.exp(beyond), np.float64)


def local_lines(values: Floats, times: Floats, sigma: float) -> Floats:
    """Values [n, d] at frame numbers [n], smoothed: a straight line fitted around each, Gaussian weights.

    Away from gaps and ends this is the plain Gaussian filter; there the line keeps a steady movement steady
    instead of pulling it inwards.
    """
    reach = int(np.ceil(4 * sigma))
    result = np.empty_like(values)
    for n, time in enumerate(times):
        near = slice(max(0, n - reach), n + reach + 1)
        dt = times[near] - time
        w = np.exp(-0.5 * (dt / sigma) ** 2)
        s0, s1, s2 = w.sum(), (w * dt).sum(), (w * dt * dt).sum()
        spread = s0 * s2 - s1 * s1
        line = w if spread < 1e-9 * s0 * s0 else w * (s2 - s1 * dt) / spread * s0
        result[n] = (line / s0) @ values[near]
    return result
