"""Vectors of the chunks that only a renderer needs: GENERATOR_DELTA and BACKGROUND (SPEC 13 and 14)."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from vector_parts import (
    BACKGROUND,
    DELTA,
    HEADER,
    PACK_DIGEST,
    chunk,
    header,
    latent,
    stream,
)


def zstd(raw: bytes, states_size: bool = True) -> bytes:
    """A zstd frame (RFC 8878) that keeps up to 255 bytes as they are in one block."""
    head = bytes([0x20, len(raw)]) if states_size else bytes([0x00, 0x00])  # single segment, or a window of 1 KiB
    return bytes.fromhex("28 b5 2f fd") + head + (len(raw) << 3 | 1).to_bytes(3, "little") + raw


def delta_entry(name: bytes, shape: tuple[int, ...], coding: int = 1, rank: int | None = None) -> bytes:
    """One line of a delta's directory."""
    data = bytes([len(name)]) + name + bytes([coding, len(shape)]) + struct.pack(f"<{len(shape)}H", *shape)
    return data if rank is None else data + struct.pack("<H", rank)


def delta_of(raw: bytes, count: int) -> bytes:
    return PACK_DIGEST + struct.pack("<H", count) + zstd(raw)


def good_delta() -> bytes:
    """Two tensors: rows of levels, and a product of rank 1."""
    lines = delta_entry(b"blocks.0.to_rgb.bias", (3,)) + delta_entry(b"a.affine.weight", (2, 4), 2, 1)
    steps = struct.pack("<ee", 0.5, 0.25)
    levels = struct.pack("3b", 1, -2, 127) + struct.pack("2b", 1, -1) + struct.pack("4b", 4, 0, -4, 127)
    return delta_of(lines + steps + levels, 2)


def personal(data: bytes, form: int = 1, named: bytes | None = None, reserved: int = 0) -> bytes:
    """A GENERATOR_DELTA payload for the identity latent(7)."""
    who = hashlib.sha256(latent(7)).digest()
    return bytes([form, reserved]) + who + (named or hashlib.sha256(data).digest()) + (data if form == 1 else b"")


def background(
    mode: int = 1,
    how: int = 1,
    colour: tuple[int, int, int] = (0, 0, 0),
    size: tuple[int, int] = (320, 180),
    square: tuple[float, float, float] = (160.0, 90.0, 120.0),
    picture: bytes = b"a JPEG file",
    reserved: int = 0,
) -> bytes:
    return struct.pack("<BB3BBHHfff", mode, how, *colour, reserved, *size, *square) + picture


def plain_background(mode: int, colour: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    return background(mode, 0, colour, (0, 0), (0.0, 0.0, 0.0), b"")


def attached_parts() -> dict[str, list[tuple[int, bytes]]]:
    """Chunks of valid streams, to stand before the groups."""
    delta = good_delta()
    return {
        "delta_carried": [(DELTA, personal(delta)), (DELTA, personal(delta))],
        "delta_named": [(DELTA, personal(delta, 0))],
        "background_plate": [(BACKGROUND, background())],
        "background_key": [(BACKGROUND, plain_background(3, (0, 177, 64)))],
        "background_blur": [(BACKGROUND, plain_background(2))],
    }


def invalid_attached() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Faults in the payloads of GENERATOR_DELTA and BACKGROUND, for readers that look into them."""
    start = stream((HEADER, header()), end=False)
    good, line = good_delta(), delta_entry(b"w", (2,))
    one = struct.pack("<e", 1.0)
    inner = {
        "cut": (PACK_DIGEST, "Truncated"),
        "no_tensors": (delta_of(b"", 0), "LimitExceeded"),
        "zstd_damaged": (good[:34] + b"\0" + good[35:], "CorruptChunk"),
        "zstd_more_bytes": (good + b"\0", "CorruptChunk"),
        "zstd_no_size": (PACK_DIGEST + b"\1\0" + zstd(line + one + b"\1\2", False), "CorruptChunk"),
        "directory_cut": (delta_of(line[:-1], 1), "Truncated"),
        "coding_unknown": (delta_of(delta_entry(b"w", (2,), 3) + one + b"\1\2", 1), "CorruptChunk"),
        "dimensions": (delta_of(delta_entry(b"w", (1,) * 5) + one + b"\1", 1), "LimitExceeded"),
        "side_zero": (delta_of(delta_entry(b"w", (0,)) + one, 1), "LimitExceeded"),
        "too_many_elements": (delta_of(delta_entry(b"w", (8192, 8192)), 1), "LimitExceeded"),
        "rank_zero": (delta_of(delta_entry(b"w", (2, 2), 2, 0), 1), "LimitExceeded"),
        "rank_too_high": (delta_of(delta_entry(b"w", (2, 2), 2, 3) + bytes(18), 1), "LimitExceeded"),
        "name_wrong": (delta_of(delta_entry(b"w/w", (2,)) + one + b"\1\2", 1), "CorruptChunk"),
        "name_twice": (delta_of(line + line + one + one + b"\1\2\1\2", 2), "CorruptChunk"),
        "levels_missing": (delta_of(line + one + b"\1", 1), "CorruptChunk"),
        "step_not_finite": (delta_of(line + struct.pack("<e", float("inf")) + b"\1\2", 1), "CorruptChunk"),
        "step_negative": (delta_of(line + struct.pack("<e", -1.0) + b"\1\2", 1), "CorruptChunk"),
        "level_lowest": (delta_of(line + one + b"\x80\2", 1), "CorruptChunk"),
    }
    faults = {f"delta_{name}": (DELTA, personal(data), error, 66) for name, (data, error) in inner.items()}
    faults |= {
        "delta_chunk_cut": (DELTA, personal(good)[:60], "Truncated", 60),
        "delta_form_unknown": (DELTA, personal(good, 2), "CorruptChunk", 0),
        "delta_reserved": (DELTA, personal(good, reserved=1), "CorruptChunk", 1),
        "delta_digest": (DELTA, personal(good, named=bytes(32)), "ChecksumMismatch", 34),
        "delta_named_with_bytes": (DELTA, personal(good, 0) + b"\0", "CorruptChunk", 66),
        "background_cut": (BACKGROUND, background()[:21], "Truncated", 21),
        "background_mode": (BACKGROUND, background(4), "CorruptChunk", 0),
        "background_format": (BACKGROUND, background(how=3), "CorruptChunk", 1),
        "background_reserved": (BACKGROUND, background(reserved=1), "CorruptChunk", 5),
        "background_no_picture": (BACKGROUND, background(picture=b""), "CorruptChunk", 0),
        "background_odd": (BACKGROUND, background(size=(321, 180)), "LimitExceeded", 0),
        "background_square": (BACKGROUND, background(square=(float("nan"), 0.0, 9.0)), "CorruptChunk", 0),
        "background_side": (BACKGROUND, background(square=(1.0, 1.0, 0.0)), "LimitExceeded", 0),
        "background_blur_colour": (BACKGROUND, plain_background(2, (1, 0, 0)), "CorruptChunk", 0),
    }
    place = len(start) + 12
    return {
        name: (start + chunk(kind, payload), {"error": error, "offset": place + at, "groups_before": 0})
        for name, (kind, payload, error, at) in faults.items()
    }
