"""Every option of the `paper` preset, with its one default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import OptionError

AUTO, INVERSION, FRAME = "auto", "inversion", "frame"
PAPER_TARGETS = (AUTO, INVERSION, FRAME)
FAST, REFERENCE = "fast", "reference"
METHODS = (FAST, REFERENCE)
SIDES = (64, 128, 256)


@dataclass(frozen=True)
class AttributeWeights:
    """What the terms of Eq. 9 to 12 count; the paper's own are in a supplement that is not to be had."""

    lpips: float = 1.0
    l2: float = 1.0
    pupil: float = 0.5  # of both terms of Eq. 12
    between: float = 0.5  # inter-frame terms
    identity: float = 0.1
    parsing: float = 1.0
    frame_range: float = 0.1  # ours: mean square of α over its limits, where frames are the targets

    def __post_init__(self) -> None:
        if min(self.lpips, self.l2, self.pupil, self.between, self.identity, self.parsing, self.frame_range) < 0:
            raise OptionError("the weights of the attributes' losses must be 0 or more")


@dataclass(frozen=True)
class PaperOptions:
    """How the `paper` preset works; OptionError for a value outside its range."""

    target: str = AUTO  # "inversion": G(L_t), as in the paper; "frame"; auto: the frame where inversions do not move
    method: str = FAST  # "reference": one frame after the other, line by line as in the paper
    side: int | None = None  # pixels per side of the renderings compared; None: 128, or 256 where indices show there
    pose_steps: int = 3  # of Gauss-Newton, after the look at the grid of poses
    steps: int = 10  # of the fast path's optimiser, for a key frame
    epochs: int = 100  # N of Algorithm 1, in the reference
    rate: float = 0.5  # of the reference's optimiser, where Eq. 8 gives 1; raw style units
    even_rates: bool = False  # without Eq. 8, all indices alike: an ablation
    direct_pose: bool = False  # without Eq. 2, angles read off the face mesh: an ablation
    weights: AttributeWeights = AttributeWeights()
    reach: float = 1.0  # α goes no further than this many times what is known of its index (analysis.ChunkSearch)
    worst_inversion: float = 0.8  # identity distance, 1 - cosine, above which an inversion has failed
    fit: bool = True  # fit the latent that Eq. 1 chose to the clip; else it is sent as it is
    tuning_steps: int = 350  # of PTI
    tuning_frames: int = 24  # whose inversions are the pivots
    tuning_rate: float = 3e-4

    def __post_init__(self) -> None:
        if self.target not in PAPER_TARGETS:
            raise OptionError(f"the target must be {', '.join(PAPER_TARGETS)}, not {self.target!r}")
        if self.method not in METHODS:
            raise OptionError(f"the method must be {' or '.join(METHODS)}, not {self.method!r}")
        if self.side is not None and self.side not in SIDES:
            raise OptionError(f"the paper preset compares at {', '.join(map(str, SIDES))} pixels, not {self.side}")
        for name in ("pose_steps", "steps", "epochs", "tuning_steps", "tuning_frames"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise OptionError(f"{name} must be 1 to 10000, not {getattr(self, name)}")
        if not (self.rate > 0 and self.tuning_rate > 0 and self.reach > 0):
            raise OptionError("rate, tuning_rate and reach must be above 0")
        if not 0 < self.worst_inversion <= 2:
            raise OptionError(f"the identity distance of an inversion is 0 to 2, not {self.worst_inversion}")

    def side_for(self, indices: Sequence[tuple[int, int]]) -> int:
        """Pixels per side for a pack with these StyleSpace indices (layer, channel)."""
        if self.side is not None:
            return self.side
        highest = max(layer for layer, _ in indices)
        return min(max(8 << (highest - 2) // 3, SIDES[1]), SIDES[-1]) if highest > 1 else SIDES[1]
