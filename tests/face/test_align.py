"""The aligner with injected landmarks, so that truth is known; and with dlib on drawn faces."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from stylecodec.errors import FaceNotFound, OptionError
from stylecodec.face.align import SIZE_SLACK, Aligner, crops, local_lines
from stylecodec.face.detect import Box, Detection, choose
from stylecodec.face.landmarks import Dlib5
from stylecodec.face.track import FOLLOW_LIMIT, LOWER, SHIFT, TILT, anchors_of, box_of
from stylecodec.face.warp import warp
from stylecodec.geometry import AVATAR_ALIGNMENT, CropTransform, Similarity, ffhq_square
from tests.face.drawn import draw_face

# A face around the middle of its eyes, 60 pixels between their centres, mouth 62 below: 68 points of which these
# matter. Its FFHQ square: half-side max(120, 111.6), centre 6.2 below.
EYE = np.array([[-18, 0], [-6, -7], [6, -7], [18, 0], [6, 5], [-6, 5]]) - [0, -4 / 6]
NEUTRAL = np.zeros((68, 2))
NEUTRAL[36:42] = EYE - [30, 0]
NEUTRAL[42:48] = EYE - [-30, 0]
NEUTRAL[48], NEUTRAL[54] = (-20, 62), (20, 62)


def face(x=200.0, y=150.0, scale=1.0, roll=0.0, jaw=0.0, blink=0.0):
    points = NEUTRAL.copy()
    points[[48, 54], 1] += 8 * jaw  # an open mouth draws its corners down
    for eye in (36, 42):
        points[[eye + 1, eye + 2, eye + 4, eye + 5], 1] *= 1 - blink
    return Similarity(scale, roll, x, y).apply(points)


class World:
    """Frames that carry their number, a detector and a landmarker that know the faces; None is a frame without."""

    def __init__(self, faces, noise=0.0):
        self.faces = faces
        rng = np.random.default_rng(0)
        self.noise = rng.normal(0, noise, (len(faces), 68, 2))
        self.detections = 0

    def frames(self):
        for number in range(len(self.faces)):
            frame = np.zeros((4, 4, 3), np.uint8)
            frame[0, 0, :2] = divmod(number, 256)
            yield frame

    def number(self, frame):
        return int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1])

    def detect(self, frame, near=None):
        self.detections += 1
        points = self.faces[self.number(frame)]
        if points is None:
            return None
        (x, y), half = points.mean(0), 1.25 * np.hypot(*(points[45] - points[36])) / 1.6
        return Detection(Box(x - half * 2, y - half * 2, x + half * 2, y + half * 2), 1.0)

    def landmarks(self, frame, box):
        points = self.faces[self.number(frame)]
        if points is None:
            return np.zeros((68, 2), np.float32)
        return (points + self.noise[self.number(frame)]).astype(np.float32)

    def track(self, **options):
        return Aligner(self.landmarks, self.detect, **options).track(self.frames())


def test_a_still_face_gives_the_ffhq_square_of_the_pack():
    track = World([face(roll=10)] * 30).track()
    truth = AVATAR_ALIGNMENT.apply(
        ffhq_square(*(Similarity(1, 10, 200, 150).apply(p) for p in ([-30, 0], [30, 0], [0, 62])))
    )
    assert len(track) == 30
    for number in (0, 13, 29):
        assert track[number].center == pytest.approx(truth.center, abs=0.05)
        assert track[number].side == pytest.approx(truth.side, abs=0.05)
        assert track[number].roll_deg == pytest.approx(10, abs=0.01)
    assert track.mean.center == pytest.approx(truth.center, abs=0.05)
    assert track.mean.roll_deg == 0


def test_noise_on_a_still_face_hardly_moves_the_square():
    track = World([face()] * 120, noise=1.0).track()
    unit = 256 / track[0].side  # crop pixels per source pixel
    assert np.abs(np.diff(track.squares[:, :2], axis=0)).max() * unit < 0.2
    assert np.ptp(track.squares[:, 2]) == 0
    assert track.roll_deg.std() < 0.3  # of 0.8 in each frame
    assert np.abs(np.diff(track.roll_deg)).max() < 0.2


def test_mouth_and_lids_do_not_move_the_square():
    jaw = [n % 40 >= 30 for n in range(200)]
    blink = [n % 30 >= 27 for n in range(200)]
    talking = World([face(jaw=j, blink=b) for j, b in zip(jaw, blink, strict=True)]).track()
    still = World([face()] * 200).track()
    assert np.abs(talking.squares - still.squares).max() < 1e-3


def test_a_single_wrong_frame_is_ignored():
    faces = [face()] * 60
    faces[20] = face(x=260, roll=30)
    track = World(faces).track()
    assert track.report.shots == 1
    assert np.abs(track.squares - World([face()] * 60).track().squares).max() < 0.05


def test_a_steady_movement_is_followed_to_its_ends():
    track = World([face(x=100 + 2 * n, roll=0.2 * n) for n in range(60)]).track()
    still = World([face()]).track()
    for n in (0, 30, 59):
        # Seen from the eyes, the centre lies where it lies in the still, turned with the head.
        offset = np.asarray(still[0].center) - (200, 150)
        expected = Similarity(1, 0.2 * n, 100 + 2 * n, 150).apply(offset)
        assert track[n].center == pytest.approx(expected, abs=0.6)
        assert track[n].roll_deg == pytest.approx(0.2 * n, abs=0.1)


def test_small_changes_of_size_stay_in_the_picture_and_large_ones_are_followed():
    near = World([face(scale=1 + 0.02 * np.sin(n / 15)) for n in range(200)]).track()
    assert np.ptp(near.squares[:, 2]) == 0
    # Turning to the side and back narrows the eyes by a third but leaves the mouth as far below.
    turned = []
    for n in range(200):
        points = face()
        points[:, 0] = 200 + (points[:, 0] - 200) * (1 - 0.3 * (60 < n < 140))
        turned.append(points)
    assert np.ptp(World(turned).track().squares[:, 2]) == 0
    away = World([face(scale=1.5 - 0.005 * n) for n in range(200)]).track()
    relative = away.squares[:, 2] / np.array([1.5 - 0.005 * n for n in range(200)])
    assert np.ptp(np.log(relative)) < 2.5 * np.log1p(SIZE_SLACK)
    assert np.abs(np.diff(away.squares[:, 2], 2)).max() < 0.15


def test_a_cut_begins_a_new_shot():
    track = World([face()] * 25 + [face(x=500, y=300, scale=0.5, roll=-20)] * 22).track()
    assert track.report.shots == 2
    assert track[24].side == pytest.approx(2 * track[25].side)
    assert track[24].roll_deg == pytest.approx(0, abs=1e-3)
    assert track[25].roll_deg == pytest.approx(-20, abs=1e-3)


def test_frames_without_a_face_are_held_and_counted():
    faces = [None] * 10 + [face()] * 33 + [None] * 21 + [face(x=230)] * 16
    track = World(faces).track()
    report = track.report
    assert (report.frames, report.held, report.first_face) == (80, 31, 10)
    assert track.found.tolist() == [f is not None for f in faces]
    assert np.array_equal(track.squares[:10], np.repeat(track.squares[10:11], 10, axis=0))
    assert np.array_equal(track.squares[43:64], np.repeat(track.squares[42:43], 21, axis=0))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 17])
def test_every_frame_gets_its_square(count):
    faces = [face(x=200 + n) for n in range(count)]
    world = World(faces)
    track = world.track(steady=False)
    assert len(track) == count
    assert track.found.all()
    assert np.diff(track.squares[:, 0]) == pytest.approx(np.ones(count - 1), abs=1e-3)
    assert world.detections <= count // 8 + 2


def test_no_face_at_all_is_one_clear_error():
    for faces in ([None] * 20, []):
        with pytest.raises(FaceNotFound, match="no face"):
            World(faces).track()
    world = World([None])
    with pytest.raises(FaceNotFound):
        Aligner(world.landmarks, world.detect).still(next(world.frames()))


def test_a_face_is_followed_while_two_landmarkers_agree():
    class Blind(World):
        """The detector sees the face in the first 9 frames only."""

        def detect(self, frame, near=None):
            return super().detect(frame) if self.number(frame) < 9 else None

    faces = [face(x=200 + 2 * n) for n in range(40)]
    world = Blind(faces)
    track = Aligner(world.landmarks, world.detect, checker=world.landmarks).track(world.frames())
    assert track.report.held == 0
    assert track.report.followed == 31

    def elsewhere(frame, box):
        return world.landmarks(frame, box) + 30

    unsure = Aligner(world.landmarks, world.detect, checker=elsewhere).track(world.frames())
    assert unsure.report.held == 31


class Crowd(World):
    """A face with these scores (None: not seen) and, from frame 1 on but where `alone`, a larger strong one elsewhere.

    The landmarkers see the face whose box it is.
    """

    def __init__(self, scores, alone=()):
        super().__init__([face(x=60 + n / 4, y=60, scale=0.5) for n in range(len(scores))])
        self.scores, self.alone = scores, alone
        self.other = face(x=220, y=120)

    def detect(self, frame, near=None):
        number = self.number(frame)
        faces = [(self.faces[number], self.scores[number])]
        if number and number not in self.alone:
            faces.append((self.other, 1.0))
        found = [Detection(box_of(anchors_of(points)), score) for points, score in faces if score is not None]
        return choose(found, near)

    def landmarks(self, frame, box):
        return (self.other if box.right > 150 else self.faces[self.number(frame)]).astype(np.float32)

    def track(self, checker=None):
        aligner = Aligner(self.landmarks, self.detect, steady=False, checker=checker or self.landmarks)
        return aligner.track(self.frames())

    def stayed(self, track):
        """[T]: is the square around the face, not the other one?"""
        return track.squares[:, 0] < 150


@pytest.mark.parametrize("missed", [[8], [16], [7, 8, 9], range(11, 30), range(12, 40)])
def test_a_missed_sighting_does_not_switch_to_somebody_else(missed):
    crowd = Crowd([None if n in missed else 1.0 for n in range(40)])
    track = crowd.track()
    assert crowd.stayed(track).all()
    assert track.report.held == 0
    truth = Aligner(crowd.landmarks, World(crowd.faces).detect, steady=False).track(crowd.frames())
    assert np.array_equal(track.squares, truth.squares)


def test_somebody_else_is_taken_when_the_face_cannot_be_followed():
    gone = Crowd([1.0] * 9 + [None] * 71)
    track = gone.track()
    assert gone.stayed(track).tolist() == [True] * (9 + FOLLOW_LIMIT) + [False] * (71 - FOLLOW_LIMIT)
    assert track.report.held == 0
    unsure = gone.track(lambda frame, box: gone.landmarks(frame, box) + (0 if gone.number(frame) < 9 else 30))
    assert gone.stayed(unsure).tolist() == [True] * 9 + [False] * 71


def test_a_weak_face_goes_on_after_an_empty_sighting():
    crowd = Crowd([1.0] * 8 + [None] + [-0.3] * 31, alone=[8])
    track = crowd.track()
    assert crowd.stayed(track).all()
    assert track.report.followed == 1


@pytest.mark.parametrize("rate", [8, 12, 25, 60])
def test_quick_heads_are_followed_at_any_rate(rate):
    """Two sways per second of 36 pixels, 0.6 eye distances, and 15 degrees of roll: noise of a pixel stays in."""
    seconds = np.arange(4 * rate) / rate
    sway, roll = 36 * np.sin(2 * np.pi * 2 * seconds), 15 * np.sin(2 * np.pi * 1.5 * seconds)
    world = World([face(x=200 + x, roll=r) for x, r in zip(sway, roll, strict=True)], noise=0.5)
    track = Aligner(world.landmarks, world.detect).track(world.frames(), rate)
    wrong = track.roll_deg - roll
    eyes = track.squares[:, :2] + 6 * np.column_stack([np.sin(np.deg2rad(roll)), -np.cos(np.deg2rad(roll))])
    assert np.sqrt(np.mean(wrong**2)) < (0.5 if rate > 8 else 1.2)
    assert np.abs(eyes[:, 0] - 200 - sway).std() < 0.02 * 60


def test_quick_heads_are_measured_in_boxes_of_their_own():
    """A landmarker that starts from its box and is wrong where that is: as regression trees are. Between sightings, a
    third of a second apart, the head turns back."""
    drop = 36 * np.sin(2 * np.pi * 2 * np.arange(75) / 25)

    class FromBox(World):
        def landmarks(self, frame, box):
            points = self.faces[self.number(frame)]
            off = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2]) - self.middle(points)
            beyond = max(0.0, np.hypot(*off) - 20) / max(np.hypot(*off), 1e-9)
            return (points + beyond * off).astype(np.float32)

        def middle(self, points):
            box = box_of(anchors_of(points))
            return np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])

        def detect(self, frame, near=None):
            self.detections += 1
            return Detection(box_of(anchors_of(self.faces[self.number(frame)])), 1.0)

    world = FromBox([face(y=150 + y) for y in drop])
    track = Aligner(world.landmarks, world.detect, steady=False, checker=world.landmarks).track(world.frames(), 25)
    assert np.abs(track.squares[:, 1] - track.squares[0, 1] - drop).max() < 2
    assert world.detections <= 75 // 8 + 3


def test_a_nod_between_stillness_is_followed_and_stillness_kept():
    drop = np.zeros(120)
    drop[50:65] = 30 * np.sin(np.pi * np.arange(15) / 15) ** 2
    track = World([face(y=150 + y) for y in drop], noise=0.5).track()
    y = track.squares[:, 1] - np.median(track.squares[:, 1])
    assert np.abs(y - drop)[45:70].max() < 2
    calm = np.r_[0:35, 85:120]
    assert y[calm].std() < 0.12  # of 0.25 in each frame: four corners of 0.5


def test_a_head_that_comes_near_within_a_second_is_followed():
    scale = 1 + 0.3 / (1 + np.exp(-(np.arange(100) - 50) / 3))
    track = World([face(scale=s) for s in scale]).track()
    relative = np.log(track.squares[:, 2] / scale)
    assert np.ptp(relative) < 0.1
    with pytest.raises(OptionError, match="frame rate"):
        Aligner(World([]).landmarks, World([]).detect).track([], 0)


def test_a_network_that_tilts_shut_eyes_is_held_near_the_checker():
    tilted = {n: face(x=230, roll=14) for n in range(20, 40)}

    class Net(World):
        def many(self, frames, boxes):
            numbers = [self.number(frame) for frame in frames]
            lower = Similarity(1, 0, 0, LOWER * 60)
            return np.stack([lower.apply(tilted.get(n, self.faces[n])) for n in numbers]).astype(np.float32)

        def landmarks(self, frame, box):
            return self.many([frame], [box])[0]

        __call__ = landmarks

    world = Net([face()] * 60)
    loose = Aligner(world, world.detect).track(world.frames())
    held = Aligner(world, world.detect, checker=World(world.faces).landmarks).track(world.frames())
    assert np.abs(loose.roll_deg).max() > 12
    assert np.abs(held.roll_deg).max() < TILT + 0.05
    truth = World(world.faces).track()
    assert np.hypot(*(held.squares - truth.squares)[:, :2].T).max() < (SHIFT + LOWER) * 60 + 0.6
    assert np.abs(held.squares[:6] - loose.squares[:6]).max() < 1e-3  # where they agree nothing is moved


def test_a_face_that_is_followed_is_looked_at_once():
    looked = {"many": 0, "follow": 0}

    class Net(World):
        def many(self, frames, boxes):
            looked["many"] += len(frames)
            return np.stack([self.faces[self.number(frame)] for frame in frames]).astype(np.float32)

        def follow(self, frames, expected):
            looked["follow"] += len(frames)
            found = np.stack([self.faces[self.number(frame)] for frame in frames]).astype(np.float32)
            assert np.abs(found - expected).max() < 1  # led there by the checker, however far the head has moved
            return found

        def landmarks(self, frame, box):
            return self.many([frame], [box])[0]

        __call__ = landmarks

    shaken = [face(x=230 + 6 * np.sin(n), y=200 + 4 * n % 11, roll=3 * np.cos(n)) for n in range(60)]
    world = Net(shaken)
    track = Aligner(world, world.detect, checker=World(world.faces).landmarks).track(world.frames())
    assert looked["follow"] == 60 - looked["many"] >= 50
    plain = World(shaken)
    assert np.abs(track.squares - Aligner(plain.landmarks, plain.detect).track(plain.frames()).squares).max() < 1


def test_both_passes_hold_few_frames_at_a_time():
    alive, most = weakref.WeakSet(), 0

    class Counted(np.ndarray):
        __hash__ = object.__hash__

    def stream(world):
        nonlocal most
        for frame in world.frames():
            counted = frame.view(Counted)
            alive.add(counted)
            most = max(most, len(alive))
            yield counted
            del counted, frame

    world = World([face(x=2, y=2, scale=0.05)] * 60)
    gc.collect()
    track = Aligner(world.landmarks, world.detect, stride=8).track(stream(world))
    assert most <= 2 * 8 + 3
    most = 0
    assert sum(1 for _ in crops(stream(world), track, 8)) == 60
    assert most <= 3


def test_options_are_checked():
    with pytest.raises(OptionError):
        World([face()]).track(stride=0)


def test_smoothing_keeps_lines_and_calms_noise():
    t = np.arange(50.0)
    line = np.stack([3 * t + 1, 5 - t], axis=1)
    gaps = np.r_[0:20, 33:50]
    assert local_lines(line[gaps], t[gaps], 3.0) == pytest.approx(line[gaps], abs=1e-9)
    noise = np.random.default_rng(0).normal(0, 1, (2000, 1))
    gain = local_lines(noise, np.arange(2000.0), 3.0).std()
    assert gain == pytest.approx((2 * np.sqrt(np.pi) * 3.0) ** -0.5, rel=0.1)


def gradient(width=300, height=200):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 0.8, y * 1.2, x * 0.3], axis=-1).round().astype(np.uint8)


@pytest.mark.parametrize("side", [40.0, 64.0, 100.0, 180.0])
@pytest.mark.parametrize("roll", [0.0, 25.0])
def test_warp_puts_each_pixel_where_the_geometry_says(side, roll):
    crop = CropTransform((150.0, 100.0), side, roll)
    picture = warp(gradient(), crop, 64)
    centres = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1) + 0.5
    source = crop.to_source(centres, 64) - 0.5  # where the gradient is read at pixel indices
    inside = ((source > 2) & (source < (297, 197))).all(axis=-1)
    expected = np.stack([source[..., 0] * 0.8, source[..., 1] * 1.2, source[..., 0] * 0.3], axis=-1)
    error = (picture - expected)[inside]
    assert np.abs(error.mean(axis=0)).max() < 0.15  # half a source pixel shows as 0.4
    assert np.abs(error).max() < 2


def test_warp_does_not_alias_and_mirrors_what_lies_outside():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    fine = warp(stripes, CropTransform((128.0, 128.0), 200.0), 40)
    assert fine.std() < 8
    frame = gradient()
    outside = warp(frame, CropTransform((0.0, 100.0), 60.0), 60).astype(int)
    assert np.abs(outside - outside[:, ::-1]).max() <= 2
    assert warp(frame, CropTransform((-900.0, 2000.0), 60.0), 16).shape == (16, 16, 3)


def test_a_drawn_head_stays_put_in_its_crops():
    """dlib's detector and 5 points on drawn frames: the head sways, tilts and talks, the crops stay alike."""
    swaying = [
        draw_face(
            320,
            320,
            center=(160 + 8 * np.sin(n / 5), 150 + n / 3),
            eyes=66,
            mouth=float(n % 8 > 4),
            roll=6 * np.sin(n / 6),
        )
        for n in range(20)
    ]
    aligner = Aligner(Dlib5())
    track = aligner.track(swaying)
    assert track.report.held == 0
    cut = list(crops(swaying, track, 128))
    eyes = np.stack([c[35:65, 25:103].astype(float) for c in cut])  # the mouth is left out
    moving = np.stack([f[100:180, 80:240].astype(float) for f in swaying])
    assert eyes.std(axis=0).mean() < 0.35 * moving.std(axis=0).mean()
    still = aligner.still(swaying[0])
    assert still.side == pytest.approx(track[0].side, rel=0.08)


def test_a_track_is_split_where_another_face_is_seen_in_the_same_place():
    """The face changes at once but hardly jumps: only who knows of the cut can lay each one's own squares."""
    faces = [face()] * 30 + [face(x=206, scale=1.15, roll=6)] * 30
    world = World(faces)
    aligner = Aligner(world.landmarks, world.detect)
    whole = aligner.track(world.frames())
    seen = world.detections
    parts = aligner.split(whole, [30])
    assert world.detections == seen  # no picture is looked at again
    assert (whole.shot_starts, parts.shot_starts) == ((0,), (0, 30))
    first, second = (World([one] * 30).track().squares for one in (faces[0], faces[-1]))
    assert np.abs(parts.squares - np.concatenate([first, second])).max() < 1e-6
    assert np.abs(whole.squares - parts.squares)[:, 2].min() > 1
    assert aligner.split(whole, []).squares.tobytes() == whole.squares.tobytes()
    with pytest.raises(ValueError, match="only what"):
        aligner.split(replace(whole, seen=None), [30])
