"""FID and FVD: which frames make clips, and when nothing can be said. The networks here are stand-ins for speed."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from stylecodec.evaluation.distributions import clip_starts, fid, fvd
from stylecodec.evaluation.faces import AlignedFaces, at_constant_scale, native_size
from stylecodec.evaluation.judges import Judges, Readings, ffhq_part
from stylecodec.evaluation.matching import Matching, matched
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.geometry import AVATAR_ALIGNMENT, CropTransform
from tests.evaluation.made import times, wandering


class Networks:
    """A pack whose Inception and I3D are means of pixels."""

    def inception(self, place: torch.device) -> Any:
        return lambda pictures: torch.nn.functional.avg_pool2d(pictures, 16).flatten(1)

    def i3d(self, place: torch.device) -> Any:
        return lambda clips: clips.mean(dim=2)[..., ::32, ::32].flatten(1)


class Judging:
    """Judges of nothing else."""

    networks, place = Networks(), torch.device("cpu")

    def __init__(self, absent: dict[str, str]) -> None:
        self.absent = absent


def measured(a: AlignedFaces, b: AlignedFaces, absent: dict[str, str] | None = None) -> dict[str, Any]:
    judges = cast(Judges, Judging(absent or {}))
    matching: Matching = matched(a, b, 0)
    readings = Readings(a, judges), Readings(b, judges)
    scores = [fid(*readings, matching, judges), *fvd(a, b, matching, judges, lambda n: None)]
    return {score.metric.name: score for score in scores}


def test_distances_grow_with_what_is_different() -> None:
    a = wandering(times(40))
    same, late = measured(a, a), measured(a, wandering(times(40), late=0.5))
    for name in ("FID", "FVD", "FVD-mouth"):
        assert same[name].mean == pytest.approx(0, abs=1e-6)
        assert late[name].mean > 0.01
        assert same[name].notes  # of how few samples it is
    assert (same["FID"].n, same["FVD"].n) == (40, 4)


def test_too_few_frames() -> None:
    found = measured(wandering(times(20)), wandering(times(20)))
    assert "1 clips of 16 successive frames are too few" in found["FVD-mouth"].left_out
    assert found["FID"].n == 20
    assert "1 frames are too few" in measured(wandering(times(1)), wandering(times(1)))["FID"].left_out


def test_without_weights() -> None:
    a = wandering(times(4))
    found = measured(a, a, {"FID": "no Inception", "FVD": "no I3D", "FVD-mouth": "no I3D"})
    assert [score.left_out for score in found.values()] == ["no Inception", "no I3D", "no I3D"]


def test_clips_are_of_successive_frames() -> None:
    assert clip_starts(np.arange(32)) == [0, 8, 16]
    assert clip_starts(np.arange(0, 64, 2)) == []
    assert clip_starts(np.r_[0:10, 12:28]) == [10]


def test_arcface_looks_at_the_ffhq_square() -> None:
    """Where the pack's alignment, which is wider and higher, has it."""
    down, across = torch.meshgrid(torch.arange(256.0) + 0.5, torch.arange(256.0) + 0.5, indexing="ij")
    part = ffhq_part(torch.stack([across, down, down])[None])
    ours = AVATAR_ALIGNMENT.apply(CropTransform((500, 500), 300))
    wanted = ours.to_crop(CropTransform((500, 500), 300).quad, 256)
    found = torch.stack([part[0, :2, 0, 0], part[0, :2, -1, -1]]).numpy()
    assert np.abs(found - wanted[[0, 2]]).max() < 1.5


def test_the_scale_is_constant() -> None:
    squares = np.array([[50.0, 50, side, 1] for side in (90, 100, 102, 400)])
    found = np.array([True, True, True, False])
    track = AlignedTrack(squares, found, AlignReport(4, 1, 0, 1, 0, 0))
    assert at_constant_scale(track).squares[:, 2].tolist() == [100] * 4
    assert [native_size(side) for side in (30, 421.4, 5000)] == [64, 416, 1024]
