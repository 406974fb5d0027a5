"""Crops and similarity transforms; the numbers are worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylecodec.errors import OptionError
from stylecodec.geometry import (
    AVATAR_ALIGNMENT,
    Alignment,
    CropTransform,
    Similarity,
    aligned_crop,
    apply_affine,
    ffhq_crop,
    ffhq_quad,
    ffhq_square,
    invert_affine,
)

number = st.floats(-500, 500)
similarities = st.builds(Similarity, st.floats(0.1, 10), st.floats(-180, 180), number, number)


def landmarks(eye_left, eye_right, mouth_left, mouth_right):
    """68 points with nothing but these anchors; the six points of an eye lie around its centre."""
    points = np.full((68, 2), np.nan)
    ring = np.array([[-3, 0], [-1, -1], [1, -1], [3, 0], [1, 1], [-1, 1]])
    points[36:42] = eye_left + ring
    points[42:48] = eye_right + ring
    points[48], points[54] = mouth_left, mouth_right
    return points


def test_a_positive_rotation_is_clockwise_on_the_screen():
    right_becomes_down = Similarity(2.0, 90.0, 5.0, 7.0).apply([1.0, 0.0])
    assert right_becomes_down == pytest.approx([5.0, 9.0])


@given(similarities, similarities, number, number)
def test_similarities_compose_and_invert(a, b, x, y):
    point = np.array([x, y])
    assert (a @ b).apply(point) == pytest.approx(a.apply(b.apply(point)), abs=1e-6)
    assert a.inverse().apply(a.apply(point)) == pytest.approx(point, abs=1e-6)
    assert apply_affine(invert_affine(a.matrix), a.apply(point)) == pytest.approx(point, abs=1e-6)


@given(similarities)
def test_fit_finds_the_similarity(truth):
    points = np.array([[0, 0], [10, 0], [3, 8], [-4, 5]], float)
    assert Similarity.fit(points, truth.apply(points)).matrix == pytest.approx(truth.matrix, abs=1e-6)


def test_fit_needs_two_points():
    with pytest.raises(OptionError):
        Similarity.fit([[1, 1], [1, 1]], [[0, 0], [2, 2]])


def test_crop_corners_by_hand():
    crop = CropTransform((100.0, 60.0), 40.0)
    assert crop.quad.tolist() == [[80, 40], [80, 80], [120, 80], [120, 40]]
    # The centre of the first pixel of a 4x4 crop: a pixel is 10 source pixels wide.
    assert crop.to_source([0.5, 0.5], 4) == pytest.approx([85, 45])
    assert crop.to_crop([100, 60], 256) == pytest.approx([128, 128])
    assert crop.to_crop([120, 60]) == pytest.approx([1.0, 0.5])
    # The head tilts clockwise by a right angle: the crop's top left is the source's top right.
    tilted = CropTransform((100.0, 60.0), 40.0, 90.0)
    assert tilted.quad == pytest.approx(np.array([[120, 40], [80, 40], [80, 80], [120, 80]]))
    assert crop.scaled(0.5) == CropTransform((50.0, 30.0), 20.0)


@given(number, number, st.floats(1, 500), st.floats(-180, 180), number, number)
def test_crop_and_source_are_inverse(cx, cy, side, roll, x, y):
    crop = CropTransform((cx, cy), side, roll)
    assert crop.to_source(crop.to_crop([x, y], 256), 256) == pytest.approx([x, y], abs=1e-6)


@pytest.mark.parametrize("bad", [((0, 0), 0.0, 0.0), ((0, 0), -1.0, 0.0), ((math.nan, 0), 1.0, 0.0)])
def test_an_impossible_crop_is_refused(bad):
    with pytest.raises(OptionError):
        CropTransform(*bad)


def test_ffhq_square_where_the_eyes_decide():
    # e = (60, 0), m = (0, 50): half-side max(120, 90) = 120; centre (130, 100) + 0.1 m = (130, 105).
    square = ffhq_square([100, 100], [160, 100], [130, 150])
    assert square == CropTransform((130.0, 105.0), 240.0, 0.0)


def test_ffhq_square_where_the_mouth_decides():
    # e = (40, 0), m = (0, 60): half-side max(80, 108) = 108; centre (120, 100) + (0, 6).
    square = ffhq_square([100, 100], [140, 100], [120, 160])
    assert square == CropTransform((120.0, 106.0), 216.0, 0.0)


def test_ffhq_roll_is_between_the_eye_line_and_the_mouth():
    # e = (40, 0), m = (10, 40), rot90(m) = (-40, 10): x is along (80, -10).
    square = ffhq_square([0, 0], [40, 0], [30, 40])
    assert square.roll_deg == pytest.approx(math.degrees(math.atan2(-10, 80)))
    assert square.center == pytest.approx((21.0, 4.0))
    assert square.side == pytest.approx(2 * max(80, 1.8 * math.hypot(10, 40)))


def test_ffhq_of_landmarks_and_its_quad():
    points = landmarks([100, 100], [160, 100], [110, 150], [150, 150])
    assert ffhq_crop(points) == CropTransform((130.0, 105.0), 240.0, 0.0)
    assert ffhq_quad(points) == pytest.approx(np.array([[10, -15], [10, 225], [250, 225], [250, -15]]))


@given(similarities)
def test_the_square_moves_with_the_face(move):
    points = landmarks([100, 100], [160, 104], [110, 150], [155, 149])
    assert ffhq_quad(move.apply(points)) == pytest.approx(move.apply(ffhq_quad(points)), abs=1e-6)


def test_a_packs_scale_and_lift():
    # 240 * 1.08 = 259.2; lifted by 0.035 * 129.6 = 4.536.
    points = landmarks([100, 100], [160, 100], [110, 150], [150, 150])
    crop = aligned_crop(points, AVATAR_ALIGNMENT)
    assert crop.side == pytest.approx(259.2)
    assert crop.center == pytest.approx((130.0, 105.0 - 4.536))
    # A head that lies on its left side: its up is the image's right.
    lying = Alignment(1.0, 0.5).apply(CropTransform((0.0, 0.0), 100.0, 90.0))
    assert lying.center == pytest.approx((25.0, 0.0))


def test_one_point_is_no_face():
    with pytest.raises(OptionError):
        ffhq_square([1, 1], [1, 1], [1, 1])
