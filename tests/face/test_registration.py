"""Heads registered to key frames, on drawn pictures whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from stylecodec.face.align import laid
from stylecodec.face.flow import patch_of
from stylecodec.face.registration import Placed, Registered, Registrar, anchored, register
from stylecodec.face.track import FaceTrack
from stylecodec.geometry import AVATAR_ALIGNMENT
from tests.face.drawn import draw_face

EYES = 76.0
MIDDLE = np.array([160.0, 150.0])


def drawn(x: float = 0.0, y: float = 0.0, roll: float = 0.0, mouth: float = 0.0, eyes: float = EYES) -> np.ndarray:
    return draw_face(320, 320, center=tuple(MIDDLE + np.array([x, y])), eyes=eyes, mouth=mouth, roll=roll)


@pytest.mark.parametrize(
    ("x", "y", "roll", "eyes"), [(0, 0, 0, EYES), (2.5, -1.5, 1.0, EYES), (9, 6, -6, EYES), (1, 2, 3, 80.0)]
)
def test_motion_is_measured_in_other_light_and_with_another_mouth(x: float, y: float, roll: float, eyes: float) -> None:
    key = patch_of(drawn(), MIDDLE, 0.0, EYES)
    light = (drawn(x, y, roll, mouth=0.7, eyes=eyes) * 0.8 + 12).astype(np.uint8)
    patch = patch_of(light, MIDDLE, 0.0, EYES)
    assert key is not None
    assert patch is not None
    found = register(key, patch)
    assert found is not None
    scale = key.side / 80
    assert found.values[:2] * scale == pytest.approx([x, y], abs=0.35)
    assert np.rad2deg(found.turn) == pytest.approx(roll, abs=0.6)
    assert found.growth == pytest.approx(eyes / EYES - 1, abs=0.01)


def track(pictures: list[np.ndarray], corners: np.ndarray) -> list[Placed]:
    registrar = Registrar()
    return [registrar(p, c, 0.0, EYES) for p, c in zip(pictures, corners, strict=True)]


def test_a_still_head_stands_still_whatever_its_face_and_landmarks_do() -> None:
    rng = np.random.default_rng(0)
    pictures = [drawn(mouth=abs(np.sin(k / 2))) for k in range(12)]
    landmarks = MIDDLE + rng.normal(0, 1.5, (12, 2))
    placed = track(pictures, landmarks)
    assert {one.key for one in placed} == {0}
    corners = np.array([one.corner for one in placed])
    assert np.linalg.norm(corners - corners.mean(0), axis=1).max() < 0.25
    assert np.linalg.norm(landmarks - landmarks.mean(0), axis=1).max() > 2


def test_a_key_frame_serves_until_it_does_not() -> None:
    pictures = [drawn(1.5 * k, roll=k / 2) for k in range(6)]
    pictures += [draw_face(320, 320, center=tuple(MIDDLE), eyes=EYES * 1.2)]
    placed = track(pictures, np.tile(MIDDLE, (7, 1)))
    assert placed[5].key == 0
    assert placed[5].corner == pytest.approx(MIDDLE + np.array([7.5, 0.0]), abs=0.5)
    assert np.rad2deg(placed[5].roll) == pytest.approx(2.5, abs=0.3)
    assert placed[6].key > 0


def test_what_is_lost_begins_anew_at_the_landmarks() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (320, 320, 3), np.uint8)
    placed = track([drawn(), noise, drawn()], np.array([MIDDLE, MIDDLE + 3, MIDDLE + 1]))
    assert [one.key for one in placed] == [0, 1, 2]
    assert np.array_equal(placed[1].corner, MIDDLE + 3)
    registrar = Registrar()
    registrar(drawn(), MIDDLE, 0.0, EYES)
    registrar.lose()
    assert registrar(drawn(), MIDDLE + 1, 0.0, EYES).key == 1


def test_the_track_lies_where_the_landmarks_have_it_as_a_whole() -> None:
    """A registered track that drifts by 8 pixels over many keys, landmarks that tremble around the truth."""
    rng, count = np.random.default_rng(2), 300
    true = np.column_stack([100 + 20 * np.sin(np.arange(count) / 40), np.full(count, 90.0)])
    drift = np.column_stack([np.linspace(0, 8, count), np.zeros(count)])
    seen = true + rng.normal(0, 1.5, true.shape)
    registered = Registered(true + drift, np.zeros(count), np.arange(count) // 10)
    corner, roll = anchored(registered, seen, rng.normal(0, 0.01, count), np.full(count, EYES), 25.0)
    assert np.linalg.norm(corner - true, axis=1).max() < 1.2
    assert np.abs(roll).max() < 0.01
    one = Registered(true, np.zeros(count), np.zeros(count, np.intp))
    still, _ = anchored(one, seen, np.zeros(count), np.full(count, EYES), 25.0)
    assert np.ptp(still - true, axis=0).max() < 1e-9  # a constant


def test_squares_are_laid_by_the_registered_track() -> None:
    rng, count = np.random.default_rng(3), 40
    eyes = np.array([[130, 150], [150, 150], [170, 150], [190, 150], [140, 150], [180, 150], [160, 210]], np.float32)
    anchors = (eyes + rng.normal(0, 1, (count, 1, 2))).astype(np.float32)
    placed = np.tile([160.0, 150.0, 0.0, 0.0], (count, 1))
    plain = laid(FaceTrack(anchors, np.zeros((count, 3)), 1, 0), 25.0, AVATAR_ALIGNMENT)
    firm = laid(FaceTrack(anchors, np.zeros((count, 3)), 1, 0, placed), 25.0, AVATAR_ALIGNMENT)
    assert np.ptp(firm.squares[:, :2], axis=0).max() < 1e-6
    assert np.ptp(plain.squares[:, :2], axis=0).max() > 0.05
