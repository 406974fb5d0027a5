"""A binary range coder with adaptive probabilities (SPEC 12.1).

It is own code because it is part of the format: these integers must be the same on every machine and in every version.

Every decision is coded with a probability state: the chance of a 0 in units of 1/65536, adapted in the same way by
encoder and decoder. The encoder adds carries to the bytes already written and leaves out zeros at the end; the decoder
reads zeros beyond the end.
"""

from __future__ import annotations

EVEN = 1 << 15  # the state in which 0 and 1 are equally probable
ADAPT = 6  # a state moves by 1/64 of the way to the decision
_TOP = 1 << 24  # the range is kept at or above this
_MASK = (1 << 32) - 1


class RangeEncoder:
    """Decisions in, bytes out."""

    def __init__(self) -> None:
        self._low, self._range = 0, _MASK
        self._out = bytearray()

    def bit(self, states: list[int], at: int, bit: bool | int) -> bool | int:
        """Code one decision with the state `states[at]`, adapt the state, and return the decision."""
        state = states[at]
        bound = (self._range >> 12) * (state >> 4)
        if bit:
            self._low += bound
            self._range -= bound
            states[at] = state - (state >> ADAPT)
        else:
            self._range = bound
            states[at] = state + (65536 - state >> ADAPT)
        while self._range < _TOP:
            self._shift()
        return bit

    def bits(self, value: int, count: int) -> int:
        """Code the low `count` bits of a number, the highest first, 0 and 1 equally probable; return the number."""
        for place in range(count - 1, -1, -1):
            self._range >>= 1
            if value >> place & 1:
                self._low += self._range
            if self._range < _TOP:
                self._shift()
        return value

    def finish(self) -> bytes:
        """The shortest bytes that decode to the decisions."""
        top = self._low + self._range - 1
        for zeros in range(32, -1, -1):
            value = top >> zeros << zeros
            if value >= self._low:
                break
        self._low = value
        self._carry()
        return bytes(self._out + self._low.to_bytes(4, "big")).rstrip(b"\0")

    def _shift(self) -> None:
        self._carry()
        self._out.append(self._low >> 24)
        self._low = self._low << 8 & _MASK
        self._range <<= 8

    def _carry(self) -> None:
        """Add a bit above the 32 of `low` to the bytes already written."""
        if self._low <= _MASK:
            return
        self._low &= _MASK
        at = len(self._out) - 1
        while self._out[at] == 0xFF:
            self._out[at] = 0
            at -= 1
        self._out[at] += 1


class RangeDecoder:
    """Bytes in, decisions out.

    position: bytes read so far, those beyond the end included.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = len(data)
        self._range = _MASK
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.position = 4

    def bit(self, states: list[int], at: int, bit: bool | int = 0) -> bool | int:
        """The next decision, with the state `states[at]`, which is adapted. The argument `bit` is not used."""
        state = states[at]
        bound = (self._range >> 12) * (state >> 4)
        if self._code < bound:
            self._range = bound
            states[at] = state + (65536 - state >> ADAPT)
            while self._range < _TOP:
                self._shift()
            return 0
        self._code -= bound
        self._range -= bound
        states[at] = state - (state >> ADAPT)
        while self._range < _TOP:
            self._shift()
        return 1

    def bits(self, value: int, count: int) -> int:
        """The number of the next `count` bits, the highest first. The argument `value` is not used."""
        value = 0
        for _ in range(count):
            self._range >>= 1
            value <<= 1
            if self._code >= self._range:
                self._code -= self._range
                value |= 1
            if self._range < _TOP:
                self._shift()
        return value

    def _shift(self) -> None:
        at = self.position
        self._code = self._code << 8 & _MASK | (self._data[at] if at < self._size else 0)
        self._range <<= 8
        self.position = at + 1
