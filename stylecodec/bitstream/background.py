"""What is put behind the head (SPEC 14): a still of the scene with the head's place in it, a blur, or one colour."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from ..errors import CorruptChunk, LimitExceeded, Truncated

MAX_PICTURE_BYTES = 1 << 22
MIN_SIDE, MAX_SIDE = 16, 4096  # of the scene, even numbers of pixels
_HEAD = struct.Struct("<BB3BBHHfff")


class Mode(IntEnum):
    """What a BACKGROUND chunk asks for; without one, the picture is what the generator makes of it."""

    PLATE = 1
    BLUR = 2
    KEY = 3


class PictureFormat(IntEnum):
    NONE = 0
    JPEG = 1
    AVIF = 2


@dataclass(frozen=True)
class Background:
    """The BACKGROUND chunk.

    colour: of mode key, sRGB bytes. width, height: of the scene, and so of the decoded video, in pixels. square:
    centre x, centre y and side of the aligned square in the scene's pixels (x right, y down, pixel i covers
    [i, i + 1)). picture: the file of the still, in the given format. The last three belong to mode plate alone.
    """

    mode: Mode
    colour: tuple[int, int, int] = (0, 0, 0)
    width: int = 0
    height: int = 0
    square: tuple[float, float, float] = (0.0, 0.0, 0.0)
    picture_format: PictureFormat = PictureFormat.NONE
    picture: bytes = b""

    def __post_init__(self) -> None:
        if self.mode != Mode.PLATE:
            plain = not (self.picture or self.width or self.height or any(self.square) or self.picture_format)
            if not plain or (self.mode != Mode.KEY and any(self.colour)):
                raise CorruptChunk(f"a background of mode {self.mode.name.lower()} has fields of another mode")
            return
        if any(self.colour) or self.picture_format == PictureFormat.NONE or not self.picture:
            raise CorruptChunk("a plate needs a picture, and no colour")
        if len(self.picture) > MAX_PICTURE_BYTES:
            raise LimitExceeded(f"a plate of {len(self.picture):,} bytes; the limit is {MAX_PICTURE_BYTES:,}")
        for pixels in (self.width, self.height):
            if not MIN_SIDE <= pixels <= MAX_SIDE or pixels % 2:
                raise LimitExceeded(f"a plate's sides are even, {MIN_SIDE} to {MAX_SIDE} pixels, not {pixels}")
        if not all(map(math.isfinite, self.square)):
            raise CorruptChunk("a plate's square is not finite")
        x, y, side = self.square
        if not (1 <= side <= 4 * MAX_SIDE and abs(x) <= 4 * MAX_SIDE and abs(y) <= 4 * MAX_SIDE):
            raise LimitExceeded("a plate's square is out of reach of its scene")

    def __bytes__(self) -> bytes:
        head = _HEAD.pack(
            self.mode, self.picture_format, *self.colour, 0, self.width, self.height, *self.square
        )
        return head + self.picture

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Self:
        """Parse a payload; FormatError with an absolute offset."""
        if len(data) < _HEAD.size:
            raise Truncated(f"a background has at least {_HEAD.size} bytes, not {len(data)}", offset + len(data))
        mode, how, red, green, blue, reserved, width, height, x, y, side = _HEAD.unpack_from(data)
        if mode not in set(Mode):
            raise CorruptChunk(f"mode {mode} of a background is not defined", offset)
        if how not in set(PictureFormat):
            raise CorruptChunk(f"picture format {how} of a background is not defined", offset + 1)
        if reserved:
            raise CorruptChunk("the reserved byte of a background is not zero", offset + 5)
        fields = Mode(mode), (red, green, blue), width, height, (x, y, side), PictureFormat(how)
        try:
            return cls(*fields, data[_HEAD.size :])
        except (CorruptChunk, LimitExceeded) as error:
            raise type(error)(str(error), offset) from None
