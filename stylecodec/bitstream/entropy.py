"""A binary range coder with adaptive probabilities, in integers alone (SPEC 6.1).

Each decision has a probability state of its own; encoder and decoder adapt it alike. Carries are resolved in the
bytes already written, and zeros at the end are left out: a decoder reads zeros beyond the end.
"""

from __future__ import annotations

HALF = 1 << 15  # a probability state is that of a 0 in units of 1/65536
_TOP = 1 << 24
_MASK = (1 << 32) - 1
RATE = 5


class RangeEncoder:
    """Decisions in, bytes out."""

    def __init__(self) -> None:
        self._low, self._range = 0, _MASK
        self._out = bytearray()

    def bit(self, states: list[int], at: int, bit: int) -> None:
        """Code one decision with the state `states[at]`, and adapt it."""
        state = states[at]
        bound = (self._range >> 12) * ((state >> 4) or 1)
        if bit:
            self._low += bound
            self._range -= bound
            states[at] = state - (state >> RATE)
        else:
            self._range = bound
            states[at] = state + ((65535 - state) >> RATE)
        while self._range < _TOP:
            self._shift()

    def bits(self, value: int, count: int) -> None:
        """Code the low `count` bits of a value, the highest first, as even chances."""
        for place in range(count - 1, -1, -1):
            self._range >>= 1
            if value >> place & 1:
                self._low += self._range
            while self._range < _TOP:
                self._shift()

    def _shift(self) -> None:
        if self._low > _MASK:
            self._carry()
        self._out.append(self._low >> 24)
        self._low = self._low << 8 & _MASK
        self._range <<= 8

    def _carry(self) -> None:
        self._low &= _MASK
        at = len(self._out) - 1
        while self._out[at] == 0xFF:
            self._out[at] = 0
            at -= 1
        self._out[at] += 1

    def finish(self) -> bytes:
        """The bytes: the shortest that decode to what was coded."""
        top = self._low + self._range - 1
        for keep in (24, 16, 8, 0):  # bits of low that may be zero
            value = top >> keep << keep
            if value >= self._low:
                break
        self._low = value
        if self._low > _MASK:
            self._carry()
        return bytes(self._out + self._low.to_bytes(4, "big")).rstrip(b"\0")


class RangeDecoder:
    """Bytes in, decisions out. `position`: bytes taken, beyond the end of the data by the zeros implied."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._range = _MASK
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.position = 4

    def bit(self, states: list[int], at: int) -> int:
        """The next decision, by the state `states[at]`, which adapts."""
        state = states[at]
        bound = (self._range >> 12) * ((state >> 4) or 1)
        if self._code >= bound:
            self._code -= bound
            self._range -= bound
            states[at] = state - (state >> RATE)
            bit = 1
        else:
            self._range = bound
            states[at] = state + ((65535 - state) >> RATE)
            bit = 0
        while self._range < _TOP:
            self._shift()
        return bit

    def bits(self, count: int) -> int:
        """The next `count` even chances, the highest first."""
        value = 0
        for _ in range(count):
            self._range >>= 1
            value <<= 1
            if self._code >= self._range:
                self._code -= self._range
                value |= 1
            while self._range < _TOP:
                self._shift()
        return value

    def _shift(self) -> None:
        byte = self._data[self.position] if self.position < len(self._data) else 0
        self._code = self._code << 8 & _MASK | byte
        self._range = self._range << 8 & _MASK
        self.position += 1
