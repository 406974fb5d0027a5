"""How videos are scored: one frozen set of options, checked when it is made. Can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..files import PathLike

if TYPE_CHECKING:
    from ..packs.store import ModelPack

NATIVE = "native"
LEAST_SIZE, MOST_SIZE, SIZE_STEP = 64, 1024, 16  # pixels per side of the squares that are compared
MOST_DELAY = 0.5  # seconds either way within which a constant delay is looked for


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `evaluate`; OptionError for a value outside its range."""

    size: int | None = 256
    """Pixels per side of the aligned squares, 64 to 1024, a multiple of 16; None: as the reference has them."""

    puppet: bool = False
    """The output shows somebody else who does what the reference does: the metrics that need no pixel truth."""

    identity: PathLike | None = None
    """With puppet: a picture, video or stream that shows whom the output should look like."""

    openface: tuple[PathLike, PathLike] | None = None
    """Tables that OpenFace 2 wrote of the reference and of the (one) output."""

    networks: ModelPack | PathLike | None = None
    """The pack with imported judges (LPIPS, DISTS, ArcFace, FID, FVD); None: that of `models import`, if any."""

    delay: int | None = None
    """Frames by which outputs are late; None: found out."""

    device: str = "auto"
    """Where networks run."""

    def __post_init__(self) -> None:
        if self.size is not None and not (LEAST_SIZE <= self.size <= MOST_SIZE and self.size % SIZE_STEP == 0):
            raise OptionError(
                f"the size is {LEAST_SIZE} to {MOST_SIZE} pixels, a multiple of {SIZE_STEP}, or {NATIVE}, "
                f"not {self.size}"
            )
        if self.identity is not None and not self.puppet:
            raise OptionError("the identity of an output is only asked for with --puppet; else it is the reference's")
