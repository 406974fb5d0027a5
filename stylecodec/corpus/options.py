"""How a corpus is encoded: one frozen set of options, and the digest of what the bytes of its streams depend on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .. import __version__
from ..encoding.options import ANOTHER_PERSON, OFF, EncodeOptions
from ..errors import OptionError

LIKENESS = OFF
"""Of a corpus, unless another one is asked for: tuning for so many minutes gives other bytes on a busy machine."""
MINUTES = 60.0
PIXELS = 8192 * 4320
NOT_FOR_A_CORPUS = {"identity": None, "checkpoint": None}


@dataclass(frozen=True)
class CorpusOptions:
    """Options of `encode_corpus`; OptionError for a value outside its range."""

    encode: EncodeOptions = field(default_factory=lambda: EncodeOptions(likeness=LIKENESS))  # of every clip
    threads: int = 1  # of torch in each worker: sums of floats depend on it, so it is not left to the machine
    identity_by: str | None = None  # the column that says whose clip it is: one identity for all of a person's
    cluster: bool = False  # tell people apart by their faces, and do as with identity_by
    another: float = ANOTHER_PERSON  # distance of descriptors from which on two clips show different people
    score: bool = False  # measure every stream against its source
    minutes: float = MINUTES  # longest clip that is taken
    pixels: int = PIXELS  # largest picture that is taken, width times height
    timeout: float | None = None  # minutes of wall time after which a clip is given up; None: never
    again: bool = False  # try clips again that failed before

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= 256:
            raise OptionError(f"a worker has 1 to 256 threads, not {self.threads}")
        if self.timeout is not None and not (math.isfinite(self.timeout) and self.timeout > 0):
            raise OptionError(f"a clip is given up after more than 0 minutes, not {self.timeout}")
        if not (self.minutes > 0 and self.pixels > 0):
            raise OptionError("the longest clip and the largest picture must be more than 0")
        if not self.another > 0:
            raise OptionError(f"the distance between people must be more than 0, not {self.another}")
        if self.identity_by is not None and self.cluster:
            raise OptionError("people are told apart by a column or by their faces, not by both")
        for name, usual in NOT_FOR_A_CORPUS.items():
            if getattr(self.encode, name) != usual:
                raise OptionError(f"{name} is of one clip, not of a corpus")
        if self.encode.tunes and self.encode.tuning.steps is None:
            raise OptionError(
                f"likeness {self.encode.wanted_likeness} is bounded by minutes, so its bytes depend on how busy the "
                "machine is: give steps in their place"
            )
        if self.encode.tunes and self.encode.tuning.processes != 1:
            raise OptionError("in a corpus a likeness is tuned by one process each; workers share the clips")
        if self.by_person and self.encode.tunes:
            raise OptionError(f"one identity for all clips of a person goes with likeness {OFF} only")
        if self.by_person and self.encode.preset == "paper":
            raise OptionError("the paper preset chooses an identity of the clip's own")

    @property
    def by_person(self) -> bool:
        """Whether clips of one person share an identity."""
        return self.identity_by is not None or self.cluster

    def digest(self, device: str, pack: str, networks: dict[str, str]) -> str:
        """16 hex digits: of all that the bytes of a stream depend on but the source and the person's identity.

        device: the kind that networks run on. pack: its digest, and networks: {role: sha256} of those of the encoder.
        """
        told = asdict(replace(self.encode, device=device))
        told["pack"] = pack
        facts: dict[str, Any] = {"version": __version__, "threads": self.threads, "encode": told, "networks": networks}
        facts["limits"] = [self.minutes, self.pixels]
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def of_clip(self, start: float | None, duration: float | None, identity: str | None) -> EncodeOptions:
        """The options of one clip. identity: the card of its person, which the stream then only names."""
        changes: dict[str, Any] = {}
        if start is not None:
            changes["start"] = start
        if duration is not None:
            changes["duration"] = duration
        if identity is not None:
            changes |= {"identity": identity, "delta": "name"}
        return replace(self.encode, **changes)


