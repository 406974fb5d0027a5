"""Keyframes by farthest-point sampling: the frames of a clip whose codes differ most from one another.

Frames spread over time show a person as they are most of the time. What the identity latent must also get right, the
dark inside of a mouth or a shut lid, may last a few frames of a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ..differentiable import SIZE, CodeUnits
from ..frames import Crop, FrameCodes
from .selection import Candidate


def farthest(places: NDArray[np.float32], begun: Sequence[int], count: int) -> list[int]:
    """Rows of `places` [n, k]: those `begun` with (one and more), and one after the other the farthest from all taken.

    Gonzalez's greedy 2-approximation of the k-centre problem (1985). At most `count` rows, ascending.
    """
    taken = list(begun)
    apart = cdist(places, places[taken]).min(axis=1)
    while len(taken) < count and apart.max() > 0:
        taken.append(int(apart.argmax()))
        apart = np.minimum(apart, cdist(places, places[taken[-1:]])[:, 0])
    return sorted(taken)


class Keyframes:
    """Keeps `count` frames whose codes lie far apart, of a clip of unknown length, in bounded memory.

    A frame comes in when two of those kept are nearer to each other than it is to any: of the two nearest, the one
    goes that is nearer to the others. count: 1 and more.
    """

    def __init__(self, units: CodeUnits, count: int) -> None:
        self.units, self.count = units, count
        self._held: list[Candidate] = []
        self._places = np.zeros((0, SIZE), np.float32)  # their codes in units

    def offer(self, frames: Sequence[int], crops: Sequence[Crop], codes: FrameCodes) -> None:
        """Take the crops and codes of the frames of these numbers."""
        places = self.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha)).cpu().numpy()
        for k, (frame, crop) in enumerate(zip(frames, crops, strict=True)):
            self._take(Candidate(frame, crop, codes.w_id[k], codes.pose[k], codes.alpha[k]), places[k])

    def kept(self) -> list[Candidate]:
        """The frames kept, in order of time."""
        return sorted(self._held, key=lambda c: c.frame)

    def _take(self, new: Candidate, place: NDArray[np.float32]) -> None:
        places = np.vstack([self._places, place])
        apart = cdist(places, places)
        np.fill_diagonal(apart, np.inf)
        full = len(self._held) == self.count
        if full and apart[-1, :-1].min() <= apart[:-1, :-1].min():
            return
        self._held.append(new.copied())
        if full:
            pair = np.unravel_index(int(apart.argmin()), apart.shape)
            gone = min(pair, key=lambda one: float(np.sort(apart[one])[1]))
            del self._held[gone]
            places = np.delete(places, gone, axis=0)
        self._places = places
