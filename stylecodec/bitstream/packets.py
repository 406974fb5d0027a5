"""The payloads of the picture chunks, one frozen dataclass each, `parse` beside `__bytes__` (SPEC 5).

Every `parse(data, offset)` takes one whole payload; `offset` is the absolute place of its first byte and
only serves the error messages. Values are checked in `__post_init__`, so an object that exists can be
written, and a mistake of the caller and a damaged file give the same error.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import ChecksumMismatch, CorruptChunk, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from . import layout

T = TypeVar("T")


class Profile(IntEnum):
    """How frame groups hold their packets."""

    RAW = 0  # 70 bytes per frame, as in the paper
    COMPACT = 1  # reserved, not defined in version 1.0


@dataclass(frozen=True)
class CropGeometry:
    """The mean aligned square the face was cut from, in source pixels (x right, y down)."""

    source_width: int
    source_height: int
    center_x: float
    center_y: float
    side: float

    def __post_init__(self) -> None:
        for name, value in (("width", self.source_width), ("height", self.source_height)):
            if not 1 <= value <= layout.MAX_SOURCE_SIDE:
                raise LimitExceeded(f"a source {name} of {value} pixels is outside 1..{layout.MAX_SOURCE_SIDE}")
        if not all(math.isfinite(v) for v in (self.center_x, self.center_y, self.side)) or self.side <= 0:
            raise CorruptChunk("the crop geometry is not a square")

    def __bytes__(self) -> bytes:
        return bytes(layout.CROP.build(vars(self)))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> CropGeometry:
        exact_length(data, layout.CROP_BYTES, "crop geometry", offset)
        fields = layout.CROP.parse(data)
        return located(offset, cls, *(fields[name] for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class StreamHeader:
    """What a receiver must know before the first frame (SPEC 5.1).

    rate: frames per second; with variable timing the nominal rate. width, height: pixels of the rendered
    picture. indices: the 32 (layer, channel) pairs of StyleSpace that alpha moves. time_scale: ticks per
    second of presentation times, 0 when the rate is constant. live: no index and no END chunk follow.
    """

    rate: Fraction
    width: int
    height: int
    profile: Profile
    pack_name: str
    pack_digest: bytes
    indices: tuple[tuple[int, int], ...]
    crop: CropGeometry | None = None
    time_scale: int = 0
    live: bool = False

    def __post_init__(self) -> None:
        if self.profile != Profile.RAW:
            raise UnsupportedVersion(f"profile {int(self.profile)} is not defined in this version of the format")
        for name, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= layout.MAX_PICTURE_SIDE:
                raise LimitExceeded(f"a {name} of {value} pixels is outside 1..{layout.MAX_PICTURE_SIDE}")
        if not 0 < self.rate <= layout.MAX_RATE:
            raise LimitExceeded(f"a rate of {self.rate} frames per second is outside 0..{layout.MAX_RATE}")
        if max(self.rate.numerator, self.rate.denominator, self.time_scale) >= 1 << 32 or self.time_scale < 0:
            raise LimitExceeded("the rate or the time scale does not fit 32 bits")
        if len(self.pack_digest) != layout.DIGEST_BYTES:
            raise CorruptChunk(f"a pack digest has {layout.DIGEST_BYTES} bytes, not {len(self.pack_digest)}")
        name_length = len(self.pack_name.encode())
        if not 1 <= name_length <= layout.MAX_PACK_NAME_BYTES or not self.pack_name.isprintable():
            raise LimitExceeded(f"a pack name has 1..{layout.MAX_PACK_NAME_BYTES} printable bytes of UTF-8")
        self._check_indices()

    def _check_indices(self) -> None:
        if len(self.indices) != layout.ALPHA_COUNT or len(set(self.indices)) != layout.ALPHA_COUNT:
            raise CorruptChunk(f"a stream names {layout.ALPHA_COUNT} different (layer, channel) pairs")
        for layer, channel in self.indices:
            if not (0 <= layer <= layout.MAX_STYLE_LAYER and 0 <= channel <= layout.MAX_STYLE_CHANNEL):
                raise LimitExceeded(f"there is no StyleSpace index ({layer}, {channel})")

    @property
    def variable_rate(self) -> bool:
        """Whether every group carries presentation times."""
        return self.time_scale > 0

    def __bytes__(self) -> bytes:
        flags = layout.HeaderFlag(0)
        if self.crop is not None:
            flags |= layout.HeaderFlag.CROP
        if self.live:
            flags |= layout.HeaderFlag.LIVE
        name = self.pack_name.encode()
        head = layout.HEADER_HEAD.build(
            {
                "profile": int(self.profile),
                "flags": int(flags),
                "width": self.width,
                "height": self.height,
                "rate_numerator": self.rate.numerator,
                "rate_denominator": self.rate.denominator,
                "time_scale": self.time_scale,
                "pack_digest": self.pack_digest,
                "indices": [{"layer": layer, "channel": channel} for layer, channel in self.indices],
                "name_length": len(name),
            }
        )
        return bytes(head) + name + (b"" if self.crop is None else bytes(self.crop))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> StreamHeader:
        size = layout.HEADER_HEAD_BYTES
        if len(data) < size:
            raise Truncated(f"a stream header has at least {size} bytes, not {len(data)}", offset + len(data))
        fields = layout.HEADER_HEAD.parse(data)
        if fields.profile != Profile.RAW:
            raise UnsupportedVersion(f"profile {fields.profile} is not known to this reader", offset)
        if fields.flags & ~int(layout.HeaderFlag.CROP | layout.HeaderFlag.LIVE):
            raise CorruptChunk("a reserved flag of the stream header is set", offset + 1)
        if fields.rate_denominator == 0:
            raise CorruptChunk("the frame rate has a denominator of zero", offset + 10)
        if math.gcd(fields.rate_numerator, fields.rate_denominator) != 1:
            raise CorruptChunk("the frame rate is not in lowest terms", offset + 6)
        has_crop = bool(fields.flags & layout.HeaderFlag.CROP)
        end_of_name = size + fields.name_length
        exact_length(data, end_of_name + (layout.CROP_BYTES if has_crop else 0), "stream header", offset)
        try:
            name = data[size:end_of_name].decode()
        except UnicodeDecodeError as error:
            raise CorruptChunk("the pack name is not UTF-8", offset + size + error.start) from error
        return located(
            offset,
            cls,
            rate=Fraction(fields.rate_numerator, fields.rate_denominator),
            width=fields.width,
            height=fields.height,
            profile=Profile(fields.profile),
            pack_name=name,
            pack_digest=fields.pack_digest,
            indices=tuple((pair.layer, pair.channel) for pair in fields.indices),
            crop=CropGeometry.parse(data[end_of_name:], offset + end_of_name) if has_crop else None,
            time_scale=fields.time_scale,
            live=bool(fields.flags & layout.HeaderFlag.LIVE),
        )


@dataclass(frozen=True, eq=False)
class Identity:
    """One identity latent in W+ (SPEC 5.2; paper section 3.3).

    latent: float16 [18, 512], finite. slot: the number by which groups refer to it; a StreamWriter
    chooses it, so a caller leaves it alone.
    """

    latent: npt.NDArray[np.float16]
    slot: int = 0

    def __post_init__(self) -> None:
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        latent = finite_fp16(self.latent, shape, "identity")
        if latent.flags.writeable:  # the digest must stay true whatever the caller does to his array
            latent = latent.copy()
            latent.flags.writeable = False
        object.__setattr__(self, "latent", latent)
        if not 0 <= self.slot < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.slot} is outside 0..{layout.MAX_IDENTITIES - 1}")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the 18,432 bytes of the latent: the address of this identity."""
        return hashlib.sha256(self.latent.tobytes()).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash((self.slot, self.digest))

    def __bytes__(self) -> bytes:
        head = layout.IDENTITY_HEAD.build({"slot": self.slot, "reserved": 0, "digest": self.digest})
        return bytes(head) + self.latent.tobytes()

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Identity:
        exact_length(data, layout.IDENTITY_PAYLOAD_BYTES, "identity", offset)
        fields = layout.IDENTITY_HEAD.parse(data)
        if fields.reserved:
            raise CorruptChunk("the reserved byte of an identity is not zero", offset + 1)
        start = layout.IDENTITY_HEAD_BYTES
        latent = np.frombuffer(data, layout.FP16, offset=start)
        check_finite(latent, "identity", offset + start)
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        identity = located(offset, cls, latent.reshape(shape), fields.slot)
        if identity.digest != fields.digest:
            raise ChecksumMismatch("the digest of an identity does not fit its latent", offset + 2)
        return identity


@dataclass(frozen=True, eq=False)
class FrameGroup:
    """1..1024 consecutive frames that need nothing but the header and one identity (SPEC 5.3).

    packets: float16 [n, 35], finite: yaw, pitch, roll in degrees, alpha 0..31. pts: int64 [n] strictly
    increasing, in ticks of 1/time_scale s, or None when the rate is constant. identity: the slot.
    """

    first_frame: int
    packets: npt.NDArray[np.float16]
    pts: npt.NDArray[np.int64] | None = field(default=None)
    identity: int = 0

    def __post_init__(self) -> None:
        packets = np.asarray(self.packets)
        count = len(packets) if packets.ndim else 0
        check_group_numbers(self.first_frame, count)
        object.__setattr__(
            self, "packets", finite_fp16(packets, (count, layout.PARAMS_PER_FRAME), "frame packets")
        )
        if self.pts is not None:
            object.__setattr__(self, "pts", check_pts(self.pts, count))
        if not 0 <= self.identity < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.identity} is outside 0..{layout.MAX_IDENTITIES - 1}")

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def end_frame(self) -> int:
        """Number of the first frame after the group."""
        return self.first_frame + len(self.packets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameGroup) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __bytes__(self) -> bytes:
        flags = layout.GroupFlag(0) if self.pts is None else layout.GroupFlag.TIMES
        fields = {
            "first_frame": self.first_frame,
            "count": len(self),
            "slot": self.identity,
            "flags": int(flags),
        }
        data = bytes(layout.GROUP_HEAD.build(fields)) + self.packets.tobytes()
        if self.pts is not None:
            data += bytes(layout.FIRST_TIME.build(int(self.pts[0])))
            data += np.diff(self.pts).astype(layout.STEP).tobytes()
        return data

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> FrameGroup:
        start = layout.GROUP_HEAD_BYTES
        if len(data) < start:
            raise Truncated(f"a frame group has at least {start} bytes, not {len(data)}", offset + len(data))
        fields = layout.GROUP_HEAD.parse(data)
        located(offset, check_group_numbers, fields.first_frame, fields.count)
        if fields.flags & ~int(layout.GroupFlag.TIMES):
            raise CorruptChunk("a reserved flag of a frame group is set", offset + start - 1)
        times_at = start + fields.count * layout.PACKET_BYTES
        timed = bool(fields.flags & layout.GroupFlag.TIMES)
        size = times_at
        if timed:
            size += layout.FIRST_TIME_BYTES + (fields.count - 1) * layout.STEP.itemsize
        exact_length(data, size, "frame group", offset)
        values = np.frombuffer(data, layout.FP16, fields.count * layout.PARAMS_PER_FRAME, start)
        check_finite(values, "frame packets", offset + start)
        pts = None
        if timed:
            steps = np.frombuffer(data, layout.STEP, offset=times_at + layout.FIRST_TIME_BYTES)
            pts = located(offset + times_at, sum_steps, struct.unpack_from("<Q", data, times_at)[0], steps)
        packets = values.reshape(fields.count, layout.PARAMS_PER_FRAME)
        return located(offset, cls, fields.first_frame, packets, pts, fields.slot)


# --- checks shared by the payloads -----------------------------------------------------------------------


def located(offset: int, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call `make`; a FormatError that does not know its place gets `offset`."""
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
    """Check the frame numbers of a group before anything of its size is made."""
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
    """A contiguous little-endian float16 array of `shape`, all finite; a view where it is one already."""
    array = np.asarray(values)
    if array.shape != shape:
        raise CorruptChunk(f"{what}: the shape is {list(array.shape)}, not {list(shape)}")
    with np.errstate(over="ignore"):  # what overflows fp16 becomes infinite and is refused here
        array = np.ascontiguousarray(array, dtype=layout.FP16)
    if not np.isfinite(array).all():
        raise CorruptChunk(f"{what}: a number is not finite in fp16")
    return array


def check_pts(pts: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Presentation times as int64 [count]: not negative, strictly increasing, steps within 32 bits."""
    times = np.ascontiguousarray(pts, dtype=np.int64)
    if times.shape != (count,):
        raise CorruptChunk(f"{count} frames have presentation times of shape {list(times.shape)}")
    if times[0] < 0 or times[-1] > layout.MAX_TICKS:
        raise LimitExceeded(f"a presentation time is outside 0..{layout.MAX_TICKS}")
    steps = np.diff(times)
    if (steps < 1).any() or (steps > layout.MAX_STEP_TICKS).any():
        raise CorruptChunk("presentation times do not increase by 1..2^32-1 ticks per frame")
    return times


def sum_steps(first: int, steps: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Presentation times from the first one and the steps."""
    if first > layout.MAX_TICKS:
        raise LimitExceeded(f"a presentation time is above {layout.MAX_TICKS}")
    times = np.empty(len(steps) + 1, np.int64)
    times[0] = first
    np.cumsum(steps, dtype=np.int64, out=times[1:])
    times[1:] += first
    return times
