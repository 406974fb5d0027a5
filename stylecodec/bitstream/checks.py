"""Checks that several payloads share. Each raises a FormatError, with an offset if it is given one (SPEC 5 and 7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, FormatError, LimitExceeded, OptionError, Truncated
from . import layout

T = TypeVar("T")


def located(offset: int, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The result of `make`; a FormatError without an offset gets `offset`."""
    try:
        return make(*args, **kwargs)
    except FormatError as error:
        if error.offset is not None:
            raise
        raise type(error)(str(error), offset) from None


def exact_length(data: bytes, size: int, what: str, offset: int) -> None:
    """Raise Truncated or CorruptChunk unless a payload has exactly `size` bytes."""
    if len(data) < size:
        raise Truncated(f"{what}: only {len(data):,} bytes of {size:,}", offset + len(data))
    if len(data) > size:
        raise CorruptChunk(f"{what}: {len(data):,} bytes where {size:,} belong", offset + size)


def check_group_numbers(first_frame: int, count: int) -> None:
    """Raise where the frame numbers of a group are outside the limits; called before memory is allocated."""
    if count < 1:
        raise CorruptChunk("a frame group has no frames")
    if count > layout.MAX_GROUP_FRAMES:
        raise LimitExceeded(f"a frame group of {count:,} frames; the limit is {layout.MAX_GROUP_FRAMES:,}")
    if not 0 <= first_frame <= layout.MAX_FRAMES - count:
        raise LimitExceeded(f"frame number {first_frame:,} is above the limit of {layout.MAX_FRAMES:,}")


def check_finite(values: npt.NDArray[np.float16], what: str, offset: int) -> None:
    """Raise CorruptChunk at the first NaN or infinity."""
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(bad.argmax())
        raise CorruptChunk(f"{what}: a number is not finite", offset + first * values.itemsize)


def finite_fp16(values: npt.ArrayLike, shape: tuple[int, ...], what: str) -> npt.NDArray[np.float16]:
    """`values` as a contiguous little-endian float16 array of `shape`, all finite; not copied if they are one."""
    array = np.asarray(values)
    if array.shape != shape:
        raise CorruptChunk(f"{what}: the shape is {list(array.shape)}, not {list(shape)}")
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which is an error below
        array = np.ascontiguousarray(array, dtype=layout.FP16)
    if not np.isfinite(array).all():
        raise CorruptChunk(f"{what}: a number is not finite in fp16")
    return array


def check_pts(pts: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Presentation times as int64 [count]. Raises unless they are 0..2^62-1 and increase by 1..2^32-1 each."""
    times = np.ascontiguousarray(pts, dtype=np.int64)
    if times.shape != (count,):
        raise CorruptChunk(f"{count} frames have presentation times of shape {list(times.shape)}")
    if times[0] < 0 or times[-1] > layout.MAX_TICKS:
        raise LimitExceeded(f"a presentation time is outside 0..{layout.MAX_TICKS}")
    steps = np.diff(times)
    if (steps < 1).any() or (steps > layout.MAX_STEP_TICKS).any():
        raise CorruptChunk("presentation times do not increase by 1..2^32-1 ticks per frame")
    return times


def sum_steps(first: int, steps: npt.NDArray[np.uint32] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Presentation times int64 [n + 1] from the first one and n steps."""
    if first > layout.MAX_TICKS:
        raise LimitExceeded(f"a presentation time is above {layout.MAX_TICKS}")
    times = np.empty(len(steps) + 1, np.int64)
    times[0] = first
    np.cumsum(steps, dtype=np.int64, out=times[1:])
    times[1:] += first
    return times


def check_time(seconds: float) -> None:
    """Raise OptionError unless a time in seconds is finite and not negative."""
    if not 0 <= seconds < math.inf:
        raise OptionError(f"a time is 0 seconds or more and finite, not {seconds:g}")
