"""The stream header (SPEC 5.1).

As in all payload modules, `parse(data, offset)` takes one whole payload; `offset` is the absolute place of its first
byte, for error messages. `__post_init__` checks the values: every object can be written, and a wrong argument gives the
same error as a damaged file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from ..errors import CorruptChunk, LimitExceeded, Truncated, UnsupportedVersion
from . import layout
from .checks import exact_length, located
from .compact.quantiser import Quantiser


class Profile(IntEnum):
    """How packets are stored in frame groups."""

    RAW = 0  # 70 bytes per frame, as in the paper
    COMPACT = 1  # quantised, predicted and entropy-coded


@dataclass(frozen=True)
class CropGeometry:
    """The mean aligned square of the face, in source pixels: x right, y down, pixel i covers [i, i + 1).

    Raises CorruptChunk and LimitExceeded.
    """

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
        """Parse the 32 bytes of a crop geometry. Raises FormatError."""
        exact_length(data, layout.CROP_BYTES, "crop geometry", offset)
        fields = layout.CROP.parse(data)
        return located(offset, cls, *(fields[name] for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class StreamHeader:
    """The HEADER chunk: what a receiver must know before the first frame (SPEC 5.1).

    rate: frames per second, the nominal rate if it is variable. width, height: pixels of the rendered picture.
    pack_digest: SHA-256 of the model pack. indices: the 32 (layer, channel) pairs of StyleSpace that alpha is added to.
    time_scale: ticks per second of presentation times, 0 when the rate is constant. live: no index and no END chunk
    follow. quantiser: given if and only if the profile is compact. Raises CorruptChunk and LimitExceeded.
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
    quantiser: Quantiser | None = None

    def __post_init__(self) -> None:
        if (self.quantiser is not None) != (self.profile == Profile.COMPACT):
            raise CorruptChunk("a quantiser goes with the compact profile, and only with it")
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
        """Whether every group has presentation times."""
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
        crop = b"" if self.crop is None else bytes(self.crop)
        return bytes(head) + name + crop + (b"" if self.quantiser is None else bytes(self.quantiser))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> StreamHeader:
        """Parse a payload. Raises FormatError."""
        size = layout.HEADER_HEAD_BYTES
        if len(data) < size:
            raise Truncated(f"a stream header has at least {size} bytes, not {len(data)}", offset + len(data))
        fields = layout.HEADER_HEAD.parse(data)
        if fields.profile not in list(Profile):
            raise UnsupportedVersion(f"profile {fields.profile} is not known to this reader", offset)
        if fields.flags & ~int(layout.HeaderFlag.CROP | layout.HeaderFlag.LIVE):
            raise CorruptChunk("a reserved flag of the stream header is set", offset + 1)
        if fields.rate_denominator == 0:
            raise CorruptChunk("the frame rate has a denominator of zero", offset + 10)
        if math.gcd(fields.rate_numerator, fields.rate_denominator) != 1:
            raise CorruptChunk("the frame rate is not in lowest terms", offset + 6)
        has_crop = bool(fields.flags & layout.HeaderFlag.CROP)
        end_of_name = size + fields.name_length
        end_of_crop = end_of_name + (layout.CROP_BYTES if has_crop else 0)
        compact = fields.profile == Profile.COMPACT
        exact_length(data if not compact else data[:end_of_crop], end_of_crop, "stream header", offset)
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
            crop=CropGeometry.parse(data[end_of_name:end_of_crop], offset + end_of_name) if has_crop else None,
            time_scale=fields.time_scale,
            live=bool(fields.flags & layout.HeaderFlag.LIVE),
            quantiser=Quantiser.parse(data[end_of_crop:], offset + end_of_crop) if compact else None,
        )
