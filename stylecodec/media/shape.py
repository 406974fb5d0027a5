"""How decoded pixels become the picture that is shown: pixel aspect, turns, and streams that change their size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.buffer import Buffer
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # [H, W, 3] RGB


@dataclass(frozen=True)
class Orientation:
    """First scale to width x height (pixel aspect), then transpose, then mirror."""

    width: int  # decoded width after widening
    height: int
    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame, aspect: Fraction | None) -> Orientation:
        """From the frame's display matrix (quarter turns and mirrors only) and the sample aspect ratio."""
        width, height = frame.width, frame.height
        if aspect is not None and aspect > 0 and aspect != 1:
            width = max(1, round(frame.width * aspect))
        # x' = a x + c y, y' = b x + d y, stored as int32 a b u c d v x y w.
        try:
            side = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # PyAV reads no side data at all where one kind is unknown to it; the turn it still tells
            turn = math.radians(frame.rotation)
            a, b, c, d = (round(v) for v in (math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)))
        else:
            if side is None:
                return cls(width, height)
            a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(cast(Buffer, side)), np.int32)[:5])
        if abs(a) >= abs(b):
            return cls(width, height, False, a < 0, d < 0)
        return cls(width, height, True, c < 0, b < 0)

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the picture as shown."""
        return (self.height, self.width) if self.transpose else (self.width, self.height)

    def within(self, width: int, height: int) -> Orientation:
        """The same picture at the largest size that fits into width x height as shown; its shape is kept."""
        own_width, own_height = self.shown
        scale = min(width / own_width, height / own_height)
        fitted = max(1, round(own_width * scale)), max(1, round(own_height * scale))
        across, down = reversed(fitted) if self.transpose else fitted
        return Orientation(across, down, self.transpose, self.flip_x, self.flip_y)

    def apply(self, image: Frame) -> Frame:
        """Turn one decoded picture [H, W, 3]."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_x:
            image = image[:, ::-1]
        if self.flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


class CodedAspects:
    """The pixel aspects that the pictures of a stream tell, each with the time from which on it holds.

    A decoder tells that of what it was given last, while pictures from before may still come out.
    """

    def __init__(self) -> None:
        self._told: list[tuple[Fraction, Fraction | None]] = []
        self._key = Fraction(0)  # seconds of the last key frame: what it begins is told from there on

    def see(self, packet: av.Packet[Any], told: Fraction | None) -> None:
        """A packet was decoded, after which the decoder tells this aspect."""
        if packet.is_keyframe and packet.pts is not None and packet.time_base is not None:
            self._key = packet.pts * packet.time_base
        if not self._told or self._told[-1][1] != (told or None):
            self._told.append((self._key, told or None))

    def at(self, frame: av.VideoFrame) -> Fraction | None:
        """The aspect of a frame's pixels, None where it is not told."""
        if not self._told:
            return None
        if frame.pts is None or frame.time_base is None:
            return self._told[-1][1]
        seconds = frame.pts * frame.time_base
        return next((told for begin, told in reversed(self._told) if begin <= seconds), self._told[0][1])


def on_canvas(image: Frame, width: int, height: int) -> Frame:
    """A picture [h, w, 3] in the middle of a black one [height, width, 3]."""
    if image.shape[:2] == (height, width):
        return image
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas
