"""Small streams for the container tests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from stylecodec.bitstream import AudioChunk, AudioConfig, CropGeometry, Identity, Profile, StreamHeader, StreamWriter

INDICES = tuple((i % 26, 3 * i) for i in range(32))


def make_header(**changes: object) -> StreamHeader:
    fields: dict[str, object] = {
        "rate": Fraction(25),
        "width": 1024,
        "height": 1024,
        "profile": Profile.RAW,
        "pack_name": "avatar-1024",
        "pack_digest": bytes(range(32)),
        "indices": INDICES,
        "crop": CropGeometry(1280, 720, 640.5, 300.25, 410.0),
    }
    return StreamHeader(**(fields | changes))  # type: ignore[arg-type]


def make_identity(seed: int = 0) -> Identity:
    latent = np.random.default_rng(seed).normal(size=(18, 512)).astype(np.float16)
    return Identity(latent)


def make_packets(count: int, seed: int = 1) -> npt.NDArray[np.float16]:
    return np.random.default_rng(seed).normal(0, 10, (count, 35)).astype(np.float16)


def make_stream(
    groups: tuple[int, ...] = (3, 2, 4),
    *,
    audio: bool = True,
    live: bool = False,
    identity: Identity | None = None,
) -> bytes:
    """A stream of groups of these sizes with `make_packets` of their sum."""
    config = AudioConfig(channels=1, pre_skip=312) if audio else None
    writer = StreamWriter(make_header(), config, live=live)
    packets = make_packets(sum(groups))
    data = writer.start() + writer.identity(identity or make_identity())
    first = 0
    for count in groups:
        data += writer.group(packets[first : first + count])
        if audio:
            opus = tuple(bytes([0x08, (first + i) % 256]) * (i + 1) for i in range(2))
            data += writer.audio(AudioChunk(first * 1920 - 312, opus))
        first += count
    return data + writer.finish()


@pytest.fixture(scope="session")
def small_stream() -> bytes:
    """Nine frames in groups of 3, 2 and 4, with audio and index."""
    return make_stream()
