"""dlib's face recognition network: 128 numbers that tell people apart (a yardstick for identity)."""

from __future__ import annotations

from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from stylecodec.errors import FaceNotFound
from stylecodec.face.detect import RECOGNITION, Box, Detector, FaceDetector, Frame, model_file
from stylecodec.face.landmarks import Dlib5, Landmarker

Descriptor = NDArray[np.float32]  # [128]


class FaceDescriptor:
    """Picture -> descriptor [128] float32. The network and the 5 points are free of restrictions."""

    def __init__(self, detector: Detector | None = None, landmarker: Landmarker | None = None) -> None:
        self._detector = detector or FaceDetector()
        self._landmarker = landmarker or Dlib5()
        self._net: Any = dlib.face_recognition_model_v1(str(model_file(RECOGNITION)))

    def __call__(self, image: Frame, box: Box | None = None) -> Descriptor:
        """Of the face in an image [H, W, 3] uint8 RGB; `box` spares the search. Raises FaceNotFound."""
        if box is None:
            found = self._detector(image)
            if found is None:
                raise FaceNotFound("no face was found in the picture to be described")
            box = found.box
        points = self._landmarker(image, box)
        parts = dlib.points([dlib.point(int(x), int(y)) for x, y in points])
        corners = (round(box.left), round(box.top), round(box.right) - 1, round(box.bottom) - 1)
        shape = dlib.full_object_detection(dlib.rectangle(*corners), parts)
        return np.array(self._net.compute_face_descriptor(np.ascontiguousarray(image), shape), np.float32)

    @staticmethod
    def distance(a: Descriptor, b: Descriptor) -> float:
        """Euclidean; below 0.6 dlib calls it the same person."""
        return float(np.linalg.norm(a - b))
