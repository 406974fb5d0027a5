"""Movements read off landmarks, and how one follows another."""

from __future__ import annotations

import numpy as np
import pytest

from stylecodec.metrics.tracks import face_tracks, following, landmark_distance
from tests.metrics.landmarks import face


def moved(points: list[int], x: float, y: float) -> dict[str, float]:
    """By how much each track changes when these points move, on a face turned and scaled in the picture."""
    plain = face()
    other = plain.copy()
    other[points] += (x, y)
    angle = np.deg2rad(20)
    turn = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    tracks = face_tracks(np.stack([plain, other]) @ turn.T + 500)
    return {name: float(t[1] - t[0]) for name, t in tracks.items() if abs(t[1] - t[0]) > 1e-9}


def test_each_track_sees_its_own_movement() -> None:
    lower_lip = [55, 56, 57, 58, 59, 65, 66, 67]
    assert moved([65, 66, 67], 0, 10) == {"mouth_open": pytest.approx(0.1)}
    assert moved([*lower_lip], 0, 10)["mouth_open"] == pytest.approx(0.1)
    assert moved([*range(48, 68)], 10, 0) == {"mouth_sideways": pytest.approx(0.1)}
    assert moved([48], -10, 0)["mouth_width"] == pytest.approx(0.1)
    assert moved([*range(17, 27)], 0, -10) == {"brows": pytest.approx(0.1)}
    assert moved([30], 10, 0) == {"yaw": pytest.approx(0.1)}
    assert moved([30], 0, -7) == {"pitch": pytest.approx(0.1)}
    lids = moved([37, 38, 43, 44], 0, 6)
    assert lids["eyes_open"] == pytest.approx(-0.06)


def test_following_is_correlation_and_gain() -> None:
    t = np.linspace(0, 6, 200)
    source = np.sin(t)
    assert following(source, 0.5 * source + 3) == pytest.approx({"correlation": 1.0, "gain": 0.5})
    assert following(source, -2 * source) == pytest.approx({"correlation": -1.0, "gain": -2.0})
    assert np.isnan(following(0.001 * source, source, still=0.01)["gain"])
    flat = following(source, np.ones(200))
    assert flat["gain"] == pytest.approx(0.0)
    assert np.isnan(flat["correlation"])


def test_single_wrong_points_do_not_count() -> None:
    source = np.sin(np.linspace(0, 6, 200))
    wrong = source.copy()
    wrong[50] = 40.0
    assert following(source, wrong)["correlation"] > 0.99


def test_landmark_distance_is_in_outer_eye_distances() -> None:
    truth = np.stack([face(), face() * 2 + 7])
    found = truth.copy()
    found[0, :17] += (0, 14)  # the outer eye corners are 140 apart
    found[1, :17] += (28, 0)
    distance = landmark_distance(np.concatenate([found, found], axis=1), truth)
    assert distance["jaw"] == pytest.approx(0.1)
    assert distance["inner"] == 0.0
    assert distance["all"] == pytest.approx(0.1 * 17 / 68)
