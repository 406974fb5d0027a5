"""Editing without decoding: cut, concat, puppet, strip, transcode. Streams in, the bytes of a whole stream out.

Every function takes open files and returns the bytes portion by portion; memory does not grow with the length. Frames
are put into new groups of about a second, and every result has an index. In the raw profile packets keep their bytes,
in the compact profile their levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, StreamMismatch
from ..checks import check_time
from ..compact.modelling import PLAIN_QUALITY, compact_header, plain_quantiser
from ..delta import Personalization
from ..file import StreamFile
from ..header import Profile
from ..identity import Identity
from ..layout import PARAMS_PER_FRAME, ChunkType
from ..writer import group_frames
from .assembly import Extras, Span, assemble, shared_attachments

ROLL = 2  # the place of the roll in a packet
SAMPLED_FRAMES = 8192  # about as many are read to choose quantiser steps

AT_REST: npt.NDArray[np.float32] = np.zeros(PARAMS_PER_FRAME, np.float32)
"""The packet of a face at rest, seen from the front."""


def cut(stream: StreamFile, start: int, stop: int) -> Iterator[bytes]:
    """Frames start..stop-1 as a stream of their own that begins at time 0, with the audio of that time.

    Personalised generators and the background stay; unknown chunks are left out, as they may contain times.
    Raises IndexError outside the stream, and FormatError where a part that is needed is damaged.
    """
    if not 0 <= start < stop <= stream.frame_count:
        raise IndexError(f"frames {start} to {stop} are not inside 0..{stream.frame_count}")
    return assemble([Span(stream, start, stop)], shared_attachments([stream]))


def concat(streams: Sequence[StreamFile]) -> Iterator[bytes]:
    """All frames of all streams, one stream after the other, with their audio.

    They must share pack, profile, picture size and audio channels, else PackMismatch or StreamMismatch; identities may
    differ, and each keeps its personalised generator. Where rates differ, the result has presentation times.
    Unknown chunks are left out, as in `cut`, and backgrounds that differ. Raises Truncated for an incomplete stream.
    """
    if not streams:
        raise StreamMismatch("there is no stream to join")
    return assemble([Span.all_of(stream) for stream in streams], shared_attachments(streams))


def puppet(
    identity: Identity,
    driving: StreamFile,
    personal: Personalization | None = None,
    shift: npt.NDArray[np.float32] | None = None,
) -> Iterator[bytes]:
    """The stream `driving` with `identity` in place of its own, and without its own personalised generators.

    personal: the personalised generator of the new identity. Packets are absolute (angles, and offsets from the posed
    identity), so they apply to any identity of the same pack. shift: float32 [35], added to each packet, for motion
    relative to another face at rest (see `neutral`). Raises Truncated for an incomplete stream.
    """
    kept: Extras = list(driving.extras(lambda kind: kind != ChunkType.GENERATOR_DELTA))
    if personal is not None:
        kept.insert(0, (0, personal))
    return assemble([Span.all_of(driving)], kept, identity=identity, shift=shift)


def neutral(stream: StreamFile) -> npt.NDArray[np.float32]:
    """The packet, float32 [35], of the frame nearest to the face at rest: frontal, with the median roll, α near 0.

    The unit of distance is each parameter's standard deviation over at most about 8,192 frames of the clip. The frame
    is compared with α = 0 rather than with the mean of the clip, as a speaker's mean face has an open mouth.
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
    """The stream without its audio, personalised generators, background, or chunks of unknown and private types.

    Raises Truncated for an incomplete stream, and FormatError for a damaged part that is not taken out.
    """
    removed: dict[int, bool] = {ChunkType.GENERATOR_DELTA: personalization, ChunkType.BACKGROUND: background}
    kept = list(stream.extras(lambda kind: not removed.get(kind, private)))
    return assemble([Span.all_of(stream)], kept, audio=not audio)


def transcode(stream: StreamFile, profile: Profile, quality: float = PLAIN_QUALITY) -> Iterator[bytes]:
    """The stream in another profile. Raises Truncated for an incomplete stream.

    To compact: quantised by statistics of the packets alone; quality: in dB, on the scale of an encoder that measures
    its quality by rendering. A compact stream keeps its levels. To raw: the values of the levels, rounded to fp16. The
    identity keeps its numbers and so its digest; in the raw profile it takes the raw form.
    """
    span = Span.all_of(stream)
    header = replace(stream.header, live=False)
    if profile == Profile.RAW:
        header = replace(header, profile=profile, quantiser=None)
    elif header.profile != profile:
        header = compact_header(header, plain_quantiser(*_sample(stream), quality))
    return assemble([span], list(stream.extras()), header=header)


def first_identity(stream: StreamFile) -> Identity:
    """The identity that a stream gives to a puppet: its first, as it was last refined, predicted from nothing.

    Raises FormatError where it has none, or only names one that is not known.
    """
    if stream.identities:
        first, *others = stream.identities
        while refined := [one for one in others if one.base is not None and one.base.digest == first.digest]:
            first = refined[-1]
            others.remove(first)  # a refinement may change nothing: its digest is then that of its base
        return first.whole
    if stream.references and stream.frame_count:
        return stream.identity_for(0)
    raise FormatError("the stream holds no identity")


def first_frame_from(stream: StreamFile, seconds: float) -> int:
    """Number of the first frame presented at a time, in seconds, or later; the frame count where there is none.

    Raises OptionError for a time that is negative or not finite.
    """
    check_time(seconds)
    low, high = 0, stream.frame_count
    while low < high:
        middle = (low + high) // 2
        # A millionth of a second covers times that were rounded when they were printed.
        if stream.pts(middle, middle + 1)[0] < seconds - 1e-6:
            low = middle + 1
        else:
            high = middle
    return low


def _sample(stream: StreamFile) -> tuple[npt.NDArray[np.float32], int]:
    """Packets [n, 35] of whole groups from all over the stream, and the number of frames in a group."""
    step = group_frames(stream.header.rate)
    stride = step * -(-stream.frame_count // SAMPLED_FRAMES)
    starts = range(0, stream.frame_count, stride)
    parts = [stream.packets(start, min(start + step, stream.frame_count)) for start in starts]
    return np.concatenate(parts), step
