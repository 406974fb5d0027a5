"""The coder of the compact profile for make_vectors.py, written from section 12 of SPEC.md, whose tables it reads.

Like make_vectors.py it imports nothing of stylecodec. It only encodes, and it keeps the whole code as one large number.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path

SPEC = Path(__file__).parent / "SPEC.md"
Rows = list[list[int]]
Terms = list[tuple[int, int, int]]  # target, source, weight


def numbers(name: str) -> list[int]:
    """The numbers of the table that SPEC.md marks by ```name."""
    block = re.search(rf"```{name}\n(.*?)```", SPEC.read_text(), re.DOTALL)
    assert block is not None, name
    return [int(number) for number in block[1].split()]


@dataclass
class Arithmetic:
    """A range coder with `low` as one number of any length, in units of the last byte's last bit."""

    low: int = 0
    range: int = 2**32 - 1
    shifts: int = 0  # bytes by which low has grown beyond its 32 bits
    trace: list[tuple[str, int, int, int, int]] = field(default_factory=list)

    def decide(self, states: dict[str, int], name: str, one: bool) -> None:
        chance = states[name]
        bound = (self.range >> 12) * (chance >> 4)
        if one:
            self.low += bound
            self.range -= bound
            states[name] = chance - (chance >> 6)
        else:
            self.range = bound
            states[name] = chance + ((65536 - chance) >> 6)
        self._grow()
        self.trace.append((name, chance, int(one), self.low, self.range))

    def even(self, value: int, count: int) -> None:
        for place in reversed(range(count)):
            self.range >>= 1
            self.low += self.range * (value >> place & 1)
            self._grow()

    def golomb(self, value: int) -> None:
        digits = bin(value + 1)[2:]
        self.even(2 ** len(digits) - 2, len(digits))  # as many ones as digits follow the first, then a zero
        self.even(int("0" + digits[1:], 2), len(digits) - 1)

    def _grow(self) -> None:
        while self.range < 2**24:
            self.range <<= 8
            self.low <<= 8
            self.shifts += 1

    def close(self) -> bytes:
        value = self.low
        for zeros in range(32, -1, -1):
            value = (self.low + self.range - 1) >> zeros << zeros
            if value >= self.low:
                break
        return value.to_bytes(self.shifts + 4, "big").rstrip(b"\0")


def first_states() -> dict[str, int]:
    zero, size, sign = numbers("zero"), numbers("size"), numbers("sign")
    states = {"T0": 128, "T1": 128}
    for c in range(12):
        for surprise in range(4):
            for skewed in range(2):
                states[f"Z[{c}][{surprise}][{skewed}]"] = zero[8 * c + 2 * surprise + skewed]
        for first in range(2):
            for i in range(6):
                states[f"S[{first}][{c}][{i + 1}]"] = size[72 * first + 6 * c + i]
    for row in range(3):
        for column in range(3):
            states[f"N[{row - 1}][{column - 1}]"] = sign[3 * row + column]
    return {name: 256 * number for name, number in states.items()}


def coded(
    rows: Rows,
    spread: list[int],
    rest: list[int],
    terms: Terms,
    ticks: list[int] | None = None,
    expected_levels: Rows | None = None,
) -> Arithmetic:
    """The coder after rows of levels, and the ticks between frames where there are any.

    expected_levels: only the differences from these are coded.
    """
    coder, states = Arithmetic(), first_states()
    bounds, begin = numbers("bounds"), numbers("activities")
    activity = [begin[kind] for kind in spread]
    sign = [0] * len(rest)
    for r, row in enumerate(rows):
        before = rows[r - 1] if r else rest
        seen = expected = 0
        for k, level in enumerate(row):
            prediction, skew = before[k], 0
            if expected_levels is not None:
                prediction += expected_levels[r][k] - (expected_levels[r - 1][k] if r else 0)
            own = [term for term in terms if term[0] == k] if r else []
            if own:
                total = 16
                for _, source, weight in own:
                    if source == 64:
                        total += weight * (before[k] - rows[r - 2][k] if r > 1 else 0)
                    elif source == 65:
                        total += weight * (rest[k] - before[k])
                    else:
                        total += weight * (row[source] - before[source])
                prediction = max(-32767, min(32767, prediction + (total >> 5)))
                above = total % 32 - 16
                skew = 1 if above >= 5 else -1 if above <= -5 else 0
            a = activity[k] if r else 4 * activity[k]
            split = 0
            while a >> split >= 24576:
                split += 1
            c = len([bound for bound in bounds if a >> split >= bound])
            surprise = 3
            if r:
                surprise = 0 if 2 * seen < expected else 1 if 4 * seen < 5 * expected + 8192 else 2
            residual = level - prediction
            magnitude = abs(residual)
            size = magnitude >> split
            coder.decide(states, f"Z[{c}][{surprise}][{int(skew != 0)}]", size > 0)
            if size:
                for i in range(1, 14):
                    coder.decide(states, f"S[{int(not r)}][{c}][{min(i, 6)}]", size > i)
                    if size == i:
                        break
                else:
                    coder.golomb(size - 14)
            coder.even(magnitude % 2**split, split)
            if magnitude:
                coder.decide(states, f"N[{skew}][{sign[k]}]", residual < 0)
            if r:
                seen += min(size, 3) * 4096
                expected += min(a >> split, 12288)
                activity[k] += (min(magnitude, 16384) * 4096 - activity[k]) >> 5
                sign[k] = (residual > 0) - (residual < 0)
    last = 0
    for step in ticks or []:
        coder.decide(states, "T0", step != last)
        if step != last:
            coder.golomb(abs(step - last) - 1)
            coder.decide(states, "T1", step < last)
        last = step
    return coder


def svarint(value: int) -> bytes:
    folded = 2 * value if value >= 0 else -2 * value - 1
    data = b""
    while folded > 127:
        data += bytes([folded % 128 + 128])
        folded //= 128
    return data + bytes([folded])


def quantiser(steps: list[int], spread: list[int], rest: list[int], terms: Terms) -> bytes:
    """The bytes of section 5.1.1."""
    nibbles = [*spread, 0]
    data = bytes(steps) + bytes(nibbles[i] + 16 * nibbles[i + 1] for i in range(0, 36, 2))
    data += b"".join(svarint(level) for level in rest) + bytes([len(terms)])
    return data + b"".join(struct.pack("<BBb", *term) for term in terms)


def step(code: int) -> float:
    return (8 + code % 8) * 2.0 ** (code // 8 - 19)


def from_base(numbers: list[list[float]], code: int) -> Rows:
    """What another identity's numbers let expect of the levels in steps of this code: the end of section 12.2."""
    width, half = Fraction(step(code)), Fraction(1, 2)
    return [[max(-1023, min(1023, floor(Fraction(number) / width + half))) for number in row] for row in numbers]


# --- the worked example of section 12.5 --------------------------------------------------------------------------

EXAMPLE_STEPS, EXAMPLE_SPREAD, EXAMPLE_REST = [128] * 35, [0] * 35, [0] * 35
EXAMPLE_TERMS: Terms = [(1, 0, 16)]
EXAMPLE_ROWS: Rows = [[1] + [0] * 34, [3, -1] + [0] * 33]


def example() -> tuple[str, str]:
    """What section 12.5 shows: the trace up to pitch in the second frame, and the bytes."""
    coder = coded(EXAMPLE_ROWS, EXAMPLE_SPREAD, EXAMPLE_REST, EXAMPLE_TERMS)
    lines = [
        f"{name:<11} {chance:>5} {one:>3} {low:>18x} {width:>9x}"
        for name, chance, one, low, width in coder.trace[:-33]  # 33 places follow pitch
    ]
    head = f"{'state':<11} {'P':>5} bit {'low':>18} {'range':>9}"
    return "\n".join([head, *lines[:5], "…", *lines[-10:]]), coder.close().hex(" ")


if __name__ == "__main__":
    print(*example(), sep="\n\n")
