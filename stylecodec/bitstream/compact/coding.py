"""The entropy coder of the compact profile: levels of frame groups and identities to bytes and back (SPEC 12).

All of it is integer arithmetic. Encoder and decoder are the same functions: with a RangeEncoder they write the numbers
that they are given, with a RangeDecoder they return the numbers that they read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...errors import CorruptChunk
from .. import layout
from .prediction import Predictor
from .quantiser import Levels, Quantiser
from .range_coder import EVEN, RangeDecoder, RangeEncoder
from .tables import ACTIVITY_CLASSES, ACTIVITY_OF_CLASS, CLASS_BOUNDS, INITIAL_CHANCES

Coder = RangeEncoder | RangeDecoder

# Where the states of each kind begin (SPEC 12.4): whether a residual is zero, its size, its sign.
_ZERO, _SIZE, _SIGN = 0, 8 * ACTIVITY_CLASSES, 20 * ACTIVITY_CLASSES

_UNIT = 12  # activity is a mean magnitude in units of 1/4096
_SETTLE = 5  # and moves by 1/32 of the way to each magnitude
_HIGHEST = 6 << _UNIT  # from this activity on, low bits are coded apart
_UNARY = 14  # from this size on, the code is Exponential Golomb
_SIZES = 6  # decisions of the unary code with states of their own
_MOST_BITS = 17  # of an Exponential Golomb number of a residual
_MOST_TIME_BITS = 34
_SKEW = 5  # in 1/32: a prediction that is so far from its level selects other states
_LATENT_REST = (0,) * layout.IDENTITY_DIM
_LATENT_SPREAD = (8,) * layout.IDENTITY_DIM
_DIFFERENCE_SPREAD = (3,) * layout.IDENTITY_DIM  # of an identity that is predicted from another
_INITIAL_STATES = tuple(chance << 8 for chance in INITIAL_CHANCES)
_CLASS = tuple(np.searchsorted(CLASS_BOUNDS, np.arange(_HIGHEST), side="right").tolist())  # bounds at or below


def encode_levels(levels: Levels, quantiser: Quantiser, steps: npt.NDArray[np.int64] | None = None) -> bytes:
    """Levels int32 [n, 35] and, with presentation times, the n - 1 ticks between frames, as bytes."""
    coder = RangeEncoder()
    code_rows(coder, Predictor(quantiser.rest, quantiser.terms), quantiser.spread, len(levels), levels.tolist(), 0)
    if steps is not None:
        _ticks(coder, len(steps), steps.tolist(), 0)
    return coder.finish()


def decode_levels(
    data: bytes, count: int, quantiser: Quantiser, timed: bool, offset: int = 0
) -> tuple[Levels, npt.NDArray[np.int64] | None]:
    """The reverse of `encode_levels`: `count` rows of levels and, if `timed`, the ticks between frames.

    offset: absolute, of the data, for error messages. Raises CorruptChunk for numbers out of range and unused bytes.
    """
    coder = _decoder(data, offset)
    predictor = Predictor(quantiser.rest, quantiser.terms)
    levels = np.array(code_rows(coder, predictor, quantiser.spread, count, None, offset), np.int32)
    steps = np.array(_ticks(coder, count - 1, None, offset), np.int64) if timed else None
    _check_spent(coder, data, offset)
    return levels, steps


def encode_latent(levels: npt.NDArray[np.int32], prediction: npt.NDArray[np.int32] | None = None) -> bytes:
    """Levels int32 [18, 512] of an identity as bytes.

    Each row is predicted from the row before. prediction: int32 [18, 512], of `predicted_levels`: only the differences
    from it are coded.
    """
    coder = RangeEncoder()
    wanted = levels if prediction is None else levels - prediction
    spread = _LATENT_SPREAD if prediction is None else _DIFFERENCE_SPREAD
    code_rows(coder, Predictor(_LATENT_REST, ()), spread, len(levels), wanted.tolist(), 0)
    return coder.finish()


def decode_latent(
    data: bytes, offset: int = 0, prediction: npt.NDArray[np.int32] | None = None
) -> npt.NDArray[np.int32]:
    """The reverse of `encode_latent`. Raises CorruptChunk as `decode_levels` does."""
    coder = _decoder(data, offset)
    spread = _LATENT_SPREAD if prediction is None else _DIFFERENCE_SPREAD
    rows = code_rows(coder, Predictor(_LATENT_REST, ()), spread, layout.IDENTITY_ROWS, None, offset)
    levels = np.array(rows, np.int32) + (0 if prediction is None else prediction)
    if (np.abs(levels) > layout.MAX_IDENTITY_LEVEL).any():
        raise CorruptChunk("a level of an identity is out of range", offset)
    _check_spent(coder, data, offset)
    return levels


def predicted_levels(base: npt.NDArray[np.float16], step_code: int) -> npt.NDArray[np.int32]:
    """What another identity [18, 512] lets expect of the levels in steps of that code: int32 [18, 512] (SPEC 12.2).

    Its numbers in steps, rounded to nearest, ties up. In units of 2^-24 all fp16 numbers and all steps are integers.
    """
    numbers = (base.astype(np.float64) * 2**24).astype(np.int64)
    step = (8 + (step_code & 7)) << ((step_code >> 3) + 5)
    nearest = (2 * numbers + step) // (2 * step)
    return np.clip(nearest, -layout.MAX_IDENTITY_LEVEL, layout.MAX_IDENTITY_LEVEL).astype(np.int32)


def _decoder(data: bytes, offset: int) -> RangeDecoder:
    if data.endswith(b"\0"):
        raise CorruptChunk("the coded levels end with a zero", offset + len(data) - 1)
    return RangeDecoder(data)


def _check_spent(coder: RangeDecoder, data: bytes, offset: int) -> None:
    if coder.position < len(data):
        raise CorruptChunk("bytes follow the coded levels", offset + coder.position)


def magnitude_bits(spread: int) -> npt.NDArray[np.float64]:
    """The approximate cost in bits of residuals of magnitude 0..39 in an activity class, float64 [40], for encoders."""
    chances = np.array(INITIAL_CHANCES) / 256
    zero = chances[_ZERO + spread * 8 + 2]  # neither surprise nor skew
    larger = 1 - chances[_SIZE + spread * _SIZES :][:_SIZES]
    bits = [-np.log2(zero)]
    so_far = -np.log2(1 - zero) + 1  # the sign
    for size in range(1, 40):
        more = larger[min(size, _SIZES) - 1]
        bits.append(so_far - np.log2(1 - more) if size < _UNARY else so_far + 2 * np.log2(size - _UNARY + 1) + 1)
        so_far -= np.log2(more) if size < _UNARY else 0
    return np.array(bits)


def code_rows(
    coder: Coder,
    predictor: Predictor,
    spread: Sequence[int],
    count: int,
    rows: list[list[int]] | None,
    offset: int,
) -> list[list[int]]:
    """Code `rows`, or decode `count` rows if it is None. spread: the first activity class of each place of a row.

    offset: absolute, of the data, for error messages. Raises CorruptChunk for a level out of range.
    """
    states = list(_INITIAL_STATES)
    predict, learn = predictor.predict, predictor.learn
    activity = [ACTIVITY_OF_CLASS[kind] for kind in spread]
    last_sign = [0] * len(activity)
    result = []
    for number in range(count):
        row = rows[number] if rows is not None else None
        seen = expected = 0  # magnitudes in this row so far, and those that the activities predict
        for k, mean in enumerate(activity):
            level, above = predict(k)
            known = row[k] - level if row is not None else 0
            if number:
                surprise = 0 if 2 * seen < expected else 1 if 4 * seen < 5 * expected + 8192 else 2
                skew = (above >= _SKEW) - (above <= -_SKEW)
            else:
                surprise, skew, mean = 3, 0, mean << 2
            split = 0
            while mean >> split >= _HIGHEST:
                split += 1
            kind = _CLASS[mean >> split]
            size = abs(known) >> split
            if coder.bit(states, _ZERO + kind * 8 + surprise * 2 + (skew != 0), size > 0):
                size = _size(coder, states, _SIZE + (kind + ACTIVITY_CLASSES * (not number)) * _SIZES, size, offset)
            else:
                size = 0
            residual = size << split | coder.bits(abs(known) & (1 << split) - 1, split) if split else size
            if residual and coder.bit(states, _SIGN + 3 * skew + last_sign[k] + 4, known < 0):
                residual = -residual
            level += residual
            if not -layout.MAX_LEVEL <= level <= layout.MAX_LEVEL:
                raise CorruptChunk(f"a level of row {number} is out of range", offset)
            learn(k, level)
            if number:
                seen += min(size, 3) << _UNIT
                expected += min(mean >> split, 3 << _UNIT)
                activity[k] = mean + ((min(abs(residual), 1 << 14) << _UNIT) - mean >> _SETTLE)
                last_sign[k] = (residual > 0) - (residual < 0)
        result.append(predictor.next_row())
    return result


def _size(coder: Coder, states: list[int], at: int, size: int, offset: int) -> int:
    """A number above 0: unary up to 13 with the states from `at` on, the rest in Exponential Golomb code."""
    count = 1
    while count < _UNARY and coder.bit(states, at + min(count, _SIZES) - 1, size > count):
        count += 1
    return count if count < _UNARY else _UNARY + _golomb(coder, size - _UNARY, _MOST_BITS, offset)


def _golomb(coder: Coder, value: int, most: int, offset: int) -> int:
    """A number of 0 or more in Exponential Golomb code of order 0, of at most `most` bits."""
    length = max(value + 1, 1).bit_length()
    bits = 1
    while coder.bits(length > bits, 1):
        bits += 1
        if bits > most:
            raise CorruptChunk("a number in the coded levels is too long", offset)
    return (1 << bits - 1 | coder.bits(value + 1 & (1 << bits - 1) - 1, bits - 1)) - 1


def _ticks(coder: Coder, count: int, steps: list[int] | None, offset: int) -> list[int]:
    """Code the ticks between frames, or decode `count` of them: each as its difference from the one before."""
    states, last, result = [EVEN] * 2, 0, []
    for number in range(count):
        known = steps[number] - last if steps is not None else 0
        change = 0
        if coder.bit(states, 0, known != 0):
            change = 1 + _golomb(coder, abs(known) - 1, _MOST_TIME_BITS, offset)
            if coder.bit(states, 1, known < 0):
                change = -change
        last += change
        if not 1 <= last <= layout.MAX_STEP_TICKS:
            raise CorruptChunk("presentation times do not increase by 1..2^32-1 ticks per frame", offset)
        result.append(last)
    return result
