"""What the renderer draws, and what comes out: buffers of a person, and a picture with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylecodec.training.heads.assets import Floats
from stylecodec.training.heads.camera import Crop
from stylecodec.training.heads.facial_hair import RootedStrands
from stylecodec.training.heads.identities import Identity

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One render and its truth.

    image uint8 [S, S, 3] RGB; labels uint8 [S, S] class numbers, or None; landmarks float32 [83, 2] in crop units
    (0..1, y down); weights float32 [K] as applied (the lids follow the gaze); gaze, yaw, pitch, roll in degrees.
    """

    image: Bytes
    labels: Bytes | None
    landmarks: Floats
    weights: Floats
    gaze: tuple[float, float]
    yaw: float
    pitch: float
    roll: float
    crop: Crop


@dataclass
class Draw:
    """Vertex arrays of one group of strands or one frame; `rooted` strands are written anew for every picture."""

    color: Any
    shadow: Any
    label: Any
    vertices: Any
    indices: Any
    tint: Floats
    gloss: float
    label_class: int
    rooted: RootedStrands | None = None
    length: float = 1.0
    thickness: float = 1.0

    def release(self) -> None:
        for part in (self.color, self.shadow, self.label, self.vertices, self.indices):
            if part is not None:
                part.release()


@dataclass
class Person:
    """An identity made ready for drawing; release it when done (`with renderer.person(...) as p`)."""

    identity: Identity
    base: Floats  # [V, 3] resting head
    hair: Draw | None
    glasses: Draw | None
    brows: Draw
    beard: Draw | None
    context: Any

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Frees the buffers."""
        with self.context:
            self._free()

    def _free(self) -> None:
        for group in (self.hair, self.glasses, self.brows, self.beard):
            if group is not None:
                group.release()
