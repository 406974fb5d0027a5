"""One output against its reference: every metric, frame by frame, over time, and as a whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics.differences import flicker
from ..metrics.tracks import MESH_AS_68
from ..progress import Progress, ProgressCallback
from .distributions import fid, fvd
from .faces import AlignedFaces
from .far_end import FarEnd
from .judges import IDENTITIES, Judges, Readings, apart
from .matching import Matching
from .motion import MESH_NAMES, OPENFACE_NAMES, by_mesh, by_openface
from .options import EvaluateOptions
from .scores import METRICS, Floats, Score, left_out, of_frames

AKD_SIDE = 256  # pixels of the square in which landmarks are told apart
BLOCK_SECONDS = 0.5  # of frames that the bootstrap keeps together
BATCH = 4  # pairs of squares that are compared at once
NO_IDENTITY = "who should be seen is not known: give a picture, video or stream with --identity"


@dataclass(frozen=True)
class Measurement:
    """A reference, who judges, and the far end of every distance; `of` measures an output.

    likeness: whom the output should look like, in a puppet; else the reference itself. only: the metrics that are
    measured, by name; None: all that the options ask for.
    """

    reference: Readings
    judges: Judges
    far_end: FarEnd
    options: EvaluateOptions
    likeness: Readings | None
    progress: ProgressCallback
    only: Collection[str] | None = None

    def of(self, name: str, output: AlignedFaces, matching: Matching) -> list[Score]:
        """All metrics that the options ask for, in the order of METRICS."""
        readings = Readings(output, self.judges)
        found = {score.metric.name: score for score in self._scores(name, readings, matching)}
        wanted = [metric for metric in METRICS.values() if self._asked(metric.name)]
        return [found[metric.name] for metric in wanted if metric.name in found]

    def _asked(self, name: str) -> bool:
        """Whether a metric is to be measured."""
        return (METRICS[name].puppet or not self.options.puppet) and (self.only is None or name in self.only)

    def _scores(self, name: str, output: Readings, matching: Matching) -> Iterator[Score]:
        if not self.options.puppet:
            yield from self._pixels(name, output, matching)
        if self._asked("mesh-AKD"):
            yield self._landmarks(output, matching)
        if self._asked("flicker"):
            yield self._flicker(output, matching)
        yield from self._identity(output, matching)
        if self._asked("FID"):
            yield fid(self.reference, output, matching, self.judges)
        if self._asked("FVD") or self._asked("FVD-mouth"):
            yield from fvd(
                self.reference.faces,
                output.faces,
                matching,
                self.judges,
                lambda done: self.progress(Progress(f"comparing clips of {name}", done, None, "clips")),
            )
        if any(map(self._asked, OPENFACE_NAMES)):
            yield from by_openface(self.options.openface, matching.delay, self.block)
        if any(map(self._asked, MESH_NAMES)):
            for followed in by_mesh(self.reference, output, matching):
                yield followed.score(self.block)

    @property
    def block(self) -> int:
        """Frames that the bootstrap keeps together."""
        seconds = self.reference.faces.seconds
        step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
        return max(1, round(BLOCK_SECONDS / step))

    def _pixels(self, name: str, output: Readings, matching: Matching) -> Iterator[Score]:
        every = self.judges.pairs(self.reference.faces.size)
        measures = {metric: measure for metric, measure in every.items() if self._asked(metric)}
        values: dict[str, list[Floats]] = {metric: [] for metric in measures}
        a, b = self.reference.faces.crops, output.faces.crops
        for begin in range(0, len(matching.reference), BATCH):
            i, j = (frames[begin : begin + BATCH] for frames in (matching.reference, matching.output))
            for metric, measure in measures.items():
                values[metric].append(measure(a[i], b[j]))
            self.progress(Progress(f"comparing {name}", begin + len(i), len(matching.reference)))
        for metric, measure in measures.items():
            far = measure(a[self.far_end.frames], self.far_end.strangers.faces.crops[self.far_end.people])
            yield self._frames(metric, np.concatenate([np.zeros(0), *values[metric]]), matching, far)
        for metric in METRICS:
            if metric in self.judges.absent and metric not in ("L_ID", "FID", "FVD", "FVD-mouth"):
                yield left_out(metric, self.judges.absent[metric])

    def _landmarks(self, output: Readings, matching: Matching) -> Score:
        def distance(other: Readings, i: NDArray[np.intp], j: NDArray[np.intp]) -> Floats:
            p, q = (side.points(frames)[:, list(MESH_AS_68)] for side, frames in ((self.reference, i), (other, j)))
            return np.asarray(np.linalg.norm(p - q, axis=2).mean(axis=1) * AKD_SIDE, np.float64)

        if not len(matching.reference):
            return self._frames("mesh-AKD", np.zeros(0), matching, np.zeros(0))
        far = distance(self.far_end.strangers, self.far_end.frames, self.far_end.people)
        return self._frames("mesh-AKD", distance(output, matching.reference, matching.output), matching, far)

    def _flicker(self, output: Readings, matching: Matching) -> Score:
        """Of neighbouring pairs; a value belongs to the later one."""
        i, j = matching.reference, matching.output
        later = np.flatnonzero(np.diff(i) == 1) + 1
        if not len(later):
            return left_out("flicker", "no two successive frames are matched")
        a, b = self.reference.faces.crops, output.faces.crops
        values = [flicker((a[i[k - 1]], a[i[k]]), (b[j[k - 1]], b[j[k]])) for k in later]
        seconds = self.reference.faces.seconds[i[later]]
        return of_frames("flicker", np.array(values), i[later], seconds, self.block)

    def _identity(self, output: Readings, matching: Matching) -> Iterator[Score]:
        """Against the same moment of the reference; of a puppet against the mean of whom it should look like."""
        far, wanted = self.far_end, self.likeness if self.options.puppet else self.reference
        for name in filter(self._asked, IDENTITIES):
            if name in self.judges.absent:
                yield left_out(name, self.judges.absent[name])
            elif wanted is None:
                yield left_out(name, NO_IDENTITY)
            elif not len(matching.reference):
                yield self._frames(name, np.zeros(0), matching, np.zeros(0))
            else:
                shown, strange = output.vectors(name, matching.output), far.strangers.vectors(name, far.people)
                if self.options.puppet:
                    middle = wanted.vectors(name, np.flatnonzero(wanted.faces.found)).mean(axis=0, keepdims=True)
                    values, others = apart(name, middle, shown), apart(name, middle, strange)
                else:
                    values = apart(name, wanted.vectors(name, matching.reference), shown)
                    others = apart(name, wanted.vectors(name, far.frames), strange)
                yield self._frames(name, values, matching, others)

    def _frames(self, name: str, values: Floats, matching: Matching, far: Floats) -> Score:
        seconds = self.reference.faces.seconds[matching.reference]
        unrelated = float(far.mean()) if len(far) else None
        return of_frames(name, values, matching.reference, seconds, self.block, unrelated)


def nothing(reason: str, options: EvaluateOptions) -> list[Score]:
    """Every metric left out for one reason."""
    return [left_out(metric.name, reason) for metric in METRICS.values() if metric.puppet or not options.puppet]
