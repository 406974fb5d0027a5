"""Levels for a quality: the error that is asked for, at fewer bytes than the nearest levels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stylecodec.bitstream import Quantiser
from stylecodec.bitstream.compact.coding import encode_levels
from stylecodec.bitstream.compact.modelling import fitted
from stylecodec.encoding.rate.sensitivity import Metrics
from stylecodec.encoding.rate.trellis import FINEST, LIVELY, Floats, compact_packets, rms_error, trellis

GROUP = 40


def movements(seed: int = 0, count: int = 120) -> tuple[Floats, Floats]:
    """Packets [count, 35] of a few movements with noise, and a metric [35, 35] of unequal, correlated sensitivities."""
    rng = np.random.default_rng(seed)
    time = np.arange(count)[:, None] / 25
    moves = np.concatenate([np.sin(2 * np.pi * rng.uniform(0.2, 2) * time + k) for k in range(5)], axis=1)
    packets = moves @ rng.normal(0, 1, (5, 35)) + rng.normal(0, 0.1, (count, 35)) + rng.normal(0, 3, 35)
    shown = rng.normal(0, 1, (60, 35)) * np.exp(rng.normal(0, 1, 35))
    return packets, shown.T @ shown / 60


def size(quantiser: Quantiser, packets: Floats) -> int:
    levels = quantiser.levels(packets)
    return sum(len(encode_levels(levels[k : k + GROUP], quantiser)) for k in range(0, len(levels), GROUP))


@pytest.mark.parametrize("quality", [40.0, 52.0, 64.0])
def test_the_quality_is_reached(quality: float) -> None:
    packets, metric = movements()
    quantiser, values = compact_packets(packets, Metrics(metric, metric), quality, GROUP)
    assert values.shape == packets.shape
    assert np.array_equal(quantiser.values(quantiser.levels(values)), values)
    reached = 20 * math.log10(255 / rms_error(packets - values, metric))
    assert reached == pytest.approx(quality, abs=1.0)


def test_a_calm_face_is_coded_finer_and_a_turning_head_is_no_lively_face() -> None:
    packets, metric = movements(7)
    usual = packets - packets.mean(axis=0)
    reached = {}
    for face in (4.0, 0.6, 0.05):  # of LIVELY
        moved = usual.copy()
        alone = np.concatenate([np.zeros((len(usual), 3)), usual[:, 3:]], axis=1)
        moved[:, 3:] *= face * LIVELY / rms_error(alone, metric)
        _, values = compact_packets(moved, Metrics(metric, metric), 46.0, GROUP)
        reached[face] = 20 * math.log10(255 / rms_error(moved - values, metric))
    assert reached[4.0] == pytest.approx(46, abs=1.0)
    assert reached[0.6] == pytest.approx(46 - 20 * math.log10(0.6), abs=1.0)
    assert reached[0.05] == pytest.approx(46 - 20 * math.log10(FINEST), abs=1.0)


def test_quality_costs_bytes() -> None:
    packets, metric = movements(1)
    metrics = Metrics(metric, metric)
    sizes = [size(*compact_packets(packets, metrics, quality, GROUP)) for quality in (40.0, 48.0, 56.0, 64.0)]
    assert sizes == sorted(sizes)
    assert sizes[3] > 2 * sizes[0]


def test_the_trellis_saves_bytes_at_the_same_error() -> None:
    packets, metric = movements(2)
    quantiser, values = compact_packets(packets, Metrics(metric, metric), 52.0, GROUP)
    error = rms_error(packets - values, metric)
    for finer in np.geomspace(0.2, 2, 30):  # nearest levels, no worse than the trellis's
        steps = finer * error * math.sqrt(12 / 35) / np.sqrt(np.diag(metric))
        plain = Quantiser.for_steps(steps)
        nearest = plain.values(plain.levels(packets))
        if rms_error(packets - nearest, metric) <= error:
            best = size(fitted(plain, plain.levels(packets), GROUP), nearest)
    assert size(quantiser, values) < 0.9 * best


def test_a_pass_of_the_trellis_keeps_near_the_packets() -> None:
    packets, metric = movements(3)
    plain = Quantiser.for_steps(np.full(35, 0.5))
    levels = plain.levels(packets)
    quantiser = fitted(plain, levels, GROUP)
    better = trellis(packets, levels, quantiser, metric, GROUP)
    assert better.dtype == np.int32
    assert np.abs(better - levels).max() <= 2
    assert size(quantiser, quantiser.values(better)) < size(quantiser, quantiser.values(levels))


@pytest.mark.parametrize("count", [1, 2, GROUP + 1])
def test_short_and_still_clips(count: int) -> None:
    packets, metric = movements(4, count)
    still = np.repeat(packets[:1], count, axis=0)
    for clip in (packets, still):
        quantiser, values = compact_packets(clip, Metrics(metric, metric), 52.0, GROUP)
        assert rms_error(clip - values, metric) < 255 * 10 ** (-45 / 20)
        assert len(quantiser.codes) == 35


def test_parameters_that_do_not_show() -> None:
    packets, metric = movements(5)
    metric[7], metric[:, 7] = 0, 0
    quantiser, _ = compact_packets(packets, Metrics(metric, metric), 52.0, GROUP)
    assert quantiser.steps[7] > 3 * np.median(quantiser.steps)
    blind, values = compact_packets(packets, Metrics(*np.zeros((2, 35, 35))), 52.0, GROUP)
    assert np.isfinite(values).all()
    assert size(blind, values) < 120 * 70


def test_what_is_perceived_is_kept_best() -> None:
    packets, metric = movements(6)
    weighted = metric.copy()
    weighted[3] *= 3
    weighted[:, 3] *= 3
    errors = []
    for metrics in (Metrics(metric, metric), Metrics(metric, weighted)):
        _, values = compact_packets(packets, metrics, 52.0, GROUP)
        assert 20 * math.log10(255 / rms_error(packets - values, metric)) == pytest.approx(52, abs=1.0)
        errors.append(float(np.square(packets[:, 3] - values[:, 3]).mean()))
    assert errors[1] < 0.5 * errors[0]
