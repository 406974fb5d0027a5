"""Puppeteering: the identity of one stream, the motion and sound of another. No network runs for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..bitstream import Identity, StreamFile, StreamHeader, StreamWriter, TimedGroup, group_frames, mux
from ..errors import FormatError, PackMismatch


def puppet(identity: Identity, driving: StreamFile) -> Iterator[bytes]:
    """The bytes of `driving` with `identity` in place of its own, portion by portion.

    The packets are absolute (angles, and offsets from the posed identity), so they apply to any identity of the
    same pack as they are. Memory does not grow with the length.
    """
    header = dataclasses.replace(driving.header, live=False)
    writer = StreamWriter(header, driving.audio_config)
    return mux(writer, identity, _groups(driving), driving.audio_chunks())


def puppet_streams(source: StreamFile, driving: StreamFile) -> Iterator[bytes]:
    """The same with the first identity of another stream; PackMismatch unless both name one pack."""
    check_same_pack(source.header, driving.header)
    if not source.identities:
        raise FormatError("the source stream holds no identity")
    return puppet(source.identities[0], driving)


def check_same_pack(source: StreamHeader, driving: StreamHeader) -> None:
    """Raise PackMismatch unless both streams were made with one pack."""
    if source.pack_digest != driving.pack_digest:
        raise PackMismatch(
            f"the source was made with pack {source.pack_name} {source.pack_digest.hex()[:12]}, "
            f"the driving stream with {driving.pack_name} {driving.pack_digest.hex()[:12]}"
        )


def _groups(driving: StreamFile) -> Iterator[TimedGroup]:
    """The driving stream's packets in groups of about a second."""
    rate, scale = driving.header.rate, driving.header.time_scale
    step = group_frames(rate)
    for start in range(0, driving.frame_count, step):
        stop = min(start + step, driving.frame_count)
        packets = driving.packets(start, stop)
        if driving.header.variable_rate:
            pts = np.rint(driving.pts(start, stop) * scale).astype(np.int64)
            yield TimedGroup(float(pts[0]) / scale, packets, pts)
        else:
            yield TimedGroup(start / float(rate), packets)
