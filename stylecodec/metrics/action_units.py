"""Action units and gaze over time: read off the face mesh, or from tables of OpenFace, and how an output follows them.

Off the mesh an action unit is a weighted sum of landmark features (`landmark_features`): a linear read-out by hand,
from what each unit does to a face by the manual of FACS. It is no detector of action units; a correlation over time
does not see its scale and offset, which is why it needs none. From OpenFace 2 it is the intensity AUxx_r, and the
correlations are the papers' own kind of figure. Their supplement, which defines them, is not public, so what is
averaged is said here: Pearson's correlation over the frames, mean over the units (AU), over gaze_angle_x and _y (GZ),
over pose_Rx, _Ry and _Rz (pose).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import PathLike, reading
from .landmark_features import NAMES

Floats = NDArray[np.float64]

READ_OUT: Mapping[str, Mapping[str, float]] = {
    "AU01": {"left_inner_brow": 0.5, "right_inner_brow": 0.5},  # inner brow raiser; lowered: AU04
    "AU02": {"left_outer_brow": 0.5, "right_outer_brow": 0.5},  # outer brow raiser
    "AU12": {"left_corner": 0.5, "right_corner": 0.5},  # lip corner puller; lowered: AU15
    "AU17": {"mouth_down": -1.0},  # chin raiser lifts the mouth, jaw drop lowers it
    "AU20": {"mouth_width": 1.0},  # lip stretcher; narrowed: AU18, pucker
    "AU25": {"lips_apart": 1.0},  # lips part
    "AU26": {"lips_apart": 0.5, "mouth_down": 0.5},  # jaw drop
    "AU24": {"lips_height": -1.0, "lips_apart": 1.0},  # lip pressor: less of the red of the lips is seen
    "AU45": {"left_lids": -0.5, "right_lids": -0.5},  # blink
}
GAZE: Mapping[str, Mapping[str, float]] = {"gaze_x": {"gaze_across": 1.0}, "gaze_y": {"gaze_down": 1.0}}
HEAD: Mapping[str, Mapping[str, float]] = {"yaw": {"nose_across": 1.0}, "pitch": {"nose_down": 1.0}}

STILL = 0.006  # of the eyes' distance: standard deviation up to which a read-out does not move
OPENFACE_STILL = {"AU": 0.05, "GZ": 0.005, "pose": 0.005}  # intensities 0 to 5, radians
OPENFACE_COLUMNS = {"GZ": ("gaze_angle_x", "gaze_angle_y"), "pose": ("pose_Rx", "pose_Ry", "pose_Rz")}
SURE = 0.5  # confidence from which a row of OpenFace counts where it has no `success`
NOTHING = 1e-9  # standard deviation up to which a track stands still, whatever it is of


def read_out(features: Floats, table: Mapping[str, Mapping[str, float]]) -> dict[str, Floats]:
    """Landmark features [n, 17] -> [n] per name of the table."""
    place = {name: column for column, name in enumerate(NAMES)}
    return {
        name: np.asarray(sum(weight * features[:, place[one]] for one, weight in weights.items()), np.float64)
        for name, weights in table.items()
    }


@dataclass(frozen=True)
class OpenFaceTable:
    """What OpenFace 2 wrote of a video: rows in order, their times in seconds, and the columns of each kind."""

    seconds: Floats  # [n]
    sure: NDArray[np.bool_]  # [n]
    columns: Mapping[str, Mapping[str, Floats]]  # "AU", "GZ", "pose" -> name -> [n]


def read_openface(path: PathLike) -> OpenFaceTable:
    """A table of `FeatureExtraction`, a row per frame; MediaError where it is none."""
    with reading(path), open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    if len(rows) < 2:
        raise MediaError(f"{path} is no table of OpenFace: it has no row of numbers")
    names = rows[0]
    units = tuple(name for name in names if name.startswith("AU") and name.endswith("_r"))
    wanted = {"AU": units, **OPENFACE_COLUMNS}
    lacking = [name for name in ("timestamp", *OPENFACE_COLUMNS["GZ"], *OPENFACE_COLUMNS["pose"]) if name not in names]
    if lacking or not units:
        raise MediaError(f"{path} is no table of OpenFace 2: it has no column {(lacking or ['AU01_r'])[0]}")
    try:
        values = np.array([[float(cell) for cell in row] for row in rows[1:]])
        if values.shape[1:] != (len(names),):
            raise ValueError
    except ValueError as error:
        raise MediaError(f"{path} is no whole table of OpenFace: not every row has a number in every column") from error
    place = {name: column for column, name in enumerate(names)}
    sure = np.ones(len(values), bool)
    if "success" in place:
        sure = values[:, place["success"]] > 0
    elif "confidence" in place:
        sure = values[:, place["confidence"]] >= SURE
    seconds = values[:, place["timestamp"]]
    kinds = {kind: {name: values[:, place[name]] for name in columns} for kind, columns in wanted.items()}
    return OpenFaceTable(seconds - seconds[0], sure, kinds)


def correlations(
    source: Mapping[str, Floats], output: Mapping[str, Floats], still: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Pearson's correlation over the frames of every track [n] that moves in the source, and the names that do not.

    0 where the output does not move at all though the source does.
    """
    found, unmoved = {}, []
    for name, a in source.items():
        b = output[name]
        if len(a) < 2 or a.std() <= still:
            unmoved.append(name)
        elif b.std() <= NOTHING:
            found[name] = 0.0
        else:
            found[name] = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    return found, tuple(unmoved)


def mean_correlations(tracks: Floats) -> Floats:
    """Mean over tracks of Pearson's correlation over frames: source and output [k, 2, m, n] -> [m].

    A track whose source stands still has none and is left out, NaN where all do; 0 where only the output does.
    """
    apart = tracks - tracks.mean(axis=-1, keepdims=True)
    source, output = apart[:, 0], apart[:, 1]
    moves, answers = (np.sqrt(np.square(side).mean(axis=-1)) for side in (source, output))
    together = (source * output).mean(axis=-1) / np.maximum(moves, NOTHING) / np.maximum(answers, NOTHING)
    found = np.where(answers <= NOTHING, 0.0, together.clip(-1, 1))
    counted = moves > NOTHING
    total = np.where(counted, found, 0.0).sum(axis=0)
    return np.where(counted.any(axis=0), total / np.maximum(counted.sum(axis=0), 1), np.nan)
