"""Tables of figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
Cells = Sequence[str]

TRACK_WORDS = {
    "mouth_open": "mouth opening",
    "mouth_width": "mouth width",
    "mouth_sideways": "sideways mouth",
    "eyes_open": "eye opening",
    "brows": "brows",
    "yaw": "yaw",
    "pitch": "pitch",
}


def markdown(header: Cells, rows: Iterable[Cells]) -> str:
    """A table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: Any, digits: int = 2, unit: str = "") -> str:
    """A figure rounded to so many decimals, a dash where there is none; whole numbers with commas."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int) or digits == 0:
        return f"{round(value):,}{unit}"
    return f"{value:.{digits}f}{unit}".replace("-", "−")


def follows(track: Json | None) -> str:
    """Correlation, and the gain in brackets."""
    if not track or track.get("gain") is None:
        return "–"
    return f"{number(track['correlation'] or 0.0)} ({number(track['gain'])})"


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    known = [value for value in values if value is not None and value == value]
    return sum(known) / len(known) if known else None
