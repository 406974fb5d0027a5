"""How an output follows: means over what moves, and the papers' correlations from OpenFace's tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from stylecodec.errors import MediaError
from stylecodec.evaluation.motion import OPENFACE_NAMES, Followed, by_openface

TIME = np.arange(60) / 25
WAVE, OTHER = np.sin(7 * TIME), np.cos(3 * TIME) + np.sin(17 * TIME)


def followed(output: dict[str, np.ndarray], name: str = "mesh-AU") -> Followed:
    return Followed(name, {"AU12": WAVE, "AU25": OTHER, "AU01": np.zeros(60)}, {"AU01": WAVE, **output}, {})


def test_the_mean_is_of_what_moves() -> None:
    score = followed({"AU12": 2 * WAVE, "AU25": -OTHER}).score(6)
    assert score.parts == pytest.approx({"AU12": 1, "AU25": -1})
    assert (score.n, score.mean) == (60, pytest.approx(0))
    assert score.notes == ("hardly moves in the reference, not in the mean: AU01",)
    assert score.interval == pytest.approx((0, 0), abs=1e-9)
    assert score.unrelated is not None
    assert abs(score.unrelated) < 0.4


def test_an_output_that_stands_still_counts_as_nothing() -> None:
    score = followed({"AU12": WAVE, "AU25": np.ones(60)}).score(6)
    assert score.mean == pytest.approx(0.5)
    assert "does not move in the output, counted as 0: AU25" in score.notes


def test_noise_lowers_the_score_and_widens_its_interval() -> None:
    noise = np.random.default_rng(0).normal(size=60)
    score = followed({"AU12": WAVE + 0.5 * noise, "AU25": OTHER}).score(6)
    assert 0.7 < score.mean < 0.98
    assert score.interval is not None
    assert score.interval[0] < score.mean < score.interval[1] <= 1


def test_what_cannot_be_said_is_left_out() -> None:
    still = Followed("mesh-gaze", {"gaze_x": np.zeros(60)}, {"gaze_x": WAVE}, {}).score(6)
    assert still.left_out == "nothing of it moves in the reference: gaze_x"
    short = Followed("mesh-gaze", {"gaze_x": WAVE[:5]}, {"gaze_x": WAVE[:5]}, {}).score(6)
    assert "5 frames are too few" in short.left_out
    assert all("--openface" in score.left_out for score in by_openface(None, 0.0, 6))


def table(path: Path, late: int = 0, **columns: np.ndarray) -> Path:
    """A table of OpenFace; late: frames that it begins earlier with its first row repeated."""
    rows = {"gaze_angle_x": WAVE, "gaze_angle_y": OTHER, "pose_Rx": WAVE, "pose_Ry": OTHER, "pose_Rz": WAVE}
    rows |= {"AU12_r": 2 + 2 * WAVE, "AU25_r": 2 + OTHER, **columns}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "confidence", *rows])
        for n in range(60 + late):
            k = max(0, n - late)
            writer.writerow([n / 25, 0.9, *(float(values[k]) for values in rows.values())])
    return path


@pytest.mark.parametrize("late", [0, 2])
def test_openface_gives_the_papers_correlations(tmp_path: Path, late: int) -> None:
    a, b = table(tmp_path / "a.csv"), table(tmp_path / "b.csv", late, gaze_angle_x=-WAVE, AU25_r=2 + WAVE)
    scores = {score.metric.name: score for score in by_openface((a, b), late / 25, 6)}
    assert tuple(scores) == OPENFACE_NAMES
    wave = float(np.corrcoef(WAVE, OTHER)[0, 1])
    assert scores["rho_AU"].mean == pytest.approx((1 + wave) / 2)
    assert scores["rho_GZ"].mean == pytest.approx(0)
    assert scores["rho_pose"].mean == pytest.approx(1)
    assert scores["rho_AU+GZ"].mean == pytest.approx((1 + wave - 1 + 1) / 4)
    assert scores["rho_AU"].n == 60


def test_tables_that_have_no_time_in_common(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="shows a face at one time"):
        by_openface((table(tmp_path / "a.csv"), table(tmp_path / "b.csv")), 99.0, 6)
