"""FID and FVD of a pair of videos: Fréchet distances of what Inception and I3D make of their aligned squares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ..metrics.frechet import LEAST_SAMPLES, frechet_distance
from ..nets.i3d import FRAMES, SIDE, I3d
from ..nets.inception import FEATURES
from .faces import AlignedFaces, as_batch
from .judges import Judges, Readings
from .matching import Matching
from .scores import METRICS, Floats, Score, left_out

CLIP_STEP = 8  # frames from one clip to the next
MOUTH = (0.5, 0.72, 0.36)  # centre and side of the square around the mouth, in units of an aligned square


def fid(reference: Readings, output: Readings, matching: Matching, judges: Judges) -> Score:
    """The distance of all matched frames."""
    if "FID" in judges.absent or judges.networks is None:
        return left_out("FID", judges.absent["FID"])
    count = len(matching.reference)
    if count < LEAST_SAMPLES:
        return left_out("FID", f"{count} frames are too few: a covariance takes {LEAST_SAMPLES}")
    net = judges.networks.inception(judges.place)
    a, b = reference.inception(matching.reference, net), output.inception(matching.output, net)
    note = f"{count} frames for {FEATURES} features: larger than of more frames, compare only with as many"
    return Score(METRICS["FID"], n=count, mean=frechet_distance(a, b), notes=(note,) if count <= FEATURES else ())


def fvd(
    reference: AlignedFaces, output: AlignedFaces, matching: Matching, judges: Judges, tell: Callable[[int], None]
) -> list[Score]:
    """The distance of clips of 16 successive matched frames, of whole squares and of the mouth. tell: clips done."""
    names = ("FVD", "FVD-mouth")
    if "FVD" in judges.absent or judges.networks is None:
        return [left_out(name, judges.absent[name]) for name in names]
    starts = clip_starts(matching.reference)
    if len(starts) < LEAST_SAMPLES:
        reason = f"{len(starts)} clips of {FRAMES} successive frames are too few: a covariance takes {LEAST_SAMPLES}"
        return [left_out(name, reason) for name in names]
    net = judges.networks.i3d(judges.place)
    scores = []
    for name, mouth in zip(names, (False, True), strict=True):
        sides = []
        for faces, frames in ((reference, matching.reference), (output, matching.output)):
            logits = []
            for done, start in enumerate(starts, 1):
                logits.append(_logits(faces, frames[start : start + FRAMES], net, judges, mouth))
                tell(done)
            sides.append(np.concatenate(logits))
        note = (
            f"{len(starts)} clips, every {CLIP_STEP} frames: far fewer than published FVDs are of, not to be compared"
        )
        scores.append(Score(METRICS[name], n=len(starts), mean=frechet_distance(*sides), notes=(note,)))
    return scores


def clip_starts(frames: NDArray[np.intp]) -> list[int]:
    """Places in these numbers of frames from which FRAMES successive ones follow, every CLIP_STEP."""
    starts, place = [], 0
    while place + FRAMES <= len(frames):
        if frames[place + FRAMES - 1] - frames[place] == FRAMES - 1:
            starts.append(place)
            place += CLIP_STEP
        else:
            place += 1
    return starts


@torch.no_grad()
def _logits(faces: AlignedFaces, frames: NDArray[np.intp], net: I3d, judges: Judges, mouth: bool) -> Floats:
    crops = faces.crops[frames]
    if mouth:
        x, y, side = (round(value * faces.size) for value in MOUTH)
        top, left = y - side // 2, x - side // 2
        crops = crops[:, top : top + side, left : left + side]
    clip = as_batch(crops, judges.place, SIDE).permute(1, 0, 2, 3)[None]
    return np.asarray(net(clip).double().cpu().numpy(), np.float64)
