"""The detector on drawn faces, and what is built on dlib's model files."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from stylecodec.errors import FaceNotFound, MissingDependency, OptionError
from stylecodec.face.detect import POINTS_5, Box, Detection, FaceDetector, choose, model_file
from stylecodec.face.landmarks import (
    CORNERS_OF_5,
    Dlib5,
    DlibPredictor,
    PackLandmarks,
    five_point_square,
    make_landmarker,
)
from stylecodec.face.recognition import FaceDescriptor
from stylecodec.geometry import AVATAR_ALIGNMENT, Similarity, ffhq_square
from tests.face.drawn import MOUTH, draw_face


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


@pytest.fixture(scope="module")
def dlib5():
    return Dlib5()


def test_model_files_are_found_without_importing_their_package():
    script = (
        "import sys; from stylecodec.face.detect import model_file, POINTS_5; "
        "assert model_file(POINTS_5).is_file(); assert 'face_recognition_models' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(MissingDependency, match="pip install"):
        model_file("no_such_model.dat")


def test_boxes():
    a, b = Box(0, 0, 10, 10), Box(5, 0, 15, 10)
    assert a.overlap(b) == pytest.approx(50 / 150)
    assert a.overlap(Box(20, 0, 30, 10)) == 0
    assert a.grown(2) == Box(-5, -5, 15, 15)
    assert a.contains(np.array([[0, 0], [10, 10]]))
    assert not a.contains(np.array([[0, 11]]))


def test_the_largest_strong_face_is_chosen_unless_one_goes_on():
    small, large = Detection(Box(0, 0, 50, 50), 0.4), Detection(Box(100, 0, 300, 200), 0.2)
    weak = Detection(Box(400, 0, 900, 500), -0.3)
    assert choose([small, large, weak], None) == large
    assert choose([small, large, weak], Box(5, 5, 55, 55)) == small
    assert choose([large, weak], Box(410, 0, 900, 500)) == weak
    assert choose([weak], None) is None
    assert choose([], Box(0, 0, 1, 1)) is None


@pytest.mark.parametrize(
    ("size", "center", "eyes"),
    [((480, 480), (240, 230), 100), ((1920, 1080), (1200, 500), 150), ((640, 360), (200, 150), 30)],
)
def test_a_drawn_face_is_found_at_any_size(detector, size, center, eyes):
    frame = draw_face(*size, center=center, eyes=eyes)
    found = detector(frame)
    assert found is not None
    assert found.box.contains(np.array([center, (center[0], center[1] + eyes)]))
    assert 1.8 < found.box.width / eyes < 3.2
    assert detector(frame, near=found.box).box.overlap(found.box) > 0.9


def test_no_face_in_noise(detector):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert detector(noise) is None
    assert detector(np.zeros((50, 40, 3), np.uint8)) is None


def test_five_points_and_the_square_they_give(detector, dlib5):
    frame = draw_face()
    points = dlib5(frame, detector(frame).box)
    assert points.shape == (5, 2)
    assert points.dtype == np.float32
    corners = points[list(CORNERS_OF_5)]
    assert corners[:, 1] == pytest.approx(np.full(4, 230), abs=6)
    assert corners.mean(0) == pytest.approx([240, 230], abs=5)
    assert (np.diff(corners[:, 0]) > 25).all()
    truth = AVATAR_ALIGNMENT.apply(ffhq_square([190, 230], [290, 230], [240, 230 + 100 * MOUTH[1]]))
    square = five_point_square(points, AVATAR_ALIGNMENT)
    assert square.side == pytest.approx(truth.side, rel=0.1)
    assert square.center == pytest.approx(truth.center, abs=0.04 * truth.side)
    assert square.roll_deg == pytest.approx(0, abs=3)


def test_landmark_choices(tmp_path):
    assert isinstance(make_landmarker("dlib5"), Dlib5)
    assert isinstance(make_landmarker(str(model_file(POINTS_5))), DlibPredictor)
    for choice in ("pack", "dlib70"):
        with pytest.raises(OptionError):
            make_landmarker(choice)
    with pytest.raises(OptionError):
        make_landmarker(str(tmp_path / "none.dat"))
    (tmp_path / "bad.dat").write_bytes(b"not a predictor")
    with pytest.raises(OptionError):
        make_landmarker(str(tmp_path / "bad.dat"))


# 81 points in crop units; what matters are the eyes and mouth, which ask for the avatar square itself.
UNITS = np.random.default_rng(1).uniform(0.3, 0.7, (81, 2))
UNITS[36:42], UNITS[42:48] = (0.385, 0.49), (0.615, 0.49)
UNITS[48], UNITS[54] = (0.43, 0.74), (0.57, 0.74)


class FixedNet(torch.nn.Module):
    """Says that the points lie at the same crop units, and remembers what it was shown."""

    input_size = 64

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return torch.from_numpy(UNITS).float().expand(len(x), -1, -1)


def test_pack_landmarks_see_the_square_and_map_back():
    points5 = np.array([[312, 230], [265, 230], [166, 230], [215, 230], [240, 304]], np.float32)
    net = FixedNet()
    frame = np.random.default_rng(0).integers(0, 256, (480, 480, 3), np.uint8)
    once = PackLandmarks(net, start=lambda frame, box: points5, refine=False)
    found = once.many([frame, frame], [Box(0, 0, 1, 1)] * 2)
    square = five_point_square(points5, AVATAR_ALIGNMENT)
    assert found.shape == (2, 81, 2)
    assert found[0] == pytest.approx(square.to_source(UNITS), abs=1e-2)
    assert len(net.seen) == 1
    assert net.seen[0].shape == (2, 3, 64, 64)
    assert net.seen[0].min() >= -1
    assert net.seen[0].max() <= 1
    twice = PackLandmarks(net, start=lambda frame, box: points5)
    assert twice(frame, Box(0, 0, 1, 1)).shape == (81, 2)
    assert len(net.seen) == 3


def test_points_out_of_reason_do_not_move_the_second_look():
    points5 = np.array([[312, 230], [265, 230], [166, 230], [215, 230], [240, 304]], np.float32)

    class Lost(FixedNet):
        def forward(self, x):
            return torch.full((len(x), 81, 2), 0.5)

    landmarker = PackLandmarks(Lost(), start=lambda frame, box: points5)
    assert np.isfinite(landmarker(np.zeros((480, 480, 3), np.uint8), Box(0, 0, 1, 1))).all()


def test_descriptors_tell_pictures_apart():
    describe = FaceDescriptor()
    a, b = describe(draw_face()), describe(draw_face(center=(250, 236), eyes=96))
    other = draw_face()[..., ::-1].copy()
    assert a.shape == (128,)
    assert FaceDescriptor.distance(a, a) == 0
    assert FaceDescriptor.distance(a, b) < FaceDescriptor.distance(a, describe(other))
    with pytest.raises(FaceNotFound):
        describe(np.zeros((100, 100, 3), np.uint8))


def test_the_drawn_face_turns_as_it_should():
    """The fixture itself: a positive roll brings the right eye down."""
    frame = draw_face(roll=90)
    pupil = Similarity(1.0, 90.0, 240, 230).apply([50, 0])
    x, y = (int(v) for v in pupil)
    assert (x, y) == (240, 280)
    assert frame[y, x].mean() < 60


@pytest.mark.parametrize("eyes", [17, 20])
def test_a_small_face_is_found_enlarged_and_again_beside_itself(detector, eyes):
    frame = draw_face(1280, 720, center=(700, 300), eyes=eyes)
    found = detector(frame)
    assert found is not None
    assert found.box.contains(np.array([(700, 300)]))
    assert 1.8 < found.box.width / eyes < 3.2
    again = detector(frame, near=found.box)
    assert again.box.overlap(found.box) > 0.6
    assert detector(draw_face(1280, 720, center=(30, 20), eyes=eyes), near=found.box) is None
