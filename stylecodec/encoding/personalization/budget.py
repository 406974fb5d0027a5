"""The budget of personalisation: three stages, each with its share of the steps or minutes.

Minutes are wall time of the whole: what set-up took and what rounding the delta will take are set aside first. How long
rounding takes is told by how long steps take on this machine. A stage also ends at its share of `most_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from ..options import TuneOptions
from .delta_coding import PROBE_SIDE

CODES, WEIGHTS, SETTLE = "codes", "weights", "settle"
STAGES = (CODES, WEIGHTS, SETTLE)
ROUNDING_FRAMES = 70  # measuring and rounding a delta takes as long as steps with so many frames of PROBE_SIDE
RECENT = 15  # steps by which their time is judged


@dataclass
class TuningState:
    """Where the work stands; what a checkpoint keeps beside tensors."""

    stage: str = CODES
    steps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    skipped: float = 0.0  # share of the weights stage that a plateau saved
    psnr: float = math.nan
    history: list[dict[str, float]] = field(default_factory=list)


def stage_share(name: str, options: TuneOptions) -> float:
    """A stage's share of the whole budget."""
    shares = {CODES: options.codes_share, SETTLE: options.settle_share}
    return shares.get(name, 1 - sum(shares.values()))


def spent_of_stage(name: str, state: TuningState, options: TuneOptions, aside: float = 0.0) -> float:
    """Share of a stage's own budget that is spent; 1 for a stage that has none.

    aside: seconds of the minutes that are not for stages.
    """
    share = stage_share(name, options)
    if not share:
        return 1.0
    if options.steps is not None:
        return state.steps[name] / max(round(share * options.steps), 1)
    place, whole = STAGES.index(name), options.minutes * 60 - aside
    before = sum(state.seconds[stage] for stage in STAGES[:place])
    after = sum(stage_share(stage, options) for stage in STAGES[place + 1 :]) * whole
    seconds = min(share * whole, whole - before - after)
    by_time = state.seconds[name] / seconds if seconds > 0 else 1.0
    if options.most_steps is None:
        return by_time
    return max(by_time, state.steps[name] / max(round(share * options.most_steps), 1))


def rounding_seconds(durations: Sequence[float], frames: int, side: int) -> float:
    """How long rounding the delta will take, by the seconds of recent steps of so many `frames` of `side` pixels."""
    if not durations:
        return 0.0
    return ROUNDING_FRAMES / frames * (PROBE_SIDE / side) ** 2 * median(durations)


def spent(state: TuningState, options: TuneOptions, aside: float = 0.0) -> float:
    """Share of the whole budget that is spent; a stage that is over has spent its own."""
    over = STAGES.index(state.stage)
    parts = [
        1.0 if number < over else min(spent_of_stage(name, state, options, aside), 1.0)
        for number, name in enumerate(STAGES)
    ]
    return sum(stage_share(name, options) * part for name, part in zip(STAGES, parts, strict=True))
