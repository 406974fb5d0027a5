"""What a run found, as Python, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..scores import plain
from . import published
from .comparing import BreakEven, Comparison
from .points import Point

PARTS = ("identity", "personalization", "background", "packets", "picture", "sound", "header", "index", "container")


@dataclass(frozen=True)
class RdReport:
    """Points, BD-rates and break-even lengths. sequences: facts of each; left_out: why clips or codecs are not here;
    metrics: those that a curve was asked of; conditions: "" for the run's own; with_published: curves of others beside.
    """

    points: tuple[Point, ...]
    comparisons: tuple[Comparison, ...]
    break_evens: tuple[BreakEven, ...]
    sequences: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]
    metrics: tuple[str, ...]
    judges: dict[str, Any]
    conditions: str = ""
    with_published: bool = False

    @property
    def measured(self) -> bool:
        """Whether any point has a score."""
        return any(point.scores or point.means for point in self.points)

    @property
    def found(self) -> tuple[str, ...]:
        """The metrics that any point has; the others are told among what is left out."""
        return tuple(name for name in self.metrics if any(point.mean(name) is not None for point in self.points))

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which an infinite number is the text "inf"."""
        facts: dict[str, Any] = {
            "conditions": self.conditions,
            "metrics": list(self.metrics),
            "judges": self.judges,
            "sequences": list(self.sequences),
            "left_out": list(self.left_out),
            "points": [point.as_dict() for point in self.points],
            "bd_rates": [one.as_dict() for one in self.comparisons],
            "break_even": [one.as_dict() for one in self.break_evens],
        }
        if self.with_published:
            facts["published"] = {
                "metric": f"1 - {published.METRIC}",
                "source": published.SOURCE,
                "curves": [
                    {"system": one.system, "points": [list(point) for point in one.points], "limit": one.limit}
                    for one in published.CURVES
                ],
            }
        return facts


def as_csv(points: Sequence[Point], metrics: Sequence[str]) -> str:
    """One row for each point: bytes by part, rates in kbit/s, and of each metric the mean and its 95 % interval."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["clip", "long", "size", "seconds", "frames", "system", "setting", "origin"]
    scores = [f"{name}{end}" for name in metrics for end in ("", " low", " high")]
    writer.writerow([*head, *(f"bytes {part}" for part in PARTS), "bytes total", "kbps", "kbps total", *scores])
    for point in points:
        parts = dict(point.parts or {})
        row: list[Any] = [point.clip, int(point.long), point.size, f"{point.seconds:.4f}", point.frames]
        row += [point.system, point.setting, point.origin]
        row += [parts.get(part, "" if point.parts is None else 0) for part in PARTS]
        row.append(sum(parts.values()) if parts else "")
        row += [f"{point.rates[rate]:.4f}" if rate in point.rates else "" for rate in ("video", "total")]
        for name in metrics:
            row += _cells(point, name)
        writer.writerow(row)
    return out.getvalue()


def _cells(point: Point, metric: str) -> list[Any]:
    if metric in point.scores:
        facts = point.scores[metric].as_dict(point.block)
        return [facts["mean"], *(facts["interval_95"] or ("", ""))]
    mean = point.mean(metric)
    return ["" if mean is None else plain(mean), "", ""]
