"""The frames of a clip that differ most from one another: a mouth that opens once is nowhere else to be seen.

Frames spread over time show a person as they are most of the time. What the identity latent must also get right, the
dark inside of a mouth or a shut lid, may last a few frames of a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .codes import CodeUnits
from .feedforward import Crop, FrameCodes
from .select_id import Candidate


class Extremes:
    """Keeps `count` frames whose codes lie far apart, of a clip of unknown length, in bounded memory.

    A frame comes in when two of those kept are nearer to each other than it is to any: of the two nearest, the one
    goes that is nearer to the others.
    """

    def __init__(self, units: CodeUnits, count: int) -> None:
        self.units, self.count = units, count
        self._held: list[Candidate] = []
        self._apart = np.full((0, 0), np.inf)  # distances between the codes of those held, in units

    def offer(self, frames: Sequence[int], crops: Sequence[Crop], codes: FrameCodes) -> None:
        """Take the crops and codes of the frames of these numbers."""
        if self.count:
            for k, (frame, crop) in enumerate(zip(frames, crops, strict=True)):
                self._take(Candidate(frame, crop, codes.w_id[k], codes.pose[k], codes.alpha[k]))

    def kept(self) -> list[Candidate]:
        """The frames kept, in order of time."""
        return sorted(self._held, key=lambda c: c.frame)

    def _take(self, new: Candidate) -> None:
        own = self._place(new)
        away = np.array([np.linalg.norm(self._place(held) - own) for held in self._held])
        if len(self._held) == self.count and away.min() <= self._apart.min():
            return
        size = len(self._held)
        apart = np.full((size + 1, size + 1), np.inf)
        apart[:size, :size], apart[size, :size], apart[:size, size] = self._apart, away, away
        self._held.append(new.copied())
        if len(self._held) > self.count:
            pair = np.unravel_index(int(apart.argmin()), apart.shape)
            gone = min(pair, key=lambda one: float(np.sort(apart[one])[1]))
            del self._held[gone]
            apart = np.delete(np.delete(apart, gone, axis=0), gone, axis=1)
        self._apart = apart

    def _place(self, candidate: Candidate) -> NDArray[np.float32]:
        pose, alpha = (torch.from_numpy(value[None]) for value in (candidate.pose, candidate.alpha))
        return np.asarray(self.units.units(pose, alpha)[0].cpu().numpy(), np.float32)
