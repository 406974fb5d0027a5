"""Identities that are predicted from others: a coarse one first, its refinement with a later group (SPEC 5.2, 12.2)."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream import (
    FrameGroup,
    Identity,
    Profile,
    StreamFile,
    StreamReader,
    StreamReport,
    StreamWriter,
    layout,
)
from stylecodec.bitstream.chunks import Prologue, parse_chunk
from stylecodec.bitstream.compact.coding import predicted_levels
from stylecodec.bitstream.compact.modelling import compact_header, plain_quantiser
from stylecodec.bitstream.compact.quantiser import nearest_code, step_of
from stylecodec.bitstream.edit import Dumper, Repair, concat, cut, first_identity, puppet, strip, transcode, undump
from stylecodec.bitstream.facts import stream_facts
from stylecodec.bitstream.layout import ChunkType, IdentityForm
from stylecodec.bitstream.live import LiveReceiver, bursts
from stylecodec.bitstream.live.transport import Packetizer
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded, UnsupportedVersion
from tests.bitstream.conftest import make_header, make_identity, make_packets
from tests.bitstream.talks import opened, talk

COARSE = Identity(make_identity().latent, step_code=nearest_code(1.0))
FINE = Identity(make_identity().latent, step_code=nearest_code(0.2), base=COARSE)
OTHER = make_identity(5)


@functools.cache
def progressive(predicts: bool = True) -> bytes:
    """Ten frames of the coarse identity, then ten of its refinement and five of somebody else."""
    packets = make_packets(25)
    header = compact_header(make_header(), plain_quantiser(packets, 10))
    writer = StreamWriter(header, predicts=predicts)
    data = writer.start() + writer.identity(COARSE) + writer.group(packets[:10])
    data += writer.identity(FINE) + writer.group(packets[10:20])
    return data + writer.identity(OTHER) + writer.group(packets[20:]) + writer.finish()


def chunks(data: bytes) -> list[tuple[int, bytes]]:
    """Type and bytes of every chunk."""
    at, found = layout.PROLOGUE_BYTES, []
    while at < len(data):
        chunk = parse_chunk(data[at:], at)
        found.append((chunk.type, data[at : at + chunk.size]))
        at += chunk.size
    return found


def without_identity(number: int) -> bytes:
    """The stream less one of its IDENTITY chunks."""
    data = progressive()
    parts = [part for kind, part in chunks(data) if kind == ChunkType.IDENTITY]
    return data.replace(parts[number], b"")


def tolerant(data: bytes) -> tuple[StreamReader, StreamReport]:
    reader = StreamReader(strict=False)
    reader.feed(data)
    return reader, reader.close()


def forms(stream: StreamFile) -> list[IdentityForm]:
    return [identity.form for identity in stream.identities]


# --- the form -------------------------------------------------------------------------------------------------------


def test_round_trip() -> None:
    data = progressive()
    assert data[8:10] == bytes([1, 1])
    with opened(data) as stream:
        assert forms(stream) == [IdentityForm.COMPACT, IdentityForm.PREDICTED, IdentityForm.RAW]
        assert [one.latent.tobytes() for one in stream.identities] == [
            one.latent.tobytes() for one in (COARSE, FINE, OTHER)
        ]
        assert stream.identities[1].base == stream.identities[0]
        assert stream.identities[1] != stream.identities[1].whole
        assert hash(stream.identities[1]) == hash(replace(FINE, slot=1))


def test_without_predictions_it_is_a_stream_of_version_1_0() -> None:
    data = progressive(predicts=False)
    assert data[8:10] == bytes([1, 0])
    with opened(data) as stream:
        assert forms(stream) == [IdentityForm.COMPACT, IdentityForm.COMPACT, IdentityForm.RAW]
        assert [one.digest for one in stream.identities] == [COARSE.digest, FINE.digest, OTHER.digest]


def test_differences_take_fewer_bytes_than_the_whole() -> None:
    assert len(bytes(FINE)) < len(bytes(FINE.whole))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF), min_size=512, max_size=512), st.integers(0, 255))
def test_predictions_are_exact(bits: list[int], code: int) -> None:
    """Rounded to nearest, ties up, whatever the numbers: as fractions have it."""
    row = np.array(bits, np.uint16).view("<f2")
    step = Fraction(step_of(code))
    exact = [floor(Fraction(float(number)) / step + Fraction(1, 2)) for number in row]
    assert predicted_levels(np.tile(row, (18, 1)), code)[7].tolist() == [max(-1023, min(1023, one)) for one in exact]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 255))
def test_no_bytes_break_the_parser(data: bytes, slot: int) -> None:
    payload = bytes([slot, 2]) + bytes(32) + data
    with pytest.raises(FormatError):
        Identity.parse(payload, 0, {0: COARSE, 9: FINE}.get)


def test_a_raw_identity_has_no_base() -> None:
    with pytest.raises(CorruptChunk, match="has a step"):
        Identity(OTHER.latent, base=COARSE)


def test_a_chain_is_bounded() -> None:
    one = COARSE
    for number in range(layout.MAX_PREDICTIONS):
        one = Identity(make_identity(number).latent, step_code=100, base=one)
    with pytest.raises(LimitExceeded, match="more than 8 others"):
        Identity(OTHER.latent, step_code=100, base=one)


def test_a_writer_of_many_refinements_sends_some_whole() -> None:
    writer = StreamWriter(make_header(), predicts=True)
    data, sent = writer.start(), COARSE
    for number in range(11):
        data += writer.identity(sent) + writer.group(make_packets(1))
        sent = Identity(make_identity(number).latent, step_code=100, base=sent.whole)
    with opened(data + writer.finish()) as stream:
        whole = [slot for slot, form in enumerate(forms(stream)) if form == IdentityForm.COMPACT]
        assert whole == [0, 9]
        assert stream.identity_for(10).predictions == 1


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_seek_gives_the_refined_identity() -> None:
    for frame, wanted in ((24, OTHER), (10, FINE), (19, FINE), (9, COARSE), (0, COARSE)):
        with StreamFile.open(io.BytesIO(progressive())) as stream:
            assert stream.identity_for(frame).digest == wanted.digest


def test_version_1_0_has_no_predictions() -> None:
    data = bytes(Prologue()) + progressive()[layout.PROLOGUE_BYTES :]
    for strict in (True, False):
        reader = StreamReader(strict=strict)
        assert sum(isinstance(event, FrameGroup) for event in reader.feed(data)) == 1
        with pytest.raises(UnsupportedVersion, match="form 2"):
            reader.close()
    with StreamFile.open(io.BytesIO(data)) as stream, pytest.raises(UnsupportedVersion, match="form 2"):
        stream.identity_for(15)


def test_a_missing_base_is_one_clear_error() -> None:
    data = progressive()
    kept = [part for kind, part in chunks(data) if kind in (ChunkType.HEADER, ChunkType.IDENTITY)]
    reader = StreamReader()
    reader.feed(data[: layout.PROLOGUE_BYTES] + kept[0] + kept[2])
    with pytest.raises(CorruptChunk, match="predicted from that of slot 0, not given before"):
        reader.close()


def test_tolerant_reading_without_the_base() -> None:
    reader, report = tolerant(without_identity(0))
    assert str(report.damage[0].error).startswith("an identity is predicted from that of slot 0")
    assert report.missing == ("the identity of slot 0", "the identity of slot 1")
    assert list(reader.identities) == [2]
    with StreamFile.open(io.BytesIO(without_identity(0))) as stream:
        assert not stream.complete
        assert stream.identity_for(20).digest == OTHER.digest
        for frame in (0, 10):
            with pytest.raises(CorruptChunk, match="missing"):
                stream.identity_for(frame)


def test_tolerant_reading_without_the_refinement() -> None:
    reader, report = tolerant(without_identity(1))
    assert report.missing == ("the identity of slot 1",)
    assert sorted(reader.identities) == [0, 2]


def test_a_damaged_prologue_hides_no_predictions() -> None:
    data = bytearray(progressive())
    data[9] ^= 0x40
    reader, report = tolerant(bytes(data))
    assert report.damage_count == 1
    assert reader.identities[1].digest == FINE.digest


def test_a_base_must_come_before_in_a_file_with_an_index_too() -> None:
    writer = StreamWriter(make_header(), predicts=True)
    data = writer.start() + writer._chunk(ChunkType.IDENTITY, bytes(replace(FINE, slot=1)), 1)
    data += writer.identity(COARSE) + writer.group(make_packets(1)) + writer.finish()
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert stream.complete
        assert stream.identity_for(0).digest == COARSE.digest
        with pytest.raises(CorruptChunk, match="not given before"):
            _ = stream.identities


def test_a_long_chain_in_a_file_with_an_index_is_refused() -> None:
    writer = StreamWriter(make_header(), predicts=True)
    data, latent = writer.start() + writer.identity(COARSE), COARSE.latent
    for slot in range(1, 40):
        same = Identity(latent, slot, COARSE.step_code, Identity(latent, slot - 1, COARSE.step_code))
        data += writer._chunk(ChunkType.IDENTITY, bytes(same), slot)
    with StreamFile.open(io.BytesIO(data + writer.finish())) as stream:
        assert stream._identities.of_slot(8).digest == COARSE.digest
        with pytest.raises(LimitExceeded, match="more than 8 others"):
            stream._identities.of_slot(39)


def test_a_known_base_may_be_only_named() -> None:
    data = progressive()
    writer = StreamWriter(make_header(), live=True)
    writer.start()
    named = writer.reference(COARSE, mandatory=True)
    first = next(part for kind, part in chunks(data) if kind == ChunkType.IDENTITY)
    data = data.replace(first, named)
    known = {COARSE.digest: COARSE}
    reader = StreamReader(strict=False, recall=known.get)
    reader.feed(data)
    assert reader.identities[1].digest == FINE.digest
    with StreamFile.open(io.BytesIO(data), recall=known.get) as stream:
        assert stream.identity_for(12).digest == FINE.digest


def test_facts_tell_both() -> None:
    with opened(progressive()) as stream:
        latents = stream_facts(stream)["latents"]
    sizes = [len(bytes(one)) + layout.CHUNK_OVERHEAD for one in (COARSE, FINE, OTHER)]
    assert [one["bytes"] for one in latents] == sizes
    assert [one["form"] for one in latents] == ["compact", "predicted", "raw"]
    assert [one.get("base") for one in latents] == [None, COARSE.digest.hex(), None]


# --- editing --------------------------------------------------------------------------------------------------------


def test_a_cut_across_the_change_keeps_the_prediction() -> None:
    with opened(progressive()) as stream, opened(cut(stream, 5, 15)) as made:
        assert forms(made) == [IdentityForm.COMPACT, IdentityForm.PREDICTED]
        assert [made.identity_for(frame).digest for frame in (4, 5)] == [COARSE.digest, FINE.digest]
        assert np.array_equal(made.packets(0, 10), stream.packets(5, 15))


def test_a_cut_after_the_change_needs_no_base_and_is_of_version_1_0() -> None:
    with opened(progressive()) as stream:
        data = b"".join(cut(stream, 12, 25))
    assert data[9] == 0
    with opened(data) as made:
        assert forms(made) == [IdentityForm.COMPACT, IdentityForm.RAW]
        assert made.identity_for(0).digest == FINE.digest


def test_joined_streams() -> None:
    with opened(progressive()) as stream:
        late, early = b"".join(cut(stream, 12, 15)), b"".join(cut(stream, 0, 5))
    with opened(late) as one, opened(early) as two, opened(progressive()) as three:
        with opened(concat([two, one, three])) as made:
            assert forms(made)[:2] == [IdentityForm.COMPACT, IdentityForm.COMPACT]  # the late part knows no base
            assert made.identity_for(5).digest == made.identity_for(20).digest == FINE.digest
        with opened(concat([three, one])) as made:
            assert forms(made) == [IdentityForm.COMPACT, IdentityForm.PREDICTED, IdentityForm.RAW]


def test_stripped_and_transcoded() -> None:
    with opened(progressive()) as stream:
        with opened(strip(stream)) as made:
            assert forms(made)[1] == IdentityForm.PREDICTED
        data = b"".join(transcode(stream, Profile.RAW))
        assert data[9] == 0
        with opened(data) as made:
            assert set(forms(made)) == {IdentityForm.RAW}
            assert made.identity_for(15).digest == FINE.digest


def test_who_takes_one_identity_takes_the_refined_one() -> None:
    with opened(progressive()) as stream, opened(talk()) as driving:
        found = first_identity(stream)
        assert found == replace(FINE, slot=1, base=None)
        data = b"".join(puppet(found, driving))
    assert data[9] == 0
    with opened(data) as made:
        assert made.identity_for(0).digest == FINE.digest


def test_a_refinement_that_changes_nothing_ends_the_search() -> None:
    """Such an identity is predicted from its own latent, so from itself, if digests alone are followed."""
    writer = StreamWriter(make_header(), predicts=True)
    data = writer.start() + writer.identity(COARSE)
    for slot in (1, 2):
        same = Identity(COARSE.latent, slot, COARSE.step_code, replace(COARSE, slot=slot - 1))
        data += writer._chunk(ChunkType.IDENTITY, bytes(same), slot)
    with opened(data + writer.finish()) as stream:
        assert [one.slot for one in stream.identities] == [0, 1, 2]
        assert first_identity(stream).digest == COARSE.digest


def test_a_repaired_stream_is_the_same() -> None:
    with opened(progressive()) as stream:
        plain = b"".join(strip(stream))
    assert b"".join(Repair(io.BytesIO(plain)).portions()) == plain


def test_repair_without_the_base() -> None:
    with Repair(io.BytesIO(without_identity(0))) as repair, opened(repair.portions()) as made:
        assert {made.identity_for(frame).digest for frame in range(made.frame_count)} == {OTHER.digest}
        assert len(repair.lost) == 2


def test_repair_takes_the_base_from_another_stream() -> None:
    like = io.BytesIO(b"".join(cut(StreamFile.open(io.BytesIO(progressive())), 0, 10)))
    with Repair(io.BytesIO(without_identity(0)), StreamFile.open(like)) as repair, opened(repair.portions()) as made:
        assert made.frame_count == 25
        assert [made.identity_for(frame).digest for frame in (0, 10)] == [COARSE.digest, FINE.digest]
        assert not repair.lost


def test_an_edited_text_needs_the_base() -> None:
    dumper = Dumper()
    lines = list(dumper.feed(progressive()))
    assert b"".join(undump(lines)) == progressive()
    with pytest.raises(FormatError, match="version"):
        list(undump(['{"stylecodec": [1, 0]}', *lines[1:]]))
    number = next(i for i, line in enumerate(lines) if '"base"' in line)
    fields = json.loads(lines[number])
    for base in (1, 7):
        lines[number] = json.dumps(fields | {"base": base})
        with pytest.raises(FormatError, match=f"line {number + 1}: the base of identity 1 is another one"):
            list(undump(lines))


# --- live -----------------------------------------------------------------------------------------------------------


def test_live_streams_carry_identities_whole() -> None:
    packetizer, receiver = Packetizer(7), LiveReceiver(0.0)
    with opened(progressive()) as stream:
        sent = [packet for burst in bursts(stream, 5) for packet in packetizer.packets(burst.chunks, burst.seconds)]
    data = b"".join(receiver.datagram(packet, 0.0) for packet in sent) + receiver.flush()
    reader = StreamReader()
    events = reader.feed(data)
    assert reader.close().complete
    found = [event for event in events if isinstance(event, Identity)]
    assert [one.digest for one in found] == [COARSE.digest, FINE.digest, OTHER.digest]
    assert all(one.base is None for one in found)
