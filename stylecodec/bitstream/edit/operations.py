"""Editing without decoding: cut, concat, puppet, strip, transcode. Streams in, the bytes of a whole stream out.

Every function takes open files and returns the bytes portion by portion; memory does not grow with the length. Groups
are laid anew, about a second each, and every result has an index. In the raw profile packets keep their bytes, in the
compact profile their levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, PackMismatch, StreamMismatch, Truncated
from .. import audio_timeline as sound
from ..attached import background, personalizations
from ..audio import AudioConfig
from ..compact.modelling import DEFAULT_QUALITY, compact_header, plain_quantiser
from ..delta import Personalization
from ..file import StreamFile
from ..groups import FrameGroup
from ..header import Profile, StreamHeader
from ..identity import Identity
from ..layout import AUDIO_CLOCK, PARAMS_PER_FRAME, ChunkType
from ..muxing import Row, mux, regroup
from ..reader import UnknownChunk
from ..writer import StreamWriter, group_frames

ROLL = 2  # where a packet has its roll
SAMPLED_FRAMES = 8192  # about as many are looked at to choose quantiser steps

AT_REST: npt.NDArray[np.float32] = np.zeros(PARAMS_PER_FRAME, np.float32)
"""The packet of a face at rest, seen from the front."""

Extras = list[tuple[int, UnknownChunk]]
"""Chunks of types this version does not define, each with the number of the frame it precedes."""


@dataclass(frozen=True)
class Span:
    """Frames start..stop-1 of a stream."""

    stream: StreamFile
    start: int
    stop: int

    @property
    def begin(self) -> Fraction:
        """Seconds in the stream that become time 0: the first frame's time, but all of a stream keeps its own 0."""
        return _seconds(self.stream, self.start) if self.start else Fraction(0)

    @property
    def end(self) -> Fraction:
        """Seconds in the stream at which the last frame ends: where the next begins, or a nominal frame later."""
        if self.stop < self.stream.frame_count:
            return _seconds(self.stream, self.stop)
        return _seconds(self.stream, self.stop - 1) + 1 / self.stream.header.rate


def cut(stream: StreamFile, start: int, stop: int) -> Iterator[bytes]:
    """Frames start..stop-1 as a stream of their own that begins at time 0, with the sound of that time.

    Chunks this version does not know are left out, as they may name times; personalised generators and the background
    stay.
    """
    if not 0 <= start < stop <= stream.frame_count:
        raise IndexError(f"frames {start} to {stop} are not inside 0..{stream.frame_count}")
    return _assemble([Span(stream, start, stop)], _attached([stream]))


def concat(streams: Sequence[StreamFile]) -> Iterator[bytes]:
    """All frames of all streams, one stream after the other, with their sound.

    They must share pack, profile, picture size and sound channels, else PackMismatch or StreamMismatch; identities
    may differ, and each keeps its personalised generator. Where rates differ, the result has presentation times.
    Unknown chunks are left out, as in `cut`, and backgrounds that differ.
    """
    if not streams:
        raise StreamMismatch("there is no stream to join")
    return _assemble([whole(stream) for stream in streams], _attached(streams))


def puppet(
    identity: Identity,
    driving: StreamFile,
    personal: Personalization | None = None,
    shift: npt.NDArray[np.float32] | None = None,
) -> Iterator[bytes]:
    """`driving` with `identity` in place of its own, and without the personalised generator of the person before.

    personal: the generator of the new identity. The packets are absolute (angles, and offsets from the posed
    identity), so they apply to any identity of the same pack as they are; shift [35] is added to each, for motion
    relative to another face at rest (see `neutral`).
    """
    kept = list(driving.unknown_chunks(lambda kind: kind != ChunkType.GENERATOR_DELTA))
    if personal is not None:
        kept.insert(0, (0, UnknownChunk(ChunkType.GENERATOR_DELTA, bytes(personal), 0)))
    return _assemble([whole(driving)], kept, identity=identity, shift=shift)


def neutral(stream: StreamFile) -> npt.NDArray[np.float32]:
    """The packet [35] of the frame that comes nearest to the face at rest: frontal, upright as usual, α near 0.

    Near is meant in units of each parameter's deviation over (at most 8,192 frames of) the clip. What a person's rest
    is off 0 is off in all frames alike, so it does not matter here; a speaker's usual face, mouth open, is not taken.
    """
    packets = _sample(stream)[0]
    rest = AT_REST.copy()
    rest[ROLL] = np.median(packets[:, ROLL])
    unit = np.maximum(packets.std(axis=0), 1e-3)
    found: npt.NDArray[np.float32] = packets[int(np.square((packets - rest) / unit).sum(axis=1).argmin())]
    return found


def strip(
    stream: StreamFile,
    *,
    audio: bool = False,
    personalization: bool = False,
    background: bool = False,
    private: bool = False,
) -> Iterator[bytes]:
    """The stream without its sound, personalised generators, background, chunks of unknown and private types."""

    goes: dict[int, bool] = {ChunkType.GENERATOR_DELTA: personalization, ChunkType.BACKGROUND: background}
    kept = list(stream.unknown_chunks(lambda kind: not goes.get(kind, private)))
    return _assemble([whole(stream)], kept, audio=not audio)


def transcode(stream: StreamFile, profile: Profile, quality: float = DEFAULT_QUALITY) -> Iterator[bytes]:
    """The stream in another profile.

    To compact: quantised by statistics of the packets alone, `quality` standing for the dB that an encoder would aim
    at by rendering; a stream that is compact already keeps its levels. To raw: what the levels stand for, rounded to
    fp16. The identity keeps its numbers, so that its digest stays; in the raw profile it takes the raw form.
    """
    span = whole(stream)
    header = replace(stream.header, live=False)
    if profile == Profile.RAW:
        header = replace(header, profile=profile, quantiser=None)
    elif header.profile != profile:
        header = compact_header(header, plain_quantiser(*_sample(stream), quality))
    return _assemble([span], list(stream.unknown_chunks()), header=header)


def _sample(stream: StreamFile) -> tuple[npt.NDArray[np.float32], int]:
    """Packets [n, 35] to fit a quantiser to, in whole groups from all over the stream, and the frames of a group."""
    step = group_frames(stream.header.rate)
    stride = step * -(-stream.frame_count // SAMPLED_FRAMES)
    starts = range(0, stream.frame_count, stride)
    parts = [stream.packets(start, min(start + step, stream.frame_count)) for start in starts]
    return np.concatenate(parts), step


def first_identity(stream: StreamFile) -> Identity:
    """The identity a stream lends to a puppet; FormatError where it has none, or names one that nobody recalls."""
    if stream.identities:
        return stream.identities[0]
    if stream.references and stream.frame_count:
        return stream.identity_for(0)
    raise FormatError("the stream holds no identity")


def check_same_pack(first: StreamHeader, second: StreamHeader) -> None:
    """Raise PackMismatch unless both streams were made with one pack."""
    if first.pack_digest != second.pack_digest:
        raise PackMismatch(
            f"one stream was made with pack {first.pack_name} {first.pack_digest.hex()[:12]}, "
            f"the other with {second.pack_name} {second.pack_digest.hex()[:12]}"
        )


def first_frame_from(stream: StreamFile, seconds: float) -> int:
    """Number of the first frame presented at that time or later; the frame count where there is none."""
    low, high = 0, stream.frame_count
    while low < high:
        middle = (low + high) // 2
        # A millionth of a second covers times that were rounded when they were printed.
        if stream.pts(middle, middle + 1)[0] < seconds - 1e-6:
            low = middle + 1
        else:
            high = middle
    return low


def whole(stream: StreamFile, remedy: str = "repair it first") -> Span:
    """All frames; Truncated where some are missing, with the remedy in its words."""
    if not stream.complete:
        report = stream.report
        missing = "; ".join(report.missing) if report and report.missing else "damaged parts"
        raise Truncated(f"the file is not whole, missing: {missing}; {remedy}")
    if not stream.frame_count:
        raise FormatError("the stream holds no frames")
    return Span(stream, 0, stream.frame_count)


# --- the one engine ---------------------------------------------------------------------------------------


def _assemble(
    spans: Sequence[Span],
    extras: Extras,
    *,
    identity: Identity | None = None,
    audio: bool = True,
    header: StreamHeader | None = None,
    shift: npt.NDArray[np.float32] | None = None,
) -> Iterator[bytes]:
    """The spans one after the other. identity: in place of theirs; header: in place of the one they share; shift
    [35]: added to every packet."""
    header = header or _common_header(spans)
    origins = [Fraction(0)]
    for span in spans:
        origins.append(origins[-1] + span.end - span.begin)
    config, packets = _sound(spans, origins) if audio else (None, iter(()))
    rows = _rows(spans, origins, header, identity)
    if shift is not None:
        rows = (replace(row, packets=row.packets.astype(np.float32) + shift) for row in rows)
    return mux(StreamWriter(header, config), None, regroup(rows, header), sound.in_chunks(packets), extras)


def _common_header(spans: Sequence[Span]) -> StreamHeader:
    """The header of the result; raises where the streams do not go together."""
    headers = [span.stream.header for span in spans]
    first = headers[0]
    for number, other in enumerate(headers[1:], 2):
        check_same_pack(first, other)
        for what, mine, theirs in (
            ("StyleSpace indices", first.indices, other.indices),
            ("the profile", first.profile.name.lower(), other.profile.name.lower()),
            ("quantiser steps", first.quantiser, other.quantiser),
            ("the picture size", (first.width, first.height), (other.width, other.height)),
        ):
            if mine != theirs:
                detail = f": {mine} and {theirs}" if isinstance(mine, str | tuple) and len(mine) < 9 else ""
                hint = "; transcode both to raw first" if what in ("the profile", "quantiser steps") else ""
                raise StreamMismatch(f"stream {number} differs from the first in {what}{detail}{hint}")
    crop = first.crop if all(other.crop == first.crop for other in headers) else None
    scale = 0
    if any(other.variable_rate or other.rate != first.rate for other in headers):
        scale = math.lcm(*(other.time_scale or other.rate.numerator for other in headers))
        if scale >= 1 << 32:
            raise StreamMismatch("the frame times of the streams have no common clock that fits 32 bits")
    return replace(first, live=False, crop=crop, time_scale=scale)


def _rows(
    spans: Sequence[Span], origins: Sequence[Fraction], header: StreamHeader, identity: Identity | None
) -> Iterator[Row]:
    """The frames of every group or part of a group, with times in the header's ticks."""
    for span, origin in zip(spans, origins, strict=False):
        for group, inside in span.stream.parts(span.start, span.stop):
            who = identity or span.stream.named_identity_for(group.first_frame)
            if isinstance(who, Identity) and header.profile == Profile.RAW:
                who = replace(who, step_code=None)
            times = None
            if header.variable_rate:
                ticks = _ticks(span.stream.header, group, header.time_scale)[inside]
                times = ticks + round((origin - span.begin) * header.time_scale)
            yield Row(who, group.packets[inside], times)


def _sound(
    spans: Sequence[Span], origins: Sequence[Fraction]
) -> tuple[AudioConfig | None, Iterator[sound.TimedPacket]]:
    """Configuration and packets of the sound of all spans."""
    configs = [span.stream.audio_config for span in spans]
    used = [config for config in configs if config is not None]
    if len({config.channels for config in used}) > 1:
        raise StreamMismatch("the streams differ in the channels of their sound")

    def parts() -> Iterator[tuple[int, Iterator[sound.TimedPacket]]]:
        for span, origin, config in zip(spans, origins, configs, strict=False):
            if config is not None:
                begin, end = round(span.begin * AUDIO_CLOCK), round(span.end * AUDIO_CLOCK)
                chunks = span.stream.audio_chunks(begin - sound.PRE_ROLL if span.start else None)
                last = span.stop == span.stream.frame_count and span is spans[-1]
                shift = round(origin * AUDIO_CLOCK) - begin
                packets = sound.stretch(chunks, begin if span.start else None, None if last else end, shift)
                yield round(origin * AUDIO_CLOCK), packets

    return sound.with_config(sound.joined(parts()), used[0] if used else None)


def _attached(streams: Sequence[StreamFile]) -> Extras:
    """The personalised generators of all streams, and the background if they share it, before the first frame."""
    found: dict[bytes, Personalization] = {}
    for stream in streams:
        for identity, one in personalizations(stream).items():
            known = found.setdefault(identity, one)
            if known.digest != one.digest:
                raise StreamMismatch("the streams have different personalised generators for one identity")
            found[identity] = known if known.delta is not None else one
    scenes = [background(stream) for stream in streams]
    payloads = [(ChunkType.GENERATOR_DELTA, bytes(one)) for one in found.values()]
    if scenes[0] is not None and all(scene == scenes[0] for scene in scenes):
        payloads.append((ChunkType.BACKGROUND, bytes(scenes[0])))
    return [(0, UnknownChunk(kind, payload, 0)) for kind, payload in payloads]


def _seconds(stream: StreamFile, frame: int) -> Fraction:
    """Presentation time of a frame, exactly."""
    if not stream.header.variable_rate:
        return frame / stream.header.rate
    group, inside = next(stream.parts(frame, frame + 1))
    assert group.pts is not None
    return Fraction(int(group.pts[inside][0]), stream.header.time_scale)


def _ticks(header: StreamHeader, group: FrameGroup, scale: int) -> npt.NDArray[np.int64]:
    """Presentation times of a group's frames, int64 [n], on a clock that is a multiple of the stream's own."""
    if group.pts is not None:
        return group.pts * (scale // header.time_scale)
    numbers = np.arange(group.first_frame, group.end_frame, dtype=np.int64)
    return numbers * (header.rate.denominator * (scale // header.rate.numerator))
