"""How streams are decoded: one frozen set of options, checked when it is made. Can be read without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import OptionError

if TYPE_CHECKING:
    import torch

    from ..packs.store import ModelPack

PoseMode = Literal["restore", "aligned"]
BackgroundChoice = Literal["stream", "render", "blur", "key"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
POSE_MODES: tuple[PoseMode, ...] = ("restore", "aligned")
BACKGROUND_CHOICES: tuple[BackgroundChoice, ...] = ("stream", "render", "blur", "key")
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16", "float16")
MIN_SIZE = 16  # pixels per side


@dataclass(frozen=True)
class DecodeOptions:
    """Options of `decode`, `Decoder.open` and `Decoder.live`; OptionError for a value outside its range.

    These take the options as a whole, or single ones by keyword: `Decoder.open("talk.stc", device="cpu", size=512)`.
    """

    device: str | torch.device = "auto"
    """"auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", "mps", or a torch device."""

    pack: ModelPack | str | os.PathLike[str] | None = None
    """A folder, a name or an opened pack; None: the one that the stream names."""

    size: int | None = None
    """Pixels per side of the rendered square, 16 to the generator's resolution, which None stands for."""

    pose: PoseMode = "restore"
    """"restore" gives the head the roll that the encoder removed, "aligned" leaves it upright."""

    background: BackgroundChoice = "stream"
    """Behind the head: as the stream says, what the generator makes of it ("render"), a "blur", or green as a "key"."""

    precision: Precision = "auto"
    """Of the feature maps: "auto" is bfloat16 on CUDA and on CPUs with instructions for it, else float32."""

    avatar: bool = False
    """Leave personalised generators aside."""

    partial: bool = False
    """Of a damaged or incomplete file, take what is whole; what it lacks is in `stream.report`.

    A damaged personalised generator or background is gone without, and so is a background that cannot be decoded.
    `decode` holds the picture where frames are missing. Without it such a file is an error."""

    batch: int | None = None
    """Frames rendered at once, 1 or more; None: what suits the device."""

    as_numpy: bool = False
    """Give frames as numpy arrays in place of torch tensors. `decode` writes a video either way."""

    audio: bool = True
    """For `decode`: put the stream's sound into the video."""

    remember: bool = False
    """For `decode`: keep the personalised people that the stream carries, for streams that only name them.

    Their latents and generators are biometric data; they go into a private folder (`decoding.known_people`)."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size < MIN_SIZE:
            raise OptionError(f"the size must be {MIN_SIZE} pixels or more, not {self.size}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"a batch has 1 frame or more, not {self.batch}")
        _check_choice("pose", self.pose, POSE_MODES)
        _check_choice("background", self.background, BACKGROUND_CHOICES)
        _check_choice("precision", self.precision, PRECISIONS)

    @classmethod
    def of(cls, options: Self | None, changes: dict[str, Any]) -> Self:
        """`options`, by default the usual ones, with single ones changed; TypeError for a name that is none."""
        return replace(options or cls(), **changes)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
