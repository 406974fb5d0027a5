"""The motion of a head under its landmarks, read off drawn pictures whose motion is known."""

import numpy as np
import pytest

from stylecodec.face.align import Aligner
from stylecodec.face.detect import Detection
from stylecodec.face.flow import moved, patch_of
from stylecodec.face.track import box_of
from stylecodec.geometry import Similarity

from .drawn import draw_face

EYES = 76.0
MIDDLE = np.array([160.0, 150.0])


def drawn(x=0.0, y=0.0, roll=0.0, mouth=0.0):
    return draw_face(320, 320, center=tuple(MIDDLE + np.array([x, y])), eyes=EYES, mouth=mouth, roll=roll)


def patch(picture, x=0.0, y=0.0, roll=0.0):
    return patch_of(picture, MIDDLE + np.array([x, y]), roll, EYES)


@pytest.mark.parametrize(("x", "y", "roll"), [(0, 0, 0), (1.5, -1, 0.8), (-4, 3, -3), (0.2, 0.1, 0.1)])
def test_slips_of_landmarks_are_measured(x, y, roll):
    """The head stays, the landmarks slip: under the second patch it moved the other way."""
    found = moved(patch(drawn()), patch(drawn(mouth=0.6), x, y, roll))
    expected = Similarity(1, -roll).apply([-x, -y]) / EYES
    assert found[:2] == pytest.approx(expected, abs=0.003)
    assert np.rad2deg(found[2]) == pytest.approx(-roll, abs=0.15)


def test_exact_landmarks_do_not_slip_on_a_moving_head_in_other_light():
    light = (drawn(25, -18, 12) * 0.8 + 15).astype(np.uint8)
    found = moved(patch(drawn()), patch(light, 25, -18, 12))
    assert np.abs(found[:2]).max() < 0.004
    assert abs(np.rad2deg(found[2])) < 0.2


def test_what_cannot_be_compared_is_not():
    rng = np.random.default_rng(0)
    assert patch(drawn(), x=100) is None  # over the edge
    assert patch_of(drawn(), MIDDLE, 0, 0.5) is None
    flat, noise = (np.full((320, 320, 3), 90, np.uint8), rng.integers(0, 255, (320, 320, 3), np.uint8))
    assert moved(patch(flat), patch(flat)) is None
    assert moved(patch(drawn()), patch(noise)) is None
    assert moved(patch(drawn()), patch(drawn(40))) is None


@pytest.mark.parametrize("shaking", [False, True])
def test_the_square_moves_with_the_head_not_with_its_landmarks(shaking):
    """Landmarks whose error wanders over the head, as errors of networks do: smoothing alone takes that for motion."""
    count, rng = 60, np.random.default_rng(3)
    t = np.arange(count) / 30
    true = np.zeros((count, 3))
    if shaking:
        true = np.column_stack([18 * np.sin(9 * t), 30 * np.sin(12.6 * t), 12 * np.sin(9.4 * t)])
    errors = np.column_stack([1.5 * np.sin(2 * np.pi * k * t + k) for k in (2.6, 3.4)]) + rng.normal(0, 0.2, (count, 2))
    shape = np.array([[-0.68, 0], [-0.32, 0], [0.32, 0], [0.68, 0]]) * EYES
    points = np.zeros((count, 68, 2))
    for k, (x, y, roll) in enumerate(true):
        place = Similarity(1, roll, *(MIDDLE + np.array([x, y]) + errors[k]))
        points[k, [36, 39, 42, 45]] = place.apply(shape)
        for eye in (36, 42):
            points[k, eye + 1 : eye + 3] = points[k, eye + 4 : eye + 6] = points[k, [eye, eye + 3]].mean(axis=0)
        points[k, [48, 54]] = place.apply([[-20, 88], [20, 88]])
    frames = [drawn(*motion, mouth=0.5 + 0.5 * np.sin(k / 3)) for k, motion in enumerate(true)]
    number = {frame.tobytes(): k for k, frame in enumerate(frames)}

    def landmarks(frame, box):
        return points[number[frame.tobytes()]].astype(np.float32)

    def detect(frame, near=None):
        k = number[frame.tobytes()]
        anchors = np.stack([*points[k, [36, 39, 42, 45]], points[k, 37], points[k, 43], points[k, [48, 54]].mean(0)])
        return Detection(box_of(anchors), 1.0)

    def off(**options):
        track = Aligner(landmarks, detect, **options).track(frames, 30)
        seen = zip(track.squares[:, :2], true, strict=True)
        away = np.array([Similarity(1, -roll).apply(centre - MIDDLE - place) for centre, (*place, roll) in seen])
        return float(np.sqrt(((away - away.mean(axis=0)) ** 2).sum(axis=1).mean())) * 512 / track.squares[0, 2]

    assert off(steady=False) > 1.8
    assert off() < (0.5 if shaking else 0.3)  # drawings shift by fractions of a pixel as they turn
