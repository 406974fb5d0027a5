"""Every option of the encoder, with its one default."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from ..errors import OptionError
from ..packs.card import DEFAULT_PACK

PRESETS = ("fast",)
LANDMARKS = ("auto", "pack", "predictor", "dlib5", "dlib68")


@dataclass(frozen=True)
class EncodeOptions:
    """How a clip is encoded; OptionError for a value outside its range."""

    preset: str = "fast"  # "fast": one pass of the feed-forward encoder per frame (2302.07848)
    pack: str | os.PathLike[str] = DEFAULT_PACK  # name or folder of the model pack
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1"
    start: float = 0.0  # seconds into the clip
    duration: float | None = None  # seconds to encode; None: to the end
    audio: bool = True  # carry the sound
    audio_bitrate: int = 12_000  # bits per second of mono Opus
    landmarks: str = "auto"  # see LANDMARKS, or a .dat file; "auto": the pack's net, its predictor, or dlib5
    batch: int | None = None  # frames per pass of the networks; None: 8 on a CPU, 32 on a GPU
    group_seconds: float = 1.0  # a frame group is the unit of seeking and of loss

    # Identity selection (Eq. 1 of 2203.14512), see select_id.
    identity_candidates: int = 16  # near-frontal frames compared, spread over the clip
    identity_average: int = 8  # best candidates whose mean latent may be sent instead; 1: Eq. 1 to the letter
    frontal_yaw: float = 15.0  # degrees either side that count as near-frontal
    frontal_pitch: float = 12.0

    alpha_smoothing: float = 0.0  # seconds, sigma of a Gaussian over the offsets in time; 0: off

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise OptionError(f"there is no preset {self.preset!r}; the presets are: {', '.join(PRESETS)}")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise OptionError(f"the start must be 0 seconds or later, not {self.start}")
        if self.duration is not None and not (math.isfinite(self.duration) and self.duration > 0):
            raise OptionError(f"the duration must be more than 0 seconds, not {self.duration}")
        if not 6_000 <= self.audio_bitrate <= 256_000:
            raise OptionError(f"the audio bit rate must be 6000 to 256000 bits per second, not {self.audio_bitrate}")
        if self.landmarks not in LANDMARKS and not self.landmarks.endswith(".dat"):
            raise OptionError(f"landmarks must be {', '.join(LANDMARKS)} or a .dat file, not {self.landmarks!r}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"a batch has 1 frame or more, not {self.batch}")
        if not 0.1 <= self.group_seconds <= 10:
            raise OptionError(f"a group lasts 0.1 to 10 seconds, not {self.group_seconds}")
        if not 1 <= self.identity_average <= self.identity_candidates <= 256:
            raise OptionError(
                f"identity_average ({self.identity_average}) must be 1 to identity_candidates "
                f"({self.identity_candidates}), and that 256 at most"
            )
        if not (self.frontal_yaw > 0 and self.frontal_pitch > 0):
            raise OptionError("the near-frontal angles must be more than 0 degrees")
        if not (math.isfinite(self.alpha_smoothing) and self.alpha_smoothing >= 0):
            raise OptionError(f"alpha_smoothing must be 0 seconds or more, not {self.alpha_smoothing}")
