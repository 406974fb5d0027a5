"""The vectors of format_spec: what SPEC.md says, held against the package."""

from __future__ import annotations

import importlib.util
import io
import json
import random
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stylecodec import errors
from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    End,
    Event,
    Extra,
    FrameGroup,
    Identity,
    IdentityReference,
    Index,
    Profile,
    StreamFile,
    StreamHeader,
    StreamReader,
    StreamWriter,
    UnknownChunk,
    check,
    layout,
)

SPEC = Path(__file__).parent.parent / "format_spec"
VALID = sorted((SPEC / "vectors/valid").glob("*.stc"))
INVALID = sorted((SPEC / "vectors/invalid").glob("*.stc"))


def expected(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return fields


def packets_of(group: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Packets [n, 35] of a group as its vector describes it."""
    name, kind = ("packets", "<f2") if "packets" in group else ("packets32", "<f4")
    return np.frombuffer(bytes.fromhex(group[name]), kind).reshape(-1, 35).astype(np.float32)


def portions(data: bytes, seed: int) -> Iterator[bytes]:
    """The data in random portions, some of them empty, most of them small."""
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.choice([0, 1, 2, 7, 12, 16, 100, 5000])
        yield data[at : at + size]
        at += size


def ways(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in three random splittings."""
    return [[data], [data[i : i + 1] for i in range(len(data))], *([*portions(data, seed)] for seed in range(3))]


def read(pieces: list[bytes]) -> list[Event]:
    reader = StreamReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    report = reader.close()
    assert report.complete
    assert not report.truncated
    assert not report.frames_lost
    return events


def typed_payload(extra: Extra) -> tuple[int, bytes]:
    """Chunk type and payload."""
    if isinstance(extra, UnknownChunk):
        return extra.type, extra.payload
    return extra.chunk_type, bytes(extra)


def test_there_are_vectors() -> None:
    assert len(VALID) >= 10
    assert len(INVALID) >= 60


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid(path: Path) -> None:
    data, want = path.read_bytes(), expected(path)
    results = [read(pieces) for pieces in ways(data)]
    assert all(result == results[0] for result in results)
    events = results[0]
    header = events[0]
    assert isinstance(header, StreamHeader)
    assert header.rate == Fraction(want["fps"])
    assert [header.width, header.height] == want["size"]
    identities = [event for event in events if isinstance(event, Identity)]
    assert {str(i.slot): i.digest.hex() for i in identities} == want["identities"]
    references = [event for event in events if isinstance(event, IdentityReference)]
    assert {str(r.slot): r.digest.hex() for r in references} == want.get("references", {})
    groups = [event for event in events if isinstance(event, FrameGroup)]
    assert len(groups) == len(want["groups"])
    for group, fields in zip(groups, want["groups"], strict=True):
        assert group.packets.tobytes().hex() == fields["packets" if group.levels is None else "packets32"]
        assert (None if group.levels is None else group.levels.tolist()) == fields.get("levels")
        assert float(group.packets.astype(np.float64).sum()) == pytest.approx(fields["sum"], abs=1e-6)
        assert (group.first_frame, group.identity) == (fields["first_frame"], fields["identity"])
        assert (None if group.pts is None else group.pts.tolist()) == fields.get("pts")
    sound = [event for event in events if isinstance(event, AudioChunk)]
    assert [{"first_packet_pts": chunk.first_packet_pts, "bytes": len(bytes(chunk))} for chunk in sound] == want[
        "audio"
    ]
    extras = [typed_payload(event) for event in events if isinstance(event, Extra)]
    assert [{"type": kind, "payload": payload.hex()} for kind, payload in extras] == want["unknown"]
    # A type that the specification defines is never unknown.
    assert not {event.type for event in events if isinstance(event, UnknownChunk)} & layout.DEFINED_TYPES


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_by_random_access(path: Path) -> None:
    want = expected(path)
    with StreamFile.open(path) as stream:
        assert stream.complete
        assert stream.frame_count == want["frames"]
        assert stream.byte_account() == want["bytes"]
        assert {str(i.slot): i.digest.hex() for i in stream.identities} == want["identities"]
        packets = np.concatenate([packets_of(group) for group in want["groups"]] or [np.zeros((0, 35))])
        for frame in range(stream.frame_count):
            assert np.array_equal(stream.packets(frame, frame + 1)[0], packets[frame])
            assert stream.frame_at(stream.pts(frame, frame + 1)[0]) == frame
        slots = [group["identity"] for group in want["groups"] for _ in packets_of(group)]
        assert {str(r.slot): r.digest.hex() for r in stream.references} == want.get("references", {})
        for frame, slot in enumerate(slots):
            assert stream.named_identity_for(frame).slot == slot
            if str(slot) in want["identities"]:
                assert stream.identity_for(frame).slot == slot
        assert sum(len(bytes(chunk)) for chunk in stream.audio_chunks()) == sum(c["bytes"] for c in want["audio"])
    assert check(path).complete


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path: Path) -> None:
    data, want = path.read_bytes(), expected(path)
    for pieces in ways(data):
        reader = StreamReader()
        groups = 0
        with pytest.raises(errors.FormatError) as caught:  # noqa: PT012 (any of the portions may be the one)
            for piece in pieces:
                groups += sum(isinstance(event, FrameGroup) for event in reader.feed(piece))
            reader.close()
        assert type(caught.value).__name__ == want["error"]
        assert caught.value.offset == want["offset"]
        assert str(caught.value)
        assert groups == want["groups_before"]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_read_tolerantly(path: Path) -> None:
    """A tolerant reader reports the fault, and gives the same whatever the portions."""
    fatal = expected(path)["error"] in ("BadMagic", "UnsupportedVersion")
    results = []
    for pieces in ways(path.read_bytes()):
        reader = StreamReader(strict=False)
        events: list[Event] = []
        if fatal:
            with pytest.raises((errors.BadMagic, errors.UnsupportedVersion)):  # noqa: PT012
                for piece in pieces:
                    events += reader.feed(piece)
                reader.close()
            continue
        for piece in pieces:
            events += reader.feed(piece)
        events += reader.flush()
        report = reader.close()
        assert not report.complete
        assert report.missing or report.damage_count
        results.append((events, str(report)))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_by_random_access(path: Path) -> None:
    """Opening gives a FormatError or what is intact, never another error, and the bytes add up."""
    try:
        with StreamFile.open(path) as stream:
            account = stream.byte_account()
            assert sum(n for name, n in account.items() if name != "total") == stream.size
            list(stream.groups())
            list(stream.audio_chunks())
            assert stream.identities is not None
    except errors.FormatError:
        pass


def make_vectors() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", SPEC / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_vectors_are_what_the_script_makes() -> None:
    made = make_vectors().files()
    folder = SPEC / "vectors"
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("*/*") if path.is_file()}
    assert there == made


def test_the_script_imports_nothing_of_the_package() -> None:
    scripts = list(SPEC.glob("*.py"))
    assert len(scripts) >= 7
    for script in scripts:
        assert "import stylecodec" not in (text := script.read_text())
        assert "from stylecodec" not in text


#: Hold what StreamWriter does not write: a later version, no index, reserved types, repetitions.
NOT_WRITTEN = (
    *("newer_minor", "newer_minor_chunks", "no_index", "unknown_skippable", "identities", "identity_compact"),
    *("identity_reference", "identity_reference_only", "progressive_chain"),
)


@pytest.mark.parametrize("path", [p for p in VALID if p.stem not in NOT_WRITTEN], ids=lambda path: path.stem)
def test_writer_makes_the_same_bytes(path: Path) -> None:
    """Package and script are two writers of one text: they agree byte for byte."""
    events = read([path.read_bytes()])
    header = events[0]
    assert isinstance(header, StreamHeader)
    predicts = any(isinstance(e, Identity) and e.base is not None for e in events)
    writer = StreamWriter(header, next((e for e in events if isinstance(e, AudioConfig)), None), predicts=predicts)
    data = writer.start()
    for event in events:
        if isinstance(event, Identity):
            data += writer.identity(event)
        elif isinstance(event, IdentityReference):
            data += writer.reference(event)
        elif isinstance(event, FrameGroup):
            data += writer.group(event.packets, event.pts)
        elif isinstance(event, AudioChunk):
            data += writer.audio(event)
        elif isinstance(event, UnknownChunk):
            data += writer.copy(event)
        elif isinstance(event, Extra):
            data += writer.attach(event)
    assert data + writer.finish() == path.read_bytes()


# --- SPEC.md itself ---------------------------------------------------------------------------------------------


def spec_text() -> str:
    return (SPEC / "SPEC.md").read_text()


def test_worked_example() -> None:
    """The hex of SPEC section 9 is the vector, and what StreamWriter makes of the same numbers."""
    block = re.search(r"```hex\n(.*?)```", spec_text(), re.DOTALL)
    assert block is not None
    data = bytearray()
    for line in block[1].splitlines():
        if not line.strip() or line.strip().startswith(";"):
            continue
        offset, text = line.strip().split("  ", 1)
        assert int(offset) == len(data)
        run = re.fullmatch(r"00 \* (\d+)", text)
        data += bytes(int(run[1])) if run else bytes.fromhex(text)
    assert bytes(data) == (SPEC / "vectors/valid/example.stc").read_bytes()

    digest = read([bytes(data)])[0].pack_digest  # type: ignore[union-attr]
    indices = tuple((0, i) for i in range(32))
    header = StreamHeader(Fraction(25), 1024, 1024, Profile.RAW, "demo", digest, indices)
    writer = StreamWriter(header)
    made = writer.start() + writer.identity(Identity(np.zeros((18, 512), np.float16)))
    made += writer.group([[1.0, -2.0, 0.5] + [0.0] * 32]) + writer.finish()
    assert made == bytes(data)
    with StreamFile.open(io.BytesIO(made)) as stream:
        account = stream.byte_account()
    text = re.sub(r"\s+", " ", spec_text())
    for count, what in [
        (account["total"], "bytes,"),
        (account["identity"], "are the identity"),
        (account["packets"], "the packet and its group"),
        (account["index"], "index and END"),
        (account["header"], "prologue and header"),
    ]:
        assert f"{count:,} {what}" in text


def test_spec_names_every_limit() -> None:
    section = spec_text().split("## 7. Limits")[1].split("## 8.")[0]
    numbers = {int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\d|\d", section)}
    payloads = {*layout.MAX_PAYLOAD.values(), layout.MAX_OTHER_BYTES}
    limits = {
        layout.MAX_GROUP_FRAMES,
        layout.MAX_IDENTITIES,
        layout.MAX_RATE,
        layout.MAX_PICTURE_SIDE,
        layout.MAX_SOURCE_SIDE,
        layout.MAX_PACK_NAME_BYTES,
        layout.MAX_AUDIO_CHANNELS,
        layout.MAX_AUDIO_PACKET_BYTES,
        layout.MAX_AUDIO_PACKETS,
        layout.MAX_INDEX_ENTRIES,
    }
    assert payloads | limits <= numbers
    assert layout.MAX_FRAMES == 2**40
    assert layout.MAX_TICKS == 2**62 - 1


def test_spec_names_every_chunk_type() -> None:
    rows = dict(re.findall(r"^\| 0x([0-9A-F]{2}) \| ([A-Z_]+) \|", spec_text(), re.MULTILINE))
    named = {int(number, 16): name for number, name in rows.items()}
    assert named == {int(kind): kind.name for kind in layout.ChunkType}


def test_spec_draws_the_structures() -> None:
    """The sizes the text gives are those of the declared structures."""
    text = spec_text()
    assert " ".join(f"{byte:02X}" for byte in layout.MAGIC) in text
    assert " ".join(f"{byte:02X}" for byte in layout.SYNC) in text
    assert layout.PROLOGUE_BYTES == 16
    assert layout.CHUNK_HEAD_BYTES == 12
    assert layout.HEADER_HEAD_BYTES == 147
    assert layout.GROUP_HEAD_BYTES == 12
    assert layout.INDEX_ENTRY.itemsize == 12
    assert layout.CHUNK_OVERHEAD + layout.END_BYTES == 40
    # SPEC section 3: the sync word is not finite at either alignment.
    assert not np.isfinite(np.frombuffer(layout.SYNC, "<f2")).all()
    assert not np.isfinite(np.frombuffer(b"\0" + layout.SYNC + b"\0", "<f2")).all()


def test_index_and_end_are_events() -> None:
    events = read([(SPEC / "vectors/valid/raw_small.stc").read_bytes()])
    index, end = events[-2:]
    assert isinstance(index, Index)
    assert len(index) == 4
    assert isinstance(end, End)
    assert end.frame_count == 3
