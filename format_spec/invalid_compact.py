"""Invalid vectors of the compact profile."""

from __future__ import annotations

import struct

import compact_coding as compact
from vector_parts import (
    GROUP,
    HEADER,
    IDENTITY,
    REFERENCE,
    Quantiser,
    chunk,
    compact_group,
    group,
    header,
    levels_of,
    numbers_of,
    packet,
    patched,
    predicted_identity,
    prologue,
    reference,
    small_identity,
    some_quantiser,
    stream,
)

Faults = dict[str, tuple[bytes, str, int, int]]
"""Name: bytes, error class, offset, groups before the fault."""


def invalid_compact() -> Faults:
    """Faults of the compact profile."""
    return quantisers() | groups() | identities() | predicted()


def quantisers() -> Faults:
    """Faults in the quantiser of the header."""
    made: Faults = {}
    usual = some_quantiser()
    good = bytes(usual)
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
    return made


def groups() -> Faults:
    """Faults in compact groups."""
    made: Faults = {}
    usual = some_quantiser()
    good, face = bytes(usual), (IDENTITY, small_identity([[0] * 512] * 18, 128))
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
    return made


def identities() -> Faults:
    """Faults in compact identities."""
    made: Faults = {}
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


def predicted() -> Faults:
    """Faults in identities that are predicted from others."""
    made: Faults = {}
    rows = [[(r * j) % 3 for j in range(512)] for r in range(18)]
    base, fits = small_identity(rows, 100), predicted_identity(rows, 96, numbers_of(rows, 100))
    named = prologue(minor=1) + stream((HEADER, header()), end=False)[16:]
    start = named + chunk(IDENTITY, base)
    high = [[1024] + [0] * 511, *rows[1:]]
    for name, stem, payload, error, place in [
        ("without_base", start, fits[:34], "Truncated", 34),
        ("without_step", start, fits[:35], "Truncated", 35),
        ("base_itself", start, patched(fits, 34, b"\1"), "CorruptChunk", 34),
        ("base_unknown", start, patched(fits, 34, b"\2"), "CorruptChunk", 34),
        ("base_later", named, fits, "CorruptChunk", 34),
        ("base_only_named", named + chunk(REFERENCE, reference(bytes(18432))), fits, "CorruptChunk", 34),
        ("level", start, predicted_identity(high, 96, numbers_of(rows, 100)), "CorruptChunk", 36),
        ("digest", start, patched(fits, 2, bytes(4)), "ChecksumMismatch", 2),
        ("zero_at_end", start, fits + b"\0", "CorruptChunk", len(fits)),
        ("form_unknown", start, patched(fits, 1, b"\3"), "UnsupportedVersion", 1),
        ("of_version_1_0", stream((HEADER, header()), (IDENTITY, base), end=False), fits, "UnsupportedVersion", 1),
    ]:
        later = chunk(IDENTITY, base) if name == "base_later" else b""
        made["predicted_" + name] = stem + chunk(IDENTITY, payload) + later, error, len(stem) + 12 + place, 0
    foretold = compact.from_base(numbers_of(rows, 100), 96)
    taken = 36 + 4 + compact.coded(rows, [3] * 512, [0] * 512, [], None, foretold).shifts
    left = fits + bytes(9) + b"\1"
    made["predicted_bytes_left"] = start + chunk(IDENTITY, left), "CorruptChunk", len(start) + 12 + taken, 0
    far = predicted_identity([[20] * 512, *rows[1:]], 255, numbers_of(rows, 100), digest=bytes(32))
    made["predicted_not_finite"] = start + chunk(IDENTITY, far), "CorruptChunk", len(start) + 12, 0
    chain = start
    for slot in range(1, 10):
        before, at = numbers_of(rows, 100), len(chain)
        chain += chunk(IDENTITY, predicted_identity(rows, 100, before, (slot, slot - 1)))
    made["predicted_too_often"] = chain, "LimitExceeded", at + 12 + 34, 0
    return made
