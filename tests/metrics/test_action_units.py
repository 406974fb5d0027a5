"""Action units and gaze: read-outs of the mesh, tables of OpenFace, correlations over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylecodec.errors import MediaError
from stylecodec.metrics.action_units import (
    GAZE,
    HEAD,
    READ_OUT,
    correlations,
    mean_correlations,
    read_openface,
    read_out,
)
from stylecodec.metrics.landmark_features import NAMES

TIME = np.linspace(0, 6, 60)


def test_read_outs_are_weighted_sums_of_features() -> None:
    features = np.random.default_rng(0).normal(size=(5, len(NAMES)))
    found = read_out(features, READ_OUT)
    column = NAMES.index
    assert np.allclose(found["AU25"], features[:, column("lips_apart")])
    assert np.allclose(found["AU45"], -(features[:, column("left_lids")] + features[:, column("right_lids")]) / 2)
    for table in (READ_OUT, GAZE, HEAD):
        assert all(set(weights) <= set(NAMES) for weights in table.values())


def test_an_open_mouth_and_a_blink_move_the_right_units() -> None:
    rest, spoken = np.ones((1, len(NAMES))), np.ones((1, len(NAMES)))
    for name in ("lips_apart", "mouth_down", "lips_height"):
        spoken[0, NAMES.index(name)] += 0.2
    for name in ("left_lids", "right_lids"):
        spoken[0, NAMES.index(name)] -= 0.1
    before, after = read_out(rest, READ_OUT), read_out(spoken, READ_OUT)
    change = {name: float((after[name] - before[name])[0]) for name in READ_OUT}
    assert change["AU25"] > 0.1
    assert change["AU26"] > 0.1
    assert change["AU45"] == pytest.approx(0.1)
    assert change["AU12"] == change["AU01"] == change["AU24"] == 0


def test_correlations() -> None:
    wave = np.sin(TIME)
    source = {"a": wave, "b": wave, "c": wave, "d": np.zeros(60)}
    output = {"a": 3 * wave + 1, "b": -wave, "c": np.ones(60), "d": wave}
    found, unmoved = correlations(source, output, 0.01)
    assert found == pytest.approx({"a": 1.0, "b": -1.0, "c": 0.0})
    assert unmoved == ("d",)


def table(path: Path, rows: int = 5, header: str = "", cell: str = "") -> Path:
    """As FeatureExtraction writes it, with blanks after commas."""
    names = "frame, face_id, timestamp, confidence, success, gaze_angle_x, gaze_angle_y, pose_Rx, pose_Ry, pose_Rz"
    lines = [header or f"{names}, AU01_r, AU12_r, AU01_c"]
    for n in range(rows):
        gaze, units = f"{n / 10}, {cell or n}", f"{n / 5}, {n}, 1"
        lines.append(f"{n + 1}, 0, {0.04 * n + 1:.3f}, 0.98, {int(n != 2)}, {gaze}, 1, 2, 3, {units}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_openface_tables(tmp_path: Path) -> None:
    found = read_openface(table(tmp_path / "a.csv"))
    assert found.seconds == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert found.sure.tolist() == [True, True, False, True, True]
    assert {kind: list(columns) for kind, columns in found.columns.items()} == {
        "AU": ["AU01_r", "AU12_r"],
        "GZ": ["gaze_angle_x", "gaze_angle_y"],
        "pose": ["pose_Rx", "pose_Ry", "pose_Rz"],
    }
    assert found.columns["AU"]["AU12_r"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 0}, "no row of numbers"),
        ({"header": "frame, timestamp, x"}, "no column gaze_angle_x"),
        ({"cell": "none"}, "not every row has a number"),
        ({"cell": "1, 2"}, "not every row has a number"),
    ],
)
def test_what_is_no_table_of_openface(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(MediaError, match=words):
        read_openface(table(tmp_path / "a.csv", **change))  # type: ignore[arg-type]
    with pytest.raises(MediaError, match="there is no file"):
        read_openface(tmp_path / "b.csv")


def test_many_correlations_at_once_are_those_one_by_one() -> None:
    random = np.random.default_rng(0)
    tracks = random.standard_normal((4, 2, 5, 30))
    tracks[1, 1, 2] = 3.0  # an output that stands still
    tracks[2, 0, 3] = -1.0  # a source that does
    tracks[:, 0, 4] = 0.5  # all of them
    for row, value in enumerate(mean_correlations(tracks)):
        sides = ({str(k): tracks[k, side, row] for k in range(4)} for side in (0, 1))
        found, _ = correlations(*sides, 1e-9)
        assert value == pytest.approx(np.mean(list(found.values()))) if found else np.isnan(value)
