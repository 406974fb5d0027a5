"""Where a clip's picture changes from one calm scene to another: at once, or blended over up to a second.

Compared are thumbnails of a few samples, while the frames go by; what is kept of each frame is one number per measure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...face.warp import Frame

SIDE, CELLS = 64, 8  # of the thumbnail that pictures are compared by: samples per side, cells per side
CHANGED_CELLS = 8  # the cells of the thumbnail that change most
CHANGE = 10.0  # mean change of these, in levels of 255, that may be a cut
SUDDEN = 2.5  # times the change around it that a cut is
AROUND = 12  # frames before and after, of which the OTHER_CUTS largest do not count
OTHER_CUTS = 2

# Seconds left out around the middle of a blend, and seconds looked at on either side. Short blends near others or near
# the clip's ends are seen by the first, blends of up to a second by the second. Heads that nod hardly rest for so long.
SPANS = ((0.2, 0.4), (0.5, 0.4))
# Times the unrest before and after that a blend changes the picture. Over the clips at hand heads that move come to 13,
# blends of 8 and 25 frames between two of these clips to 39 and more.
CALM = 20.0

Cells = NDArray[np.float32]  # [64, 3]


class PictureChanges:
    """Measures how much each picture of a clip differs from those before it, while the frames go by.

    rate: frames per second.
    """

    def __init__(self, rate: float) -> None:
        self._last: NDArray[np.int16] | None = None
        self._changes: list[float] = []
        self._blends = [_Blends(max(1, round(out * rate)), max(2, round(looked * rate))) for out, looked in SPANS]

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames [H, W, 3]."""
        for frame in frames:
            self._see(frame)
            yield frame

    def cuts(self) -> list[int]:
        """The frames so far at which another scene begins, increasing; of a blend its middle."""
        found = self._sudden()
        for blends in self._blends:
            found += [k for k in blends.found() if all(abs(k - other) > blends.reach for other in found)]
        return sorted(found)

    def _sudden(self) -> list[int]:
        """The frames whose picture changes at once; what moves all the time, or comes to rest, is no cut."""
        changes, found = np.array(self._changes), []
        for number in np.flatnonzero(changes >= CHANGE).tolist():
            near = np.concatenate([changes[max(1, number - AROUND) : number], changes[number + 1 :][:AROUND]])
            usual = np.sort(near)[:-OTHER_CUTS].max(initial=0.0)
            if changes[number] >= SUDDEN * usual:
                found.append(number)
        return found

    def _see(self, frame: Frame) -> None:
        height, width = frame.shape[:2]
        middles = np.arange(SIDE) + 0.5
        rows, columns = (middles * height / SIDE).astype(np.intp), (middles * width / SIDE).astype(np.intp)
        small = frame[rows[:, None], columns].astype(np.int16)
        self._changes.append(0.0 if self._last is None else _most(_cells(np.abs(small - self._last)).mean(axis=1)))
        self._last = small
        cells = _cells(small)
        for blends in self._blends:
            blends.see(cells)


class _Blends:
    """How much calmer a clip is before and after each frame than the two differ.

    out: frames left out on either side; looked: frames that are looked at.
    """

    def __init__(self, out: int, looked: int) -> None:
        self.reach = out + looked
        self._looked = looked
        self._near: deque[Cells] = deque(maxlen=2 * self.reach)
        self._steps: list[float] = []  # of the frames from `reach` on

    def see(self, cells: Cells) -> None:
        """The next frame."""
        self._near.append(cells)
        if len(self._near) < 2 * self.reach:
            return
        near = list(self._near)
        before, after = np.stack(near[: self._looked]), np.stack(near[-self._looked :])
        middles = before.mean(axis=0), after.mean(axis=0)
        apart = np.abs(middles[0] - middles[1]).mean(axis=1)
        unrest = sum(np.abs(part - m).mean(axis=(0, 2)) for part, m in zip((before, after), middles, strict=True))
        most = np.argsort(apart)[-CHANGED_CELLS:]
        large = float(apart[most].mean()) >= CHANGE
        self._steps.append(float(apart[most].mean() / (unrest[most].mean() + 1)) if large else 0.0)

    def found(self) -> list[int]:
        """The middles of blends."""
        steps, middles = np.array([0.0, *self._steps, 0.0]), []
        edges = np.flatnonzero(np.diff((steps >= CALM).astype(np.int8)))
        for first, end in zip(edges[::2], edges[1::2], strict=True):  # of steps[1:]
            run = steps[1 + first : 1 + end]
            high = np.flatnonzero(run >= run.max() / 2)
            middles.append(self.reach + int(first) + round(float(high[0] + high[-1]) / 2))
        return middles


def _cells(samples: NDArray[np.int16]) -> Cells:
    """Means [64, 3] of the cells of samples [64, 64, 3]."""
    parted = samples.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS, 3)
    return np.asarray(parted.mean(axis=(1, 3)), np.float32).reshape(CELLS**2, 3)


def _most(changes: NDArray[np.float32]) -> float:
    """The mean of the cells that change most."""
    return float(np.sort(changes)[-CHANGED_CELLS:].mean())
