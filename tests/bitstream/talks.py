"""Streams of a talk for the tests of edits and live streams: frames and audio that know their places."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from stylecodec.bitstream import (
    AudioConfig,
    StreamFile,
    StreamReader,
    StreamWriter,
    TimedGroup,
    audio_timeline,
    check,
    mux,
)
from stylecodec.bitstream.audio_timeline import TimedPacket, timed_packets
from tests.bitstream.conftest import make_header, make_identity, make_packets

PRE_SKIP = 312
RATE = Fraction(25)


def opus(number: int, length: int = 12) -> bytes:
    """A packet of 20 ms that knows its number."""
    return bytes([0x08]) + number.to_bytes(4, "little") + bytes(length)


def talk(
    frames: int = 60,
    *,
    group: int = 25,
    seed: int = 1,
    identities: tuple[int, ...] = (0,),
    voice: int = 0,
    packets: npt.NDArray[np.float16] | None = None,
    **changes: object,
) -> bytes:
    """A stream with audio as an encoder writes it: packets from -312 on, past the last frame."""
    header = make_header(**changes)
    pts = None
    if header.variable_rate:
        pts = np.cumsum(np.random.default_rng(seed).integers(2000, 5000, frames)) - 1000
    seconds = (int(pts[-1]) / header.time_scale if pts is not None else frames / header.rate) + 0.04
    packets = make_packets(frames, seed) if packets is None else packets
    groups = (
        TimedGroup(
            float(first / header.rate),
            packets[first : first + group],
            None if pts is None else pts[first : first + group],
            make_identity(identities[first // group % len(identities)]),
        )
        for first in range(0, frames, group)
    )
    count = int(float(seconds) * 48_000 + PRE_SKIP) // 960 + 1
    every = [TimedPacket(960 * k - PRE_SKIP, 960, opus(voice * 100_000 + k)) for k in range(count)]
    config = AudioConfig(pre_skip=PRE_SKIP)
    return b"".join(mux(StreamWriter(header, config), None, groups, audio_timeline.in_chunks(every)))


def opened(data: bytes | Iterator[bytes]) -> StreamFile:
    """The stream, after both readers found it whole."""
    made = data if isinstance(data, bytes) else b"".join(data)
    assert check(io.BytesIO(made)).complete
    reader = StreamReader()
    reader.feed(made)
    assert reader.close().complete  # strict as well
    return StreamFile.open(io.BytesIO(made))


def rows(stream: StreamFile) -> bytes:
    """The packets of all groups as they are on the wire."""
    return b"".join(group.packets.tobytes() for group in stream.groups())


def heard(stream: StreamFile) -> list[TimedPacket]:
    """The packets of the audio with their times."""
    return list(timed_packets(stream.audio_chunks()))
