"""What `encode` tells of its work. Can be read without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..bitstream.facts import kbps
from ..files import PathLike

if TYPE_CHECKING:
    from .write import EncodedClip, WrittenStream


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` wrote."""

    output: str
    frames: int
    held: int  # frames without a face, which repeat the one before
    shots: int  # pieces between which the face jumps
    fps: float
    duration_seconds: float
    bytes: dict[str, int]  # by part; all but "total" add up to the file
    kbps: dict[str, float]
    identity: dict[str, Any]  # frame, similarity, averaged, candidates, steps: see encoding.identity
    people: list[dict[str, Any]]  # first_frame, frames, stretches [[first frame, frames], …], identity of each
    pack: dict[str, str]
    personalization: dict[str, Any] | None  # how the generator was tuned; None when it was not
    paper: dict[str, Any] | None  # how the paper preset worked: networks, targets, frames held; None with another one
    notes: list[str]  # what was chosen, changed, left out or could not be honoured of the source, as sentences
    seconds_taken: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, output: PathLike, clip: EncodedClip, written: WrittenStream, notes: list[str], seconds: float) -> Self:
        """Of a clip that has been written. notes: on how its source was read; seconds: that all of it took."""
        header, people = written.header, clip.people_report()
        return cls(
            output=str(output),
            frames=len(clip.packets),
            held=clip.held,
            shots=1 if clip.track is None else clip.track.report.shots,
            fps=round(float(header.rate), 6),
            duration_seconds=round(written.duration_seconds, 6),
            bytes=written.bytes,
            kbps=kbps(written.bytes, written.duration_seconds),
            identity=people[0]["identity"],
            people=people,
            pack={"name": header.pack_name, "digest": header.pack_digest.hex()},
            personalization=None if clip.tuned is None else clip.tuned.report(),
            paper=None if clip.paper is None else clip.paper.as_dict(),
            notes=[*notes, *clip.notes, *written.notes],
            seconds_taken=round(seconds, 3),
        )
