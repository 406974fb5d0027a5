"""The personalised generator: the difference of its tensors from the pack's, as small integers (SPEC 13).

    tensor ──► levels i8 × a step per row ───────────────┐
           └─► or levels of two factors × a step each ───┴─► directory, steps, levels ─► zstd ─► delta, named by SHA-256

A delta is a constant string of bytes: a stream contains them or their SHA-256, identity cards and caches store them.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import zstandard

from ..errors import ChecksumMismatch, CorruptChunk, LimitExceeded, Truncated
from .layout import DIGEST_BYTES, FP16, ChunkType

MAX_DELTA_BYTES = 1 << 24  # as stored
MAX_RAW_BYTES = 1 << 25  # directory, steps and levels
MAX_TENSORS = 1024
MAX_DIMENSIONS = 4
MAX_SIDE = 8192  # of a tensor
MAX_ELEMENTS = 1 << 24  # of a tensor, and of all tensors of a delta together
MAX_NAME_BYTES = 64
LEVEL_LIMIT = 127
NAME = re.compile(r"[A-Za-z0-9_.]{1,64}")

ROWS, FACTORS = 1, 2  # codings
_HEAD = struct.Struct(f"<{DIGEST_BYTES}sH")
_CHUNK_HEAD = struct.Struct(f"<BB{DIGEST_BYTES}s{DIGEST_BYTES}s")
NAMED, CARRIED = 0, 1
_ZSTD_LEVEL = 19

Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[np.int8]
Steps = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class DeltaTensor:
    """The difference of one tensor of a generator from the pack's.

    shape: of the tensor; as a matrix it has `rows` (the first dimension, or 1) by `columns`. rank None: levels
    int8 [rows * columns], steps fp16 [rows], value = step of the row times level. Else a product: levels int8 of A
    [rows, rank] then of B [rank, columns], steps fp16 [rank], value = sum over k of step_k A[i, k] B[k, j].
    Raises CorruptChunk and LimitExceeded.
    """

    name: str
    shape: tuple[int, ...]
    levels: Levels
    steps: Steps
    rank: int | None = None

    def __post_init__(self) -> None:
        _check_directory(self.name, self.shape, self.rank)
        if self.levels.shape != (_level_count(self.shape, self.rank),) or self.levels.dtype != np.int8:
            raise CorruptChunk(f"delta tensor {self.name}: the levels do not fit its shape")
        if self.steps.shape != (_step_count(self.shape, self.rank),):
            raise CorruptChunk(f"delta tensor {self.name}: the steps do not fit its shape")
        if not (np.isfinite(self.steps).all() and (self.steps >= 0).all()):
            raise CorruptChunk(f"delta tensor {self.name}: a step is negative or not finite")
        if self.levels.size and int(self.levels.min()) < -LEVEL_LIMIT:
            raise CorruptChunk(f"delta tensor {self.name}: a level is below -{LEVEL_LIMIT}")

    @classmethod
    def quantised(cls, name: str, values: npt.ArrayLike, steps: npt.ArrayLike, rounding: float = 0.5) -> Self:
        """Round `values`, of any shape, to multiples of a step per row.

        steps: [rows] or one number, above 0, rounded to fp16; a step too small for its row is raised until 127 levels
        reach the row's largest value. rounding: added to each magnitude, in steps, before truncation.
        """
        array = np.asarray(values, np.float32)
        matrix = _matrix(array)
        least = np.abs(matrix).max(axis=1, initial=0.0) / LEVEL_LIMIT
        used = np.maximum(np.broadcast_to(np.asarray(steps, np.float32), least.shape), least)
        stored = _fp16_up(used)
        divisor = np.where(stored > 0, stored, 1).astype(np.float32)[:, None]
        scaled = matrix / divisor
        levels = np.copysign(np.floor(np.abs(scaled) + rounding).clip(0, LEVEL_LIMIT), scaled).astype(np.int8)
        return cls(name, array.shape, levels.reshape(-1), stored)

    @classmethod
    def factored(cls, name: str, values: npt.ArrayLike, rank: int) -> Self:
        """The nearest product of rank `rank` to `values`, by singular value decomposition."""
        array = np.asarray(values, np.float32)
        u, s, v = np.linalg.svd(_matrix(array), full_matrices=False)
        return cls.product(name, array.shape, u[:, :rank] * s[:rank], v[:rank])

    @classmethod
    def product(cls, name: str, shape: tuple[int, ...], a: npt.ArrayLike, b: npt.ArrayLike) -> Self:
        """The product of a [rows, r] and b [r, columns], each column of a and row of b rounded to ±127 levels."""
        left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
        step_a = np.abs(left).max(axis=0, initial=0.0) / LEVEL_LIMIT
        step_b = np.abs(right).max(axis=1, initial=0.0) / LEVEL_LIMIT
        levels_a = np.rint(left / np.where(step_a > 0, step_a, 1))
        levels_b = np.rint(right / np.where(step_b > 0, step_b, 1)[:, None])
        levels = np.concatenate([levels_a.reshape(-1), levels_b.reshape(-1)]).astype(np.int8)
        return cls(name, shape, levels, (step_a * step_b).astype(FP16), left.shape[1])

    @property
    def values(self) -> Floats:
        """float32 of the tensor's shape."""
        rows, columns = _sides(self.shape)
        steps = self.steps.astype(np.float32)
        if self.rank is None:
            return (self.levels.reshape(rows, columns) * steps[:, None]).astype(np.float32).reshape(self.shape)
        cut = rows * self.rank
        a = self.levels[:cut].reshape(rows, self.rank).astype(np.float32)
        b = self.levels[cut:].reshape(self.rank, columns).astype(np.float32)
        return ((a * steps) @ b).astype(np.float32).reshape(self.shape)


@dataclass(frozen=True)
class GeneratorDelta:
    """A delta as it is stored. `data` is checked by unpacking it once; the unpacked tensors are not kept.

    Raises Truncated, LimitExceeded and CorruptChunk. Every size is checked before memory is allocated for it.
    """

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) > MAX_DELTA_BYTES:
            raise LimitExceeded(f"a generator delta of {len(self.data):,} bytes; the limit is {MAX_DELTA_BYTES:,}")
        _ = self.tensors

    @classmethod
    def of(cls, pack_digest: bytes, tensors: Sequence[DeltaTensor]) -> Self:
        """A delta of tensors with different names, for the pack of this digest (SHA-256)."""
        if len(pack_digest) != DIGEST_BYTES:
            raise CorruptChunk(f"a pack digest has {DIGEST_BYTES} bytes, not {len(pack_digest)}")
        directory = b"".join(_entry(tensor) for tensor in tensors)
        steps = b"".join(tensor.steps.astype(FP16).tobytes() for tensor in tensors)
        levels = b"".join(tensor.levels.tobytes() for tensor in tensors)
        raw = directory + steps + levels
        if len(raw) > MAX_RAW_BYTES:
            raise LimitExceeded(f"a generator delta of {len(raw):,} bytes unpacked; the limit is {MAX_RAW_BYTES:,}")
        packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True).compress(raw)
        return cls(_HEAD.pack(pack_digest, len(tensors)) + packed)

    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the stored bytes: the address of this delta."""
        return hashlib.sha256(self.data).digest()

    @property
    def pack_digest(self) -> bytes:
        """SHA-256 of the pack whose generator it changes."""
        return self.data[:DIGEST_BYTES]

    @property
    def tensors(self) -> tuple[DeltaTensor, ...]:
        """The tensors in the order of the directory, unpacked at each call: a kilobyte may become 32 MiB."""
        if len(self.data) < _HEAD.size:
            raise Truncated("a generator delta ends inside its first fields", len(self.data))
        count = _HEAD.unpack_from(self.data)[1]
        if not 1 <= count <= MAX_TENSORS:
            raise LimitExceeded(f"a generator delta has 1..{MAX_TENSORS:,} tensors, not {count:,}", DIGEST_BYTES)
        return tuple(_tensors(_unpacked(self.data[_HEAD.size :]), count))


@dataclass(frozen=True)
class Personalization:
    """The GENERATOR_DELTA chunk: frames of this identity are rendered by the pack's generator plus this delta.

    identity: SHA-256 of the identity latent. digest: SHA-256 of the delta. delta: None where the stream only names it.
    Raises CorruptChunk and ChecksumMismatch.
    """

    chunk_type: ClassVar[ChunkType] = ChunkType.GENERATOR_DELTA

    identity: bytes
    digest: bytes
    delta: GeneratorDelta | None = None

    def __post_init__(self) -> None:
        if len(self.identity) != DIGEST_BYTES or len(self.digest) != DIGEST_BYTES:
            raise CorruptChunk(f"a digest has {DIGEST_BYTES} bytes")
        if self.delta is not None and self.delta.digest != self.digest:
            raise ChecksumMismatch("the digest of a generator delta does not fit its bytes", 34)

    @classmethod
    def carried(cls, identity: bytes, delta: GeneratorDelta) -> Self:
        """One that contains its delta."""
        return cls(identity, delta.digest, delta)

    @property
    def named(self) -> Self:
        """The same without the bytes of the delta."""
        return type(self)(self.identity, self.digest)

    def __bytes__(self) -> bytes:
        form = NAMED if self.delta is None else CARRIED
        data = b"" if self.delta is None else self.delta.data
        return _CHUNK_HEAD.pack(form, 0, self.identity, self.digest) + data

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Self:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        start = _CHUNK_HEAD.size
        if len(data) < start:
            raise Truncated(f"a generator delta chunk has at least {start} bytes", offset + len(data))
        form, reserved, identity, digest = _CHUNK_HEAD.unpack_from(data)
        if form not in (NAMED, CARRIED) or reserved:
            raise CorruptChunk("a reserved value in a generator delta chunk", offset + (form in (NAMED, CARRIED)))
        body = data[start:]
        if form == NAMED:
            if body:
                raise CorruptChunk("bytes follow the name of a generator delta", offset + start)
            return cls(identity, digest)
        if hashlib.sha256(body).digest() != digest:
            raise ChecksumMismatch("the digest of a generator delta does not fit its bytes", offset + 34)
        try:
            return cls(identity, digest, GeneratorDelta(body))
        except (Truncated, LimitExceeded, CorruptChunk) as error:
            raise type(error)(str(error), offset + start) from None


# --- inside ---------------------------------------------------------------------------------------------------


def _matrix(array: Floats) -> Floats:
    rows, columns = _sides(array.shape)
    if not np.isfinite(array).all():
        raise CorruptChunk("a generator delta must be finite")
    return array.reshape(rows, columns)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix; a vector or a number is a single row."""
    return (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, prod(shape))


def _level_count(shape: tuple[int, ...], rank: int | None) -> int:
    rows, columns = _sides(shape)
    return rows * columns if rank is None else rank * (rows + columns)


def _step_count(shape: tuple[int, ...], rank: int | None) -> int:
    return _sides(shape)[0] if rank is None else rank


def _fp16_up(values: npt.NDArray[np.floating]) -> Steps:
    """The values rounded up to fp16, so that 127 levels still reach the largest value."""
    rounded = values.astype(FP16)
    low = rounded.astype(np.float64) < values
    return np.where(low, np.nextafter(rounded, FP16.type(np.inf)), rounded).astype(FP16)


def _check_directory(name: str, shape: tuple[int, ...], rank: int | None) -> None:
    if not NAME.fullmatch(name):
        raise CorruptChunk(f"a delta tensor cannot have the name {name[:MAX_NAME_BYTES]!r}")
    if len(shape) > MAX_DIMENSIONS or not all(1 <= side <= MAX_SIDE for side in shape):
        raise LimitExceeded(f"delta tensor {name}: {list(shape)} is no shape within {MAX_DIMENSIONS} x {MAX_SIDE}")
    if prod(shape) > MAX_ELEMENTS:
        raise LimitExceeded(f"delta tensor {name}: {prod(shape):,} elements; the limit is {MAX_ELEMENTS:,}")
    if rank is not None and not 1 <= rank <= min(_sides(shape)):
        raise LimitExceeded(f"delta tensor {name}: a rank of {rank} for {list(shape)}")


def _entry(tensor: DeltaTensor) -> bytes:
    """The directory entry of a tensor."""
    name = tensor.name.encode("ascii")
    coding = ROWS if tensor.rank is None else FACTORS
    head = bytes([len(name)]) + name + bytes([coding, len(tensor.shape)])
    head += struct.pack(f"<{len(tensor.shape)}H", *tensor.shape)
    return head if tensor.rank is None else head + struct.pack("<H", tensor.rank)


def _unpacked(data: bytes) -> bytes:
    """The content of the zstd frame; its size is checked before it is unpacked."""
    try:
        frame = zstandard.get_frame_parameters(data)
        size = zstandard.frame_content_size(data)
        if size < 0 or frame.dict_id:
            raise CorruptChunk("the zstd frame of a generator delta does not state its size, or needs a dictionary")
        if size > MAX_RAW_BYTES:
            raise LimitExceeded(f"a generator delta unpacks to {size:,} bytes; the limit is {MAX_RAW_BYTES:,}")
        raw: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptChunk(f"the zstd frame of a generator delta is damaged: {error}") from None
    if len(raw) != size:
        raise CorruptChunk("the zstd frame of a generator delta does not have the size it states")
    return raw


def _tensors(raw: bytes, count: int) -> Iterator[DeltaTensor]:
    """The tensors of an unpacked delta; their sizes are compared with that of `raw` before they are read."""
    entries, at = [], 0
    for _ in range(count):
        entry, at = _parse_entry(raw, at)
        entries.append(entry)
    if len({name for name, _, _ in entries}) != count:
        raise CorruptChunk("a generator delta gives a tensor twice")
    if sum(prod(shape) for _, shape, _ in entries) > MAX_ELEMENTS:
        raise LimitExceeded(f"a generator delta has more than {MAX_ELEMENTS:,} elements")
    step_counts = [_step_count(shape, rank) for _, shape, rank in entries]
    level_counts = [_level_count(shape, rank) for _, shape, rank in entries]
    levels_at = at + FP16.itemsize * sum(step_counts)
    if len(raw) != levels_at + sum(level_counts):
        raise CorruptChunk(f"a generator delta unpacks to {len(raw):,} bytes, its directory asks for another number")
    for (name, shape, rank), steps, levels in zip(entries, step_counts, level_counts, strict=True):
        yield DeltaTensor(
            name, shape, np.frombuffer(raw, np.int8, levels, levels_at), np.frombuffer(raw, FP16, steps, at), rank
        )
        at, levels_at = at + FP16.itemsize * steps, levels_at + levels


def _parse_entry(raw: bytes, at: int) -> tuple[tuple[str, tuple[int, ...], int | None], int]:
    """(name, shape, rank) of the directory entry at `at`, and where the next one begins."""

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(raw):
            raise Truncated("a generator delta ends inside its directory")
        at += size
        return raw[at - size : at]

    name = take(take(1)[0]).decode("latin-1")
    coding, dimensions = take(2)
    if coding not in (ROWS, FACTORS):
        raise CorruptChunk(f"delta tensor {name[:MAX_NAME_BYTES]!r}: coding {coding} is not defined")
    if dimensions > MAX_DIMENSIONS:
        raise LimitExceeded(f"a delta tensor of {dimensions} dimensions; the limit is {MAX_DIMENSIONS}")
    shape = struct.unpack(f"<{dimensions}H", take(2 * dimensions))
    rank = struct.unpack("<H", take(2))[0] if coding == FACTORS else None
    _check_directory(name, shape, rank)
    return (name, shape, rank), at
