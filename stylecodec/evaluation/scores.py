"""The metrics by name, and what was found by each: the one place for names, units and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..metrics.intervals import mean_interval

Floats = NDArray[np.float64]
Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """One metric. better: in which direction. stand_in: measured on networks that come with stylecodec, in place of one
    whose weights cannot; it has a name of its own and is not to be compared with published figures."""

    name: str
    unit: str
    better: Direction
    what: str
    puppet: bool = False  # needs no pixel truth
    stand_in: bool = False

    @property
    def sign(self) -> int:
        """By which values are multiplied so that the higher is the better."""
        return 1 if self.better == "higher" else -1


MESH = "read-out of the face mesh (no detector of action units)"
_TABLE = (
    Metric("L1", "grey levels", "lower", "mean absolute difference, 0 to 255"),
    Metric("PSNR", "dB", "higher", "of all channels of a frame, mean of the frames that are not identical"),
    Metric("SSIM", "", "higher", "Gaussian window of sigma 1.5, mean of RGB"),
    Metric("MS-SSIM", "", "higher", "the same over five scales"),
    Metric("LPIPS-alex", "", "lower", "LPIPS 0.1 on AlexNet"),
    Metric("LPIPS-vgg", "", "lower", "LPIPS 0.1 on VGG-16"),
    Metric("DISTS", "", "lower", "on VGG-16"),
    Metric("parser-distance", "", "lower", "distance of features of the pack's face parser", stand_in=True),
    Metric("L_ID", "", "lower", "1 - cosine of ArcFace (IR-SE50) vectors", puppet=True),
    Metric(
        "dlib-identity",
        "",
        "lower",
        "Euclidean distance of dlib's face descriptors (the manner of AED); from 0.6 on dlib sees somebody else",
        puppet=True,
        stand_in=True,
    ),
    Metric("FID", "", "lower", "Fréchet distance of Inception features of the aligned frames", puppet=True),
    Metric("FVD", "", "lower", "Fréchet distance of I3D logits of clips of 16 aligned frames", puppet=True),
    Metric("FVD-mouth", "", "lower", "the same of the square around the mouth", puppet=True),
    Metric("rho_AU", "", "higher", "correlation over time of OpenFace's action units, mean of the units"),
    Metric("rho_GZ", "", "higher", "correlation over time of OpenFace's gaze angles"),
    Metric("rho_pose", "", "higher", "correlation over time of OpenFace's head angles"),
    Metric("rho_AU+GZ", "", "higher", "of action units and gaze angles together", puppet=True),
    Metric("mesh-AU", "", "higher", f"correlation over time of action units, {MESH}", stand_in=True),
    Metric("mesh-gaze", "", "higher", f"correlation over time of gaze, {MESH}", stand_in=True),
    Metric("mesh-pose", "", "higher", "correlation over time of yaw, pitch and roll by mesh and eyes", stand_in=True),
    Metric("mesh-AU+gaze", "", "higher", f"of action units and gaze together, {MESH}", puppet=True, stand_in=True),
    Metric(
        "mesh-AKD",
        "pixels of 256",
        "lower",
        "mean distance of 68 points of the face mesh in aligned squares (the manner of AKD)",
        stand_in=True,
    ),
    Metric("flicker", "grey levels", "lower", "of the change from frame to frame what is not the reference's"),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Worst:
    """The worst frame of the reference by one metric: its number from 0, its seconds, its value."""

    frame: int
    seconds: float
    value: float


@dataclass(frozen=True)
class Score:
    """What a metric says of an output, or why it says nothing (`left_out`; then there is no number at all).

    n: frames (FVD: clips) that count. interval: 95 %, None where there is none. unrelated: what an unrelated face (for
    a correlation: unrelated motion) scores. per_frame: (frame of the reference, value). parts: what a mean is made of.
    """

    metric: Metric
    left_out: str = ""
    n: int = 0
    mean: float = math.nan
    interval: tuple[float, float] | None = None
    worst: Worst | None = None
    unrelated: float | None = None
    notes: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    per_frame: tuple[tuple[int, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON, in which an infinite number is the text "inf"."""
        head = {"name": self.metric.name, "what": self.metric.what, "stand_in": self.metric.stand_in}
        if self.left_out:
            return head | {"left_out": self.left_out}
        worst = None
        if self.worst is not None:
            worst = {
                "frame": self.worst.frame,
                "seconds": round(self.worst.seconds, 4),
                "value": plain(self.worst.value),
            }
        return head | {
            "unit": self.metric.unit,
            "better": self.metric.better,
            "n": self.n,
            "mean": plain(self.mean),
            "interval_95": None if self.interval is None else [plain(value) for value in self.interval],
            "worst": worst,
            "unrelated": None if self.unrelated is None else plain(self.unrelated),
            "notes": list(self.notes),
            "parts": {name: plain(value) for name, value in self.parts.items()},
            "per_frame": [[frame, plain(value)] for frame, value in self.per_frame],
        }


def plain(value: float) -> float | str:
    """A number that JSON has: six significant digits, "inf" for infinity. ValueError for what is no number."""
    if math.isnan(value):
        raise ValueError("a score that is no number must be left out with its reason")
    return float(f"{value:.6g}") if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def rounded(value: float) -> str:
    """A score for people, infinity as inf."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def left_out(name: str, reason: str) -> Score:
    """A metric that says nothing."""
    return Score(METRICS[name], left_out=reason)


def of_frames(
    name: str, values: Floats, frames: NDArray[np.intp], seconds: Floats, block: int, unrelated: float | None = None
) -> Score:
    """The score of values [n], one per frame, which may be infinite (PSNR of identical frames), none NaN.

    frames: their numbers in the reference; seconds: their times; block: frames that the bootstrap keeps together.
    """
    metric = METRICS[name]
    if not len(values):
        return left_out(name, "no two frames show a face at one time")
    finite = np.isfinite(values)
    place = int(np.argmin(metric.sign * values))
    notes: tuple[str, ...] = ()
    mean, span = math.inf, None
    if finite.any():
        mean, span = float(values[finite].mean()), mean_interval(values[finite], block)
        if not finite.all():
            notes = (f"{int((~finite).sum())} of {len(values)} frames are identical (infinite), not in the mean",)
    else:
        notes = ("every frame is identical",)
    return Score(
        metric,
        n=len(values),
        mean=mean,
        interval=span,
        worst=Worst(int(frames[place]), float(seconds[place]), float(values[place])),
        unrelated=unrelated,
        notes=notes,
        per_frame=tuple((int(f), float(v)) for f, v in zip(frames, values, strict=True)),
    )


Measure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Floats]
"""Squares of reference and output [n, S, S, 3] -> [n]."""
