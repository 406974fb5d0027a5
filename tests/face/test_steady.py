"""Noise against motion, on known motion."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from stylecodec.face.steady import CALM, Noise, acceleration, noise_level, smoothed, steady, wrong_ones

NOISE = Noise(0.0005, 0.012, 0.12)
T = np.arange(120.0)


def shaking(amplitude, hertz, rate=30.0, noise=0.003, seed=0):
    """Truth and measurement [120, 2]."""
    angle = 2 * np.pi * hertz * T / rate
    truth = amplitude * np.column_stack([np.sin(angle), np.cos(0.7 * angle)])
    return truth, truth + np.random.default_rng(seed).normal(0, noise, truth.shape)


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("hertz", [0.3, 1.0, 2.0, 3.0])
def test_quick_motion_is_followed_where_a_fixed_filter_irons_it_out(hertz):
    truth, seen = shaking(0.6, hertz)
    error = rms(steady(seen, T, NOISE) - truth)
    assert error < 0.006
    if hertz >= 1:
        assert rms(gaussian_filter1d(seen, 3.5, axis=0) - truth) > 10 * error


@pytest.mark.parametrize("noise", [0.001, 0.003, 0.01])
def test_stillness_is_kept_still_whatever_the_noise(noise):
    _, seen = shaking(0, 1, noise=noise)
    calm = steady(seen, T, NOISE)
    assert calm.std(axis=0).max() < 0.4 * noise
    assert rms(np.diff(calm, axis=0)) < 0.05 * rms(np.diff(seen, axis=0))


def test_a_gesture_is_followed_and_the_rest_kept_still():
    truth = np.zeros((120, 1))
    truth[50:64, 0] = 0.3 * np.sin(np.pi * np.arange(14) / 14) ** 2
    seen = truth + np.random.default_rng(1).normal(0, 0.004, truth.shape)
    error = np.abs(steady(seen, T, NOISE) - truth)[:, 0]
    assert error[48:66].max() < 0.02
    assert rms(error[np.r_[0:35, 80:120]]) < 0.5 * 0.004


def test_lines_are_kept_over_gaps_and_to_their_ends():
    there = np.r_[0:20, 33:50]
    line = np.column_stack([0.03 * T + 1, 5 - 0.01 * T])
    assert steady(line[there], T[there], NOISE) == pytest.approx(line[there], abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7])
def test_few_measurements(count):
    values = 0.01 * np.arange(2.0 * count).reshape(count, 2)
    assert steady(values, np.arange(count) + 3.0, NOISE) == pytest.approx(values, abs=1e-6)


def test_one_wrong_value_or_two_are_left_out_in_stillness_and_in_motion():
    for amplitude, limit in ((0, 0.002), (0.3, 0.01)):
        truth, seen = shaking(amplitude, 1.0, noise=0.001)
        bad = seen.copy()
        bad[40] += 0.9
        bad[70:72] -= 0.7
        assert np.flatnonzero(wrong_ones(bad, T, NOISE.wrong)).tolist() == [40, 70, 71]
        assert np.abs(steady(bad, T, NOISE) - truth).max() < limit
    assert not wrong_ones(seen, T, NOISE.wrong).any()


def test_a_step_and_the_ends_of_a_gap_are_no_wrong_values():
    step = np.where(T < 60, 0.0, 0.5)[:, None]
    assert not wrong_ones(step, T, NOISE.wrong).any()
    there = np.r_[0:30, 50:120]
    assert not wrong_ones(np.where(there < 40, 0.0, 0.5)[:, None], there.astype(float), NOISE.wrong).any()


@pytest.mark.parametrize("columns", [1, 2])
def test_noise_is_told_from_motion(columns):
    _, seen = shaking(0.1, 0.8, noise=0.004)
    assert noise_level(seen[:, :columns], T, NOISE) == pytest.approx(0.004, rel=0.3)
    assert noise_level(seen[:4], T[:4], NOISE) == NOISE.most


def test_acceleration_of_a_parabola_and_of_a_line():
    assert acceleration((0.5 * 0.02 * T**2)[:, None])[60] == pytest.approx(0.02**2)
    assert acceleration((3 + 0.1 * T)[:, None]).max() < 1e-20


def test_constant_stiffness_has_the_cutoff_that_calm_names():
    wave = np.cos(CALM * np.arange(4000.0))[:, None]
    passed = smoothed(wave, np.ones(4000), np.full(4000, CALM**-4.0))
    middle = slice(1000, 3000)
    assert passed[middle].std() / wave[middle].std() == pytest.approx(0.5, abs=0.01)


def test_the_same_input_gives_the_same_bytes():
    _, seen = shaking(0.2, 1.5)
    assert steady(seen, T, NOISE).tobytes() == steady(seen.copy(), T, NOISE).tobytes()
