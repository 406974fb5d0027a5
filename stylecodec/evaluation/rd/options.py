"""What `rate_distortion` measures: our ways of encoding, ordinary codecs, sizes, metrics. Can be read without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...encoding.options import LIKENESSES, OFF, PRESETS, QUICK, EncodeOptions
from ...errors import OptionError
from ...files import PathLike
from ..options import LEAST_SIZE, MOST_SIZE, SIZE_STEP
from ..scores import METRICS

if TYPE_CHECKING:
    from ...packs.store import ModelPack

QUALITIES = (30.0, 36.0, 41.0, 46.0, 52.0)  # dB of the compact profile, unless others are asked for
PIXEL_METRICS = (
    "PSNR", "SSIM", "MS-SSIM", "LPIPS-alex", "LPIPS-vgg", "DISTS", "parser-distance", "L_ID", "dlib-identity", "L1",
    "mesh-AKD",
)  # fmt: skip
"""Metrics that have a value for every frame: those that a curve can be drawn of."""
USUAL_METRICS = ("PSNR", "SSIM", "LPIPS-vgg", "DISTS", "parser-distance")
LONGEST = 3600.0  # seconds of a long call
CONSTANTS = ("crf", "qp")


@dataclass(frozen=True)
class Way:
    """One of our ways of encoding, at several qualities of the compact profile, dB."""

    name: str
    options: EncodeOptions
    qualities: tuple[float, ...] = QUALITIES

    def __post_init__(self) -> None:
        if not self.qualities or len(set(self.qualities)) < len(self.qualities):
            raise OptionError(f"the way {self.name} needs qualities that differ")
        for quality in self.qualities:
            replace(self.options, quality=quality)  # OptionError outside its range

    def tuned_for(self, steps: int) -> Way:
        """The same with a likeness of so many steps, in place of its minutes; itself where it has none. OptionError."""
        options = self.options
        if not options.tunes:
            return self
        return replace(self, options=replace(options, tune=replace(options.tuning, steps=steps)))


def way_of(words: str, usual: EncodeOptions) -> Way:
    """PRESET+LIKENESS[@DB,DB…], as in fast+quick@46,62; OptionError. usual: every other option."""
    name, at, numbers = words.partition("@")
    preset, plus, likeness = name.partition("+")
    if preset not in PRESETS or (plus and likeness not in LIKENESSES):
        raise OptionError(
            f"a way of ours is PRESET+LIKENESS@DB,DB with a preset of {', '.join(PRESETS)} and a likeness of "
            f"{', '.join(LIKENESSES)}, not {words!r}"
        )
    likeness = likeness or OFF
    options = replace(usual, preset=preset, likeness=likeness, tune=usual.tune if likeness != OFF else None)
    qualities = tuple(_numbers(words, numbers)) if at else QUALITIES
    return Way(f"{preset}+{likeness}", options, qualities)


def codec_of(words: str) -> tuple[str, tuple[int, ...] | None]:
    """CODEC[@N,N…], as in x264@23,35,51 -> its name and quality numbers, None for its usual ones; OptionError."""
    name, at, numbers = words.partition("@")
    found = _numbers(words, numbers) if at else []
    if any(number != int(number) for number in found):
        raise OptionError(f"the quality numbers of a codec are whole: {words!r}")
    return name, tuple(map(int, found)) if at else None


def _numbers(words: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{words!r}: what comes after @ are numbers with commas between them") from None


def usual_ways(usual: EncodeOptions) -> tuple[Way, ...]:
    """Without and with the quick likeness."""
    return tuple(way_of(f"{usual.preset}+{likeness}", usual) for likeness in (OFF, QUICK))


@dataclass(frozen=True)
class RdOptions:
    """Options of `rate_distortion`; OptionError for a value outside its range."""

    ways: tuple[Way, ...] = field(default_factory=lambda: usual_ways(EncodeOptions()))
    """Ours, each with options of its own; their start, duration and sound are left to this run."""

    codecs: Mapping[str, tuple[int, ...] | None] | None = None
    """Ordinary codecs by name, with their quality numbers or None for the usual ones; None: all that are here."""

    sizes: tuple[int, ...] = (256, 512, 1024)
    """Pixels per side of the squares."""

    metrics: tuple[str, ...] = USUAL_METRICS
    """Of PIXEL_METRICS."""

    start: float = 0.0
    """Seconds of each clip to skip."""

    duration: float | None = None
    """Seconds of each clip to take; None: to its end."""

    fps: int | None = None
    """Frames per second that clips are brought to, by leaving out and repeating frames; None: as they have."""

    frame_counts: tuple[int, ...] = ()
    """Numbers of frames that a clip may have, the largest that it has enough for; shorter clips are left out."""

    long: float | None = None
    """Seconds of a long call to measure beside each clip, its frames played forth and back; None: none."""

    constant: str = "crf"
    """What ordinary codecs hold constant: "crf" or "qp"."""

    low_delay: bool = False
    """Ordinary codecs look at no later frame and have one key frame, the first."""

    published: bool = False
    """Draw published curves beside: for the conditions that they were measured under."""

    conditions: str = ""
    """What the conditions are called, and what they are, in a sentence; "" for this run's own."""

    given: tuple[PathLike, ...] = ()
    """Files of other codecs: coded sequences and tables, see `given`."""

    networks: ModelPack | PathLike | None = None
    """The pack with imported judges; None: that of `models import`, if any."""

    device: str = "auto"
    """Where the judges run."""

    def __post_init__(self) -> None:
        sizes = self.sizes
        if not sizes or any(not LEAST_SIZE <= size <= MOST_SIZE or size % SIZE_STEP for size in sizes):
            raise OptionError(f"sizes are {LEAST_SIZE} to {MOST_SIZE} pixels, multiples of {SIZE_STEP}, not {sizes}")
        if unknown := [name for name in self.metrics if name not in PIXEL_METRICS] or not self.metrics:
            raise OptionError(f"metrics of a curve are {', '.join(PIXEL_METRICS)}, not {unknown or 'none'}")
        if len({way.name for way in self.ways}) < len(self.ways):
            raise OptionError("two ways of ours have one name")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise OptionError(f"the start must be 0 seconds or later, not {self.start}")
        if self.duration is not None and not (math.isfinite(self.duration) and self.duration > 0):
            raise OptionError(f"the duration must be more than 0 seconds, not {self.duration}")
        if self.fps is not None and not 1 <= self.fps <= 120:
            raise OptionError(f"a rate is 1 to 120 frames per second, not {self.fps}")
        if self.long is not None and not 1 <= self.long <= LONGEST:
            raise OptionError(f"a long call is 1 to {LONGEST:g} seconds, not {self.long}")
        if self.constant not in CONSTANTS:
            raise OptionError(f"codecs hold {' or '.join(CONSTANTS)} constant, not {self.constant!r}")

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """In the order of METRICS."""
        return tuple(name for name in METRICS if name in self.metrics)


CTC = "gfvc"
CTC_METRICS = ("DISTS", "LPIPS-vgg", "PSNR", "SSIM")
CTC_FRAMES = (250, 125)
# x264, x265 and VVC have the scale of QPs that the anchors' configuration names; SVT-AV1's and VP9's have 63 steps.
CTC_QP = (32, 35, 38, 42, 45, 51)
CTC_QP_63 = (32, 38, 44, 50, 56, 63)
CTC_POINTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"x264": CTC_QP, "x265": CTC_QP, "svtav1": CTC_QP_63, "vp9": CTC_QP_63, "vvc": CTC_QP}
)
CTC_WORDS = (
    "conditions of JVET's generative face video coding (GFVC): 256², 25 frames per second, 250 or 125 frames, RGB "
    "4:4:4 source, which ordinary codecs get as 4:2:0, low delay with one key frame, the anchors' QPs 32, 35, 38, 42, "
    "45, 51 (SVT-AV1 and VP9: 32 to 63 of their own scale); the clips are the user's, not the VoxCeleb sequences"
)


def gfvc(options: RdOptions, installed: Sequence[str]) -> RdOptions:
    """The options under the common test conditions of GFVC, as far as they were not asked for otherwise.

    Rates, frames and QPs are those of github.com/Goluck-Konuko/GFVC (config/vvc.yaml) and of
    github.com/Berlin0610/Awesome-Generative-Face-Video-Coding (Software/VVC_anchor). installed: codecs that are here.
    """
    asked = dict.fromkeys(installed) if options.codecs is None else options.codecs
    codecs = {name: CTC_POINTS.get(name) if points is None else points for name, points in asked.items()}
    return replace(
        options,
        sizes=(256,),
        fps=25,
        frame_counts=CTC_FRAMES,
        metrics=CTC_METRICS if options.metrics == USUAL_METRICS else options.metrics,
        codecs=codecs,
        constant="qp",
        low_delay=True,
        published=True,
        conditions=CTC_WORDS,
    )
