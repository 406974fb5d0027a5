"""The frame group, raw or compact (SPEC 5.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, LimitExceeded, Truncated
from . import layout
from .checks import check_finite, check_group_numbers, check_pts, exact_length, finite_fp16, located, sum_steps
from .compact.coding import decode_levels, encode_levels
from .compact.quantiser import Levels, Quantiser, check_levels
from .layout import GroupFlag


@dataclass(frozen=True, eq=False)
class FrameGroup:
    """The GROUP chunk: 1..1024 consecutive frames that need nothing but the header and one identity (SPEC 5.3).

    packets: [n, 35], finite: yaw, pitch, roll in degrees, alpha 0..31. In the raw profile float16; in the compact
    profile, with the header's `quantiser`, float32 and rounded to the nearest levels. pts: int64 [n], strictly
    increasing, in ticks of 1/time_scale s, or None when the rate is constant. identity: the slot, 0..255.
    Raises CorruptChunk and LimitExceeded.
    """

    first_frame: int
    packets: npt.NDArray[np.float16] | npt.NDArray[np.float32]
    pts: npt.NDArray[np.int64] | None = None
    identity: int = 0
    quantiser: Quantiser | None = None

    def __post_init__(self) -> None:
        packets = np.asarray(self.packets)
        count = len(packets) if packets.ndim else 0
        check_group_numbers(self.first_frame, count)
        if self.quantiser is None:
            packets = finite_fp16(packets, (count, layout.PARAMS_PER_FRAME), "frame packets")
        else:
            packets = self.quantiser.values(self.quantiser.levels(packets))
        object.__setattr__(self, "packets", packets)
        if self.pts is not None:
            object.__setattr__(self, "pts", check_pts(self.pts, count))
        if not 0 <= self.identity < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.identity} is outside 0..{layout.MAX_IDENTITIES - 1}")

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def end_frame(self) -> int:
        """The number of the first frame after the group."""
        return self.first_frame + len(self.packets)

    @property
    def levels(self) -> Levels | None:
        """The integers that are coded, int32 [n, 35]; None in a raw group."""
        return None if self.quantiser is None else self.quantiser.levels(self.packets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameGroup) and self.quantiser == other.quantiser and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash((self.first_frame, self.identity, self.packets.tobytes()))

    def __bytes__(self) -> bytes:
        flags = GroupFlag(0) if self.pts is None else GroupFlag.TIMES
        if self.quantiser is not None:
            flags |= GroupFlag.LEVELS
        fields = {
            "first_frame": self.first_frame,
            "count": len(self),
            "slot": self.identity,
            "flags": int(flags),
        }
        head = bytes(layout.GROUP_HEAD.build(fields))
        steps = None if self.pts is None else np.diff(self.pts)
        first_time = b"" if self.pts is None else bytes(layout.FIRST_TIME.build(int(self.pts[0])))
        if self.quantiser is not None:
            return head + first_time + encode_levels(self.quantiser.levels(self.packets), self.quantiser, steps)
        times = b"" if steps is None else first_time + steps.astype(layout.STEP).tobytes()
        return head + self.packets.tobytes() + times

    @classmethod
    def parse(cls, data: bytes, offset: int = 0, quantiser: Quantiser | None = None) -> FrameGroup:
        """Parse a payload; a compact group needs the quantiser of its stream header. Raises FormatError."""
        start = layout.GROUP_HEAD_BYTES
        if len(data) < start:
            raise Truncated(f"a frame group has at least {start} bytes, not {len(data)}", offset + len(data))
        fields = layout.GROUP_HEAD.parse(data)
        located(offset, check_group_numbers, fields.first_frame, fields.count)
        if fields.flags & ~int(GroupFlag.TIMES | GroupFlag.LEVELS):
            raise CorruptChunk("a reserved flag of a frame group is set", offset + start - 1)
        timed = bool(fields.flags & GroupFlag.TIMES)
        if bool(fields.flags & GroupFlag.LEVELS) != (quantiser is not None):
            raise CorruptChunk("a group and the stream header disagree about the profile", offset + start - 1)
        parse = _parse_raw if quantiser is None else partial(_parse_compact, quantiser=quantiser)
        packets, pts = parse(data, fields.count, timed, offset)
        return located(offset, cls, fields.first_frame, packets, pts, fields.slot, quantiser)


def _parse_raw(
    data: bytes, count: int, timed: bool, offset: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64] | None]:
    """Packets, float16 [n, 35], and times of a raw payload."""
    start = layout.GROUP_HEAD_BYTES
    times_at = size = start + count * layout.PACKET_BYTES
    if timed:
        size += layout.FIRST_TIME_BYTES + (count - 1) * layout.STEP.itemsize
    exact_length(data, size, "frame group", offset)
    values = np.frombuffer(data, layout.FP16, count * layout.PARAMS_PER_FRAME, start)
    check_finite(values, "frame packets", offset + start)
    pts = None
    if timed:
        steps = np.frombuffer(data, layout.STEP, offset=times_at + layout.FIRST_TIME_BYTES)
        pts = located(offset + times_at, sum_steps, struct.unpack_from("<Q", data, times_at)[0], steps)
    return values.reshape(count, layout.PARAMS_PER_FRAME), pts


def _parse_compact(
    data: bytes, count: int, timed: bool, offset: int, quantiser: Quantiser
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None]:
    """Packets, float32 [n, 35], and times of a compact payload."""
    times_at = start = layout.GROUP_HEAD_BYTES
    if timed:
        start += layout.FIRST_TIME_BYTES
    if len(data) < start:
        raise Truncated("frame group: the first time is cut", offset + len(data))
    levels, steps = decode_levels(data[start:], count, quantiser, timed, offset + start)
    located(offset + start, check_levels, levels, quantiser.steps)
    pts = None
    if steps is not None:
        pts = located(offset + times_at, sum_steps, struct.unpack_from("<Q", data, times_at)[0], steps)
    return quantiser.values(levels), pts
