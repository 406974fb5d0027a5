"""What the paper preset tells of its work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .settings import AUTO, FRAME, PaperOptions
from .survey import Survey

if TYPE_CHECKING:
    from .analysis import ChunkSearch
    from .inversion import Inverter


@dataclass(frozen=True)
class PaperReport:
    """Which networks were used for what, what was compared with what, and what did not work."""

    target: str  # "inversion" or "frame"
    chosen: bool  # by the encoder, not asked for
    faithful: float  # correlation of what lips and lids do in frames and inversions
    inversion: str
    perceptual: str
    landmarks: str
    identity_loss: bool
    parsing_loss: bool
    method: str
    failed: int  # frames held because their inversion failed
    worst_inversion: float

    @classmethod
    def of(
        cls, search: ChunkSearch, found: Survey, inverter: Inverter, failed: int, options: PaperOptions
    ) -> PaperReport:
        """From what did the work."""
        return cls(
            target=search.target,
            chosen=options.target == AUTO,
            faithful=round(found.faithful, 3),
            inversion=inverter.name,
            perceptual=search.perceptual.name,
            landmarks=search.reader.name,
            identity_loss=search.loss.identity is not None,
            parsing_loss=search.loss.parser is not None,
            method=options.method,
            failed=failed,
            worst_inversion=options.worst_inversion,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def notes(self) -> list[str]:
        """What a user should know, as sentences."""
        found = [f"pictures were compared by {self.perceptual}, inverted by {self.inversion}"]
        if self.chosen and self.target == FRAME:
            found.append(
                "the inversions do not move as the frames do (correlation of lips and lids "
                f"{self.faithful:.2f}), so frames were compared with themselves (--target inversion: as in the paper)"
            )
        lacking = [loss for loss, there in (("L_ID", self.identity_loss), ("L_FP", self.parsing_loss)) if not there]
        if lacking:
            found.append(f"the pack has no network for {' and '.join(lacking)}, which was left out")
        if self.failed:
            found.append(
                f"{self.failed:,} frames were held, as their inversion shows somebody else (identity distance above "
                f"{self.worst_inversion:g})"
            )
        return found
