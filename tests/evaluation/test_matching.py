"""Frames find each other by time: constant delays, other rates, other lengths, frames without a face."""

from __future__ import annotations

import numpy as np
import pytest

from stylecodec.evaluation.matching import matched, pairs_at
from tests.evaluation.made import times, wandering


@pytest.mark.parametrize("frames", [0, 2, 5, -3])
def test_a_constant_delay_is_found(frames: int) -> None:
    found = matched(wandering(times(40)), wandering(times(40), late=frames / 25))
    assert found.frames == pytest.approx(frames)
    assert found.delay == pytest.approx(frames / 25)
    assert np.array_equal(found.output - found.reference, np.full(40 - abs(frames), frames))
    assert found.found_by is not None
    assert found.found_by[0] > 0.95


def test_what_stands_still_or_is_short_has_no_delay() -> None:
    still = wandering(np.zeros(30))
    still = type(still)(times(30), still.found, still.crops, still.roll, still.side)
    assert matched(still, still).delay == 0
    assert matched(wandering(times(6)), wandering(times(6), late=2 / 25)).delay == 0


def test_unrelated_motion_has_no_delay() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3)).astype(np.uint8)
    other = wandering(times(30))
    assert matched(other, type(other)(other.seconds, other.found, noise, other.roll, other.side)).delay == 0


def test_a_given_delay_is_taken() -> None:
    found = matched(wandering(times(20)), wandering(times(20)), delay=4)
    assert (found.frames, found.found_by) == (4, None)
    assert np.array_equal(found.output, np.arange(4, 20))


@pytest.mark.parametrize(("rate", "every"), [(12.5, 2), (25 / 3, 3)])
def test_an_output_of_fewer_frames_is_matched_where_it_has_them(rate: float, every: int) -> None:
    a, b = pairs_at(times(30), times(30 // every, rate), 0.0)
    assert np.array_equal(a, np.arange(0, 30, every))
    assert np.array_equal(b, np.arange(30 // every))


def test_an_output_of_more_frames() -> None:
    a, b = pairs_at(times(30), times(60, 50.0), 0.0)
    assert np.array_equal(a, np.arange(30))
    assert np.array_equal(b, np.arange(0, 60, 2))


def test_near_rates_are_told_how_far_they_are_apart() -> None:
    found = matched(wandering(times(25)), wandering(times(30, 30.0)), delay=0)
    assert 0.012 < found.apart <= 1 / 60 + 0.002
    assert np.abs(found.output / 30 - found.reference / 25).max() == pytest.approx(found.apart)


def test_frames_without_a_face_are_counted() -> None:
    found = matched(wandering(times(20), lost=(3,)), wandering(times(16), lost=(5, 6)), delay=0)
    assert found.at_once == 16
    assert np.array_equal(found.reference, [k for k in range(16) if k not in (3, 5, 6)])


def test_nothing_at_one_time() -> None:
    assert len(matched(wandering(times(10)), wandering(times(10)), delay=50).reference) == 0
    assert [len(side) for side in pairs_at(times(3), np.zeros(0), 0.0)] == [0, 0]
