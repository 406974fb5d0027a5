"""BD-rates whose value is known, and those that there are none of."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from stylecodec.metrics.bd_rate import Curve, bd_rate, rate_at

RATES, QUALITIES = [10.0, 20.0, 40.0, 80.0], [28.0, 31.0, 34.0, 36.0]


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.0, 1.3, 4.0])
def test_a_factor_of_all_rates_is_the_bd_rate(factor: float) -> None:
    found = bd_rate(Curve.of(RATES, QUALITIES), Curve.of([factor * rate for rate in RATES], QUALITIES))
    assert found.percent == pytest.approx(100 * (factor - 1))
    assert (found.overlap, found.share) == ((28.0, 36.0), 1.0)


def test_straight_lines_that_overlap_in_part() -> None:
    """log10 of the rate is q/10 and q/20 + 1: the mean of the difference over 10 to 16 is 1 - 13/20."""
    a, b = np.array([10.0, 12, 14, 16, 18]), np.array([8.0, 10, 12, 16])
    found = bd_rate(Curve.of(list(10 ** (a / 10)), list(a)), Curve.of(list(10 ** (b / 20 + 1)), list(b)))
    assert found.percent == pytest.approx(100 * (10 ** (1 - 13 / 20) - 1))
    assert found.overlap == (10.0, 16.0)
    assert found.share == pytest.approx(0.6)


def test_the_numbers_of_a_common_example() -> None:
    """Rates and PSNRs that implementations of VCEG-M33 are often shown with; cubic fits give the same to a percent."""
    r1, p1 = [686.76, 309.58, 157.11, 85.95], [40.28, 37.18, 34.24, 31.42]
    r2, p2 = [893.34, 407.8, 204.93, 112.75], [40.39, 37.21, 34.17, 31.24]
    fits = [np.polyint(np.polyfit(p, np.log10(r), 3)) for r, p in ((r1, p1), (r2, p2))]
    low, high = 31.42, 40.28
    one, other = (np.polyval(fit, high) - np.polyval(fit, low) for fit in fits)
    cubic = 100 * (10 ** ((other - one) / (high - low)) - 1)
    found = bd_rate(Curve.of(r1, p1), Curve.of(r2, p2)).percent
    assert found == pytest.approx(cubic, abs=1)


@pytest.mark.parametrize(
    ("rates", "qualities", "reason"),
    [
        (RATES[:3], QUALITIES[:3], "the codec has 3 points for a curve; it takes 4"),
        (RATES, [28.0, 27.0, 34.0, 36.0], r"3 points for a curve \(1 others cost more and show no more\)"),
        (RATES, [20.0, 22.0, 24.0, 27.9], "share no quality: the codec has 20 to 27.9, the anchor 28 to 36"),
        (RATES, [28.0, 31.0, 34.0, math.inf], "the codec has a lossless point"),
        ([0.0, 20.0, 40.0, 80.0], QUALITIES, "without bits"),
        ([], [], "the codec has 0 points"),
    ],
)
def test_what_has_none(rates: list[float], qualities: list[float], reason: str) -> None:
    found = bd_rate(Curve.of(RATES, QUALITIES), Curve.of(rates, qualities))
    assert found.percent is None
    assert re.search(reason, found.left_out), found.left_out


def test_a_rate_is_read_off_within_the_curve_alone() -> None:
    curve = Curve.of(RATES[::-1], QUALITIES[::-1])
    assert rate_at(curve, 31.0) == pytest.approx(20.0)
    assert 20 < (rate_at(curve, 33.0) or 0) < 40
    assert rate_at(curve, 27.9) is None
    assert rate_at(curve, 36.1) is None


def test_points_at_one_rate_keep_the_best() -> None:
    rising = Curve.of([10.0, 10.0, 20.0], [28.0, 29.0, 31.0]).rising()
    assert rising.qualities.tolist() == [29.0, 31.0]
