"""Stretches of streams put together into one new stream, with audio in step: what all edits have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, PackMismatch, StreamMismatch, Truncated
from .. import audio_timeline
from ..attached import background, personalizations
from ..audio import AudioConfig
from ..audio_timeline import TimedPacket
from ..delta import Personalization
from ..events import Extra
from ..file import StreamFile
from ..groups import FrameGroup
from ..header import Profile, StreamHeader
from ..identity import Identity, IdentityReference
from ..layout import AUDIO_CLOCK
from ..muxing import FrameRun, mux, predicted, regroup
from ..writer import StreamWriter

Extras = list[tuple[int, Extra]]
"""Personalised generators, backgrounds and unknown chunks, each with the number of the frame it precedes."""


@dataclass(frozen=True)
class Span:
    """Frames start..stop-1 of a stream."""

    stream: StreamFile
    start: int
    stop: int

    @classmethod
    def all_of(cls, stream: StreamFile) -> Span:
        """All frames of a stream that is complete; raises as `require_complete`."""
        require_complete(stream)
        return cls(stream, 0, stream.frame_count)

    @property
    def begin(self) -> Fraction:
        """Seconds in the stream that become time 0: the time of frame `start`, or 0 where `start` is 0."""
        return _seconds(self.stream, self.start) if self.start else Fraction(0)

    @property
    def end(self) -> Fraction:
        """Seconds in the stream at which the last frame ends: where the next begins, or a nominal frame later."""
        if self.stop < self.stream.frame_count:
            return _seconds(self.stream, self.stop)
        return _seconds(self.stream, self.stop - 1) + 1 / self.stream.header.rate


def require_complete(stream: StreamFile, remedy: str = "repair it first") -> None:
    """Raise Truncated where parts of a stream are missing, FormatError where it has no frames.

    remedy: what the message advises.
    """
    if not stream.complete:
        report = stream.report
        missing = "; ".join(report.missing) if report and report.missing else "damaged parts"
        raise Truncated(f"the file is not whole, missing: {missing}; {remedy}")
    if not stream.frame_count:
        raise FormatError("the stream holds no frames")


def check_same_pack(first: StreamHeader, second: StreamHeader) -> None:
    """Raise PackMismatch unless both streams were made with one pack."""
    if first.pack_digest != second.pack_digest:
        raise PackMismatch(
            f"one stream was made with pack {first.pack_name} {first.pack_digest.hex()[:12]}, "
            f"the other with {second.pack_name} {second.pack_digest.hex()[:12]}"
        )


def assemble(
    spans: Sequence[Span],
    extras: Extras,
    *,
    identity: Identity | None = None,
    audio: bool = True,
    header: StreamHeader | None = None,
    shift: npt.NDArray[np.float32] | None = None,
) -> Iterator[bytes]:
    """The bytes of a stream of all spans, one after the other, portion by portion.

    identity: in place of the spans' own. header: in place of the one they share. shift: float32 [35], added to every
    packet. Raises PackMismatch and StreamMismatch for streams that do not go together.
    """
    header = header or _common_header(spans)
    origins = [Fraction(0)]
    for span in spans:
        origins.append(origins[-1] + span.end - span.begin)
    config, packets = _audio(spans, origins) if audio else (None, iter(()))
    runs = _runs(spans, origins, header, identity)
    if shift is not None:
        runs = (replace(run, packets=run.packets.astype(np.float32) + shift) for run in runs)
    chunks = audio_timeline.in_chunks(packets)
    predicts = identity is None and header.profile != Profile.RAW and predicted(_owners(spans))
    return mux(StreamWriter(header, config, predicts=predicts), None, regroup(runs, header), chunks, extras)


def shared_attachments(streams: Sequence[StreamFile]) -> Extras:
    """The personalised generators of all streams, and their background if it is the same, before the first frame.

    Raises StreamMismatch where an identity has two generators.
    """
    found: dict[bytes, Personalization] = {}
    for stream in streams:
        for identity, one in personalizations(stream).items():
            known = found.setdefault(identity, one)
            if known.digest != one.digest:
                raise StreamMismatch("the streams have different personalised generators for one identity")
            found[identity] = known if known.delta is not None else one
    extras: Extras = [(0, one) for one in found.values()]
    backgrounds = [background(stream) for stream in streams]
    if backgrounds[0] is not None and all(other == backgrounds[0] for other in backgrounds):
        extras.append((0, backgrounds[0]))
    return extras


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


def _owners(spans: Sequence[Span]) -> Iterator[Identity | IdentityReference]:
    """The identities of all frames, in the order of their use, where some may be predicted from others."""
    if any(span.stream.predicts for span in spans):
        for span in spans:
            yield from span.stream.identities_of(span.start, span.stop)


def _runs(
    spans: Sequence[Span], origins: Sequence[Fraction], header: StreamHeader, identity: Identity | None
) -> Iterator[FrameRun]:
    """The frames of every group or part of a group, with times in the header's ticks."""
    for span, origin in zip(spans, origins, strict=False):
        for group, inside in span.stream.parts(span.start, span.stop):
            owner = identity or span.stream.named_identity_for(group.first_frame)
            if isinstance(owner, Identity) and header.profile == Profile.RAW:
                owner = replace(owner, step_code=None, base=None)
            times = None
            if header.variable_rate:
                ticks = _ticks(span.stream.header, group, header.time_scale)[inside]
                times = ticks + round((origin - span.begin) * header.time_scale)
            yield FrameRun(owner, group.packets[inside], times)


def _audio(spans: Sequence[Span], origins: Sequence[Fraction]) -> tuple[AudioConfig | None, Iterator[TimedPacket]]:
    """Configuration and packets of the audio of all spans."""
    configs = [span.stream.audio_config for span in spans]
    used = [config for config in configs if config is not None]
    if len({config.channels for config in used}) > 1:
        raise StreamMismatch("the streams differ in the channels of their audio")

    def parts() -> Iterator[tuple[int, Iterator[TimedPacket]]]:
        for span, origin, config in zip(spans, origins, configs, strict=False):
            if config is not None:
                begin, end = round(span.begin * AUDIO_CLOCK), round(span.end * AUDIO_CLOCK)
                chunks = span.stream.audio_chunks(begin - audio_timeline.PRE_ROLL if span.start else None)
                last = span.stop == span.stream.frame_count and span is spans[-1]
                shift = round(origin * AUDIO_CLOCK) - begin
                packets = audio_timeline.stretch(
                    chunks, begin if span.start else None, None if last else end, shift
                )
                yield round(origin * AUDIO_CLOCK), packets

    return audio_timeline.with_config(audio_timeline.joined(parts()), used[0] if used else None)


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
