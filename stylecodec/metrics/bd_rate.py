"""Bjøntegaard's measures: how many more or fewer bits a codec takes than another one at equal quality, in percent.

The integral is that of the library `bjontegaard` (PCHIP through the points over log10 of the rate, as in ITU-T
HSTP-VID-WPOM); what must not become a number in silence is sorted out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_POINTS = 4  # of a curve, as VCEG-M33 has it
FEW = 2  # of a curve that is drawn anew by a bootstrap, where noise may have taken some away


@dataclass(frozen=True)
class Curve:
    """Points of a codec: rates [n] in kbit/s, above 0, and qualities [n], the higher the better."""

    rates: Floats
    qualities: Floats

    @classmethod
    def of(cls, rates: list[float], qualities: list[float]) -> Curve:
        """Sorted by rate."""
        order = np.argsort(np.asarray(rates, np.float64), kind="stable")
        return cls(np.asarray(rates, np.float64)[order], np.asarray(qualities, np.float64)[order])

    def rising(self) -> Curve:
        """Without the points that cost more than another one and show no more."""
        kept = [k for k, value in enumerate(self.qualities) if k == 0 or value > self.qualities[:k].max()]
        # Of points at one rate the last one that rises is the best.
        last = [k for n, k in enumerate(kept) if n + 1 == len(kept) or self.rates[kept[n + 1]] > self.rates[k]]
        return Curve(self.rates[last], self.qualities[last])

    def __len__(self) -> int:
        return len(self.rates)


@dataclass(frozen=True)
class BdRate:
    """percent: below 0 the codec takes fewer bits than the anchor; None with the reason in `left_out`.

    overlap: the qualities both curves have, over which the mean is taken; share: of all that either has.
    """

    percent: float | None
    left_out: str = ""
    overlap: tuple[float, float] | None = None
    share: float = 0.0


def bd_rate(anchor: Curve, test: Curve, least: int = LEAST_POINTS) -> BdRate:
    """The BD-rate of a codec against an anchor. least: points that either curve must have."""
    for name, curve in (("the anchor", anchor), ("the codec", test)):
        if not (np.isfinite(curve.qualities).all() and np.isfinite(curve.rates).all()):
            return BdRate(None, f"{name} has a lossless point, which has no place on a curve")
        if len(curve) and curve.rates.min() <= 0:
            return BdRate(None, f"{name} has a point without bits")
    a, b = anchor.rising(), test.rising()
    for name, curve, given in (("the anchor", a, anchor), ("the codec", b, test)):
        if len(curve) < least:
            dropped = len(given) - len(curve)
            more = f" ({dropped} others cost more and show no more)" if dropped else ""
            return BdRate(None, f"{name} has {len(curve)} points for a curve{more}; it takes {least}")
    low, high = max(a.qualities[0], b.qualities[0]), min(a.qualities[-1], b.qualities[-1])
    if low >= high:
        return BdRate(
            None,
            f"the curves share no quality: the codec has {b.qualities[0]:.4g} to {b.qualities[-1]:.4g}, the anchor "
            f"{a.qualities[0]:.4g} to {a.qualities[-1]:.4g}",
        )
    either = max(a.qualities[-1], b.qualities[-1]) - min(a.qualities[0], b.qualities[0])
    return BdRate(_integral(a, b), "", (float(low), float(high)), float((high - low) / either))


def _integral(anchor: Curve, test: Curve) -> float:
    from bjontegaard import bd_rate as library

    found = library(
        anchor.rates,
        anchor.qualities,
        test.rates,
        test.qualities,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return float(cast(float, found))


def rate_at(curve: Curve, quality: float) -> float | None:
    """kbit/s that a codec takes for a quality, by the same interpolation; None beyond the ends of its curve."""
    from scipy.interpolate import PchipInterpolator

    rising = curve.rising()
    if len(rising) < FEW or not rising.qualities[0] <= quality <= rising.qualities[-1]:
        return None
    return float(10 ** PchipInterpolator(rising.qualities, np.log10(rising.rates))(quality))
