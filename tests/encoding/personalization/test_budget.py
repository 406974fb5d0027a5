"""The budget of personalisation: shares of steps, or of what is left of the minutes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from stylecodec.encoding.options import TuneOptions
from stylecodec.encoding.personalization.budget import (
    CODES,
    ROUNDING_FRAMES,
    SETTLE,
    WEIGHTS,
    TuningState,
    rounding_seconds,
    spent,
    spent_of_stage,
)

MINUTE = TuneOptions(minutes=1.0, codes_share=0.25, settle_share=0.0)


def state(codes: float, weights: float) -> TuningState:
    return TuningState(WEIGHTS, seconds={CODES: codes, WEIGHTS: weights, SETTLE: 0.0})


def test_minutes_are_shared_out_when_set_up_and_rounding_are_set_aside() -> None:
    at = state(10.0, 15.0)
    assert spent_of_stage(CODES, at, MINUTE, aside=20.0) == 1.0
    assert spent_of_stage(WEIGHTS, at, MINUTE, aside=20.0) == 0.5
    assert spent_of_stage(WEIGHTS, at, MINUTE) == pytest.approx(15 / 45)
    assert spent_of_stage(SETTLE, at, MINUTE, aside=20.0) == 1.0
    assert spent(at, MINUTE, aside=20.0) == pytest.approx(0.25 + 0.75 / 2)


def test_nothing_is_left_on_a_machine_that_needs_it_all_for_the_rest() -> None:
    assert spent_of_stage(WEIGHTS, state(0.0, 0.0), MINUTE, aside=61.0) == 1.0


def test_a_stage_that_took_too_long_leaves_less_to_the_next() -> None:
    assert spent_of_stage(WEIGHTS, state(35.0, 0.0), MINUTE, aside=20.0) == 0.0
    assert spent_of_stage(WEIGHTS, state(35.0, 4.0), MINUTE, aside=20.0) == pytest.approx(0.8)
    assert spent_of_stage(WEIGHTS, state(45.0, 0.0), MINUTE, aside=20.0) == 1.0


def test_steps_are_not_seconds() -> None:
    at = TuningState(WEIGHTS, {CODES: 5, WEIGHTS: 3, SETTLE: 0})
    options = TuneOptions(steps=20, codes_share=0.25, settle_share=0.0)
    assert spent_of_stage(WEIGHTS, at, options, aside=1e6) == 3 / 15


def test_steps_end_what_minutes_are_left_of() -> None:
    at = TuningState(WEIGHTS, {CODES: 5, WEIGHTS: 3, SETTLE: 0}, {CODES: 1.0, WEIGHTS: 2.0, SETTLE: 0.0})
    few, many = (replace(MINUTE, most_steps=count) for count in (20, 2000))
    assert spent_of_stage(CODES, at, few) == 1.0
    assert spent_of_stage(WEIGHTS, at, few) == 3 / 15
    assert spent_of_stage(WEIGHTS, at, many) == spent_of_stage(WEIGHTS, at, MINUTE) == pytest.approx(2 / 45)


def test_rounding_takes_longer_where_steps_do() -> None:
    assert rounding_seconds([], 8, 128) == 0.0
    quick, slow = rounding_seconds([0.1] * 5, 8, 128), rounding_seconds([0.4] * 5, 8, 128)
    assert quick == pytest.approx(ROUNDING_FRAMES / 8 * 0.1)
    assert slow == pytest.approx(4 * quick)
    assert rounding_seconds([0.1, 0.1, 0.1, 9.0], 8, 128) == quick  # one step that had to wait
    assert rounding_seconds([0.4] * 5, 8, 256) == pytest.approx(quick)  # measured at 128²
    assert math.isfinite(rounding_seconds([0.1], 1, 32))
