"""The invalid vectors: streams with one fault each."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from zlib import crc32

from invalid_compact import invalid_compact
from vector_parts import (
    AUDIO,
    AUDIO_CONFIG,
    END,
    GROUP,
    HEADER,
    IDENTITY,
    INDEX,
    MAGIC,
    REFERENCE,
    audio,
    audio_config,
    chunk,
    entry,
    group,
    header,
    identity,
    latent,
    opus,
    packet,
    patched,
    prologue,
    reference,
    stream,
)

Add = Callable[..., None]
"""Takes name, bytes, error class, offset, and the number of groups before the fault."""


def prologue_and_header(add: Add) -> None:
    """Faults in the first 16 bytes and in the header."""
    head = (HEADER, header())
    zero = (IDENTITY, identity(latent(0)))
    start = stream(head, end=False)
    body = len(start)  # where the chunk after the header begins
    whole = stream(head)
    add("magic_other", b"\x89PNG\r\n\x1a\n" + whole[8:], "BadMagic", 0)
    add("magic_seven_bit", bytes([MAGIC[0] & 0x7F]) + whole[1:], "BadMagic", 0)
    add("magic_text_mode", whole.replace(b"\r\n", b"\n"), "BadMagic", 4)
    add("prologue_cut", whole[:10], "Truncated", 10)
    add("prologue_checksum", patched(whole, 9, b"\x01"), "ChecksumMismatch", 0)
    add("version_future_major", prologue(2) + whole[16:], "UnsupportedVersion", 8)

    add("header_cut", start[:100], "Truncated", 100)
    add("header_checksum", patched(start, 60, b"\xff"), "ChecksumMismatch", 16)
    add("header_missing", stream(zero), "CorruptChunk", 16)
    add("header_second_differs", stream(head, (HEADER, header((24, 1)))), "CorruptChunk", body)
    for name, payload, error, place in [
        ("profile_unknown", header(profile=2), "UnsupportedVersion", 0),
        ("flag_reserved", header(more_flags=4), "CorruptChunk", 1),
        ("size_zero", header(size=(0, 1024)), "LimitExceeded", 0),
        ("rate_denominator_zero", header((25, 0)), "CorruptChunk", 10),
        ("rate_not_lowest_terms", header((50, 2)), "CorruptChunk", 6),
        ("rate_too_high", header((1001, 1)), "LimitExceeded", 0),
        ("index_repeated", header(indices=((1, 1),) * 32), "CorruptChunk", 0),
        ("name_not_utf8", header(name=b"pack\xff"), "CorruptChunk", 151),
        ("name_empty", header(name=b""), "LimitExceeded", 0),
        ("crop_not_finite", header(crop=(640, 480, float("nan"), 0.0, 9.0)), "CorruptChunk", 158),
        ("too_long", header() + b"\0", "CorruptChunk", len(header())),
        ("too_short", header()[:-1], "Truncated", len(header()) - 1),
    ]:
        add("header_" + name, stream((HEADER, payload)), error, 28 + place)


def chunk_framing(add: Add) -> None:
    """Faults in the frame of a chunk, and chunks of unknown types that must be known."""
    head = (HEADER, header())
    start = stream(head, end=False)
    body = len(start)  # where the chunk after the header begins
    add("chunk_no_sync", start + b"\0" + chunk(0x80, b""), "CorruptChunk", body)
    damaged = patched(chunk(0x80, b"12345678"), 6, b"\x09")
    add("chunk_length_damaged", start + damaged, "ChecksumMismatch", body)
    add("chunk_too_long", start + chunk(GROUP, b"", length=75_809), "LimitExceeded", body + 6)
    add("chunk_unknown_too_long", start + chunk(0x80, b"", length=2**24 + 1), "LimitExceeded", body + 6)
    add("chunk_unknown_mandatory", start + chunk(0x81, b"new", 1), "UnsupportedVersion", body)
    add("chunk_reserved_mandatory", start + chunk(0x21, b"new", 1), "UnsupportedVersion", body)
    version = struct.pack("<BBH", 1, 1, 0)
    newer = MAGIC + version + struct.pack("<I", crc32(MAGIC + version)) + start[16:]
    add("newer_minor_mandatory", newer + chunk(0x20, b"of version 1.1", 1), "UnsupportedVersion", body)


def identities(add: Add) -> None:
    """Faults in identities and references to them."""
    head = (HEADER, header())
    zero = (IDENTITY, identity(latent(0)))
    start = stream(head, end=False)
    faced = stream(head, zero, end=False)
    body = len(start)  # where the chunk after the header begins
    at = len(faced)  # where the chunk after the identity begins
    add("identity_too_short", start + chunk(IDENTITY, zero[1][:-2]), "Truncated", body + 12 + 18464)
    add("identity_too_long", start + chunk(IDENTITY, zero[1] + b"\0\0"), "LimitExceeded", body + 6)
    digest = patched(zero[1], 2, b"\0\0")
    add("identity_digest", start + chunk(IDENTITY, digest), "ChecksumMismatch", body + 14)
    nan = patched(latent(0), 100, struct.pack("<e", float("nan")))
    add("identity_nan", start + chunk(IDENTITY, identity(nan)), "CorruptChunk", body + 12 + 34 + 100)
    other = chunk(IDENTITY, identity(latent(1)))
    add("identity_slot_reused", faced + other, "CorruptChunk", at)

    named = reference(latent(0))
    add("reference_too_short", start + chunk(REFERENCE, named[:-1]), "Truncated", body + 12 + 33)
    add("reference_too_long", start + chunk(REFERENCE, named + b"\0"), "LimitExceeded", body + 6)
    add("reference_reserved", start + chunk(REFERENCE, patched(named, 1, b"\1")), "CorruptChunk", body + 12 + 1)
    add("reference_to_another", faced + chunk(REFERENCE, reference(latent(1))), "CorruptChunk", at)
    referred = start + chunk(REFERENCE, named)
    add("reference_not_kept", referred + other, "CorruptChunk", len(referred))


def groups(add: Add) -> None:
    """Faults in raw groups and between them."""
    head = (HEADER, header())
    zero = (IDENTITY, identity(latent(0)))
    frames = [packet(t) for t in range(4)]
    one = (GROUP, group(0, frames[:1]))
    start = stream(head, end=False)
    faced = stream(head, zero, end=False)
    body = len(start)  # where the chunk after the header begins
    at = len(faced)  # where the chunk after the identity begins
    add("group_without_identity", stream(head, one), "CorruptChunk", body + 12 + 10)
    for name, payload, error, place in [
        ("count_zero", group(0, []), "CorruptChunk", 0),
        ("count_too_high", group(0, frames[:1], count=1025), "LimitExceeded", 0),
        ("count_not_length", group(0, frames[:1], count=2), "Truncated", 82),
        ("frame_too_high", group(2**40, frames[:1]), "LimitExceeded", 0),
        ("flag_reserved", patched(one[1], 11, b"\x02"), "CorruptChunk", 11),
        ("packet_nan", group(0, [[0.0] * 4 + [float("nan")] + [0.0] * 30]), "CorruptChunk", 12 + 8),
        ("packet_infinite", group(0, [[0.0] * 34 + [float("-inf")]]), "CorruptChunk", 12 + 68),
        ("first_not_zero", group(1, frames[:1]), "CorruptChunk", 0),
        ("times_unexpected", group(0, frames[:1], times=[0]), "CorruptChunk", 11),
    ]:
        add("group_" + name, faced + chunk(GROUP, payload), error, at + 12 + place)
    after = faced + chunk(*one)
    next_at = len(after)
    add("group_gap", after + chunk(GROUP, group(2, frames[2:])), "CorruptChunk", next_at + 12, 1)
    add("group_overlap", after + chunk(*one), "CorruptChunk", next_at + 12, 1)
    add("group_cut", after[:-30], "Truncated", next_at - 30)
    add("group_checksum", patched(after, next_at - 1, b"\0"), "ChecksumMismatch", at)
    timed = stream((HEADER, header(scale=1000)), zero, end=False)
    add("times_missing", timed + chunk(*one), "CorruptChunk", at + 12 + 11)
    same = group(0, frames[:2], times=[5, 5])
    add("times_repeated", timed + chunk(GROUP, same), "CorruptChunk", at + 12)
    early = [chunk(GROUP, group(t, frames[:1], times=[9])) for t in range(2)]
    add("times_group_repeats", timed + b"".join(early), "CorruptChunk", at + len(early[0]) + 12, 1)


def audio_chunks(add: Add) -> None:
    """Faults in the audio."""
    head = (HEADER, header())
    start = stream(head, end=False)
    body = len(start)  # where the chunk after the header begins
    config = chunk(AUDIO_CONFIG, audio_config())
    sound_at = body + len(config) + 12
    add("audio_without_config", start + chunk(AUDIO, audio(0, [opus(0)])), "CorruptChunk", body)
    add("audio_codec_unknown", start + chunk(AUDIO_CONFIG, audio_config(2)), "UnsupportedVersion", body + 12)
    add("audio_rate", start + chunk(AUDIO_CONFIG, audio_config(rate=44100)), "CorruptChunk", body + 12)
    add("audio_no_packets", start + config + chunk(AUDIO, audio(0, [])), "LimitExceeded", sound_at + 8)
    add("audio_packet_empty", start + config + chunk(AUDIO, audio(0, [b""])), "LimitExceeded", sound_at + 10)
    padded = struct.pack("<qH", 0, 1) + b"\x85\x00" + opus(0, 5)
    add("audio_length_padded", start + config + chunk(AUDIO, padded), "CorruptChunk", sound_at + 10)
    short = audio(0, [opus(0)])[:-1]
    add("audio_too_short", start + config + chunk(AUDIO, short), "Truncated", sound_at + len(short))


def index_and_end(add: Add) -> None:
    """Faults at the end."""
    head = (HEADER, header())
    start = stream(head, end=False)
    body = len(start)  # where the chunk after the header begins
    whole = stream(head)
    entries = entry(*head, 16)
    table = chunk(INDEX, entry(HEADER, head[1], 16) + entry(0x80, b"", 99))
    add("index_wrong", start + table, "CorruptChunk", body + 12)
    add("index_half_entry", start + chunk(INDEX, entries[:-1]), "CorruptChunk", body + 12)
    good = chunk(INDEX, entries)
    add("index_not_last", start + good + chunk(0x80, b""), "CorruptChunk", body + len(good))
    end_at, length = body + len(good), len(whole)
    for name, values, place in [
        ("index_offset", (body + 1, 0, length), 0),
        ("frame_count", (body, 1, length), 8),
        ("stream_length", (body, 0, length + 1), 16),
    ]:
        data = start + good + chunk(END, struct.pack("<QQQ", *values))
        add("end_" + name, data, "CorruptChunk", end_at + 12 + place)
    add("end_missing", start + good, "Truncated", end_at)
    add("end_not_last", whole + chunk(0x80, b""), "CorruptChunk", length)
    live = stream((HEADER, header(live=True)), end=False)
    add("live_with_index", live + chunk(INDEX, entries), "CorruptChunk", body)


def invalid() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """name -> (bytes, error class and offset of the first fault that a strict reader meets, groups before it)."""
    vectors: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def add(name: str, data: bytes, error: str, offset: int, groups: int = 0) -> None:
        vectors[name] = (data, {"error": error, "offset": offset, "groups_before": groups})

    for faults in (prologue_and_header, chunk_framing, identities, groups, audio_chunks, index_and_end):
        faults(add)
    for name, (data, error, place, groups_before) in invalid_compact().items():
        add(name, data, error, place, groups_before)
    return vectors
