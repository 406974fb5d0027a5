"""Squares of two videos are laid upon each other by one move for all frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stylecodec.evaluation.matching import matched
from stylecodec.evaluation.move import Move
from stylecodec.evaluation.registration import registered
from stylecodec.face.warp import warp
from stylecodec.geometry import CropTransform
from tests.evaluation.made import times, wandering

FACES = wandering(times(8, 4.0), size=256)
SQUARE = CropTransform((128, 128), 160)


def seen(zoom: float = 0.0, turn: float = 0.0, across: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Squares [8, 128, 128, 3] of the same pictures, laid otherwise."""
    square = SQUARE.moved(zoom, across, down)
    return np.stack([warp(crop, replace(square, roll_deg=turn), 128) for crop in FACES.crops])


@pytest.mark.parametrize("wrong", [(0.02, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.01, -0.5, 0.012, -0.02)])
def test_a_wrong_square_is_found(wrong: tuple[float, float, float, float]) -> None:
    reference, output = replace(FACES, crops=seen()), replace(FACES, crops=seen(*wrong))
    move = registered(reference, output, matched(reference, output, 0))
    zoom, turn, across, down = wrong
    assert move.zoom == pytest.approx(-zoom, abs=2e-3)
    assert move.turn == pytest.approx(-turn, abs=0.1)
    assert (move.across, move.down) == pytest.approx((-across, -down), abs=2e-3)


def test_what_lies_right_stays() -> None:
    same = replace(FACES, crops=seen())
    assert registered(same, same, matched(same, same, 0)) == Move()


def test_other_pictures_are_not_moved_far() -> None:
    reference = replace(FACES, crops=seen())
    noise = np.random.default_rng(0).integers(0, 256, reference.crops.shape).astype(np.uint8)
    other = replace(FACES, crops=noise)
    assert registered(reference, other, matched(reference, other, 0)).small
