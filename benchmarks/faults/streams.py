"""Stream files: the strict reader, the tolerant one, random access, repair."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
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
from stylecodec.bitstream.attached import background, personalizations
from stylecodec.bitstream.background import Background, Mode
from stylecodec.bitstream.chunks import pack_chunk, parse_chunk
from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta, Personalization
from stylecodec.bitstream.edit import Repair
from stylecodec.errors import FormatError

from .judging import Signature, Surface
from .mutating import Mutations, limit, mutated

GROUP_KIND = 3
TICKS = 3600  # between two frames of the seeds


@cache
def sources() -> dict[str, bytes]:
    """Small streams as the format has them. A raw latent is most of a file, so that others only name theirs."""
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
        "raw": _stream(plain, identity, packets),
        "raw with times": _stream(timed, named, packets),
        "compact": _stream(compact_header(plain, quantiser), named, packets),
        "compact with times": _stream(compact_header(timed, quantiser), named, packets),
        "compact identity": _stream(compact_header(plain, quantiser), small, packets[:3]),
        "attached": _stream(plain, named, packets[:6], delta()),
    }


def delta() -> GeneratorDelta:
    """A generator delta of three tensors in both codings."""
    rng = np.random.default_rng(2)
    rows = DeltaTensor.quantised("convs.0.bias", rng.normal(size=24), 0.01)
    factors = DeltaTensor.factored("convs.1.weight", rng.normal(size=(8, 6, 3, 3)), 2)
    number = DeltaTensor.quantised("noise", np.float32(0.5), 0.01)
    return GeneratorDelta.of(bytes(range(32)), [rows, factors, number])


def _stream(
    header: StreamHeader,
    identity: Identity | IdentityReference,
    packets: np.ndarray,
    personal: GeneratorDelta | None = None,
) -> bytes:
    writer = StreamWriter(header, AudioConfig())
    data = writer.start()
    data += writer.identity(identity) if isinstance(identity, Identity) else writer.reference(identity)
    if personal is not None:
        data += writer.attach(Personalization.carried(identity.digest, personal))
        data += writer.attach(Background(Mode.KEY, (0, 177, 64)))
    for first in range(0, len(packets), 3):
        pts = TICKS * np.arange(first, first + 3) if header.variable_rate else None
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


# --- damage that knows the format ---------------------------------------------------------------------------


def shuffled(rng: random.Random) -> bytes:
    """Chunks lost, doubled, in other places; groups in any order. The checksums fit, the order does not."""
    intact = _parts(rng)
    parts = list(intact)
    while parts == intact:
        at = rng.randrange(1, len(parts))
        match rng.randrange(4):
            case 0:
                del parts[at]
            case 1:
                parts.insert(at, parts[at])
            case 2:
                parts.insert(rng.randrange(1, len(parts)), parts.pop(at))
            case _:
                groups = [k for k, part in enumerate(parts) if part[4:5] == bytes([GROUP_KIND])]
                for where, group in zip(groups, rng.sample(groups, len(groups)), strict=True):
                    parts[where] = intact[group]
    return b"".join(parts)


def mended(rng: random.Random) -> bytes:
    """Mutations inside chunks, whose lengths and checksums are made to fit again, so that they reach the parser."""
    parts = _parts(rng)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(parts))
        if not at:
            head = bytearray(parts[0][:12])
            head[rng.randrange(8, 12)] = rng.randrange(256)
            parts[0] = bytes(head) + crc32(bytes(head)).to_bytes(4, "little")
            continue
        kind, flags = parts[at][4], parts[at][5]
        payload = mutated(parts[at][12:-4], rng, most=3, near=rng.random() < 0.5)
        kind = rng.randrange(20) if rng.random() < 0.05 else kind
        flags = rng.randrange(256) if rng.random() < 0.05 else flags
        parts[at] = _packed(kind, payload, flags) or parts[at]
    return b"".join(parts)


def limits(rng: random.Random) -> bytes:
    """Numbers of payloads and of chunk heads set to their limits; the checksums fit."""
    parts = _parts(rng)
    at = rng.randrange(1, len(parts))
    chunk = bytearray(parts[at])
    if rng.random() < 0.3:  # the announced length, with a check that fits
        chunk[6:10] = limit(rng, len(chunk) - 16, 4)
        chunk[10:12] = (crc32(bytes(chunk[:10])) & 0xFFFF).to_bytes(2, "little")
        parts[at] = bytes(chunk)
    else:
        payload = chunk[12:-4]
        for _ in range(rng.randrange(1, 3)):
            where, width = rng.randrange(min(len(payload), 100)), rng.choice((1, 2, 4, 8))
            payload[where : where + width] = limit(rng, len(payload), width)
        parts[at] = _packed(chunk[4], bytes(payload), chunk[5]) or parts[at]
    return b"".join(parts)


def mixed(rng: random.Random) -> bytes:
    """Chunks of several streams after one beginning."""
    parts = _parts(rng)[: rng.randrange(1, 4)]
    while rng.random() < 0.9:
        parts.append(rng.choice(_parts(rng)[1:]))
    return b"".join(parts)


def nested(rng: random.Random) -> bytes:
    """Whole chunks, or a whole stream, as the payload of a chunk, which may then be cut."""
    parts = _parts(rng)
    inner = b"".join(rng.sample(parts, rng.randrange(1, len(parts))))
    kind = rng.choice((0x90, 0x20, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12))
    outer = _packed(kind, inner, rng.randrange(2))
    if outer is not None:
        cut = rng.choice((0, 0, 1, 4, rng.randrange(len(outer))))
        parts.insert(rng.randrange(1, len(parts)), outer[: len(outer) - cut])
    return b"".join(parts)


def _parts(rng: random.Random) -> list[bytes]:
    names = list(sources())
    return list(_split_sources()[rng.choices(names, [_WEIGHTS.get(name, 1.0) for name in names])[0]])


@cache
def _split_sources() -> dict[str, list[bytes]]:
    return {name: split(data) for name, data in sources().items()}


def _packed(kind: int, payload: bytes, flags: int) -> bytes | None:
    """A chunk; None for a payload beyond its limit."""
    try:
        return pack_chunk(kind, payload, flags)
    except FormatError:
        return None


_WEIGHTS = {"raw": 0.3, "compact identity": 0.05}  # long or slow ones less often


# --- the readers ------------------------------------------------------------------------------------------


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


PASSING = ("Index", "End", "complete")  # depend on where chunks stand, not on what they hold


def read_strict(data: bytes) -> Iterator[Signature]:
    reader = StreamReader()
    yield from _lasting(reader.feed(data))
    yield from _lasting(reader.feed(b""))
    reader.close()


def read_tolerant(data: bytes) -> Iterator[Signature]:
    reader = StreamReader(strict=False)
    for at in range(0, len(data), 1000):
        yield from _lasting(reader.feed(data[at : at + 1000]))
    yield from _lasting(reader.flush())
    reader.close()


def _lasting(events: list[Event]) -> Iterator[Signature]:
    return (one for one in map(signature, events) if one[0] not in PASSING)


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
        background(stream), personalizations(stream)
        if stream.frame_count:
            stream.frame_at(0.2)
            stream.packets(0, min(stream.frame_count, 9))


def read_repair(data: bytes) -> Iterator[Signature]:
    """What a repair writes must be whole."""
    with Repair(io.BytesIO(data)) as repair:
        portions = list(repair.portions()) if repair.found.frames_lost < 1000 else []
    if portions:
        reader = StreamReader()
        reader.feed(b"".join(portions))
        reader.feed(b"")
        if not reader.close().complete:
            raise AssertionError("a repaired stream is not whole")
    yield from ()


def surface() -> Surface:
    seeds = sources()
    known = frozenset(one for data in seeds.values() for read in (read_strict, read_file) for one in read(data))
    special = {"shuffled": shuffled, "mended": mended, "limits": limits, "mixed": mixed, "nested": nested}
    readers = {"strict": read_strict, "tolerant": read_tolerant, "file": read_file}
    return Surface("stream", readers, Mutations(seeds, special, known, ("shuffled",), _WEIGHTS), seeds)


def repair_surface() -> Surface:
    seeds = {name: data for name, data in sources().items() if name not in _WEIGHTS}
    special = {"shuffled": shuffled, "mended": mended, "limits": limits, "mixed": mixed, "nested": nested}
    return Surface("repair", {"repair": read_repair}, Mutations(seeds, special), seeds, fixed=8 << 20)
