"""What finds and aligns the face before anything is encoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ..face.align import AlignedTrack, Aligner
from ..face.landmarks import make_landmarker
from ..face.warp import Frame
from ..geometry import CropTransform
from ..packs.store import ModelPack
from .options import EncodeOptions


class FrontEnd(Protocol):
    """Finds and aligns the face: face.align.Aligner, or a stand-in."""

    def track(self, frames: Iterable[Frame], rate: float) -> AlignedTrack:
        """The squares of all frames of a clip, `rate` of them per second; FaceNotFound when none shows a face."""
        ...

    def still(self, image: Frame) -> CropTransform:
        """The square of one picture; FaceNotFound."""
        ...


def front_end_for(pack: ModelPack, options: EncodeOptions) -> FrontEnd:
    """The front end with the landmarks that the options name, aligned as the pack's networks were trained."""
    choice = options.landmarks
    if choice == "auto":
        choice = "pack" if pack.has("landmarks") else "predictor" if pack.has("predictor") else "dlib5"
    net: Any = None
    if choice in ("pack", "predictor"):
        net = pack.landmarks(options.device) if choice == "pack" else pack.predictor()
    return Aligner(make_landmarker(choice, net, pack.alignment), alignment=pack.alignment)
