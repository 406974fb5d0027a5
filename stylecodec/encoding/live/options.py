"""Every option of the live encoder, with its one default."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from fractions import Fraction

from ...errors import OptionError
from ...packs.card import DEFAULT_PACK
from ..options import LANDMARKS, PROFILES, EncodeOptions, FitOptions, LandmarkCorrectionOptions


@dataclass(frozen=True)
class LiveOptions:
    """How a camera's picture is encoded; OptionError for a value outside its range."""

    pack: str | os.PathLike[str] = DEFAULT_PACK  # name or folder of the model pack
    device: str = "auto"  # as in EncodeOptions
    landmarks: str = "auto"  # as in EncodeOptions
    rate: Fraction = Fraction(25)  # frames per second, about: each frame carries its own time
    profile: str = "compact"  # "raw" is 70 bytes per frame
    quality: float = 54.0  # dB, of the compact profile; its steps are the pack's, for faces that hardly move as well
    group_seconds: float = 0.2  # frames that are sent together: seconds of delay against bytes; 0: each on its own
    look_ahead: int = 1  # frames that are waited for to smooth a frame, 0 or 1
    smoothing: float = EncodeOptions.smoothing  # seconds, sigma of the Gaussian over time; 0: none
    correct: bool = False  # by what the face mesh sees: renders every frame, too slow for most CPUs
    correction: LandmarkCorrectionOptions = field(default_factory=LandmarkCorrectionOptions)
    guess_seconds: float = 1.0  # of a face before the first guess of its identity is sent
    fit_seconds: float | None = 8.0  # of a face before the identity is fitted in the background; None: it is not
    fit: FitOptions = field(default_factory=FitOptions)

    def __post_init__(self) -> None:
        if self.landmarks not in LANDMARKS and not self.landmarks.endswith(".dat"):
            raise OptionError(f"landmarks must be {', '.join(LANDMARKS)} or a .dat file, not {self.landmarks!r}")
        if not 1 <= self.rate <= 240:
            raise OptionError(f"a camera gives 1 to 240 frames per second, not {float(self.rate):g}")
        if self.profile not in PROFILES:
            raise OptionError(f"the profile must be {' or '.join(PROFILES)}, not {self.profile!r}")
        if not 30 <= self.quality <= 70:
            raise OptionError(f"the quality must be 30 to 70 dB, not {self.quality}")
        if not 0 <= self.group_seconds <= 1:
            raise OptionError(f"a group of a call lasts 0 to 1 second, not {self.group_seconds}")
        if self.look_ahead not in (0, 1):
            raise OptionError(f"0 or 1 frame is looked ahead, not {self.look_ahead}")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0):
            raise OptionError(f"smoothing is over 0 seconds or more, not {self.smoothing}")
        if not 0 <= self.guess_seconds <= 60:
            raise OptionError(f"the identity is guessed after 0 to 60 seconds, not {self.guess_seconds}")
        if self.fit_seconds is not None and not self.guess_seconds <= self.fit_seconds <= 600:
            raise OptionError(
                f"the identity is fitted after the first guess, within 600 seconds, not after {self.fit_seconds}"
            )
