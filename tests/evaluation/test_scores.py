"""Scores: never a silent number, and JSON that every reader takes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from stylecodec.errors import OptionError
from stylecodec.evaluation.options import EvaluateOptions
from stylecodec.evaluation.scores import METRICS, left_out, of_frames, plain

FRAMES, SECONDS = np.arange(10, 16), np.arange(10, 16) / 25


def test_the_worst_frame_is_the_one_in_the_metrics_direction() -> None:
    values = np.array([3.0, 1.0, 2.0, 9.0, 4.0, 5.0])
    low, high = of_frames("L1", values, FRAMES, SECONDS, 1), of_frames("SSIM", values, FRAMES, SECONDS, 1)
    assert low.worst is not None
    assert high.worst is not None
    assert (low.worst.frame, low.worst.seconds, low.worst.value) == (13, 0.52, 9.0)
    assert (high.worst.frame, high.worst.value) == (11, 1.0)
    assert low.mean == 4.0
    assert low.interval is not None
    assert low.interval[0] < 4 < low.interval[1]


def test_identical_frames_are_infinite_and_said() -> None:
    score = of_frames("PSNR", np.full(6, math.inf), FRAMES, SECONDS, 1)
    facts = score.as_dict()
    assert (facts["mean"], facts["worst"]["value"], facts["interval_95"]) == ("inf", "inf", None)
    assert facts["notes"] == ["every frame is identical"]
    json.dumps(facts, allow_nan=False)
    some = of_frames("PSNR", np.array([math.inf, 30.0, 32.0, 31.0, 33.0, math.inf]), FRAMES, SECONDS, 1)
    assert some.mean == 31.5
    assert some.worst is not None
    assert some.worst.value == 30.0
    assert some.notes == ("2 of 6 frames are identical (infinite), not in the mean",)


def test_no_frames_are_no_score() -> None:
    score = of_frames("L1", np.zeros(0), FRAMES[:0], SECONDS[:0], 1)
    assert score.left_out == "no two frames show a face at one time"
    assert "mean" not in score.as_dict()


def test_a_reason_takes_the_place_of_numbers() -> None:
    assert left_out("FID", "because").as_dict() == {
        "name": "FID",
        "what": METRICS["FID"].what,
        "stand_in": False,
        "left_out": "because",
    }


def test_what_is_no_number_is_a_fault() -> None:
    with pytest.raises(ValueError, match="left out with its reason"):
        plain(math.nan)
    assert (plain(math.inf), plain(-math.inf), plain(1 / 3)) == ("inf", "-inf", 0.333333)


def test_stand_ins_have_names_of_their_own() -> None:
    published = {"L1", "PSNR", "SSIM", "MS-SSIM", "LPIPS-alex", "LPIPS-vgg", "DISTS", "L_ID", "FID", "FVD", "FVD-mouth"}
    published |= {"rho_AU", "rho_GZ", "rho_pose", "rho_AU+GZ", "flicker"}
    assert {name for name, metric in METRICS.items() if not metric.stand_in} == published
    assert {name for name, metric in METRICS.items() if metric.puppet} == {
        *("L_ID", "dlib-identity", "FID", "FVD", "FVD-mouth", "rho_AU+GZ", "mesh-AU+gaze")
    }


@pytest.mark.parametrize("size", [0, 63, 100, 1040])
def test_sizes_that_are_none(size: int) -> None:
    with pytest.raises(OptionError, match="64 to 1024 pixels, a multiple of 16, or native"):
        EvaluateOptions(size=size)


def test_an_identity_is_a_puppets() -> None:
    with pytest.raises(OptionError, match="--puppet"):
        EvaluateOptions(identity="face.png")
