"""Fréchet distance, differences in grey levels, intervals, MS-SSIM."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from stylecodec.metrics.differences import flicker, l1
from stylecodec.metrics.frechet import frechet_distance
from stylecodec.metrics.intervals import interval, mean_interval, resampled
from stylecodec.metrics.ssim import ms_ssim
from tests.nets.seeded_weights import picture

RANDOM = np.random.default_rng(0)


def test_frechet_distance_is_that_of_its_definition() -> None:
    a, b = RANDOM.normal(size=(60, 5)), RANDOM.normal(0.4, 1.7, size=(40, 5))
    covariances = [np.cov(v, rowvar=False) for v in (a, b)]
    root = np.trace(np.real(sqrtm(covariances[0] @ covariances[1])))
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(wanted)


def test_frechet_distance_of_fewer_samples_than_numbers() -> None:
    a = RANDOM.normal(size=(6, 50))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 50)
    with pytest.raises(ValueError, match="2 samples"):
        frechet_distance(a[:1], a)


def test_differences() -> None:
    a = RANDOM.integers(0, 200, (8, 8, 3)).astype(np.uint8)
    assert l1(a, a + 3) == 3
    assert flicker((a, a + 5), (a + 9, a + 14)) == 0
    assert flicker((a, a), (a, a + 4)) == 4
    assert flicker((a, a + 4), (a, a)) == 4  # an output that stands still does not follow


def test_intervals_are_the_same_each_time_and_hold_the_mean() -> None:
    values = RANDOM.normal(5, 1, 400)
    span = mean_interval(values, 1)
    assert span == mean_interval(values, 1)
    assert span is not None
    low, high = span
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    values = np.repeat(RANDOM.normal(0, 1, 20), 20)
    (a, b), (c, d) = mean_interval(values, 1) or (0, 0), mean_interval(values, 20) or (0, 0)
    assert d - c > 3 * (b - a)


def test_resampled_frames_come_in_blocks() -> None:
    drawn = resampled(40, 8)
    assert drawn.shape == (1000, 40)
    assert set(np.unique(np.diff(drawn[:, :8], axis=1) % 40)) == {1}
    assert len(np.unique(resampled(6, 100)[:, 0])) == 6  # never one block alone, which would know no doubt


def test_what_has_no_interval() -> None:
    assert mean_interval(np.ones(1), 1) is None
    assert interval(10, 1, lambda places: np.full(len(places), np.nan)) is None


def test_ms_ssim() -> None:
    """The wanted value is that of pytorch-msssim 1.0 for the same pictures; piq has the same."""
    shape = (1, 3, 176, 176)
    a, b = (((picture(name, shape) + 1) * 127.5).round()[0].permute(1, 2, 0) for name in ("input.a", "input.b"))
    mixed = (0.8 * a + 0.2 * b).round().numpy()
    assert ms_ssim(a.numpy(), mixed) == pytest.approx(0.947417, abs=2e-6)
    assert ms_ssim(mixed, mixed) == 1
    with pytest.raises(ValueError, match="176 pixels or more, multiples of 16"):
        ms_ssim(mixed[:160], mixed[:160])
