"""Write the test vectors of SPEC.md. Deterministic; the vectors change only by running this.

    python format_spec/make_vectors.py            writes vectors/valid and vectors/invalid
    python format_spec/make_vectors.py --example  prints the worked example of SPEC.md section 9

This is a second writer, made from SPEC.md with `struct` and `zlib` alone. It imports nothing of stylecodec, so
that a vector and the package agree only if both follow the text.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parent))

import compact_coding as compact

HERE = Path(__file__).parent / "vectors"

MAGIC = bytes.fromhex("8d 53 54 43 0d 0a 1a 0a")
SYNC = bytes.fromhex("fd 7e fc 7f")
HEADER, IDENTITY, GROUP, AUDIO_CONFIG, AUDIO, INDEX, END, DELTA, REFERENCE = 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11
BACKGROUND = 0x12
MUST_KNOW = {HEADER, IDENTITY, GROUP}  # written with the mandatory flag

PARTS = ("header", "identity", "packets", "audio", "index", "personalization", "background", "other")
PACK_DIGEST = hashlib.sha256(b"pack of the test vectors").digest()
INDICES = tuple((i % 26, 3 * i) for i in range(32))
CROP = (1280, 720, 640.5, 352.25, 410.0)
Pairs = tuple[tuple[int, int], ...]


# --- the parts of a stream, as SPEC.md draws them ------------------------------------------------------------


def prologue(major: int = 1, minor: int = 0) -> bytes:
    head = MAGIC + struct.pack("<BBH", major, minor, 0)
    return head + struct.pack("<I", crc32(head))


def chunk(kind: int, payload: bytes, flags: int | None = None, length: int | None = None) -> bytes:
    """One chunk; `length` overrides the length field, with a check field that fits it."""
    flags = int(kind in MUST_KNOW) if flags is None else flags
    head = SYNC + struct.pack("<BBI", kind, flags, len(payload) if length is None else length)
    head += struct.pack("<H", crc32(head) & 0xFFFF)
    return head + payload + struct.pack("<I", crc32(head + payload))


def header(
    rate: tuple[int, int] = (25, 1),
    size: tuple[int, int] = (1024, 1024),
    scale: int = 0,
    name: bytes = b"avatar-1024",
    indices: Pairs = INDICES,
    crop: tuple[int, int, float, float, float] | None = CROP,
    live: bool = False,
    profile: int | None = None,
    more_flags: int = 0,
    quantiser: bytes = b"",
) -> bytes:
    flags = (crop is not None) | live << 1 | more_flags
    profile = int(bool(quantiser)) if profile is None else profile
    data = struct.pack("<BBHHIII", profile, flags, *size, *rate, scale) + PACK_DIGEST
    data += b"".join(struct.pack("<BH", *pair) for pair in indices)
    data += bytes([len(name)]) + name
    return data + (struct.pack("<IIddd", *crop) if crop is not None else b"") + quantiser


def latent(seed: int) -> bytes:
    """18,432 bytes of finite fp16: all zero for seed 0."""
    return struct.pack("<9216e", *(((seed * i) % 64 - 32 * (seed > 0)) / 16 for i in range(9216)))


def identity(data: bytes, slot: int = 0) -> bytes:
    return bytes([slot, 0]) + hashlib.sha256(data).digest() + data


def small_identity(levels: list[list[int]], step: int, slot: int = 0, digest: bytes | None = None) -> bytes:
    """An identity in the compact form; `digest` in place of the right one."""
    coder = compact.coded(levels, [8] * 512, [0] * 512, [])
    numbers = [level * compact.step(step) for row in levels for level in row]
    digest = hashlib.sha256(struct.pack("<9216e", *numbers)).digest() if digest is None else digest
    return bytes([slot, 1]) + digest + bytes([step]) + coder.close()


def reference(data: bytes, slot: int = 0) -> bytes:
    return bytes([slot, 0]) + hashlib.sha256(data).digest()


def packet(frame: int) -> list[float]:
    """35 numbers that fp16 holds exactly: yaw, pitch, roll, alpha 0..31."""
    angles = [frame * 0.5 - 10, 3 - frame * 0.25, frame * 0.125]
    return angles + [((frame + 1) * (k + 3) % 41 - 20) / 8 for k in range(32)]


def group(
    first: int,
    packets: list[list[float]],
    slot: int = 0,
    times: list[int] | None = None,
    count: int | None = None,
) -> bytes:
    count = len(packets) if count is None else count
    data = struct.pack("<QHBB", first, count, slot, times is not None)
    data += b"".join(struct.pack("<35e", *values) for values in packets)
    if times is not None:
        steps = [b - a for a, b in pairwise(times)]
        data += struct.pack("<Q", times[0]) + b"".join(struct.pack("<I", step) for step in steps)
    return data


@dataclass(frozen=True)
class Quantiser:
    """What a compact stream's header says, and its groups must know."""

    steps: list[int]
    spread: list[int]
    rest: list[int]
    terms: compact.Terms

    def __bytes__(self) -> bytes:
        return compact.quantiser(self.steps, self.spread, self.rest, self.terms)


def compact_group(
    first: int,
    rows: compact.Rows,
    quantiser: Quantiser,
    slot: int = 0,
    times: list[int] | None = None,
) -> bytes:
    data = struct.pack("<QHBB", first, len(rows), slot, 2 | (times is not None))
    ticks = None if times is None else [b - a for a, b in pairwise(times)]
    data += b"" if times is None else struct.pack("<Q", times[0])
    data += compact.coded(rows, quantiser.spread, quantiser.rest, quantiser.terms, ticks).close()
    CODED[data] = rows, [compact.step(code) for code in quantiser.steps], times
    return data


#: What each compact group was made of.
CODED: dict[bytes, tuple[compact.Rows, list[float], list[int] | None]] = {}


def audio_config(codec: int = 1, channels: int = 1, pre_skip: int = 312, rate: int = 48000) -> bytes:
    return struct.pack("<BBHI", codec, channels, pre_skip, rate)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def audio(pts: int, packets: list[bytes]) -> bytes:
    lengths = b"".join(varint(len(p)) for p in packets)
    return struct.pack("<qH", pts, len(packets)) + lengths + b"".join(packets)


def opus(number: int, size: int = 20) -> bytes:
    """Opaque bytes behind the first byte of a 20 ms SILK frame."""
    return bytes([0x08]) + bytes((number * 31 + i) % 256 for i in range(size - 1))


def entry(kind: int, payload: bytes, offset: int) -> bytes:
    """The index entry of a chunk."""
    slot = count = 0
    if kind in (IDENTITY, REFERENCE):
        slot = payload[0]
    if kind == GROUP:
        count, slot = struct.unpack_from("<HB", payload, 8)
    if kind == AUDIO:
        count = struct.unpack_from("<H", payload, 8)[0]
    return struct.pack("<QBBH", offset, kind, slot, count)


def stream(*parts: tuple[int, bytes], index: bool = True, end: bool = True) -> bytes:
    """Prologue, the chunks, and what belongs at the end."""
    data, entries, frames = prologue(), b"", 0
    for kind, payload in parts:
        entries += entry(kind, payload, len(data))
        frames += struct.unpack_from("<H", payload, 8)[0] if kind == GROUP else 0
        data += chunk(kind, payload)
    return data + (closing(len(data), entries, frames, index) if end else b"")


def closing(offset: int, entries: bytes, frames: int, index: bool = True) -> bytes:
    table = chunk(INDEX, entries) if index else b""
    length = offset + len(table) + 40
    return table + chunk(END, struct.pack("<QQQ", offset if index else 0, frames, length))


# --- valid -------------------------------------------------------------------------------------------------------


def describe(data: bytes, parts: list[tuple[int, bytes]], **more: Any) -> dict[str, Any]:
    """What a reader must produce, from what went in."""
    groups, unknown, sound = [], [], []
    identities: dict[int, str] = {}
    references: dict[str, str] = {}
    for kind, payload in parts:
        if kind == IDENTITY:
            identities[payload[0]] = payload[2:34].hex()
        elif kind == REFERENCE:
            references[str(payload[0])] = payload[2:].hex()
        elif kind == GROUP and payload in CODED:
            rows, steps, times = CODED[payload]
            values = [level * step for row in rows for level, step in zip(row, steps, strict=True)]
            first, slot = struct.unpack_from("<QHB", payload)[::2]
            packets = struct.pack(f"<{len(values)}f", *values).hex()
            groups.append({"first_frame": first, "identity": slot, "packets32": packets, "sum": sum(values)})
            groups[-1]["levels"] = rows
            if times is not None:
                groups[-1]["pts"] = times
        elif kind == GROUP:
            first, count, slot, timed = struct.unpack_from("<QHBB", payload)
            packets = payload[12 : 12 + 70 * count]
            numbers = struct.unpack(f"<{35 * count}e", packets)
            groups.append({"first_frame": first, "identity": slot, "packets": packets.hex(), "sum": sum(numbers)})
            if timed:
                times = [struct.unpack_from("<Q", payload, 12 + 70 * count)[0]]
                for (step,) in struct.iter_unpack("<I", payload[20 + 70 * count :]):
                    times.append(times[-1] + step)
                groups[-1]["pts"] = times
        elif kind == AUDIO:
            sound.append({"first_packet_pts": struct.unpack_from("<q", payload)[0], "bytes": len(payload)})
        elif kind > END:
            unknown.append({"type": kind, "payload": payload.hex()})
    frames = sum(len(g["packets"]) // 140 if "packets" in g else len(g["levels"]) for g in groups)
    account = dict.fromkeys(("total", *PARTS), 0)
    names = {HEADER: "header", IDENTITY: "identity", GROUP: "packets", AUDIO_CONFIG: "audio", AUDIO: "audio"}
    names |= {DELTA: "personalization", REFERENCE: "identity", BACKGROUND: "background"}
    for kind, payload in parts:
        account[names.get(kind, "other")] += 16 + len(payload)
    account["header"] += 16
    account["total"] = len(data)
    account["index"] = len(data) - sum(v for k, v in account.items() if k != "total")
    fields = {
        "frames": frames,
        "identities": {str(slot): digest for slot, digest in sorted(identities.items())},
        "groups": groups,
        "audio": sound,
        "unknown": unknown,
        "bytes": account,
    }
    if references:
        fields["references"] = references
    return fields | more


def example_parts() -> list[tuple[int, bytes]]:
    """The worked example: one frame, no crop geometry, the zero latent."""
    plain = header(crop=None, name=b"demo", indices=tuple((0, i) for i in range(32)))
    return [(HEADER, plain), (IDENTITY, identity(latent(0))), (GROUP, group(0, [[1.0, -2.0, 0.5] + [0.0] * 32]))]


def levels_of(frame: int, scale: int = 1) -> list[int]:
    """35 levels that move with each other, some more than others."""
    drift = (frame * 7 + frame * frame) % 23 - 11
    return [scale * ((drift * (k % 6) + frame * (k % 3) - (k * frame) % 5) // (1 + k % 4)) for k in range(35)]


def some_quantiser() -> Quantiser:
    terms = [(2, 0, 20), (2, 64, -8), (5, 4, 33), (5, 65, 9), (9, 64, -16), (30, 5, -128), (34, 33, 127), (34, 65, 1)]
    return Quantiser([80 + k for k in range(35)], [k % 12 for k in range(35)], [3 * k - 50 for k in range(35)], terms)


def widest_quantiser() -> Quantiser:
    """The smallest and the largest steps, 140 terms, the longest rest levels."""
    pairs = [(k, j) for k in range(35) for j in (*range(k), 64, 65)]
    terms = [(k, j, (k * 37 + j * 11) % 255 - 127 or 5) for k, j in pairs[-140:]]
    return Quantiser([0] * 34 + [255], [11] * 35, [32767, -32767] * 17 + [1], terms)


def compact_parts() -> dict[str, list[tuple[int, bytes]]]:
    """The valid streams in the compact profile."""
    latents = [[((7 * r + 3 * j) % 19 - 9) * (1 - 2 * (j % 2)) // (1 + r % 3) for j in range(512)] for r in range(18)]
    face = (IDENTITY, small_identity(latents, 93))
    made = {}
    plain = Quantiser(compact.EXAMPLE_STEPS, compact.EXAMPLE_SPREAD, compact.EXAMPLE_REST, list(compact.EXAMPLE_TERMS))
    rows = compact.EXAMPLE_ROWS
    made["compact_example"] = [(HEADER, header(quantiser=bytes(plain))), face, (GROUP, compact_group(0, rows, plain))]
    usual = some_quantiser()
    head = (HEADER, header(quantiser=bytes(usual)))
    rows = [levels_of(t) for t in range(9)]
    groups = [(GROUP, compact_group(0, rows[:5], usual)), (GROUP, compact_group(5, rows[5:], usual))]
    made["compact"] = [head, face, *groups]
    rest = [usual.rest, usual.rest]
    made["compact_at_rest"] = [head, face, (GROUP, compact_group(0, rest, usual))]
    far = [levels_of(t, scale) for t, scale in enumerate([1, 1, 40, 700, 1, 300, 0, 2])]
    made["compact_jumps"] = [head, face, (GROUP, compact_group(0, far, usual))]
    timed = (HEADER, header(scale=90000, rate=(30000, 1001), quantiser=bytes(usual)))
    times = [[0, 3003, 6006, 9010], [2**33, 2**33 + 1, 2**33 + 2**32]]
    made["compact_times"] = [
        *[timed, face, (GROUP, compact_group(0, rows[:4], usual, times=times[0]))],
        (GROUP, compact_group(4, rows[4:7], usual, times=times[1])),
    ]
    wide = widest_quantiser()
    ends = [[32767, -32767] * 17 + [1], [-32767, 32767] * 17 + [-1], [0] * 35, [32767] * 34 + [0], [-32767] * 34 + [1]]
    made["compact_extremes"] = [(HEADER, header(quantiser=bytes(wide))), face, (GROUP, compact_group(0, ends, wide))]
    latents = [
        [((7 * r + 3 * j) % 19 - 9 + j) * (1 - 2 * (j % 2)) // (1 + r % 3) for j in range(512)] for r in range(18)
    ]
    little = (IDENTITY, small_identity(latents, 93, 1))
    large = (IDENTITY, identity(latent(7)))
    edge = [[1023, -1023] * 256, [0] * 512, *[[(r + j) % 2 for j in range(512)] for r in range(16)]]
    made["identity_compact"] = [
        *[(HEADER, header()), large, little, (GROUP, group(0, [packet(0)], 1)), (GROUP, group(1, [packet(1)]))],
        *[little, (IDENTITY, small_identity(edge, 170, 2)), (GROUP, group(2, [packet(2)], 2))],
    ]
    live = (HEADER, header(live=True, quantiser=bytes(usual)))
    made["compact_live"] = [live, face, *((GROUP, compact_group(t, rows[t : t + 1], usual)) for t in range(3))]
    return made


def valid() -> dict[str, tuple[bytes, dict[str, Any]]]:
    vectors: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def add(name: str, parts: list[tuple[int, bytes]], data: bytes | None = None, **more: Any) -> None:
        made = stream(*parts) if data is None else data
        vectors[name] = (made, describe(made, parts, **({"fps": "25", "size": [1024, 1024]} | more)))

    frames = [packet(t) for t in range(6)]
    head, face = (HEADER, header()), (IDENTITY, identity(latent(7)))
    second = (IDENTITY, identity(latent(11), 1))
    add("example", example_parts())
    small = [head, face, (GROUP, group(0, frames[:2])), (GROUP, group(2, frames[2:3]))]
    add("raw_small", small)
    add("empty", [head])
    add("no_index", small, stream(*small, index=False))
    add("newer_minor", small, prologue(1, 7) + stream(*small)[16:])
    sound = [(AUDIO_CONFIG, audio_config()), (AUDIO, audio(-312, [opus(0), opus(1, 200), opus(2, 1)]))]
    more_sound = (AUDIO, audio(2568, [opus(3)]))
    add("audio", [head, sound[0], face, small[2], sound[1], small[3], more_sound])
    add(
        "identities",
        [
            *[head, face, (GROUP, group(0, frames[:2]))],
            *[second, (GROUP, group(2, frames[2:3], 1))],
            *[head, face, (GROUP, group(3, frames[3:]))],  # repetitions, as for a late joiner
        ],
    )
    times = [[0, 3000, 7503], [9000, 4_000_000_000, 4_000_000_001]]
    timed = (HEADER, header(scale=90000, rate=(30000, 1001)))
    add(
        "variable_rate",
        [timed, face, (GROUP, group(0, frames[:3], times=times[0])), (GROUP, group(3, frames[3:], times=times[1]))],
        fps="30000/1001",
    )
    extras = [(0x80, b"private"), (0x21, b"of a later version"), (0xFF, b"")]
    add("unknown_skippable", [head, extras[0], face, extras[1], small[2], extras[2]])
    live = [(HEADER, header(live=True)), face, small[2]]
    add("live", live, stream(*live, end=False))
    cached = (REFERENCE, reference(latent(7)))
    add("identity_reference", [head, cached, small[2], cached, face, small[3]])
    lean = [head, cached, *small[2:]]
    must_know = stream(*lean, index=False)
    add("identity_reference_only", lean, must_know.replace(chunk(*cached), chunk(*cached, 1)))
    for name, parts in compact_parts().items():
        ends = stream(*parts, end=name != "compact_live")
        add(name, parts, ends, fps="30000/1001" if name == "compact_times" else "25")
    later = [head, (0x20, b"of version 1.1"), face, small[2], (0x7F, b""), small[3]]
    add("newer_minor_chunks", later, later_version(later))
    for name, parts in attached_parts().items():
        add(name, [head, face, *parts, *small[2:]])
    edge = [65504.0, -65504.0, 2.0**-24, -(2.0**-24), -0.0, 2.0**-14, 1 / 3] + [0.0] * 28
    widest = header((1000, 1), (1, 16384), name=("ä" * 32).encode(), crop=None, indices=(*INDICES[:31], (63, 8191)))
    add("edge_values", [(HEADER, widest), face, (GROUP, group(0, [edge]))], fps="1000", size=[1, 16384])
    return vectors


def later_version(parts: list[tuple[int, bytes]]) -> bytes:
    """The parts as a stream of version 1.1 that sets all chunk flags but the mandatory one and the reserved field."""
    start = MAGIC + struct.pack("<BBH", 1, 1, 0xABCD)
    data, entries = start + struct.pack("<I", crc32(start)), b""
    frames = sum(struct.unpack_from("<H", payload, 8)[0] for kind, payload in parts if kind == GROUP)
    for kind, payload in parts:
        entries += entry(kind, payload, len(data))
        data += chunk(kind, payload, 0xFE | (kind in MUST_KNOW))
    return data + closing(len(data), entries, frames)


# --- invalid -----------------------------------------------------------------------------------------------------


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def invalid() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """name -> (bytes, error class and offset of the first fault a strict reader meets, groups before it)."""
    vectors: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def add(name: str, data: bytes, error: str, offset: int, groups: int = 0) -> None:
        vectors[name] = (data, {"error": error, "offset": offset, "groups_before": groups})

    head, zero = (HEADER, header()), (IDENTITY, identity(latent(0)))
    frames = [packet(t) for t in range(4)]
    one = (GROUP, group(0, frames[:1]))
    start = stream(head, end=False)
    faced = stream(head, zero, end=False)
    body, at = len(start), len(faced)  # where the chunk after the header, after the identity begins
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

    add("chunk_no_sync", start + b"\0" + chunk(0x80, b""), "CorruptChunk", body)
    damaged = patched(chunk(0x80, b"12345678"), 6, b"\x09")
    add("chunk_length_damaged", start + damaged, "ChecksumMismatch", body)
    add("chunk_too_long", start + chunk(GROUP, b"", length=75_809), "LimitExceeded", body + 6)
    add("chunk_unknown_too_long", start + chunk(0x80, b"", length=2**24 + 1), "LimitExceeded", body + 6)
    add("chunk_unknown_mandatory", start + chunk(0x81, b"new", 1), "UnsupportedVersion", body)
    add("chunk_reserved_mandatory", start + chunk(0x21, b"new", 1), "UnsupportedVersion", body)

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

    for name, (data, error, place, groups) in invalid_compact().items():
        add(name, data, error, place, groups)
    version = struct.pack("<BBH", 1, 1, 0)
    newer = MAGIC + version + struct.pack("<I", crc32(MAGIC + version)) + start[16:]
    add("newer_minor_mandatory", newer + chunk(0x20, b"of version 1.1", 1), "UnsupportedVersion", body)

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
    return vectors


def invalid_compact() -> dict[str, tuple[bytes, str, int, int]]:
    """Faults of the compact profile: name -> bytes, error class, offset, groups before."""
    made: dict[str, tuple[bytes, str, int, int]] = {}
    usual = some_quantiser()
    good, face = bytes(usual), (IDENTITY, small_identity([[0] * 512] * 18, 128))
    base = 28 + len(header())  # where the quantiser begins
    for name, quantiser, error, place in [
        ("cut", good[:-1], "Truncated", len(good) - 1),
        ("no_terms", good[: good.index(bytes([len(usual.terms), 2, 0]))], "Truncated", len(good) - 25),
        ("too_long", good + b"\0", "CorruptChunk", len(good)),
        ("class", patched(good, 35, b"\x0c"), "LimitExceeded", 0),
        ("reserved", patched(good, 52, b"\x10"), "CorruptChunk", 52),
        ("rest_padded", good[:53] + b"\x80\x00" + good[54:], "CorruptChunk", 53),
        ("rest_too_high", good[:53] + compact.svarint(32768) + good[54:], "LimitExceeded", 0),
        ("rest_too_far", b"\xff" + good[1:], "LimitExceeded", 0),
        ("terms_too_many", patched(good, len(good) - 25, b"\x8d"), "LimitExceeded", len(good) - 25),
        ("term_target", patched(good, len(good) - 3, b"\x23"), "CorruptChunk", len(good) - 24),
        ("term_source", patched(good, len(good) - 5, b"\x22"), "CorruptChunk", len(good) - 24),
        ("term_weight", patched(good, len(good) - 1, b"\0"), "CorruptChunk", len(good) - 24),
        ("terms_unsorted", good[:-6] + good[-3:] + good[-6:-3], "CorruptChunk", 0),
    ]:
        data = stream((HEADER, header(profile=1, quantiser=quantiser)), end=False)
        made["quantiser_" + name] = data, error, base + place, 0
    start = stream((HEADER, header(quantiser=good)), face, end=False)
    rows = [levels_of(t) for t in range(3)]
    whole = compact_group(0, rows, usual)
    taken = 12 + 4 + compact.coded(rows, usual.spread, usual.rest, usual.terms).shifts
    coarse = Quantiser([160] * 35, [11] * 35, [0] * 35, [])
    steep = stream((HEADER, header(quantiser=bytes(coarse))), face, end=False)
    far = compact_group(0, [[4095, 4094] + [0] * 33], coarse)
    long = compact.Arithmetic()
    states = compact.first_states()
    long.decide(states, "Z[2][3][0]", True)  # the first place, of class 0, in a first row
    for i in range(1, 14):
        long.decide(states, f"S[1][2][{min(i, 6)}]", True)
    long.even(2**18 - 1, 18)
    head = struct.pack("<QHBB", 0, 1, 0, 2)
    for name, stem, payload, error, place in [
        ("group_raw_in_compact", start, group(0, [packet(0)]), "CorruptChunk", 11),
        ("group_flag_of_compact", start, patched(whole, 11, b"\x06"), "CorruptChunk", 11),
        ("compact_zero_at_end", start, whole + b"\0", "CorruptChunk", len(whole)),
        ("compact_bytes_left", start, whole + bytes(9) + b"\x01", "CorruptChunk", taken),
        ("compact_level_too_high", start, compact_group(0, [[32768] + [0] * 34], usual), "CorruptChunk", 12),
        ("compact_number_too_high", steep, far, "LimitExceeded", 12),
        ("compact_number_too_long", start, head + long.close(), "CorruptChunk", 12),
        ("compact_times_unexpected", start, compact_group(0, rows, usual, 0, [1, 2, 3]), "CorruptChunk", 11),
    ]:
        made[name] = stem + chunk(GROUP, payload), error, len(stem) + 12 + place, 0
    timed = stream((HEADER, header(scale=1000, quantiser=good)), face, end=False)
    on_time = compact_group(0, rows, usual, 0, [5, 6, 7])
    for name, payload, error, place in [
        ("compact_times_missing", whole, "CorruptChunk", 11),
        ("compact_time_cut", on_time[:19], "Truncated", 19),
        ("compact_time_too_high", patched(on_time, 12, struct.pack("<Q", 2**62)), "LimitExceeded", 12),
        ("compact_time_repeated", compact_group(0, rows, usual, 0, [5, 6, 6]), "CorruptChunk", 20),
    ]:
        made[name] = timed + chunk(GROUP, payload), error, len(timed) + 12 + place, 0
    raw = stream((HEADER, header()), face, end=False)
    made["group_compact_in_raw"] = raw + chunk(GROUP, whole), "CorruptChunk", len(raw) + 12 + 11, 0
    start = stream((HEADER, header()), end=False)
    rows = [[(r * j) % 3 for j in range(512)] for r in range(18)]
    fits = small_identity(rows, 100)
    for name, payload, error, place in [
        ("form_unknown", patched(fits, 1, b"\x02"), "UnsupportedVersion", 1),
        ("compact_without_step", fits[:34], "Truncated", 34),
        ("compact_digest", patched(fits, 2, bytes(4)), "ChecksumMismatch", 2),
        ("compact_level", small_identity([[1024] + [0] * 511, *rows[1:]], 100), "CorruptChunk", 35),
        ("compact_not_finite", small_identity([[20] * 512, *rows[1:]], 255, 0, bytes(32)), "CorruptChunk", 0),
        ("compact_zero_at_end", fits + b"\0", "CorruptChunk", len(fits)),
    ]:
        made["identity_" + name] = start + chunk(IDENTITY, payload), error, len(start) + 12 + place, 0
    return made


# --- what only a renderer needs ----------------------------------------------------------------------------------


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


# --- output ------------------------------------------------------------------------------------------------------


def files() -> dict[str, bytes]:
    """Every vector file by its path below vectors/."""
    made: dict[str, bytes] = {}
    for folder, vectors in (("valid", valid()), ("invalid", invalid()), ("invalid_attached", invalid_attached())):
        for name, (data, expected) in vectors.items():
            made[f"{folder}/{name}.stc"] = data
            made[f"{folder}/{name}.json"] = (json.dumps(expected, indent=1) + "\n").encode()
    return made


def example() -> str:
    """The worked example as hex, one chunk per paragraph, runs of zero shortened."""
    paragraphs = [prologue()] + [chunk(*part) for part in example_parts()]
    offset = sum(map(len, paragraphs))
    data = stream(*example_parts())
    rest = data[offset:]
    paragraphs += [rest[:-40], rest[-40:]]
    lines, place = [], 0
    for part in paragraphs:
        row = 0
        while row < len(part):
            zeros = len(part) - row - len(part[row:].lstrip(b"\0"))
            if zeros > 32:
                lines.append(f"{place + row:5d}  00 * {zeros}")
                row += zeros
                continue
            piece = part[row : row + 16]
            run = piece.find(bytes(8))
            if run > 0 and part[row + run :].startswith(bytes(33)):
                piece = piece[:run]
            lines.append(f"{place + row:5d}  {piece.hex(' ')}")
            row += len(piece)
        lines.append("")
        place += len(part)
    return "\n".join(lines)


def main() -> None:
    if "--example" in sys.argv[1:]:
        print(example())
        return
    for folder in ("valid", "invalid", "invalid_attached"):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
    made = files()
    for path, data in made.items():
        (HERE / path).write_bytes(data)
    for file in [*HERE.glob("*/*.stc"), *HERE.glob("*/*.json")]:
        if file.relative_to(HERE).as_posix() not in made:
            file.unlink()
    print(f"{len(made) // 2} vectors, {sum(map(len, made.values())):,} bytes")


if __name__ == "__main__":
    main()
