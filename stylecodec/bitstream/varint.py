"""Numbers of one to three bytes (SPEC 1): LEB128, seven bits per byte, low bits first, in the shortest form."""

from __future__ import annotations

from ..errors import CorruptChunk, Truncated

MAX_BYTES = 3


def pack_varint(value: int) -> bytes:
    """The bytes of a number 0..2^21 - 1."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def parse_varint(data: bytes, position: int, offset: int, what: str) -> tuple[int, int]:
    """Value and size in bytes of the number at `position`.

    offset: absolute, of the data; what: what the number belongs to; both for error messages.
    Raises Truncated where the data ends inside the number, CorruptChunk where its form is not the shortest.
    """
    value = 0
    for size in range(1, MAX_BYTES + 1):
        if position + size > len(data):
            raise Truncated(f"{what}: the bytes end early", offset + len(data))
        byte = data[position + size - 1]
        value |= (byte & 0x7F) << 7 * (size - 1)
        if byte < 0x80:
            if size > 1 and byte == 0:
                break
            return value, size
    raise CorruptChunk(f"{what}: a number is not in its shortest form", offset + position)


def pack_signed(value: int) -> bytes:
    """The bytes of a number -2^20..2^20 - 1: 0, -1, 1, -2, … are written as 0, 1, 2, 3, …"""
    return pack_varint(2 * value if value >= 0 else -2 * value - 1)


def parse_signed(data: bytes, position: int, offset: int, what: str) -> tuple[int, int]:
    """Value and size in bytes of the signed number at `position`; see `parse_varint`."""
    folded, size = parse_varint(data, position, offset, what)
    return (folded >> 1) ^ -(folded & 1), size
