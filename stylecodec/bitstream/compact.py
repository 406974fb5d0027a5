"""How the levels of a frame group become bytes in the compact profile (SPEC 6.2). All of it is integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk
from . import layout
from .entropy import HALF, RangeDecoder, RangeEncoder
from .quantise import Levels

PREFIX = 34


def encode_levels(levels: Levels, rest: Sequence[int], steps: npt.NDArray[np.int64] | None = None) -> bytes:
    """Levels [n, 35] and, with presentation times, the n - 1 ticks between them, as bytes without zeros at the end."""
    coder = RangeEncoder()
    contexts = [[HALF] * PREFIX for _ in range(layout.PARAMS_PER_FRAME)]
    before = list(rest)
    for row in levels.tolist():
        for states, level, last in zip(contexts, row, before, strict=True):
            _put(coder, states, level - last)
        before = row
    if steps is not None:
        states, last = [HALF] * PREFIX, 0
        for step in steps.tolist():
            _put(coder, states, step - last)
            last = step
    return coder.finish()


def decode_levels(
    data: bytes, count: int, rest: Sequence[int], timed: bool, offset: int = 0
) -> tuple[Levels, npt.NDArray[np.int64] | None]:
    """What `encode_levels` took: `count` rows of levels and, if `timed`, the ticks between them."""
    coder = RangeDecoder(data)
    levels = np.empty((count, layout.PARAMS_PER_FRAME), np.int32)
    contexts = [[HALF] * PREFIX for _ in range(layout.PARAMS_PER_FRAME)]
    before = list(rest)
    for frame in range(count):
        before = [_get(coder, states) + last for states, last in zip(contexts, before, strict=True)]
        if max(before) > layout.MAX_LEVEL or min(before) < -layout.MAX_LEVEL:
            raise CorruptChunk(f"the levels of frame {frame} of the group are out of range", offset)
        levels[frame] = before
    steps = None
    if timed:
        states, last, ticks = [HALF] * PREFIX, 0, []
        for _ in range(count - 1):
            last += _get(coder, states)
            if not 1 <= last <= layout.MAX_STEP_TICKS:
                raise CorruptChunk("presentation times do not increase by 1..2^32-1 ticks per frame", offset)
            ticks.append(last)
        steps = np.array(ticks, np.int64)
    if coder.position < len(data) or data.endswith(b"\0"):
        raise CorruptChunk("bytes follow the coded levels", offset + min(coder.position, len(data) - 1))
    return levels, steps


def _put(coder: RangeEncoder, states: list[int], value: int) -> None:
    """Exponential Golomb code of a signed number: class in unary, then the bits below its highest, then the sign."""
    size = abs(value).bit_length()
    for place in range(size):
        coder.bit(states, place, 1)
    if size < PREFIX - 1:
        coder.bit(states, size, 0)
    if size:
        coder.bits(abs(value), size - 1)
        coder.bits(value < 0, 1)


def _get(coder: RangeDecoder, states: list[int]) -> int:
    size = 0
    while size < PREFIX - 1 and coder.bit(states, size):
        size += 1
    if not size:
        return 0
    value = 1 << size - 1 | coder.bits(size - 1)
    return -value if coder.bits(1) else value
