"""The quantiser of the compact profile: 35 numbers to 35 integers and back (SPEC 5.1.1).

value = level · step. A step is named by one byte and has a significand of four bits, a level has fifteen: the product
is exact in binary32, and its nearest level is the level itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...errors import CorruptChunk, LimitExceeded, Truncated
from .. import layout
from ..checks import exact_length, located
from ..varint import pack_signed, parse_signed
from .prediction import Term, check_terms
from .tables import ACTIVITY_CLASSES

Levels = npt.NDArray[np.int32]  # [n, 35], each in -32767..32767
Values = npt.NDArray[np.float32]  # [n, 35]


def step_of(code: int) -> float:
    """The step of a code 0..255: (8 + low 3 bits) · 2^(high 5 bits - 19), from 2^-16 to 61,440."""
    return (8 + (code & 7)) * 2.0 ** ((code >> 3) - 19)


def nearest_code(step: float) -> int:
    """The code, 0..255, of the step nearest in ratio to a number above 0; LimitExceeded for any other number."""
    if not step > 0:
        raise LimitExceeded(f"a quantiser step is above 0, not {step}")
    return int(np.abs(_LOG_STEPS - np.log2(step)).argmin())


#: The activity class where no packets are known.
USUAL_SPREAD = 6

_LOG_STEPS = np.log2([step_of(code) for code in range(256)])


@dataclass(frozen=True)
class Quantiser:
    """Steps of the 35 parameters and expectations about their levels, one for the whole stream.

    codes: of the steps, 0..255. rest: the level around which each parameter moves; it predicts the first frame of a
    group. spread: the activity class, 0..11: how much the level changes from frame to frame. terms: the prediction
    beyond "as in the frame before". Wrong expectations cost bytes, not precision. Raises CorruptChunk, LimitExceeded.
    """

    codes: tuple[int, ...]
    rest: tuple[int, ...] = (0,) * layout.PARAMS_PER_FRAME
    spread: tuple[int, ...] = (USUAL_SPREAD,) * layout.PARAMS_PER_FRAME
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.codes) == len(self.rest) == len(self.spread) == layout.PARAMS_PER_FRAME:
            raise CorruptChunk(f"a quantiser has {layout.PARAMS_PER_FRAME} steps, rest levels and activity classes")
        if not all(0 <= code <= 255 for code in self.codes):
            raise LimitExceeded("the code of a quantiser step is outside 0..255")
        if not all(0 <= spread < ACTIVITY_CLASSES for spread in self.spread):
            raise LimitExceeded(f"an activity class is outside 0..{ACTIVITY_CLASSES - 1}")
        check_levels(np.array([self.rest], np.int32), self.steps)
        check_terms(self.terms)

    @classmethod
    def for_steps(cls, steps: npt.ArrayLike) -> Quantiser:
        """A quantiser with the steps nearest to `steps` [35], all above 0."""
        return cls(tuple(nearest_code(float(step)) for step in np.asarray(steps)))

    @cached_property
    def steps(self) -> npt.NDArray[np.float64]:
        """float64 [35]."""
        return np.array([step_of(code) for code in self.codes])

    def levels(self, packets: npt.ArrayLike) -> Levels:
        """The nearest levels to packets [n, 35]; LimitExceeded or CorruptChunk where there is none."""
        packets = np.asarray(packets)
        if packets.ndim != 2 or packets.shape[1] != layout.PARAMS_PER_FRAME:
            raise CorruptChunk(f"frame packets: the shape is {list(packets.shape)}, not [n, 35]")
        if not np.isfinite(packets).all():
            raise CorruptChunk("frame packets: a number is not finite")
        levels = np.rint(packets.astype(np.float64) / self.steps)
        check_levels(levels, self.steps)
        return levels.astype(np.int32)

    def values(self, levels: Levels) -> Values:
        """The values of levels [n, 35], float32 [n, 35]: exact products."""
        return (levels * self.steps).astype(np.float32)

    def __bytes__(self) -> bytes:
        nibbles = (*self.spread, 0)
        spread = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
        terms = np.array([(t.target, t.source, t.weight) for t in self.terms], layout.TERM)
        return (
            bytes(self.codes) + spread + b"".join(map(pack_signed, self.rest)) + bytes([len(terms)]) + terms.tobytes()
        )

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Quantiser:
        """Parse the quantiser of a stream header. offset: absolute, of `data`. Raises FormatError."""
        count = layout.PARAMS_PER_FRAME
        position = count + layout.SPREAD_BYTES
        if len(data) < position:
            raise Truncated(f"a quantiser has at least {position + count + 1} bytes", offset + len(data))
        spread = [half for byte in data[count:position] for half in (byte & 15, byte >> 4)]
        if spread[count:] != [0]:
            raise CorruptChunk("the reserved half byte of a quantiser is not zero", offset + position - 1)
        rest = []
        for _ in range(count):
            level, size = parse_signed(data, position, offset, "rest levels")
            rest.append(level)
            position += size
        if len(data) <= position:
            raise Truncated("a quantiser ends before its prediction terms", offset + len(data))
        terms_at = position + 1
        if data[position] > layout.MAX_TERMS:
            raise LimitExceeded(
                f"{data[position]} prediction terms; the limit is {layout.MAX_TERMS}", offset + position
            )
        exact_length(data, terms_at + data[position] * layout.TERM.itemsize, "prediction terms", offset)
        rows = np.frombuffer(data, layout.TERM, offset=terms_at).tolist()
        terms = tuple(located(offset + terms_at, Term, *row) for row in rows)
        return located(offset, cls, tuple(data[:count]), tuple(rest), tuple(spread[:count]), terms)


def check_levels(levels: npt.NDArray[np.float64] | Levels, steps: npt.NDArray[np.float64]) -> None:
    """Raise LimitExceeded for a level above the limit, or one whose value fp16 could not hold."""
    if (np.abs(levels) > layout.MAX_LEVEL).any():
        raise LimitExceeded(f"a level of the compact profile is outside -{layout.MAX_LEVEL}..{layout.MAX_LEVEL}")
    if (np.abs(levels * steps) > layout.MAX_VALUE).any():
        raise LimitExceeded(f"a number of the compact profile is above {layout.MAX_VALUE:,}")
