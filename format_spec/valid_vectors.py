"""The valid vectors, and what a reader must make of each."""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

import compact_coding as compact
from attached_vectors import attached_parts
from vector_parts import (
    AUDIO,
    AUDIO_CONFIG,
    BACKGROUND,
    CODED,
    DELTA,
    END,
    GROUP,
    HEADER,
    IDENTITY,
    INDICES,
    MAGIC,
    MUST_KNOW,
    PARTS,
    REFERENCE,
    Quantiser,
    audio,
    audio_config,
    chunk,
    closing,
    compact_group,
    entry,
    group,
    header,
    identity,
    latent,
    levels_of,
    numbers_of,
    opus,
    packet,
    predicted_identity,
    prologue,
    reference,
    small_identity,
    some_quantiser,
    stream,
    widest_quantiser,
)


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


def predicted_parts() -> dict[str, list[tuple[int, bytes]]]:
    """The valid streams of version 1.1."""
    usual = some_quantiser()
    rows = [levels_of(t) for t in range(5)]
    coarse = [[(5 * r + 3 * j) % 7 // 6 + (j % 97 == r) - (j % 89 == 2 * r) for j in range(512)] for r in range(18)]
    more = [[(r * j) % 5 // 4 - (j % 11 == r % 11) for j in range(512)] for r in range(18)]
    fine = [[4 * level + one for level, one in zip(*pair, strict=True)] for pair in zip(coarse, more, strict=True)]
    made = {}
    made["progressive"] = [
        *[(HEADER, header(quantiser=bytes(usual))), (IDENTITY, small_identity(coarse, 112))],
        (GROUP, compact_group(0, rows[:2], usual)),
        (IDENTITY, predicted_identity(fine, 96, numbers_of(coarse, 112))),
        (GROUP, compact_group(2, rows[2:], usual, 1)),
    ]
    # Prediction from numbers that lie between two levels, from the largest and the smallest ones, and from each other.
    odd = [65504.0, -65504.0, 2.0**-24, -(2.0**-24), -0.0, 1023.5, -1023.5, 0.0625, -0.0625, 0.1875, -0.1875, 4.0]
    ends = [odd[(r + j) % len(odd)] for r in range(18) for j in range(512)]
    table = [ends[i : i + 512] for i in range(0, 9216, 512)]
    edge = [[(-1) ** j * ((r + 2 * j) % 1024) for j in range(512)] for r in range(18)]
    faces = [(IDENTITY, identity(struct.pack("<9216e", *ends), 5))]
    twice, thrice = numbers_of(edge, 104), numbers_of(edge, 0)
    for slot, base, code, before in [(0, 5, 104, table), (7, 0, 0, twice), (2, 7, 103, thrice)]:
        faces.append((IDENTITY, predicted_identity(edge, code, before, (slot, base))))
    shown = [(GROUP, group(t, [packet(t)], slot)) for t, slot in enumerate((5, 0, 7, 2))]
    again = (IDENTITY, small_identity(edge, 104))
    made["progressive_chain"] = [(HEADER, header()), *faces, *shown[:2], again, *shown[2:], faces[2]]
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
    for name, parts in predicted_parts().items():
        add(name, parts, stream(*parts, minor=1))
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
