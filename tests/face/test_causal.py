"""The face in frames that come one at a time, with injected landmarks; and with dlib on drawn faces."""

import numpy as np
import pytest

from stylecodec.face.align import Aligner
from stylecodec.face.causal import PATIENCE, SEARCH_SECONDS, CausalSquares, LiveAligner, OneEuro
from stylecodec.face.detect import Box, Detection, FaceDetector, choose
from stylecodec.face.landmarks import Dlib5, PackLandmarks
from stylecodec.face.track import anchors_of, box_of
from stylecodec.geometry import AVATAR_ALIGNMENT, Similarity, ffhq_square
from stylecodec.packs.store import open_pack
from tests.face.drawn import draw_face
from tests.face.test_align import World as Faces
from tests.face.test_align import face


class World(Faces):
    """The same, with boxes of the size that dlib's detector gives."""

    def detect(self, frame, near=None):
        self.detections += 1
        points = self.faces[self.number(frame)]
        return None if points is None else Detection(box_of(anchors_of(points)), 1.0)


def squares(world, **options):
    aligner = LiveAligner(world.landmarks, world.detect, **options)
    return [aligner(number / 25, frame) for number, frame in enumerate(world.frames())]


def truth(x=200, y=150, roll=0.0):
    points = ([-30, 0], [30, 0], [0, 62])
    return AVATAR_ALIGNMENT.apply(ffhq_square(*(Similarity(1, roll, x, y).apply(p) for p in points)))


def test_a_still_face_gives_the_square_of_the_pack():
    found = squares(World([face(roll=10)] * 30))
    wanted = truth(roll=10)
    for square in (found[0], found[29]):
        assert square.center == pytest.approx(wanted.center, abs=0.05)
        assert square.side == pytest.approx(wanted.side, abs=0.05)
        assert square.roll_deg == pytest.approx(10, abs=0.01)


def test_a_still_head_hardly_trembles_and_a_quick_one_is_followed():
    still = squares(World([face()] * 150, noise=0.5))
    trembling = np.std(np.diff([square.center[0] for square in still[50:]]))
    raw = np.std(np.diff([square.center[0] for square in one_by_one(World([face()] * 150, noise=0.5))]))
    assert trembling < 0.4 * raw
    quick = [face(x=200 + 4 * max(0, k - 20)) for k in range(60)]  # 100 pixels per second, 1.7 eye spans
    found = squares(World(quick))
    behind = [200 + 4 * max(0, k - 20) - found[k].center[0] + (truth().center[0] - 200) for k in range(60)]
    assert max(map(abs, behind)) < 8  # less than two frames of its way
    assert abs(behind[-1]) < 6


def one_by_one(world):
    """The squares of frames that know nothing of each other."""
    for frame in world.frames():
        yield Aligner(world.landmarks, world.detect).still(frame)


def test_squares_are_near_those_of_a_whole_clip():
    faces = [face(x=200 + 20 * np.sin(k / 12), y=150 + 8 * np.sin(k / 9), roll=6 * np.sin(k / 15)) for k in range(120)]
    live, whole = squares(World(faces)), World(faces).track()
    for k in range(25, 120):
        assert live[k].center == pytest.approx(whole[k].center, abs=3.0)
        assert live[k].side == pytest.approx(whole[k].side, rel=0.01)
        assert live[k].roll_deg == pytest.approx(whole[k].roll_deg, abs=1.0)


def test_a_single_wrong_frame_is_no_cut():
    faces = [face()] * 20 + [face(x=400)] + [face()] * 20
    found = squares(World(faces))
    assert found[20] is None
    assert found[21].center == pytest.approx(found[19].center, abs=0.5)


def test_landmarks_that_jump_once_hold_the_square():
    laid = CausalSquares()
    before = [laid(k / 25, anchors_of(face())) for k in range(20)][-1]
    assert laid(20 / 25, anchors_of(face(x=400))) == before
    assert laid(21 / 25, anchors_of(face())).center == pytest.approx(before.center, abs=0.5)
    laid(22 / 25, anchors_of(face(x=400)))
    assert laid(23 / 25, anchors_of(face(x=400))).center == pytest.approx(truth(x=400).center, abs=0.5)  # a cut


def test_no_face_for_long():
    faces = [face()] * 20 + [None] * 1500 + [face(x=260)] * 20
    world = World(faces)
    found = squares(world)
    assert all(square is None for square in found[20 + 1 : 1520])
    assert found[-1] is not None
    assert found[-1].center[0] == pytest.approx(truth(x=260).center[0], abs=1)
    assert world.detections < 60 / SEARCH_SECONDS + 30  # a frame without a face costs less than one with one


class TwoFaces(World):
    """A second face stands beside the first one all the time; it is the larger one."""

    other = face(x=500, scale=1.3)

    def detect(self, frame, near=None):
        first = World.detect(self, frame)
        mine, self.faces = self.faces, [self.other] * len(self.faces)
        second = World.detect(self, frame)
        self.faces = mine
        return choose([one for one in (first, second) if one is not None], near)

    def landmarks(self, frame, box):
        mine = self.faces[self.number(frame)]
        seen = self.other if box.left > 350 else mine
        return np.zeros((68, 2), np.float32) if seen is None else seen.astype(np.float32)


def test_the_face_that_was_followed_is_followed_on():
    world = TwoFaces([face()] * 200)
    aligner = LiveAligner(world.landmarks, lambda frame, near: World.detect(world, frame))
    frames = list(world.frames())
    first = [aligner(k / 25, frame) for k, frame in enumerate(frames[:10])]
    aligner._tracker._detector = world.detect  # now the larger one is seen too
    rest = [aligner((10 + k) / 25, frame) for k, frame in enumerate(frames[10:])]
    assert first[-1].center[0] < 250
    assert all(square.center[0] < 250 for square in rest)


def test_another_face_is_taken_when_the_one_before_is_gone_for_good():
    gone = round((PATIENCE + 0.4) * 25)
    faces = [face()] * 10 + [None] * gone
    world = TwoFaces(faces)
    world.other = None
    aligner = LiveAligner(world.landmarks, lambda frame, near: detect_after(world, frame, near))
    found = [aligner(k / 25, frame) for k, frame in enumerate(world.frames())]
    assert found[9].center[0] < 250
    assert all(square is None for square in found[11:35])  # for a second, at least
    assert found[-1].center[0] > 350


def detect_after(world, frame, near):
    """The second face comes when the first has gone."""
    world.other = TwoFaces.other if world.number(frame) >= 10 else None
    return TwoFaces.detect(world, frame, near) if world.other is not None else World.detect(world, frame)


def test_one_euro_goes_on_after_a_pause():
    smooth = OneEuro(1.0, 0.0)
    smooth(0.0, np.zeros(1))
    assert 0 < smooth(0.04, np.ones(1))[0] < 0.5
    assert smooth(100.0, np.ones(1))[0] > 0.99
    smooth.restart()
    assert smooth(100.04, np.full(1, 7.0))[0] == 7


def test_dlib_on_a_drawn_face():
    aligner = LiveAligner(Dlib5())
    found = [aligner(k / 25, draw_face(center=(240 + 2 * k, 230.0))) for k in range(6)]
    empty = [aligner(1 + k / 25, np.full((480, 480, 3), 100, np.uint8)) for k in range(9)]
    assert all(square is not None for square in found)
    assert found[-1].center[0] - found[0].center[0] == pytest.approx(10, abs=4)
    assert empty[-1] is None  # a tracer sees faces everywhere until the detector looks


def test_the_detector_looks_again_around_the_face_alone():
    detector = FaceDetector(thorough=False)
    picture = draw_face(640, 480, center=(400.0, 230.0), eyes=60.0)
    seen = detector(picture)
    again = detector.again(picture, seen.box)
    assert again.box.overlap(seen.box) > 0.6
    moved = draw_face(640, 480, center=(410.0, 236.0), eyes=60.0)
    there = detector.again(moved, seen.box).box
    assert (there.left + there.right - seen.box.left - seen.box.right) / 2 == pytest.approx(10, abs=8)
    assert detector.again(np.full_like(picture, 100), seen.box) is None
    assert detector.again(draw_face(640, 480, center=(120.0, 230.0), eyes=60.0), seen.box) is None
    assert detector.again(picture, Box(700, 500, 700, 500)) is None


def test_landmarks_are_followed_with_one_look_of_the_network():
    pack = open_pack("avatar-1024")
    landmarker = PackLandmarks(pack.landmarks("cpu"), pack.alignment)
    box = FaceDetector()(draw_face()).box
    before = landmarker(draw_face(), box)
    moved = draw_face(center=(244.0, 233.0))
    followed, anew = landmarker.follow([moved], [before])[0], landmarker(moved, box)
    assert np.abs(followed - anew).max() < 6  # of 100 pixels between the eyes
    assert np.abs((followed - before)[[36, 45]].mean(axis=0) - [4, 3]).max() < 2


def test_a_square_that_the_points_do_not_ask_for_is_looked_at_again():
    pack = open_pack("avatar-1024")
    landmarker = PackLandmarks(pack.landmarks("cpu"), pack.alignment)
    frames, box = [draw_face()] * 2, FaceDetector()(draw_face()).box
    there = landmarker(frames[0], box)
    aside = there + np.float32(0.25 * np.ptp(there[:, 0]))
    found = landmarker.follow(frames, [there, aside])
    once = PackLandmarks(pack.landmarks("cpu"), pack.alignment, refine=False).follow(frames, [there, aside])
    assert np.abs(found[0] - there).max() < 3
    assert np.array_equal(found[0], once[0])  # near enough: no second look
    assert np.abs(found[1] - there).mean() < 0.5 * np.abs(once[1] - there).mean()
