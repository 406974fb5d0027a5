"""Curves against each other: BD-rates, and how long a call must be until a codec that pays once is the cheaper one.

Both have intervals by a bootstrap of half seconds: the same frames are drawn anew for all points of both curves, rates
stay. Over several clips, clips are drawn too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...metrics.bd_rate import FEW, BdRate, Curve, bd_rate, rate_at
from ...metrics.intervals import LEAST_DEFINED, SEED, SHARE, resampled
from ..scores import METRICS, plain
from .points import GIVEN, ORDINARY, OURS, Point, of_curve

Floats = NDArray[np.float64]
Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)

DRAWS = 200  # of frames, for the interval of a curve's figure
ALL = "all clips"
BEST = "stylecodec, best of all"  # the points of all our ways as one curve


@dataclass(frozen=True)
class Comparison:
    """A system's BD-rate against an anchor, by one metric and rate, on a clip or over all of them.

    percent: None where `left_out` says why. overlap: qualities both have, share: of all that either has. clips: that
    have a BD-rate, of so many. draws: what the interval is made of.
    """

    clip: str
    long: bool
    size: int
    metric: str
    rate: str
    anchor: str
    system: str
    percent: float | None
    left_out: str = ""
    interval: tuple[float, float] | None = None
    overlap: tuple[float, float] | None = None
    share: float = 0.0
    clips: tuple[int, int] = (1, 1)
    draws: Floats = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        head = {
            name: getattr(self, name)
            for name in ("clip", "long", "size", "metric", "rate", "anchor", "system")
        }
        if self.percent is None:
            return head | {"left_out": self.left_out}
        sign = METRICS[self.metric].sign
        overlap = None if self.overlap is None else sorted(plain(sign * value) for value in self.overlap)
        return head | {
            "bd_rate_percent": plain(self.percent),
            "interval_95": None if self.interval is None else [plain(value) for value in self.interval],
            "overlap": overlap,
            "share_of_all_qualities": round(self.share, 4),
            "clips": list(self.clips),
        }


@dataclass(frozen=True)
class BreakEven:
    """How long a call must be for a point of ours to take fewer bits than a codec at the same quality.

    seconds: 0 where it always does; None where `says` tells why there is no such length, or that it is not known.
    measured: whether the calls that were measured are as long.
    """

    clip: str
    long: bool
    size: int
    metric: str
    system: str
    setting: str
    codec: str
    seconds: float | None
    says: str = ""
    interval: tuple[float, float] | None = None
    measured: bool = False
    codec_kbps: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        head = {
            name: getattr(self, name)
            for name in ("clip", "long", "size", "metric", "system", "setting", "codec")
        }
        return head | {
            "seconds": None if self.seconds is None else plain(self.seconds),
            "interval_95": None if self.interval is None else [plain(value) for value in self.interval],
            "says": self.says,
            "as_long_was_measured": self.measured,
            "codec_kbps_at_this_quality": None if self.codec_kbps is None else plain(self.codec_kbps),
        }


# --- BD-rate ----------------------------------------------------------------------------------------------


def comparisons(points: Sequence[Point], metrics: Sequence[str], rates: Sequence[str]) -> list[Comparison]:
    """Every system of ours and every given one against every other codec, on each clip and over all."""
    found: list[Comparison] = []
    for _, group in grouped(points, lambda p: (p.long, p.size)):
        for metric in metrics:
            for rate in rates:
                each = [
                    one
                    for _, clip in grouped(group, lambda p: (p.clip,))
                    for one in _of_clip(clip, metric, rate)
                ]
                found += each
                found += _over_clips(each)
    return found


def systems(points: Sequence[Point]) -> dict[str, list[Point]]:
    """By name, in the order of the points; ours as one curve too where there are several."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.system, []).append(point)
    own = [name for name, those in found.items() if those[0].origin == OURS]
    if len(own) > 1:
        best = {BEST: [point for name in own for point in found[name]]}
        found = {name: found[name] for name in own} | best | {n: those for n, those in found.items() if n not in own}
    return found


def _of_clip(points: Sequence[Point], metric: str, rate: str) -> list[Comparison]:
    every, found = systems(points), []
    for anchor, base in every.items():
        if base[0].origin == OURS:
            continue
        for system, those in every.items():
            if those[0].origin == OURS or (those[0].origin, base[0].origin) == (GIVEN, ORDINARY):
                found.append(_comparison(base, those, system, anchor, metric, rate))
    return found


def _comparison(
    base: Sequence[Point], those: Sequence[Point], system: str, anchor: str, metric: str, rate: str
) -> Comparison:
    first = base[0]
    blank = Comparison(first.clip, first.long, first.size, metric, rate, anchor, system, None)
    for name, points in ((anchor, base), (system, those)):
        if all(metric in p.left_out for p in points):
            return replace(blank, left_out=f"{metric} of {name} is left out: {points[0].left_out[metric]}")
        if any(value is not None and not math.isfinite(value) for value in (p.mean(metric) for p in points)):
            return replace(blank, left_out=f"{name} has a lossless point, which has no place on a curve")
    a, b = _curve(base, metric, rate), _curve(those, metric, rate)
    one: BdRate = bd_rate(a, b)
    if one.percent is None:
        reason = one.left_out.replace("the anchor", anchor).replace("the codec", system)
        return replace(blank, left_out=reason)
    drawn, draws = (_drawn(base, metric, rate), _drawn(those, metric, rate)), np.zeros(0)
    if drawn[0] is not None and drawn[1] is not None:
        pairs = zip(drawn[0], drawn[1], strict=True)
        values = [bd_rate(Curve.of(*one), Curve.of(*other), FEW).percent for one, other in pairs]
        draws = np.array([math.nan if value is None else value for value in values])
    return replace(
        blank, percent=one.percent, interval=_span(draws), overlap=one.overlap, share=one.share, draws=draws
    )


def _curve(points: Sequence[Point], metric: str, rate: str) -> Curve:
    sign = METRICS[metric].sign
    _, rates, means = of_curve(points, metric, rate)
    return Curve.of(rates, [sign * mean for mean in means])


def _drawn(points: Sequence[Point], metric: str, rate: str) -> list[tuple[list[float], list[float]]] | None:
    """(rates, qualities) of DRAWS bootstraps of the frames; None where a point has no values of frames."""
    there, rates, _ = of_curve(points, metric, rate)
    if any(metric not in p.scores for p in there):
        return None
    means = METRICS[metric].sign * np.stack([drawn_means(p, metric) for p in there])
    return [(rates, column.tolist()) for column in means.T]


def drawn_means(point: Point, metric: str) -> Floats:
    """[DRAWS] means over frames drawn anew, the same ones for every point of a sequence."""
    values = np.zeros(point.frames)
    there = np.zeros(point.frames)
    scores = point.scores[metric]
    values[scores.frames], there[scores.frames] = scores.values, 1.0
    places = resampled(point.frames, point.block)[:DRAWS]
    counts = there[places].sum(axis=1)
    return np.asarray(values[places].sum(axis=1) / np.where(counts, counts, np.nan), np.float64)


def _over_clips(each: Sequence[Comparison]) -> list[Comparison]:
    """The means of the clips' BD-rates, where there are several clips."""
    found = []
    for _, group in grouped(each, lambda c: (c.anchor, c.system)):
        if len(group) < 2:
            continue
        there = [one for one in group if one.percent is not None]
        head = replace(group[0], clip=ALL, clips=(len(there), len(group)), percent=None, interval=None, overlap=None)
        if not there:
            found.append(replace(head, left_out=f"no clip has one: {group[0].left_out}"))
            continue
        draws = np.zeros(0)
        if all(len(one.draws) for one in there):
            table = np.stack([one.draws for one in there])
            clips = np.random.default_rng(SEED).integers(0, len(there), (DRAWS, len(there)))
            draws = table[clips, np.arange(DRAWS)[:, None]].mean(axis=1)
        found.append(
            replace(
                head,
                percent=float(np.mean([one.percent for one in there])),
                interval=_span(draws),
                share=float(np.mean([one.share for one in there])),
                left_out="",
            )
        )
    return found


def _span(draws: Floats) -> tuple[float, float] | None:
    """The middle of what a bootstrap gave; None where it is mostly not defined."""
    finite = draws[np.isfinite(draws)]
    if not len(draws) or len(finite) < LEAST_DEFINED * len(draws):
        return None
    low, high = np.quantile(finite, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


# --- break-even -------------------------------------------------------------------------------------------


def break_evens(points: Sequence[Point], metrics: Sequence[str]) -> list[BreakEven]:
    """Every point of ours against every other codec's curve, on each sequence, by the rate of what is seen."""
    found = []
    for _, group in grouped(points, lambda p: (p.long, p.size, p.clip)):
        every = systems(group)
        own = [p for p in group if p.origin == OURS]
        for metric in metrics:
            for codec, base in every.items():
                if base[0].origin != OURS and metric not in base[0].left_out:
                    found += [_break_even(p, codec, base, metric) for p in own if metric in p.scores]
    return found


def _break_even(point: Point, codec: str, base: Sequence[Point], metric: str) -> BreakEven:
    sign = METRICS[metric].sign
    curve, quality = _curve(base, metric, "video"), sign * point.scores[metric].mean
    blank = BreakEven(point.clip, point.long, point.size, metric, point.system, point.setting, codec, None)
    rising = curve.rising()
    if not math.isfinite(quality) or not np.isfinite(rising.qualities).all() or len(rising) < FEW:
        return replace(blank, says=f"{codec} has no curve of two points or more, or a lossless one")
    once, running = float(point.once or 0) * 8 / 1000, float(point.running or 0.0)
    rate = rate_at(curve, quality)
    if rate is None:
        return replace(blank, says=_beyond(codec, rising, quality, once, running))
    seconds = length(once, rate, running)
    if seconds is None:
        says = f"never: ours takes {running:.1f} kbit/s beside what it pays once, {codec} {rate:.1f} in all"
        return replace(blank, says=says, codec_kbps=rate)
    drawn, span = _drawn(base, metric, "video"), None
    if drawn is not None:
        own = sign * drawn_means(point, metric)
        rates = [rate_at(Curve.of(*one), float(q)) for one, q in zip(drawn, own, strict=True)]
        lengths = [math.nan if r is None else length(once, r, running) for r in rates]
        span = _span(np.array([math.nan if value is None else value for value in lengths]))
    return replace(blank, seconds=seconds, interval=span, measured=seconds <= point.seconds, codec_kbps=rate)


def length(once: float, rate: float, running: float) -> float | None:
    """Seconds from which on `once` kbit and `running` kbit/s are less than `rate` kbit/s; None: never."""
    return once / (rate - running) if rate > running else None


def _beyond(codec: str, curve: Curve, quality: float, once: float, running: float) -> str:
    """What can be said of a quality that the codec's curve does not have."""
    if quality < curve.qualities[0]:
        least = float(curve.rates[0])
        bound = length(once, least, running)
        rest = f"never: even at its end, where it shows more, {codec} takes {least:.1f} kbit/s, ours {running:.1f}"
        if bound is None:
            return rest
        return f"not known: {codec} shows more already at its end of {least:.1f} kbit/s; {bound:.0f} s or more"
    most = float(curve.rates[-1])
    bound = length(once, most, running)
    up_to = "" if bound is None else f"; {bound:.0f} s or less"
    return f"not known: {codec} was not measured at so high a quality (up to {most:.1f} kbit/s){up_to}"


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> list[tuple[Key, list[Item]]]:
    """Items by key, in the order in which keys come first."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())
