"""The budget of personalisation: three stages, each with its share of the steps or minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..options import TuneOptions

CODES, WEIGHTS, SETTLE = "codes", "weights", "settle"
STAGES = (CODES, WEIGHTS, SETTLE)


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


def spent_of_stage(name: str, state: TuningState, options: TuneOptions) -> float:
    """Share of a stage's own budget that is spent; 1 for a stage that has none."""
    share = stage_share(name, options)
    if not share:
        return 1.0
    if options.steps is not None:
        return state.steps[name] / max(round(share * options.steps), 1)
    return state.seconds[name] / (share * options.minutes * 60)


def spent(state: TuningState, options: TuneOptions) -> float:
    """Share of the whole budget that is spent; a stage that is over has spent its own."""
    over = STAGES.index(state.stage)
    parts = [
        1.0 if number < over else min(spent_of_stage(name, state, options), 1.0) for number, name in enumerate(STAGES)
    ]
    return sum(stage_share(name, options) * part for name, part in zip(STAGES, parts, strict=True))
