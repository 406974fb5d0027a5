"""One point of a curve: what a codec made of one sequence at one setting, its bytes and its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics.intervals import mean_interval
from ..scores import plain

OURS, ORDINARY, GIVEN = "ours", "ordinary", "given"
Origin = str
ONCE = ("header", "identity", "personalization", "background")  # parts that a call pays for once
SOUND, CONTAINER = "sound", "container"  # parts that are no picture


@dataclass(frozen=True)
class Values:
    """A metric of some frames. frames: their numbers in the sequence; infinite values are of identical pictures."""

    metric: str
    frames: NDArray[np.intp]
    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Over the frames; infinite when one of them is: what is lossless has no place on a curve."""
        return float(self.values.mean())

    def at(self, places: NDArray[np.intp]) -> Values:
        """Some of the frames, by their place here."""
        return Values(self.metric, self.frames[places], self.values[places])

    def as_dict(self, block: int) -> dict[str, Any]:
        """For JSON. block: frames that the bootstrap keeps together."""
        finite = bool(np.isfinite(self.values).all())
        span = mean_interval(self.values, block) if finite else None
        return {
            "mean": plain(self.mean),
            "interval_95": None if span is None else [plain(value) for value in span],
            "n": len(self.values),
        }


@dataclass(frozen=True)
class Point:
    """clip: its name, `long` when it was looped to a long call; size: pixels per side; seconds and frames: of it.

    system: whose point, "stylecodec fast+off" or "x264"; setting: "62 dB", "crf 23". parts: bytes, which add up to the
    file; None in a given table that has rates alone. rates: kbit/s, "total" and "video" (all that is needed to see).
    scores: by metric; left_out: why others are not there; tuned: frames that a generator was tuned on (their pictures,
    wherever they are repeated).
    """

    clip: str
    long: bool
    size: int
    seconds: float
    frames: int
    fps: float
    system: str
    setting: str
    origin: Origin
    parts: Mapping[str, int] | None
    rates: Mapping[str, float]
    scores: Mapping[str, Values]
    left_out: Mapping[str, str] = field(default_factory=dict)
    tuned: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    means: Mapping[str, float] = field(default_factory=dict)  # of a given table, which has no values of frames

    def mean(self, metric: str) -> float | None:
        """None where the metric is left out."""
        if metric in self.scores:
            return self.scores[metric].mean
        return self.means.get(metric)

    @property
    def once(self) -> int | None:
        """Bytes that are paid once, however long the call is; None for a codec that tells none."""
        if self.origin != OURS or self.parts is None:
            return None
        return sum(self.parts.get(part, 0) for part in ONCE)

    @property
    def running(self) -> float | None:
        """kbit/s of what must be seen and is not paid once; None for a codec that tells none."""
        return None if self.once is None else self.rates["video"] - self.once * 8 / self.seconds / 1000

    @property
    def block(self) -> int:
        """Frames that the bootstrap keeps together: half a second."""
        return max(1, round(self.fps / 2))

    def untuned(self) -> dict[str, Values]:
        """The scores of the frames that the generator was not tuned on; empty where it was tuned on none or on all."""
        found = {}
        for name, values in self.scores.items():
            places = np.flatnonzero(~np.isin(values.frames, list(self.tuned)))
            if self.tuned and len(places):
                found[name] = values.at(places)
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts: dict[str, Any] = {
            "clip": self.clip,
            "long": self.long,
            "size": self.size,
            "seconds": round(self.seconds, 4),
            "frames": self.frames,
            "system": self.system,
            "setting": self.setting,
            "origin": self.origin,
            "bytes": None if self.parts is None else {**self.parts, "total": sum(self.parts.values())},
            "kbps": {name: round(value, 4) for name, value in self.rates.items()},
            "bytes_once": self.once,
            "kbps_running": None if self.running is None else round(self.running, 4),
            "scores": {name: values.as_dict(self.block) for name, values in self.scores.items()},
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }
        facts["scores"] |= {name: {"mean": plain(value), "interval_95": None} for name, value in self.means.items()}
        if self.tuned:
            facts["frames_not_tuned_on"] = {name: one.as_dict(self.block) for name, one in self.untuned().items()}
        return facts


def rates_of(parts: Mapping[str, int], seconds: float) -> dict[str, float]:
    """kbit/s of a file by its bytes: "total", and "video", which is all but sound and container."""
    total = sum(parts.values())
    seen = total - parts.get(SOUND, 0) - parts.get(CONTAINER, 0)
    return {"total": total * 8 / seconds / 1000, "video": seen * 8 / seconds / 1000}


RATES = ("video", "total")


def of_curve(points: Sequence[Point], metric: str, rate: str) -> tuple[list[Point], list[float], list[float]]:
    """The points of one system that a curve of a metric can have, by rate: they, their rates, their means."""
    there = [p for p in points if (value := p.mean(metric)) is not None and math.isfinite(value) and rate in p.rates]
    there.sort(key=lambda p: p.rates[rate])
    return there, [p.rates[rate] for p in there], [float(p.mean(metric) or 0.0) for p in there]
