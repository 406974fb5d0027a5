"""Every option of the encoder, with its one default."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError
from ..packs.card import DEFAULT_PACK
from .paper.settings import PaperOptions

Precision = Literal["auto", "float32", "bfloat16", "float16"]  # as in decoding.render, which needs torch
FAST, BALANCED, PAPER = "fast", "balanced", "paper"
PRESETS = (FAST, BALANCED, PAPER)
BACKGROUNDS = ("render", "plate", "blur", "key")
PROFILES = ("compact", "raw")
DEINTERLACE = ("frame", "field", "off")  # as in media.fields
TARGETS = ("frame", "inversion")
SPLITS = ("auto", "off")
DELTAS = ("auto", "carry", "name")
ALIGNS = ("auto", "flow", "landmarks")
LANDMARKS = ("auto", "pack", "predictor", "dlib5", "dlib68")
OFF, QUICK, FULL = "off", "quick", "full"
LIKENESSES = (OFF, QUICK, FULL)
DEFAULT_QUALITY = 46.0  # dB
LIKENESS = QUICK  # unless another one is asked for, or the person is known

ANOTHER_PERSON = 0.6  # distance of dlib's descriptors from which on it says that two faces are different people


@dataclass(frozen=True)
class FitOptions:
    """How the identity latent is fitted (identity.fitting); OptionError for a value outside its range."""

    enabled: bool = True  # else the latent is sent as the feed-forward encoder gives it
    steps: int = 160  # of the optimiser
    side: int = 128  # pixels per side of the renderings compared
    rows: int = 10  # of the latent that move, from the first: those that style up to 128²
    batch: int = 1  # frames per step
    keyframes: bool = True  # fit to the frames whose codes differ most too, beside those spread over the clip
    keyframe_count: int = 12  # of these
    mouth: float = 6.0  # how many times as much again the inside of the mouth counts: it is small, dark, seldom seen
    rate: float = 0.1  # step size, in units of the latent's standard deviation over people
    features: float = 1.5  # weight of the face parser's features beside pixels: without it eyes and lips blur
    identity: float = 1.0  # weight of L_ID: the face is the person's for a face recognition network
    parts: float = 1.0  # weight of brows, eyes, lips being where the face parser sees them: else they hardly move
    response: float = 3.0  # weight of brows, eyes, lips moving no less than with the first latent; it fades away
    response_share: float = 1.0  # of the steps, until it is gone
    parts_every: int = 2  # steps between two looks at parts, and two at identity and response, which take time
    prior: float = 0.02  # weight of the squared distance from the first latent, in the same units
    precision: Precision = "bfloat16"  # of the feature maps

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 10_000:
            raise OptionError(f"the identity is fitted in 1 to 10000 steps, or not at all, not in {self.steps}")
        if self.side not in (32, 64, 128, 256):
            raise OptionError(f"the identity is fitted at 32, 64, 128 or 256 pixels, not {self.side}")
        if self.rows < 1:
            raise OptionError(f"one row of the identity latent and more can be fitted, not {self.rows}")
        if not 0 < self.response_share <= 1:
            raise OptionError(f"the response lasts a share of the steps above 0, up to 1, not {self.response_share}")
        if self.parts_every < 1:
            raise OptionError(f"the parts of the face are looked at every 1 step and more, not {self.parts_every}")
        if not 1 <= self.batch <= 256:
            raise OptionError(f"the identity is fitted to 1 to 256 frames per step, not {self.batch}")
        if not 1 <= self.keyframe_count <= 256:
            raise OptionError(f"the identity is fitted to 1 to 256 keyframes, or to none, not to {self.keyframe_count}")
        weights = (self.features, self.identity, self.parts, self.response, self.mouth, self.prior)
        if not (self.rate > 0 and min(weights) >= 0):
            raise OptionError("the fit's rate must be above 0 and its weights 0 or more")


# One picture does not show how a face moves: fewer steps leave the latent more of what all faces do.
PORTRAIT = FitOptions(steps=80, parts=0.0, response=0.0, mouth=0.0)


@dataclass(frozen=True)
class LandmarkCorrectionOptions:
    """How pose and α are corrected by what the face mesh sees (motion.landmark_correction, Gauss-Newton).

    OptionError for a value outside its range.
    """

    enabled: bool = True  # else codes stay as they are
    frames: int = 2  # at which the Jacobian of the landmark features is measured
    every: int = 2  # frames of which one is rendered; for those between, the Jacobian tells how they differ from it
    side: int = 128  # pixels per side of the renderings
    step: float = 0.3  # of the codes, in their units, while the Jacobian is measured
    pose: float = 0.6  # share of what the nose asks for that the pose goes, at most
    calm: float = 4.0  # degrees, standard deviation of a head that goes half of that: noses of still heads deceive
    damping: float = 0.3  # weight of the squared changes of α, where a feature that answers as usual counts 1
    floor: float = 0.01  # eye distances per unit: features that answer less count less
    precision: Precision = "bfloat16"  # of the feature maps

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= 256:
            raise OptionError(f"the landmark correction is measured at 1 to 256 frames, not {self.frames}")
        if not 1 <= self.every <= 256:
            raise OptionError(f"the landmark correction renders one of 1 to 256 frames, not of {self.every}")
        if self.side not in (32, 64, 128, 256):
            raise OptionError(f"the landmark correction renders 32, 64, 128 or 256 pixels, not {self.side}")
        if not (min(self.step, self.damping, self.floor, self.calm) > 0 and 0 <= self.pose <= 1):
            raise OptionError("step, damping, floor and calm of the correction must be above 0, its pose 0 to 1")


@dataclass(frozen=True)
class PixelCorrectionOptions:
    """How pose and α are corrected by what a personalised generator shows (motion.pixel_correction, Gauss-Newton).

    OptionError for a value outside its range.
    """

    enabled: bool = True  # else codes stay as they are
    keyframes: int = 8  # at which the Jacobian of the pixels is measured, 68 renderings for each
    side: int = 128  # pixels per side of the renderings
    compared: int = 64  # pixels per side at which they are compared
    step: float = 0.5  # of the codes, in their units, while the Jacobian is measured
    damping: float = 2e-4  # weight of the squared changes of codes, against squared differences of pixels in [-1, 1]
    precision: Precision = "bfloat16"  # of the feature maps

    def __post_init__(self) -> None:
        if not 1 <= self.keyframes <= 256:
            raise OptionError(f"the pixel correction is measured at 1 to 256 keyframes, not {self.keyframes}")
        if self.side not in (32, 64, 128, 256) or self.compared not in (32, 64, 128, 256):
            sides = f"{self.side} and {self.compared}"
            raise OptionError(f"the pixel correction renders and compares 32, 64, 128 or 256 pixels, not {sides}")
        if not min(self.step, self.damping) > 0:
            raise OptionError("step and damping of the pixel correction must be above 0")


@dataclass(frozen=True)
class RefineOptions:
    """How pose and α are refined (motion.refinement); OptionError for a value outside its range."""

    steps: int = 12  # per frame, of the optimiser
    side: int = 256  # pixels per side of the renderings compared; half of it in the coarse steps
    coarse: float = 0.75  # share of the steps, the first ones, at half the side
    rate: float = 0.1  # step size, in even steps of the codes (differentiable.even_steps)
    features: float = 0.1  # weight of the face parser's features beside pixels
    prior: float = 0.1  # weight of the squared distance from the codes that it begins with
    smoothness: float = 0.1  # weight of the squared differences between the corrections of neighbours
    target: str = "frame"  # what renderings are compared with: the crop, or its "inversion" as in the paper
    precision: Precision = "bfloat16"  # of the feature maps, see decoding.render.Renderer

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 10_000:
            raise OptionError(f"refinement takes 1 to 10000 steps per frame, not {self.steps}")
        if self.side not in (32, 64, 128, 256):
            raise OptionError(f"refinement compares at 32, 64, 128 or 256 pixels, not {self.side}")
        if self.target not in TARGETS:
            raise OptionError(f"refinement compares with {' or '.join(TARGETS)}, not {self.target!r}")
        if not 0 <= self.coarse <= 1:
            raise OptionError(f"the share of the refinement's coarse steps must be 0 to 1, not {self.coarse}")
        if not (self.rate > 0 and min(self.features, self.prior, self.smoothness) >= 0):
            raise OptionError("the refinement's rate must be above 0 and its weights 0 or more")


# A personalised generator can show what the codes are to say, so they may go further for it.
ON_TUNED = RefineOptions(rate=0.2, prior=0.02)


@dataclass(frozen=True)
class TuneOptions:
    """How a generator is personalised (personalization.tuning); OptionError for a value outside its range."""

    minutes: float = 15.0  # of wall time, set-up and the delta's rounding included, unless `steps` is given
    steps: int | None = None  # budget in steps of the optimiser
    most_steps: int | None = None  # at which it ends, though there be minutes left: more would show little more
    frames: int = 600  # of the clip that are tuned on, spread over it: what bounds the memory
    keyframes: float = 0.0  # share of these that are chosen because their codes differ most, not spread over the clip
    batch: int = 8  # frames per step
    side: int = 256  # pixels per side of the last steps, half of it before; less where the source has less of the face
    coarse: float = 0.45  # share of the generator's part of the budget at half the side
    codes_share: float = 0.15  # share of the budget, the first, that moves codes and identity alone
    settle_share: float = 0.08  # share of the budget, the last, in which codes fit the quantised generator
    code_rate: float = 0.1  # step sizes: codes (in units) while they are alone, then a fifth of it
    identity_rate: float = 0.02  # of the latent, in units of its deviation over people
    weight_rate: float = 3e-3  # of the generator, but for its convolutions
    filter_rate: float = 0.015  # of its convolutions (see personalization.optimizers)
    decay: float = 0.7  # per step, of the difference from the untuned generator, times the step size
    features: float = 0.1  # weight of the face parser's features beside pixels
    structure: float = 0.5  # weight of 1 - SSIM
    identity: float = 0.0  # weight of L_ID: what a short tuning is not long enough to see in pixels
    codes_prior: float = 0.002  # weight of the squared distance of codes from the feed-forward ones
    identity_prior: float = 0.02  # weight of the squared distance of the latent from its pivot, in the same units
    locality: float = 6.0  # weight of what other people's renderings changed by
    locality_every: int = 5  # steps between two looks at other people
    upper: float = 0.5  # weight of what the layers above `side` are asked for
    upper_every: int = 8  # steps between two looks at them
    plateau_db: float = 0.05  # gain of PSNR over `plateau_looks` looks below which the step size begins to fall
    plateau_looks: int = 5
    look_steps: int = 40  # steps between two looks at the PSNR
    precision: Precision = "bfloat16"  # of the feature maps while tuning
    processes: int = 1  # that share the work on a CPU; with more, the main module must be one that can be imported
    delta_bytes: int = 1_400_000  # what the delta may take
    delta_margin: float = 12.0  # dB: how far the delta's rounding lies below the picture's own error, if bytes allow
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise OptionError(f"personalisation takes more than 0 minutes, not {self.minutes}")
        if self.steps is not None and not 1 <= self.steps <= 1_000_000:
            raise OptionError(f"personalisation takes 1 to 1000000 steps, not {self.steps}")
        if self.most_steps is not None and self.most_steps < 1:
            raise OptionError(f"personalisation ends after 1 step or more, not {self.most_steps}")
        if not 0 <= self.keyframes <= 1:
            raise OptionError(f"the share of keyframes among the tuned frames must be 0 to 1, not {self.keyframes}")
        if not 8 <= self.frames <= 10_000 or not 1 <= self.batch <= self.frames:
            raise OptionError("personalisation is tuned on 8 to 10000 frames, in batches of 1 and more")
        if self.side not in (32, 64, 128, 256):
            raise OptionError(f"personalisation compares at 32, 64, 128 or 256 pixels, not {self.side}")
        if not all(0 <= share < 1 for share in (self.codes_share, self.settle_share, self.coarse)):
            raise OptionError("shares of the personalisation's budget must be 0 to below 1")
        if self.codes_share + self.settle_share > 0.9:
            raise OptionError("codes_share and settle_share leave nothing of the budget for the generator")
        if min(self.code_rate, self.identity_rate, self.weight_rate, self.filter_rate) <= 0:
            raise OptionError("the personalisation's step sizes must be above 0")
        if min(self.locality_every, self.upper_every, self.look_steps, self.plateau_looks) < 1:
            raise OptionError("the personalisation looks at others, upper layers and PSNR every 1 step and more")
        weights = (self.features, self.structure, self.identity, self.codes_prior, self.identity_prior, self.locality)
        if not all(weight >= 0 for weight in (*weights, self.upper, self.decay)):
            raise OptionError("the personalisation's weights and its decay must be 0 or more")
        if not 1 <= self.processes <= self.batch:
            raise OptionError(f"personalisation takes 1 to {self.batch} processes, a frame each, not {self.processes}")
        if not 10_000 <= self.delta_bytes <= 16_000_000:
            raise OptionError(f"a generator delta takes 10,000 to 16,000,000 bytes, not {self.delta_bytes:,}")


# By likeness. The short one is for the person alone: it has no time to look at others.
TUNING = {
    QUICK: TuneOptions(
        minutes=1.0,
        most_steps=200,
        frames=48,
        keyframes=0.5,
        batch=2,
        side=128,
        coarse=0.3,
        codes_share=0.1,
        settle_share=0.0,
        identity=1.0,
        locality=0.0,
        upper=0.0,
        look_steps=20,
        delta_bytes=148_000,
    ),
    FULL: TuneOptions(),
}


@dataclass(frozen=True)
class EncodeOptions:
    """How a clip is encoded; OptionError for a value outside its range."""

    preset: str = FAST  # one pass of the feed-forward encoder (2302.07848); BALANCED: refined; PAPER: all of 2203.14512
    pack: str | os.PathLike[str] = DEFAULT_PACK  # name or folder of the model pack
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1"
    start: float = 0.0  # seconds into the clip
    duration: float | None = None  # seconds to encode; None: to the end
    audio: bool = True  # carry the sound
    audio_bitrate: int = 12_000  # bits per second of mono Opus
    video_stream: str | None = None  # of a file with several: its number, "2", or "v:1"; None: by FFmpeg's rule
    audio_stream: str | None = None  # likewise, "2" or "a:1"
    deinterlace: str = "frame"  # of interlaced video: "frame" for each pair of fields, "field" for each, "off"
    landmarks: str = "auto"  # see LANDMARKS, or a .dat file; "auto": the pack's net, its predictor, or dlib5
    align: str = "auto"  # "flow": by registration to key frames, "landmarks"; auto: flow with the paper's preset
    batch: int | None = None  # frames per pass of the networks; None: 8 on a CPU, 32 on a GPU
    profile: str = "compact"  # how packets and identity are written: "raw" is 70 bytes per frame
    quality: float = DEFAULT_QUALITY  # of the compact profile: least PSNR in dB against raw packets (rate.trellis)
    progressive: bool = False  # a coarse identity first, and its refinement with the second group of frames
    group_seconds: float | None = None  # a group is the unit of seeking and of loss; None: 1 raw, 2 compact

    # Identity selection (Eq. 1 of 2203.14512), see select_id.
    identity_candidates: int = 16  # near-frontal frames compared, spread over the clip
    identity_average: int = 8  # best candidates whose mean latent may be sent instead; 1: Eq. 1 to the letter
    frontal_yaw: float = 15.0  # degrees either side that count as near-frontal
    frontal_pitch: float = 12.0

    split: str = "auto"  # "auto": an identity for each of several people of a clip; "off": one for all

    smooth: bool = True  # over time what the feed-forward encoder gives
    smoothing: float = 0.024  # seconds, sigma of that Gaussian

    likeness: str | None = None  # "quick", "full": tune the generator to the person; "off"; None: LIKENESS
    identity: str | os.PathLike[str] | None = None  # a card or stream whose identity and generator are used
    refit: bool = False  # with an identity whose generator is personalised: its latent is fitted anew, and sent
    delta: str = "auto"  # "carry" personalised generator and latent or "name" known ones; auto: carry what was made now
    background: str = "render"  # "plate": a still of what is behind the head; "blur", "key": for the decoder
    checkpoint: str | os.PathLike[str] | None = None  # file from which personalisation is resumed
    fit: FitOptions = FitOptions()
    landmark_correction: LandmarkCorrectionOptions = LandmarkCorrectionOptions()
    pixel_correction: PixelCorrectionOptions = PixelCorrectionOptions()
    refine: RefineOptions = RefineOptions()
    refine_tuned: RefineOptions = ON_TUNED  # the same on a personalised generator
    tune: TuneOptions | None = None  # None: as TUNING has it for the likeness
    paper: PaperOptions = field(default_factory=PaperOptions)  # of the preset of that name

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise OptionError(f"there is no preset {self.preset!r}; the presets are: {', '.join(PRESETS)}")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise OptionError(f"the start must be 0 seconds or later, not {self.start}")
        if self.duration is not None and not (math.isfinite(self.duration) and self.duration > 0):
            raise OptionError(f"the duration must be more than 0 seconds, not {self.duration}")
        if not 6_000 <= self.audio_bitrate <= 256_000:
            raise OptionError(f"the audio bit rate must be 6000 to 256000 bits per second, not {self.audio_bitrate}")
        if self.deinterlace not in DEINTERLACE:
            raise OptionError(f"deinterlace must be {', '.join(DEINTERLACE)}, not {self.deinterlace!r}")
        if self.landmarks not in LANDMARKS and not self.landmarks.endswith(".dat"):
            raise OptionError(f"landmarks must be {', '.join(LANDMARKS)} or a .dat file, not {self.landmarks!r}")
        if self.align not in ALIGNS:
            raise OptionError(f"align must be {', '.join(ALIGNS)}, not {self.align!r}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"a batch has 1 frame or more, not {self.batch}")
        if self.profile not in PROFILES:
            raise OptionError(f"the profile must be {' or '.join(PROFILES)}, not {self.profile!r}")
        if not 30 <= self.quality <= 70:
            raise OptionError(f"the quality must be 30 to 70 dB, not {self.quality}")
        if self.group_seconds is not None and not 0.1 <= self.group_seconds <= 10:
            raise OptionError(f"a group lasts 0.1 to 10 seconds, not {self.group_seconds}")
        if not 1 <= self.identity_average <= self.identity_candidates <= 256:
            raise OptionError(
                f"identity_average ({self.identity_average}) must be 1 to identity_candidates "
                f"({self.identity_candidates}), and that 256 at most"
            )
        if not (self.frontal_yaw > 0 and self.frontal_pitch > 0):
            raise OptionError("the near-frontal angles must be more than 0 degrees")
        if self.split not in SPLITS:
            raise OptionError(f"split must be {' or '.join(SPLITS)}, not {self.split!r}")
        if not (math.isfinite(self.smoothing) and self.smoothing > 0):
            raise OptionError(f"smoothing must be over more than 0 seconds, or turned off, not {self.smoothing}")
        if self.likeness is not None and self.likeness not in LIKENESSES:
            raise OptionError(f"the likeness must be {', '.join(LIKENESSES)}, not {self.likeness!r}")
        if self.tunes and self.identity is not None:
            raise OptionError(f"likeness {self.likeness!r} makes an identity, so give it none")
        if self.preset == PAPER and self.identity is not None:
            raise OptionError("the paper preset chooses an identity of the clip's own, so give it none")
        if self.preset == PAPER and self.wanted_likeness == QUICK:
            raise OptionError("the paper preset personalises in full (--likeness full) or not at all")
        if self.refit and self.identity is None:
            raise OptionError("refit fits the latent of a known person anew, so give it an identity")
        if self.background not in BACKGROUNDS:
            raise OptionError(f"the background must be {', '.join(BACKGROUNDS)}, not {self.background!r}")
        if self.progressive and self.profile != "compact":
            raise OptionError("a progressive identity is coded in levels: use the profile compact (--profile compact)")
        if self.progressive and (self.tunes or self.identity is not None):
            raise OptionError(
                "a progressive identity is shown by the pack's own generator: use the likeness off (--likeness off), "
                "and give it no identity"
            )
        if self.delta not in DELTAS:
            raise OptionError(f"delta must be {', '.join(DELTAS)}, not {self.delta!r}")
        if self.tunes and self.delta == "name":
            raise OptionError("a generator that is personalised now is known nowhere else, so it cannot only be named")

    @property
    def wanted_likeness(self) -> str:
        """One of LIKENESSES: what is asked for, else the default; OFF with a known person and the paper's preset."""
        given = self.identity is not None or self.delta == "name" or self.preset == PAPER
        usual = OFF if given else LIKENESS
        return usual if self.likeness is None else self.likeness

    @property
    def registers(self) -> bool:
        """Whether heads are registered to key frames."""
        return self.align == "flow" or (self.align == "auto" and self.preset == PAPER)

    @property
    def tunes(self) -> bool:
        """Whether a generator is personalised."""
        return self.wanted_likeness != OFF

    @property
    def tuning(self) -> TuneOptions:
        """How a generator is personalised."""
        return self.tune or TUNING[self.wanted_likeness if self.tunes else FULL]

    @property
    def refines(self) -> bool:
        """Whether codes are refined in a second pass: with the full likeness whatever the preset."""
        return self.preset != FAST or self.wanted_likeness == FULL
