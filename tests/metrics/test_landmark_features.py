"""What a face does, off its points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.metrics.landmark_features import NAMES, FeatureReader, features_of
from stylecodec.nets.face_mesh import POINTS
from stylecodec.packs.store import embedded_pack

LEFT_EYE, RIGHT_EYE = (-0.5, 0.0), (0.5, 0.0)


def face() -> torch.Tensor:
    """[478, 2]: eyes one apart, every other point where nobody asks, lips shut."""
    points = torch.zeros(POINTS, 2)
    for corner, x in ((33, -0.7), (133, -0.3), (362, 0.3), (263, 0.7)):
        points[corner] = torch.tensor([x, 0.0])
    points[468], points[473] = torch.tensor(LEFT_EYE), torch.tensor(RIGHT_EYE)
    points[2], points[4] = torch.tensor([0.0, 0.6]), torch.tensor([0.0, 0.45])
    for name, place in ((61, (-0.3, 0.9)), (291, (0.3, 0.9)), (0, (0.0, 0.8)), (17, (0.0, 1.0))):
        points[name] = torch.tensor(place)
    for upper, lower in ((82, 87), (13, 14), (312, 317)):
        points[upper] = points[lower] = torch.tensor([0.0, 0.9])
    for k, side in ((160, -1), (158, -1), (385, 1), (387, 1)):
        points[k] = torch.tensor([0.5 * side, -0.05])
    for k, side in ((144, -1), (153, -1), (380, 1), (373, 1)):
        points[k] = torch.tensor([0.5 * side, 0.05])
    for k, side in ((107, -1), (66, -1), (63, -1), (70, -1), (336, 1), (296, 1), (334, 1), (293, 1), (300, 1)):
        points[k] = torch.tensor([0.5 * side, -0.3])
    return points


def features(points: torch.Tensor) -> dict[str, float]:
    return dict(zip(NAMES, features_of(points[None])[0].tolist(), strict=True))


def moved(**points: tuple[float, float]) -> dict[str, float]:
    """By how much features change when points (p61=(dx, dy)) are moved; only those that do."""
    other = face()
    for name, by in points.items():
        other[int(name[1:])] += torch.tensor(by)
    before, after = features(face()), features(other)
    return {name: round(after[name] - before[name], 4) for name in NAMES if abs(after[name] - before[name]) > 1e-5}


def test_a_face_at_rest() -> None:
    found = features(face())
    assert found["lips_apart"] == 0
    assert found["mouth_width"] == pytest.approx(0.6)
    assert found["mouth_down"] == pytest.approx(0.3)
    assert found["left_lids"] == pytest.approx(0.1)
    assert found["right_outer_brow"] == pytest.approx(0.3)
    assert all(found[name] == pytest.approx(0, abs=1e-6) for name in ("mouth_across", "gaze_across", "nose_across"))
    assert found["nose_down"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({"p87": (0, 0.1), "p14": (0, 0.1), "p317": (0, 0.1)}, {"lips_apart": 0.1}),
        ({"p160": (0, 0.1), "p158": (0, 0.1)}, {"left_lids": -0.1}),
        ({"p336": (0, -0.1), "p296": (0, -0.1)}, {"right_inner_brow": 0.1}),
        ({"p468": (0.1, 0), "p473": (0.1, 0)}, {"gaze_across": 0.1}),
        ({"p4": (0.1, 0.06)}, {"nose_across": 0.1, "nose_down": 0.1}),
        ({"p61": (0.1, 0), "p0": (0.1, 0), "p291": (0.1, 0), "p17": (0.1, 0)}, {"mouth_across": 0.1}),
    ],
)
def test_each_feature_has_its_sign(points: dict[str, tuple[float, float]], expected: dict[str, float]) -> None:
    assert moved(**points) == pytest.approx(expected)


def test_size_place_and_roll_do_not_matter() -> None:
    turn = np.deg2rad(25)
    matrix = torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=torch.float32)
    elsewhere = 0.3 * face() @ matrix.T + torch.tensor([0.4, -0.2])
    assert features(elsewhere) == pytest.approx(features(face()), abs=1e-5)


def test_the_reader_takes_any_number_of_pictures() -> None:
    pictures = torch.rand(9, 3, 64, 64) * 3 - 1.5
    reader = FeatureReader(embedded_pack(), torch.device("cpu"))
    found = reader(pictures)
    assert found.shape == (9, len(NAMES))
    torch.testing.assert_close(found[4:5], reader(pictures[4:5]), atol=1e-4, rtol=1e-4)
