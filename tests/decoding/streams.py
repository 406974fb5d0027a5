"""Small streams for the tests: random identities and packets of a pack."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stylecodec.bitstream import AudioChunk, AudioConfig, Identity, Profile, StreamHeader, StreamWriter
from stylecodec.packs.store import ModelPack

SILENT_OPUS = b"\xf8\xff\xfe"  # 20 ms


def header(pack: ModelPack, rate: Fraction = Fraction(10), **changes: object) -> StreamHeader:
    plain = StreamHeader(rate, 1024, 1024, Profile.RAW, pack.name, pack.digest, pack.indices)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def identity(seed: int) -> Identity:
    return Identity(np.random.default_rng(seed).standard_normal((18, 512)).astype(np.float16))


def packets(count: int, seed: int = 0) -> NDArray[np.float16]:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-15, 15, (count, 3))
    return np.concatenate([angles, rng.normal(0, 0.5, (count, 32))], axis=1).astype(np.float16)


def stream(
    pack: ModelPack,
    count: int = 12,
    group: int = 5,
    identities: tuple[int, ...] = (1,),
    seed: int = 0,
    sound: bool = False,
    pts: NDArray[np.int64] | None = None,
    **changes: object,
) -> bytes:
    """A whole stream; group k uses identity k modulo their number."""
    config = AudioConfig(pre_skip=312) if sound else None
    writer = StreamWriter(header(pack, **changes), config)  # type: ignore[arg-type]
    data, values = writer.start(), packets(count, seed)
    for k, first in enumerate(range(0, count, group)):
        if k < len(identities):
            data += writer.identity(identity(identities[k]))
        else:
            writer.use_identity(identity(identities[k % len(identities)]))
        if sound:
            data += writer.audio(AudioChunk(first * 4800 - 312, (SILENT_OPUS,) * 25))
        part = slice(first, first + group)
        data += writer.group(values[part], None if pts is None else pts[part])
    return data + writer.finish()
