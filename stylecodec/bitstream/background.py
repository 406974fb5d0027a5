"""What is put behind the head (SPEC 14): a still picture with the head's place in it (plate), a blur, or one colour."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from ..errors import CorruptChunk, LimitExceeded, Truncated
from .checks import located
from .layout import ChunkType

MAX_PICTURE_BYTES = 1 << 22
MIN_SIDE, MAX_SIDE = 16, 4096  # of the plate, even numbers of pixels
_HEAD = struct.Struct("<BB3BBHHfff")


class Mode(IntEnum):
    """What a BACKGROUND chunk asks for; without one, the picture is the generator's, background and all."""

    PLATE = 1
    BLUR = 2
    KEY = 3


class PictureFormat(IntEnum):
    """How the picture of a plate is compressed."""

    NONE = 0
    JPEG = 1
    AVIF = 2


@dataclass(frozen=True)
class Background:
    """The BACKGROUND chunk.

    colour: of mode key, sRGB bytes. For mode plate alone: width, height, the pixels of the plate and of the decoded
    video; square, centre x, centre y and side of the aligned square in pixels of the plate (x right, y down, pixel i
    covers [i, i + 1)); picture, the still as a file of that format. Raises CorruptChunk and LimitExceeded.
    """

    chunk_type: ClassVar[ChunkType] = ChunkType.BACKGROUND

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
            raise LimitExceeded("a plate's square is out of reach")

    def __bytes__(self) -> bytes:
        head = _HEAD.pack(
            self.mode, self.picture_format, *self.colour, 0, self.width, self.height, *self.square
        )
        return head + self.picture

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Self:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
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
        return located(offset, cls, *fields, data[_HEAD.size :])
