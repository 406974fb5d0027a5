"""How an output moves with its reference: correlations over time, by the face mesh or by tables of OpenFace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import PathLike
from ..metrics.action_units import (
    GAZE,
    HEAD,
    OPENFACE_STILL,
    READ_OUT,
    STILL,
    OpenFaceTable,
    correlations,
    mean_correlations,
    read_openface,
    read_out,
)
from ..metrics.intervals import Indices, interval
from ..metrics.landmark_features import features_of
from .judges import Readings
from .matching import Matching, pairs_at
from .scores import METRICS, Floats, Score, left_out

Tracks = Mapping[str, Floats]
SHIFTS = 9  # of the reference against itself, from a quarter of its frames to three
LEAST_FRAMES = 8  # of a track, below which its correlation says nothing
OPENFACE_NAMES = ("rho_AU", "rho_GZ", "rho_pose", "rho_AU+GZ")
MESH_NAMES = ("mesh-AU", "mesh-gaze", "mesh-pose", "mesh-AU+gaze")
NO_TABLES = "it is defined by OpenFace 2: give its tables with --openface REFERENCE.csv OUTPUT.csv"


@dataclass(frozen=True)
class Followed:
    """Tracks of the reference and of the output at the same times; still: deviation up to which one does not move."""

    name: str
    source: Tracks
    output: Tracks
    still: Mapping[str, float]

    def score(self, block: int) -> Score:
        """Mean of the correlations of what moves in the reference."""
        count = len(next(iter(self.source.values()), np.zeros(0)))
        if count < LEAST_FRAMES:
            return left_out(
                self.name, f"{count} frames are too few for a correlation over time ({LEAST_FRAMES} at least)"
            )
        found, unmoved = self._correlations(np.arange(count))
        if not found:
            return left_out(self.name, f"nothing of it moves in the reference: {', '.join(unmoved)}")
        notes = [f"hardly moves in the reference, not in the mean: {', '.join(unmoved)}"] if unmoved else []
        if dead := [name for name, value in found.items() if value == 0]:
            notes.append(f"does not move in the output, counted as 0: {', '.join(dead)}")

        tracks = np.stack([np.stack([self.source[name], self.output[name]]) for name in found])

        return Score(
            METRICS[self.name],
            n=count,
            mean=float(np.mean(list(found.values()))),
            interval=interval(count, block, lambda places: mean_correlations(tracks[:, :, places])),
            unrelated=self.chance(),
            notes=tuple(notes),
            parts=found,
        )

    def chance(self) -> float | None:
        """What unrelated motion scores: the reference against itself at other times, mean of some shifts."""
        count, found = len(next(iter(self.source.values()))), list[float]()
        for shift in np.linspace(count / 4, 3 * count / 4, SHIFTS).round().astype(int):
            rolled = {name: np.roll(track, shift) for name, track in self.source.items()}
            other = Followed(self.name, self.source, rolled, self.still)
            found += other._correlations(np.arange(count))[0].values()
        return float(np.mean(found)) if found else None

    def _correlations(self, places: Indices) -> tuple[dict[str, float], tuple[str, ...]]:
        found: dict[str, float] = {}
        unmoved: list[str] = []
        for name, track in self.source.items():
            one, still = correlations(
                {name: track[places]}, {name: self.output[name][places]}, self.still.get(name, STILL)
            )
            found |= one
            unmoved += still
        return found, tuple(unmoved)


def by_mesh(reference: Readings, output: Readings, matching: Matching) -> list[Followed]:
    """The tracks that the face mesh gives, for each of the mesh metrics."""
    sides = ((reference, matching.reference), (output, matching.output))
    tables = {"mesh-AU": READ_OUT, "mesh-gaze": GAZE, "mesh-pose": HEAD, "mesh-AU+gaze": {**READ_OUT, **GAZE}}
    features = [_features(readings, frames) for readings, frames in sides]
    found = []
    for name, table in tables.items():
        source, other = (dict(read_out(values, table)) for values in features)
        if name == "mesh-pose":
            for tracks, (readings, frames) in zip((source, other), sides, strict=True):
                tracks["roll"] = np.deg2rad(readings.faces.roll[frames])
        found.append(Followed(name, source, other, {}))
    return found


def _features(readings: Readings, frames: NDArray[np.intp]) -> Floats:
    if not len(frames):
        return np.zeros((0, 17))
    return np.asarray(features_of(torch.from_numpy(readings.points(frames))).numpy(), np.float64)


def by_openface(tables: tuple[PathLike, PathLike] | None, delay: float, block: int) -> list[Score]:
    """The papers' correlations from two tables, matched by time after the output's delay in seconds; MediaError."""
    if tables is None:
        return [left_out(name, NO_TABLES) for name in OPENFACE_NAMES]
    source, output = (read_openface(path) for path in tables)
    i, j = pairs_at(source.seconds, output.seconds, delay)
    both = source.sure[i] & output.sure[j]
    i, j = i[both], j[both]
    if not len(i):
        raise MediaError(f"no row of {tables[0]} and of {tables[1]} shows a face at one time")
    scores = []
    for name in OPENFACE_NAMES:
        kinds = ("AU", "GZ") if name == "rho_AU+GZ" else (name.removeprefix("rho_"),)
        a, b, still = _columns(source, i, kinds), _columns(output, j, kinds), dict[str, float]()
        for kind in kinds:
            still |= dict.fromkeys(source.columns[kind], OPENFACE_STILL[kind])
        shared = {column: track for column, track in a.items() if column in b}
        scores.append(Followed(name, shared, b, still).score(block))
    return scores


def _columns(table: OpenFaceTable, rows: NDArray[np.intp], kinds: tuple[str, ...]) -> dict[str, Floats]:
    return {name: values[rows] for kind in kinds for name, values in table.columns[kind].items()}
