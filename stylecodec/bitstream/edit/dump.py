"""A stream as text and back: one JSON object per line and chunk, with every number as it is in the stream.

    {"stylecodec": [1, 0]}
    {"chunk": "HEADER", "profile": "raw", "rate": "25/1", "width": 1024, ...}
    {"chunk": "IDENTITY", "slot": 0, "digest": "9f86…", "latent": [[0.5, …512], …18]}
    {"chunk": "GROUP", "first_frame": 0, "slot": 0, "packets": [[yaw, pitch, roll, alpha 0, …31], …]}
    {"chunk": "AUDIO", "time": -312, "packets": ["08ab…", …]}
    {"chunk": "INDEX"}
    {"chunk": "END"}

fp16 numbers are decimal fractions that round to the same bits; compact groups have integer "levels"; bytes are hex.
"flags" appears where the flags of a chunk are not the usual ones. "payload" replaces the fields of chunks that only a
renderer needs, of unknown types, and of payloads that are not coded in the usual way. Digests, index and END are
computed on the way back, so that an edited text gives a valid stream; a text that was not edited gives the same bytes.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import CorruptChunk, FormatError, LimitExceeded, Truncated
from .. import layout
from ..audio import AudioChunk, AudioConfig
from ..chunks import Chunk, Deframer, Prologue, pack_chunk
from ..compact.prediction import Term
from ..compact.quantiser import Quantiser
from ..groups import FrameGroup
from ..header import CropGeometry, Profile, StreamHeader
from ..identity import Identity, IdentityReference
from ..index import End, Index, IndexEntry
from ..layout import ChunkType
from ..reader import StreamReader

_LEAST: dict[int, int] = {  # bytes of a payload that the index entry is made from
    ChunkType.IDENTITY: 1,
    ChunkType.IDENTITY_REFERENCE: 1,
    ChunkType.GROUP: layout.GROUP_HEAD_BYTES,
    ChunkType.AUDIO: layout.AUDIO_HEAD_BYTES,
}
MAX_LINE = 1 << 26  # characters; the longest payload of an unknown type takes half of it
USUAL_FLAGS: dict[int, int] = {ChunkType.HEADER: 1, ChunkType.IDENTITY: 1, ChunkType.GROUP: 1}

Fields = dict[str, Any]
Payload = StreamHeader | Identity | IdentityReference | FrameGroup | AudioConfig | AudioChunk


class Dumper:
    """Bytes of a valid stream in, lines of text out. Raises FormatError as a strict StreamReader."""

    def __init__(self) -> None:
        self._deframer = Deframer()
        self._reader = StreamReader()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines, without line ends, of the chunks that become whole."""
        for chunk in self.chunks(data):
            yield json.dumps(self.fields(chunk), separators=(", ", ": "))

    def close(self) -> None:
        """After the last bytes: raise Truncated if the stream is not whole."""
        self._reader.close()

    def chunks(self, data: bytes) -> Iterator[Chunk | Prologue]:
        """The chunks that `feed` writes as lines."""
        self._reader.feed(data)
        self._deframer.feed(data)
        while (chunk := self._deframer.next_chunk()) is not None:
            assert isinstance(chunk, Chunk)
            if not self._begun:
                assert self._deframer.prologue is not None
                yield self._deframer.prologue
                self._begun = True
            yield chunk

    def fields(self, item: Chunk | Prologue) -> Fields:
        """The JSON object of one line."""
        if isinstance(item, Prologue):
            reserved = {"reserved": item.reserved} if item.reserved else {}
            return {"stylecodec": [item.major, item.minor]} | reserved
        fields: Fields = {"chunk": _name(item.type)}
        if item.flags != USUAL_FLAGS.get(item.type, 0):
            fields["flags"] = item.flags
        if item.type in (ChunkType.INDEX, ChunkType.END):
            return fields
        payload = parse_payload(item, self._reader.header, self._reader.identities.get)
        if payload is None or bytes(payload) != item.payload:
            return fields | {"payload": item.payload.hex()}
        return fields | _fields(payload)


def parse_payload(
    chunk: Chunk, header: StreamHeader | None, base_of: Callable[[int], Identity | None]
) -> Payload | None:
    """The content of a chunk; None for types that have no fields in the text. Raises FormatError.

    base_of: gives the identity of a slot, for those that are predicted from it.
    """
    data, offset = chunk.payload, chunk.payload_offset
    match chunk.type:
        case ChunkType.HEADER:
            return StreamHeader.parse(data, offset)
        case ChunkType.IDENTITY:
            return Identity.parse(data, offset, base_of)
        case ChunkType.IDENTITY_REFERENCE:
            return IdentityReference.parse(data, offset)
        case ChunkType.GROUP:
            return FrameGroup.parse(data, offset, None if header is None else header.quantiser)
        case ChunkType.AUDIO_CONFIG:
            return AudioConfig.parse(data, offset)
        case ChunkType.AUDIO:
            return AudioChunk.parse(data, offset)
    return None


def undump(lines: Iterable[str]) -> Iterator[bytes]:
    """The bytes of the stream that the lines describe, chunk by chunk.

    Raises FormatError that names the line and what is wrong with it.
    """
    builder = _Builder()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > MAX_LINE:
                raise LimitExceeded(f"longer than {MAX_LINE:,} characters")
            yield builder.add(json.loads(line))
        except KeyError as error:
            raise FormatError(f"line {number}: {error} is missing") from error
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
            raise FormatError(f"line {number}: {error}") from error
    if not builder.length:
        raise FormatError("the text holds no stream")


@dataclass
class _Builder:
    """The stream that grows line by line, and the numbers for its index and END."""

    length: int = 0
    frames: int = 0
    index_offset: int = 0
    header: StreamHeader | None = None
    minor: int = layout.FIRST_MINOR
    identities: dict[int, Identity] = field(default_factory=dict)
    entries: list[IndexEntry] = field(default_factory=list)

    def add(self, fields: Fields) -> bytes:
        if not isinstance(fields, dict):
            raise CorruptChunk("a line is one JSON object")
        if not self.length:
            major, self.minor = fields["stylecodec"]
            data = bytes(Prologue(major, self.minor, fields.get("reserved", 0)))
        else:
            data = self._chunk(fields)
        self.length += len(data)
        return data

    def _chunk(self, fields: Fields) -> bytes:
        kind = _type(fields["chunk"])
        slot = count = 0
        if "payload" in fields:
            payload = bytes.fromhex(fields["payload"])
            slot, count = _slot_and_count(kind, payload)
        elif kind == ChunkType.INDEX:
            self.index_offset = self.length
            payload = bytes(Index.of(self.entries))
        elif kind == ChunkType.END:
            length = self.length + layout.CHUNK_OVERHEAD + layout.END_BYTES
            payload = bytes(End(self.index_offset, self.frames, length))
        else:
            built = _BUILDERS[ChunkType(kind)](fields, self)
            payload = bytes(built)
            slot, count = _slot_and_count(kind, payload)
            if isinstance(built, StreamHeader):
                self.header = built
            if isinstance(built, Identity):
                self.identities[built.slot] = built
        if kind == ChunkType.GROUP:
            self.frames += count
        self.entries.append(IndexEntry(self.length, kind, slot, count))
        return pack_chunk(kind, payload, fields.get("flags", USUAL_FLAGS.get(kind, 0)))


def _slot_and_count(kind: int, payload: bytes) -> tuple[int, int]:
    """Slot and count of a chunk's index entry."""
    if len(payload) < _LEAST.get(kind, 0):
        raise Truncated(f"the {layout.chunk_name(kind)} is too short")
    if kind in (ChunkType.IDENTITY, ChunkType.IDENTITY_REFERENCE):
        return payload[0], 0
    if kind == ChunkType.GROUP:
        head = layout.GROUP_HEAD.parse(payload)
        return head.slot, head.count
    if kind == ChunkType.AUDIO:
        return 0, layout.AUDIO_HEAD.parse(payload).count
    return 0, 0


def _name(kind: int) -> str:
    try:
        return ChunkType(kind).name
    except ValueError:
        return f"0x{kind:02X}"


def _type(name: str) -> int:
    if name.startswith("0x"):
        kind = int(name, 16)
        if not 0 <= kind <= 0xFF:
            raise CorruptChunk(f"there is no chunk type {name}")
        return kind
    if name not in ChunkType.__members__:
        raise CorruptChunk(f"there is no chunk {name!r}")
    return ChunkType[name]


# --- one pair of functions per chunk ------------------------------------------------------------------------


def _fields(payload: Payload) -> Fields:
    match payload:
        case StreamHeader():
            return _header_fields(payload)
        case Identity():
            latent = payload.latent.astype(np.float64).tolist()
            step = {} if payload.step_code is None else {"step_code": payload.step_code}
            base = {} if payload.base is None else {"base": payload.base.slot}
            return {"slot": payload.slot, "digest": payload.digest.hex()} | base | step | {"latent": latent}
        case IdentityReference():
            return {"slot": payload.slot, "digest": payload.digest.hex()}
        case FrameGroup():
            values = payload.packets.astype(np.float64) if payload.levels is None else payload.levels
            name = "packets" if payload.levels is None else "levels"
            times = {} if payload.pts is None else {"times": payload.pts.tolist()}
            return {"first_frame": payload.first_frame, "slot": payload.identity} | times | {name: values.tolist()}
        case AudioConfig():
            return asdict(payload)
        case AudioChunk():
            return {"time": payload.first_packet_pts, "packets": [packet.hex() for packet in payload.packets]}


def _header_fields(header: StreamHeader) -> Fields:
    fields: Fields = {
        "profile": header.profile.name.lower(),
        "rate": f"{header.rate.numerator}/{header.rate.denominator}",
        "width": header.width,
        "height": header.height,
        "time_scale": header.time_scale,
        "live": header.live,
        "pack": {"name": header.pack_name, "digest": header.pack_digest.hex()},
        "indices": [list(pair) for pair in header.indices],
    }
    if header.crop is not None:
        fields["crop"] = asdict(header.crop)
    if header.quantiser is not None:
        fields["quantiser"] = {name: list(getattr(header.quantiser, name)) for name in ("codes", "rest", "spread")}
        fields["quantiser"]["terms"] = [[t.target, t.source, t.weight] for t in header.quantiser.terms]
    return fields


def _header(fields: Fields, _: _Builder) -> StreamHeader:
    quantiser, crop = fields.get("quantiser"), fields.get("crop")
    return StreamHeader(
        rate=_rate(fields["rate"]),
        width=int(fields["width"]),
        height=int(fields["height"]),
        profile=Profile[fields["profile"].upper()],
        pack_name=fields["pack"]["name"],
        pack_digest=bytes.fromhex(fields["pack"]["digest"]),
        indices=tuple((int(layer), int(channel)) for layer, channel in fields["indices"]),
        crop=None if crop is None else _crop(crop),
        time_scale=int(fields["time_scale"]),
        live=bool(fields["live"]),
        quantiser=None if quantiser is None else _quantiser(quantiser),
    )


def _rate(value: Any) -> Fraction:
    """A number, or text of two whole numbers. Exponents in text are refused: "1e999999999" would fill the memory."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,10}(/[0-9]{1,10})?", value):
        raise CorruptChunk(f"a rate is frames/seconds, such as 30000/1001, not {value[:40]!r}")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise CorruptChunk("the frame rate has a denominator of zero") from None


def _crop(fields: Fields) -> CropGeometry:
    return CropGeometry(
        int(fields["source_width"]),
        int(fields["source_height"]),
        *(float(fields[name]) for name in ("center_x", "center_y", "side")),
    )


def _quantiser(fields: Fields) -> Quantiser:
    codes, rest, spread = (tuple(map(int, fields[name])) for name in ("codes", "rest", "spread"))
    return Quantiser(codes, rest, spread, tuple(Term(*map(int, term)) for term in fields["terms"]))


def _identity(fields: Fields, so_far: _Builder) -> Identity:
    slot, base = int(fields["slot"]), None
    if "base" in fields:
        if so_far.minor < layout.PREDICTED_MINOR:
            raise CorruptChunk("an identity with a base is of version [1, 1]")
        if fields["base"] == slot or fields["base"] not in so_far.identities:
            raise CorruptChunk(f"the base of identity {slot} is another one, given before")
        base = so_far.identities[fields["base"]]
    return Identity(np.array(fields["latent"], np.float64), slot, fields.get("step_code"), base)


def _reference(fields: Fields, _: _Builder) -> IdentityReference:
    return IdentityReference(bytes.fromhex(fields["digest"]), int(fields["slot"]))


def _group(fields: Fields, so_far: _Builder) -> FrameGroup:
    quantiser = None if so_far.header is None else so_far.header.quantiser
    times = fields.get("times")
    packets: Any
    if quantiser is None:
        packets = np.array(fields["packets"], np.float64)
    else:
        packets = quantiser.values(np.array(fields["levels"], np.int32))
    pts = None if times is None else np.array(times, np.int64)
    return FrameGroup(int(fields["first_frame"]), packets, pts, int(fields["slot"]), quantiser)


def _audio_config(fields: Fields, _: _Builder) -> AudioConfig:
    return AudioConfig(int(fields["sample_rate"]), int(fields["channels"]), int(fields["pre_skip"]))


def _audio(fields: Fields, _: _Builder) -> AudioChunk:
    return AudioChunk(int(fields["time"]), tuple(bytes.fromhex(packet) for packet in fields["packets"]))


_BUILDERS: dict[ChunkType, Callable[[Fields, _Builder], Payload]] = {
    ChunkType.HEADER: _header,
    ChunkType.IDENTITY: _identity,
    ChunkType.IDENTITY_REFERENCE: _reference,
    ChunkType.GROUP: _group,
    ChunkType.AUDIO_CONFIG: _audio_config,
    ChunkType.AUDIO: _audio,
}
