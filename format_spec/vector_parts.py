"""The parts of a stream, as SPEC.md draws them: the writer of make_vectors.py, with `struct` and `zlib` alone."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import chain, pairwise
from zlib import crc32

import compact_coding as compact

MAGIC = bytes.fromhex("8d 53 54 43 0d 0a 1a 0a")
SYNC = bytes.fromhex("fd 7e fc 7f")
HEADER, IDENTITY, GROUP, AUDIO_CONFIG, AUDIO, INDEX, END, DELTA, REFERENCE = 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11
BACKGROUND = 0x12
MUST_KNOW = {HEADER, IDENTITY, GROUP}  # written with the mandatory flag

PARTS = ("header", "identity", "packets", "audio", "index", "personalization", "background", "other")
PACK_DIGEST = hashlib.sha256(b"pack of the test vectors").digest()
INDICES = tuple((i % 26, 3 * i) for i in range(32))
CROP = (1280, 720, 640.5, 352.25, 410.0)
Pairs = tuple[tuple[int, int], ...]


def prologue(major: int = 1, minor: int = 0) -> bytes:
    head = MAGIC + struct.pack("<BBH", major, minor, 0)
    return head + struct.pack("<I", crc32(head))


def chunk(kind: int, payload: bytes, flags: int | None = None, length: int | None = None) -> bytes:
    """One chunk; `length` overrides the length field, with a check field that fits it."""
    flags = int(kind in MUST_KNOW) if flags is None else flags
    head = SYNC + struct.pack("<BBI", kind, flags, len(payload) if length is None else length)
    head += struct.pack("<H", crc32(head) & 0xFFFF)
    return head + payload + struct.pack("<I", crc32(head + payload))


def header(
    rate: tuple[int, int] = (25, 1),
    size: tuple[int, int] = (1024, 1024),
    scale: int = 0,
    name: bytes = b"avatar-1024",
    indices: Pairs = INDICES,
    crop: tuple[int, int, float, float, float] | None = CROP,
    live: bool = False,
    profile: int | None = None,
    more_flags: int = 0,
    quantiser: bytes = b"",
) -> bytes:
    flags = (crop is not None) | live << 1 | more_flags
    profile = int(bool(quantiser)) if profile is None else profile
    data = struct.pack("<BBHHIII", profile, flags, *size, *rate, scale) + PACK_DIGEST
    data += b"".join(struct.pack("<BH", *pair) for pair in indices)
    data += bytes([len(name)]) + name
    return data + (struct.pack("<IIddd", *crop) if crop is not None else b"") + quantiser


def latent(seed: int) -> bytes:
    """18,432 bytes of finite fp16: all zero for seed 0."""
    return struct.pack("<9216e", *(((seed * i) % 64 - 32 * (seed > 0)) / 16 for i in range(9216)))


def identity(data: bytes, slot: int = 0) -> bytes:
    return bytes([slot, 0]) + hashlib.sha256(data).digest() + data


def small_identity(levels: list[list[int]], step: int, slot: int = 0, digest: bytes | None = None) -> bytes:
    """An identity in the compact form; `digest` in place of the right one."""
    coder = compact.coded(levels, [8] * 512, [0] * 512, [])
    numbers = [level * compact.step(step) for row in levels for level in row]
    digest = hashlib.sha256(struct.pack("<9216e", *numbers)).digest() if digest is None else digest
    return bytes([slot, 1]) + digest + bytes([step]) + coder.close()


def numbers_of(levels: list[list[int]], step: int) -> list[list[float]]:
    """The 18 rows of an identity of these levels, as f16 holds them."""
    values = [level * compact.step(step) for row in levels for level in row]
    rounded = struct.unpack("<9216e", struct.pack("<9216e", *values))
    return [list(rounded[i : i + 512]) for i in range(0, 9216, 512)]


def predicted_identity(
    levels: list[list[int]],
    step: int,
    base: list[list[float]],
    slots: tuple[int, int] = (1, 0),
    digest: bytes | None = None,
) -> bytes:
    """An identity in the predicted form. base: the numbers of the identity of the second of the slots."""
    coder = compact.coded(levels, [3] * 512, [0] * 512, [], None, compact.from_base(base, step))
    if digest is None:
        digest = hashlib.sha256(struct.pack("<9216e", *chain.from_iterable(numbers_of(levels, step)))).digest()
    return bytes([slots[0], 2]) + digest + bytes([slots[1], step]) + coder.close()


def reference(data: bytes, slot: int = 0) -> bytes:
    return bytes([slot, 0]) + hashlib.sha256(data).digest()


def packet(frame: int) -> list[float]:
    """35 numbers that fp16 holds exactly: yaw, pitch, roll, alpha 0..31."""
    angles = [frame * 0.5 - 10, 3 - frame * 0.25, frame * 0.125]
    return angles + [((frame + 1) * (k + 3) % 41 - 20) / 8 for k in range(32)]


def group(
    first: int,
    packets: list[list[float]],
    slot: int = 0,
    times: list[int] | None = None,
    count: int | None = None,
) -> bytes:
    count = len(packets) if count is None else count
    data = struct.pack("<QHBB", first, count, slot, times is not None)
    data += b"".join(struct.pack("<35e", *values) for values in packets)
    if times is not None:
        steps = [b - a for a, b in pairwise(times)]
        data += struct.pack("<Q", times[0]) + b"".join(struct.pack("<I", step) for step in steps)
    return data


@dataclass(frozen=True)
class Quantiser:
    """What a compact stream's header says, and its groups must know."""

    steps: list[int]
    spread: list[int]
    rest: list[int]
    terms: compact.Terms

    def __bytes__(self) -> bytes:
        return compact.quantiser(self.steps, self.spread, self.rest, self.terms)


def compact_group(
    first: int,
    rows: compact.Rows,
    quantiser: Quantiser,
    slot: int = 0,
    times: list[int] | None = None,
) -> bytes:
    data = struct.pack("<QHBB", first, len(rows), slot, 2 | (times is not None))
    ticks = None if times is None else [b - a for a, b in pairwise(times)]
    data += b"" if times is None else struct.pack("<Q", times[0])
    data += compact.coded(rows, quantiser.spread, quantiser.rest, quantiser.terms, ticks).close()
    CODED[data] = rows, [compact.step(code) for code in quantiser.steps], times
    return data


#: What each compact group was made of.
CODED: dict[bytes, tuple[compact.Rows, list[float], list[int] | None]] = {}


def audio_config(codec: int = 1, channels: int = 1, pre_skip: int = 312, rate: int = 48000) -> bytes:
    return struct.pack("<BBHI", codec, channels, pre_skip, rate)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def audio(pts: int, packets: list[bytes]) -> bytes:
    lengths = b"".join(varint(len(p)) for p in packets)
    return struct.pack("<qH", pts, len(packets)) + lengths + b"".join(packets)


def opus(number: int, size: int = 20) -> bytes:
    """Opaque bytes behind the first byte of a 20 ms SILK frame."""
    return bytes([0x08]) + bytes((number * 31 + i) % 256 for i in range(size - 1))


def entry(kind: int, payload: bytes, offset: int) -> bytes:
    """The index entry of a chunk."""
    slot = count = 0
    if kind in (IDENTITY, REFERENCE):
        slot = payload[0]
    if kind == GROUP:
        count, slot = struct.unpack_from("<HB", payload, 8)
    if kind == AUDIO:
        count = struct.unpack_from("<H", payload, 8)[0]
    return struct.pack("<QBBH", offset, kind, slot, count)


def stream(*parts: tuple[int, bytes], index: bool = True, end: bool = True, minor: int = 0) -> bytes:
    """Prologue, the chunks, and what belongs at the end."""
    data, entries, frames = prologue(minor=minor), b"", 0
    for kind, payload in parts:
        entries += entry(kind, payload, len(data))
        frames += struct.unpack_from("<H", payload, 8)[0] if kind == GROUP else 0
        data += chunk(kind, payload)
    return data + (closing(len(data), entries, frames, index) if end else b"")


def closing(offset: int, entries: bytes, frames: int, index: bool = True) -> bytes:
    table = chunk(INDEX, entries) if index else b""
    length = offset + len(table) + 40
    return table + chunk(END, struct.pack("<QQQ", offset if index else 0, frames, length))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def levels_of(frame: int, scale: int = 1) -> list[int]:
    """35 levels that move with each other, some more than others."""
    drift = (frame * 7 + frame * frame) % 23 - 11
    return [scale * ((drift * (k % 6) + frame * (k % 3) - (k * frame) % 5) // (1 + k % 4)) for k in range(35)]


def some_quantiser() -> Quantiser:
    terms = [(2, 0, 20), (2, 64, -8), (5, 4, 33), (5, 65, 9), (9, 64, -16), (30, 5, -128), (34, 33, 127), (34, 65, 1)]
    return Quantiser([80 + k for k in range(35)], [k % 12 for k in range(35)], [3 * k - 50 for k in range(35)], terms)


def widest_quantiser() -> Quantiser:
    """The smallest and the largest steps, 140 terms, the longest rest levels."""
    pairs = [(k, j) for k in range(35) for j in (*range(k), 64, 65)]
    terms = [(k, j, (k * 37 + j * 11) % 255 - 127 or 5) for k, j in pairs[-140:]]
    return Quantiser([0] * 34 + [255], [11] * 35, [32767, -32767] * 17 + [1], terms)
