"""What streams and cards carry besides frames: generator deltas, backgrounds, identity latents, identity cards."""

from __future__ import annotations

import hashlib
import random
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import zstandard

from stylecodec.bitstream import Identity, StreamFile
from stylecodec.bitstream.background import Background, Mode, PictureFormat
from stylecodec.bitstream.compact.coding import decode_latent
from stylecodec.bitstream.delta import MAX_RAW_BYTES, GeneratorDelta, Personalization
from stylecodec.bitstream.identity import _values
from stylecodec.encoding.identity.cards import card_bytes, read_card
from stylecodec.errors import DeltaNotFound, FormatError, OptionError, PackMismatch

from . import streams
from .judging import Signature, Surface
from .mutating import Mutations, limit, mutated

DIGEST = 32
HEAD = 2 + 2 * DIGEST  # of a GENERATOR_DELTA chunk
DELTA_HEAD = DIGEST + 2
LATENT_HEAD = 2 + DIGEST


# --- generator deltas ---------------------------------------------------------------------------------------


def _delta_seeds() -> dict[str, bytes]:
    one = Personalization.carried(bytes(range(32)), streams.delta())
    return {"carried": bytes(one), "named": bytes(one.named)}


def _raw() -> bytes:
    """Directory, steps and levels of the seed, unpacked."""
    raw: bytes = zstandard.ZstdDecompressor().decompress(streams.delta().data[DELTA_HEAD:])
    return raw


def carried(count: int, packed: bytes) -> bytes:
    """A chunk whose digest fits, around a zstd frame."""
    data = bytes(range(32)) + struct.pack("<H", count % (1 << 16)) + packed
    return b"\1\0" + bytes(range(32)) + hashlib.sha256(data).digest() + data


def compressed(raw: bytes) -> bytes:
    packed: bytes = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(raw)
    return packed


def repacked(rng: random.Random) -> bytes:
    """The directory or the levels damaged, then compressed and named anew."""
    raw = mutated(_raw(), rng, most=3, near=rng.random() < 0.7)
    return carried(rng.choice((3, 3, 3, 3, rng.randrange(6), 1025)), compressed(raw))


def directory_limits(rng: random.Random) -> bytes:
    """A directory with sides, ranks and counts at their limits, over fewer or as many levels as it asks for."""
    count = rng.choice((1, 1, 2, 1024))
    entries, size = b"", 0
    for number in range(count):
        dimensions = rng.randrange(6)
        shape = [rng.choice((0, 1, 2, 8191, 8192, 8193, 65535)) for _ in range(dimensions)]
        coding = rng.choice((1, 1, 2, 3))
        entries += bytes([len(name := f"t{number}")]) + name.encode() + bytes([coding, dimensions])
        entries += struct.pack(f"<{dimensions}H", *shape)
        entries += struct.pack("<H", rng.choice((0, 1, 2, 8192, 65535))) if coding == 2 else b""
        size += 2 * (shape[0] if shape else 1) + int(np.prod([float(s) for s in shape]))
    room = MAX_RAW_BYTES - len(entries) + rng.choice((0, 1))
    body = min(size, room) if rng.random() < 0.002 else rng.randrange(100)
    return carried(count, compressed(entries + bytes(body)))


def frame_heads(rng: random.Random) -> bytes:
    """zstd frames whose heads lie about sizes and windows, or are no frame."""
    packed = bytearray(compressed(_raw()))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(min(12, len(packed)))
        width = rng.choice((1, 1, 2, 4, 8))
        packed[at : at + width] = limit(rng, len(packed), width)
    return carried(3, bytes(packed))


def read_delta(data: bytes) -> Iterator[Signature]:
    one = Personalization.parse(data, 100)
    if one.delta is not None:
        for tensor in one.delta.tensors:
            if tensor.levels.size < 1 << 20:
                _ = tensor.values
    yield "delta", bytes(one)


def read_delta_alone(data: bytes) -> Iterator[Signature]:
    """As it is kept under its digest."""
    yield "delta", bytes(GeneratorDelta(data[HEAD:]))


def delta_surface() -> Surface:
    seeds = _delta_seeds()
    special = {"packed again": repacked, "limits": directory_limits, "zstd heads": frame_heads}
    readers = {"chunk": read_delta, "alone": read_delta_alone}
    # The content, and one tensor of it as numbers.
    return Surface("delta", readers, Mutations(seeds, special), seeds, fixed=3 * MAX_RAW_BYTES)


# --- backgrounds and identities -----------------------------------------------------------------------------


def _background_seeds() -> dict[str, bytes]:
    plate = Background(Mode.PLATE, (0, 0, 0), 64, 48, (32.0, 24.0, 20.0), PictureFormat.JPEG, b"a JPEG file")
    return {"plate": bytes(plate), "blur": bytes(Background(Mode.BLUR)), "key": bytes(Background(Mode.KEY, (0, 9, 8)))}


def background_limits(rng: random.Random) -> bytes:
    """Numbers of the head at their limits, floats among them."""
    data = bytearray(rng.choice(list(_background_seeds().values())))
    for _ in range(rng.randrange(1, 3)):
        where = rng.randrange(22)
        width = rng.choice((1, 2, 4))
        data[where : where + width] = limit(rng, len(data), width)
    if rng.random() < 0.5:
        value = rng.choice((float("nan"), float("inf"), -0.0, 3e38, 1e-45, 16384.0, 16384.1, 1.0, 0.999))
        at = rng.choice((10, 14, 18))
        data[at : at + 4] = struct.pack("<f", value)
    return bytes(data)


def read_background(data: bytes) -> Iterator[Signature]:
    yield "background", bytes(Background.parse(data, 100))


def background_surface() -> Surface:
    seeds = _background_seeds()
    return Surface(
        "background", {"chunk": read_background}, Mutations(seeds, {"limits": background_limits}), seeds
    )


@cache
def _identity_seeds() -> dict[str, bytes]:
    latent = np.random.default_rng(3).normal(size=(18, 512)).astype(np.float16)
    flat = np.zeros((18, 512), np.float16)
    small = {f"step {code}": bytes(Identity(latent, step_code=code)) for code in (100, 140)}
    return {"raw": bytes(Identity(latent)), "flat": bytes(Identity(flat, step_code=255)), **small}


def named_again(rng: random.Random) -> bytes:
    """A damaged latent under the digest that it has now."""
    data = mutated(rng.choice(list(_identity_seeds().values())), rng, most=3, near=rng.random() < 0.3)
    if len(data) <= LATENT_HEAD or data[1] > 1:
        return data
    body = data[LATENT_HEAD:]
    if data[1] == 1:
        try:
            body = _values(decode_latent(body[1:]), body[0]).tobytes()
        except (FormatError, IndexError):
            return data
    return data[:2] + hashlib.sha256(body).digest() + data[LATENT_HEAD:]


def read_identity(data: bytes) -> Iterator[Signature]:
    one = Identity.parse(data, 100)
    yield "identity", one.digest


def identity_surface() -> Surface:
    seeds = _identity_seeds()
    weights = {"raw": 1.0, "flat": 1.0, "step 100": 0.2, "step 140": 0.2}
    mutations = Mutations(seeds, {"named again": named_again}, weights=weights)
    return Surface("identity", {"chunk": read_identity}, mutations, seeds)


# --- identity cards -----------------------------------------------------------------------------------------


def read_card_file(data: bytes) -> Iterator[Signature]:
    pack = SimpleNamespace(name="avatar-1024", digest=bytes(range(32)))
    path = _folder() / "card.stid"
    path.write_bytes(data)
    card = read_card(path, cast(Any, pack))
    yield "card", card.identity.digest
    with StreamFile.open(str(path)) as stream:
        yield "card again", b"".join(card_bytes(stream))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="faults-"))


def _card_seeds() -> dict[str, bytes]:
    source = dict(streams.sources())
    parts = streams.split(source["compact identity"])
    attached = streams.split(source["attached"])
    return {"small": b"".join(parts), "with generator": b"".join([*parts[:3], attached[3], *parts[3:]])}


def card_surface() -> Surface:
    seeds = _card_seeds()
    special = {"mended": streams.mended, "limits": streams.limits, "mixed": streams.mixed, "nested": streams.nested}
    allowed = (FormatError, PackMismatch, DeltaNotFound, OptionError)
    return Surface("identity card", {"card": read_card_file}, Mutations(seeds, special), seeds, allowed)
