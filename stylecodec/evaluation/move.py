"""One move of the squares of a whole video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_ZOOM, MOST_TURN, MOST_SHIFT = 0.05, 2.0, 0.04  # as e^zoom, degrees, share of the side: more is another picture
LEAST = 1e-4  # of the side: a smaller move of any corner is none


@dataclass(frozen=True)
class Move:
    """e^zoom times the side, turned by degrees clockwise, moved along the square's own axes by shares of its side."""

    zoom: float = 0.0
    turn: float = 0.0
    across: float = 0.0
    down: float = 0.0

    @property
    def some(self) -> bool:
        """Whether it moves anything by more than hardly."""
        reach = abs(self.zoom) + abs(np.deg2rad(self.turn))
        return bool(reach / 2 + max(abs(self.across), abs(self.down)) > LEAST)

    @property
    def small(self) -> bool:
        """Whether it is one that landmarks may be wrong by."""
        shift = max(abs(self.across), abs(self.down))
        return abs(self.zoom) <= MOST_ZOOM and abs(self.turn) <= MOST_TURN and shift <= MOST_SHIFT
