"""Identity distance: how far apart a face recognition network finds the faces of two pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FaceNotFound

Describe = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Picture [H, W, 3] -> descriptor, such as face.recognition.FaceDescriptor; FaceNotFound."""


def identity_distances(
    describe: Describe, pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], enlarged: int = 1
) -> list[float]:
    """Euclidean distances of the descriptors of pairs of pictures; pairs in which a face is not found are left out.

    enlarged: by how many times pictures are made larger first, for the sake of the face detector.
    """
    found = []
    for pair in pairs:
        try:
            a, b = (describe(picture.repeat(enlarged, 0).repeat(enlarged, 1)) for picture in pair)
        except FaceNotFound:
            continue
        found.append(float(np.linalg.norm(a - b)))
    return found
