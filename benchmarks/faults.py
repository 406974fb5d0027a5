"""What becomes of damaged streams: every prefix, every damaged byte, lost and shuffled groups, random mutations.

    python -m benchmarks.faults
    python -m benchmarks.faults --mutations 100000 --only "mended mutations"

Each damaged stream goes through three readers: strict, tolerant, and random access to a file. A reader may refuse it
with a FormatError (the strict one must name the byte offset), or give chunks that are, bit for bit, chunks of the
stream before the damage. In *mended* mutations the checksums are made to fit afterwards, so that the damage reaches
the parser: there a reader may give other values, as nobody can tell them from those that were meant. Everything else
is a fault: another exception, values that were never written although a checksum tells, more memory than allowed.
The exit code is 1 if there is one. Needs no torch. Writes results/faults.json.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    Event,
    FrameGroup,
    Identity,
    IdentityReference,
    Profile,
    StreamFile,
    StreamHeader,
    StreamReader,
    StreamWriter,
    UnknownChunk,
    compact_header,
    plain_quantiser,
)
from stylecodec.bitstream.chunks import pack_chunk, parse_chunk
from stylecodec.errors import FormatError

from .measuring import RESULTS, save, table
from .provenance import provenance

ALLOWED_FACTOR = 8  # of memory: the stream's own bytes so many times …
ALLOWED_BYTES = 4 << 20  # … and a fixed part: a group of 1,024 frames decoded, numbers of Python included
TRACED = 10
GROUP_KIND = 3

Damaged = Iterator[tuple[bytes, bool]]  # (bytes, whether the checksums were made to fit)


# --- the streams ------------------------------------------------------------------------------------------


def sources() -> dict[str, tuple[bytes, int, int]]:
    """Small streams as the format has them: bytes, step between the places tried, divisor of the mutations.

    A latent is most of a small file. The streams without one are tried at every byte, the others at some.
    """
    rng = np.random.default_rng(1)
    packets = np.cumsum(rng.normal(0, 0.3, (9, 35)), axis=0).astype(np.float16)
    identity = Identity(rng.normal(size=(18, 512)).astype(np.float16))
    indices = tuple((i % 26, 3 * i) for i in range(32))
    plain = StreamHeader(Fraction(25), 1024, 1024, Profile.RAW, "avatar-1024", bytes(range(32)), indices)
    quantiser = plain_quantiser(packets, 3)
    timed = StreamHeader(**{**vars(plain), "time_scale": 90_000})
    small = Identity(identity.latent, step_code=100)
    named = IdentityReference(identity.digest)
    return {
        "raw": (_stream(plain, identity, packets), 16, 1),
        "raw with times": (_stream(timed, named, packets), 1, 1),
        "compact": (_stream(compact_header(plain, quantiser), named, packets), 1, 1),
        "compact with times": (_stream(compact_header(timed, quantiser), named, packets), 1, 1),
        "compact identity": (_stream(compact_header(plain, quantiser), small, packets[:3]), 100, 25),
    }


def _stream(header: StreamHeader, identity: Identity | IdentityReference, packets: np.ndarray) -> bytes:
    writer = StreamWriter(header, AudioConfig())
    data = writer.start()
    data += writer.identity(identity) if isinstance(identity, Identity) else writer.reference(identity)
    for first in range(0, len(packets), 3):
        pts = 3600 * np.arange(first, first + 3) if header.variable_rate else None
        data += writer.group(packets[first : first + 3], pts)
        data += writer.audio(AudioChunk(first * 1920 - 312, (bytes([8, first]) * 4,) * 3))
    return data + writer.extra(0x90, b"private") + writer.finish()


def split(data: bytes) -> list[bytes]:
    """The prologue and each chunk of an intact stream."""
    parts, at = [data[:16]], 16
    while at < len(data):
        chunk = parse_chunk(data[at:], at)
        parts.append(data[at : at + chunk.size])
        at += chunk.size
    return parts


# --- the damage -------------------------------------------------------------------------------------------


def prefixes(data: bytes) -> Damaged:
    """The stream cut off after every number of bytes."""
    return ((data[:length], False) for length in range(len(data)))


def single_bytes(data: bytes) -> Damaged:
    """Every byte changed, each to a value of its own."""
    rng = random.Random(5)
    return ((data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :], False) for at in range(len(data)))


def lost_and_shuffled(data: bytes) -> Damaged:
    """Every chunk lost, doubled, in every other place; groups in any order. The checksums fit, the order does not."""
    parts, rng = split(data), random.Random(6)
    orders: list[list[bytes]] = []
    for at in range(1, len(parts)):
        rest = parts[:at] + parts[at + 1 :]
        orders += [rest, parts[: at + 1] + parts[at:]]
        orders += [[*rest[:to], parts[at], *rest[to:]] for to in range(1, len(parts)) if to != at]
    groups = [k for k, part in enumerate(parts) if part[4:5] == bytes([GROUP_KIND])]
    for _ in range(100):
        shuffled = list(parts)
        for place, group in zip(groups, rng.sample(groups, len(groups)), strict=True):
            shuffled[place] = parts[group]
        orders += [shuffled] if shuffled != parts else []
    rng.shuffle(orders)
    return ((b"".join(order), False) for order in orders)


def mutations(data: bytes, seed: int = 7) -> Damaged:
    """Bits turned, bytes overwritten, inserted, removed, copied from elsewhere; one to eight at a time; without end."""
    rng = random.Random(seed)
    while True:
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 9)):
            _mutate(broken, rng)
        if broken != data:
            yield bytes(broken), False


def mended_mutations(data: bytes, seed: int = 8) -> Damaged:
    """The same inside chunks, whose lengths and checksums are made to fit again; without end."""
    rng = random.Random(seed)
    parts = split(data)
    while True:
        broken = list(parts)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(parts))
            if not at:
                head = bytearray(broken[0][:12])
                head[rng.randrange(8, 12)] = rng.randrange(256)
                broken[0] = bytes(head) + crc32(bytes(head)).to_bytes(4, "little")
                continue
            kind, flags, payload = broken[at][4], broken[at][5], bytearray(broken[at][12:-4])
            for _ in range(rng.randrange(1, 4)):
                _mutate(payload, rng, near=rng.random() < 0.5)
            if rng.random() < 0.05:
                kind = rng.randrange(20)
            if rng.random() < 0.05:
                flags = rng.randrange(256)
            try:
                broken[at] = pack_chunk(kind, bytes(payload), flags)
            except FormatError:  # grown beyond its limit
                continue
        yield b"".join(broken), True


_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def _mutate(data: bytearray, rng: random.Random, near: bool = False) -> None:
    """One change in place. near: within the first 64 bytes, where the numbers are that others depend on."""
    at = rng.randrange(min(len(data), 64) if near else len(data)) if data else 0
    size = rng.choice((1, 1, 1, 2, 4, 8, 30))
    match rng.randrange(6):
        case 0 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 1 if data:
            data[at] = rng.choice(_EDGES)
        case 2:
            data[at : at + size] = rng.randbytes(size)
        case 3:
            data[at:at] = rng.randbytes(size)
        case 4:
            del data[at : at + size]
        case _:
            start = rng.randrange(len(data) + 1)
            data[at : at + size] = data[start : start + size]


KINDS: dict[str, Callable[[bytes], Damaged]] = {
    "prefixes": prefixes,
    "single bytes": single_bytes,
    "lost and shuffled": lost_and_shuffled,
    "mutations": mutations,
    "mended mutations": mended_mutations,
}
EVERY_BYTE = ("prefixes", "single bytes")


# --- the readers ------------------------------------------------------------------------------------------

Signature = tuple[str, bytes]


def signature(event: Event) -> Signature:
    """An event as something to compare, without coding it again."""
    if isinstance(event, FrameGroup):
        times = b"" if event.pts is None else event.pts.tobytes()
        return f"group {event.first_frame} of {event.identity}", event.packets.tobytes() + times
    if isinstance(event, Identity):
        return f"identity {event.slot}", event.digest
    if isinstance(event, UnknownChunk):
        return f"unknown {event.type}", event.payload
    return type(event).__name__, bytes(event)


def read_strict(data: bytes) -> Iterator[Signature]:
    reader = StreamReader()
    yield from map(signature, reader.feed(data))
    yield from map(signature, reader.feed(b""))
    reader.close()


def read_tolerant(data: bytes) -> Iterator[Signature]:
    reader = StreamReader(strict=False)
    for at in range(0, len(data), 1000):
        yield from map(signature, reader.feed(data[at : at + 1000]))
    yield from map(signature, reader.flush())
    if reader.close().complete:
        yield "complete", b""


def read_file(data: bytes) -> Iterator[Signature]:
    with StreamFile.open(io.BytesIO(data)) as stream:
        yield signature(stream.header)
        sum(n for name, n in stream.byte_account().items() if name != "total")
        for number in range(stream.group_count):
            try:
                yield signature(stream.group(number))
                stream.identity_for(stream.group(number).first_frame)
            except FormatError:
                continue
        for identity in stream.identities:
            yield signature(identity)
        yield from map(signature, stream.audio_chunks())
        yield from (signature(chunk) for _, chunk in stream.extras())
        if stream.frame_count:
            stream.frame_at(0.2)
            stream.packets(0, min(stream.frame_count, 9))


READERS = {"strict": read_strict, "tolerant": read_tolerant, "file": read_file}


# --- the study --------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of all the damaged streams of one kind in one reader."""

    tried: int = 0
    refused: int = 0  # a FormatError, perhaps after intact chunks
    intact: int = 0  # only chunks of the stream as it was
    other: int = 0  # mended mutations: other values behind checksums that fit
    groups: int = 0  # intact groups that were given all the same
    peak: int = 0  # bytes
    errors: Counter[str] = field(default_factory=Counter)  # classes of FormatError
    faults: list[str] = field(default_factory=list)

    def row(self) -> dict[str, int]:
        """For the table."""
        return {
            "tried": self.tried,
            "refused": self.refused,
            "intact part": self.intact,
            "other values": self.other,
            "groups saved": self.groups,
            "peak KiB": self.peak >> 10,
            "faults": len(self.faults),
        }


def attempt(
    read: Callable[[bytes], Iterator[Signature]], data: bytes, mended: bool, whole: set[Signature], tally: Tally
) -> None:
    """One damaged stream through one reader; memory is looked at in every tenth, as that takes time."""
    given: list[Signature] = []
    traced = tally.tried % TRACED == 0
    tally.tried += 1
    if traced:
        tracemalloc.start()
    try:
        for event in read(data):
            given.append(event)
    except FormatError as error:
        tally.refused += 1
        tally.errors[type(error).__name__] += 1
        if error.offset is None and read is read_strict:
            tally.faults.append(f"no offset: {error}")
    except Exception as error:
        tally.faults.append(f"{type(error).__name__}: {error}")
    else:
        tally.intact += all(event in whole for event in given)
        tally.other += not all(event in whole for event in given)
    if traced:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        tally.peak = max(tally.peak, peak)
        if peak > ALLOWED_FACTOR * len(data) + ALLOWED_BYTES:
            tally.faults.append(f"{peak:,} bytes of memory for a stream of {len(data):,}")
    foreign = [event[0] for event in given if event not in whole and event[0] not in ("Index", "End", "complete")]
    if foreign and not mended:
        tally.faults.append(f"values that were never written: {foreign[0]}")
    tally.groups += sum(event[0].startswith("group") for event in given if event in whole)


def study(
    data: bytes, kinds: Iterable[str] = tuple(KINDS), limit: int | None = None, step: int = 1
) -> dict[tuple[str, str], Tally]:
    """(kind, reader): tally. limit: of trials of a kind; step: between the bytes of a kind that tries every one."""
    whole = {event for read in READERS.values() for event in read(data)}
    tallies: dict[tuple[str, str], Tally] = {}
    for kind in kinds:
        stop, stride = (None, step) if kind in EVERY_BYTE else (limit, 1)
        for broken, mended in islice(KINDS[kind](data), 0, stop, stride):
            for name, read in READERS.items():
                attempt(read, broken, mended, whole, tallies.setdefault((kind, name), Tally()))
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2_500, help="of each kind and stream (default: %(default)s)")
    parser.add_argument("--only", choices=list(KINDS), action="append", help="kinds of damage")
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    arguments = parser.parse_args()
    origin = provenance(None, vars(arguments), rooms=["bitstream"])
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    for name, (data, step, divisor) in sources().items():
        kinds, limit = arguments.only or tuple(KINDS), arguments.mutations // divisor
        for (kind, reader), tally in study(data, kinds, limit, step).items():
            rows.append({"stream": name, "damage": kind, "reader": reader, **tally.row()})
            faults += [f"{name}, {kind}, {reader}: {fault}" for fault in tally.faults]
            errors = ", ".join(f"{error} {count:,}" for error, count in tally.errors.most_common())
            print(f"{name}, {kind}, {reader}: {tally.tried:,} tried; {errors or 'none refused'}", flush=True)
    print(f"\n{table(rows)}\n\n{sum(row['tried'] for row in rows):,} readings, {len(faults):,} faults")
    for fault in faults[:20]:
        print(f"  {fault}")
    sizes = {name: len(data) for name, (data, *_) in sources().items()}
    save(arguments.out, origin, {"stream_bytes": sizes, "tallies": rows, "faults": faults[:100]})
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
