"""What `evaluate` found: scores of every output, as Python and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .faces import Crops
from .scores import Score


@dataclass(frozen=True)
class OutputScores:
    """One output: what it is, how it was matched (None where it was not), what is to be known, its scores.

    worst: the squares of reference and output at the worst frame of some metrics, for pictures in a report.
    """

    source: dict[str, Any]
    matching: dict[str, Any] | None
    notes: tuple[str, ...]
    scores: tuple[Score, ...]
    worst: dict[str, tuple[Crops, Crops]]

    def score(self, name: str) -> Score:
        """By the name of a metric; KeyError."""
        return {score.metric.name: score for score in self.scores}[name]

    @property
    def scored(self) -> bool:
        """Whether any metric says something."""
        return any(not score.left_out for score in self.scores)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.source,
            "matching": self.matching,
            "notes": list(self.notes),
            "metrics": [score.as_dict() for score in self.scores],
        }


@dataclass(frozen=True)
class EvaluateReport:
    """What `evaluate` found. size: pixels per side of the squares; seconds: times of the reference's frames.
    judges: whose networks measured."""

    reference: dict[str, Any]
    size: int
    puppet: bool
    outputs: tuple[OutputScores, ...]
    seconds: tuple[float, ...]
    judges: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which an infinite number is the text "inf"."""
        return {
            "reference": self.reference,
            "size": self.size,
            "puppet": self.puppet,
            "judges": self.judges,
            "outputs": [output.as_dict() for output in self.outputs],
        }
