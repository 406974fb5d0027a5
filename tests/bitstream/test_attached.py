"""The chunks that only a renderer needs: vectors with faults in them, and the background's own bounds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stylecodec import errors
from stylecodec.bitstream import (
    FrameGroup,
    Identity,
    StreamFile,
    StreamHeader,
    StreamReader,
    StreamWriter,
    UnknownChunk,
    check,
    edit,
    layout,
)
from stylecodec.bitstream.attached import admit, background, personalizations
from stylecodec.bitstream.background import Background, Mode, PictureFormat
from stylecodec.bitstream.chunks import pack_chunk
from stylecodec.bitstream.delta import Personalization
from stylecodec.bitstream.events import parse_attachment
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded
from tests.bitstream.conftest import make_header, make_identity, make_packets

VECTORS = Path(__file__).resolve().parents[2] / "format_spec" / "vectors"
FAULTS = sorted((VECTORS / "invalid_attached").glob("*.stc"))
PLATE = Background(Mode.PLATE, (0, 0, 0), 320, 180, (160.0, 90.0, 120.0), PictureFormat.JPEG, b"a JPEG file")


def test_there_are_faults() -> None:
    assert len(FAULTS) >= 30


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_faults_are_found_where_they_are(path: Path) -> None:
    want = json.loads(path.with_suffix(".json").read_text())
    reader = StreamReader()
    assert len(reader.feed(path.read_bytes())) == 1  # the header; the error comes with the next call
    with pytest.raises(FormatError) as caught:
        reader.feed(b"")
    assert type(caught.value) is getattr(errors, want["error"])
    assert caught.value.offset == want["offset"]


def test_a_tolerant_reader_goes_on_without_them() -> None:
    for path in FAULTS:
        reader = StreamReader(strict=False)
        reader.feed(path.read_bytes())
        assert reader.close().damage_count == 1


def test_valid_vectors() -> None:
    with StreamFile.open(VECTORS / "valid" / "delta_carried.stc") as stream:
        (one,) = personalizations(stream).values()
        assert one.delta is not None
        assert [tensor.values.tolist() for tensor in one.delta.tensors] == [
            [0.5, -1.0, 63.5],
            [[1.0, 0.0, -1.0, 31.75], [-1.0, 0.0, 1.0, -31.75]],
        ]
        assert background(stream) is None
    with StreamFile.open(VECTORS / "valid" / "delta_named.stc") as stream:
        assert personalizations(stream) == {one.identity: one.named}
    with StreamFile.open(VECTORS / "valid" / "background_plate.stc") as stream:
        assert background(stream) == PLATE
    with StreamFile.open(VECTORS / "valid" / "background_key.stc") as stream:
        assert background(stream) == Background(Mode.KEY, (0, 177, 64))


def test_they_are_events_like_any_other() -> None:
    for name, count in (("delta_carried", 2), ("delta_named", 1)):
        assert kinds(name) == [StreamHeader, Identity, *[Personalization] * count, FrameGroup, FrameGroup]
    for mode in ("plate", "key", "blur"):
        assert kinds(f"background_{mode}") == [StreamHeader, Identity, Background, FrameGroup, FrameGroup]


def kinds(name: str) -> list[type]:
    """The types of the events of a valid vector, without index and end."""
    return [type(event) for event in StreamReader().feed((VECTORS / "valid" / f"{name}.stc").read_bytes())[:-2]]


def test_types_that_are_defined_are_not_copied_as_unknown() -> None:
    writer = StreamWriter(make_header())
    writer.start()
    for kind in layout.ChunkType:
        with pytest.raises(LimitExceeded, match="not copied unread"):
            writer.copy(UnknownChunk(kind, bytes(Background(Mode.BLUR)), 0))


@pytest.mark.parametrize("chunk", [pack_chunk(0x12, bytes(Background(Mode.BLUR))), pack_chunk(0x90, b"private")])
def test_nothing_precedes_the_header(chunk: bytes) -> None:
    data = StreamWriter(make_header()).start()
    early = data[:16] + chunk + data[16:]
    with pytest.raises(CorruptChunk, match="precedes the stream header") as caught:
        StreamReader().feed(early)
    assert caught.value.offset == 16
    assert len(StreamReader(strict=False).feed(early)) == 2


def damaged(name: str, *places: bytes) -> bytes:
    """A valid vector with one bit flipped wherever these bytes begin."""
    data = (VECTORS / "valid" / name).read_bytes()
    for place in places:
        data = data.replace(place, bytes([place[0] ^ 1]) + place[1:])
    return data


DELTA, INDEX = b"blocks.0.to_rgb", layout.SYNC + bytes([layout.ChunkType.INDEX])
ATTACHED = [
    ("delta_carried.stc", DELTA, personalizations, {}, "a personalised generator"),
    ("background_plate.stc", b"a JPEG file", background, None, "the background"),
]


@pytest.mark.parametrize(("name", "place", "read", "without", "lost"), ATTACHED)
@pytest.mark.parametrize("index", [True, False])
def test_a_damaged_attachment_costs_nothing_else(
    name: str, place: bytes, read: Callable[[StreamFile], object], without: object, lost: str, index: bool
) -> None:
    data = damaged(name, place) if index else damaged(name, place, INDEX)
    with StreamFile.open(VECTORS / "valid" / name) as whole:
        packets = whole.packets(0, 3)
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert stream.complete == index
        assert (stream.packets(0, 3) == packets).all()
        assert stream.identity_for(2).digest in stream.identity_digests
        with pytest.raises(FormatError, match="GENERATOR_DELTA|BACKGROUND" if index else f"missing.*{lost}"):
            read(stream)
        other = background if read is personalizations else personalizations
        assert not other(stream)
    with StreamFile.open(io.BytesIO(data), partial=True) as stream:
        assert read(stream) == without
        assert (stream.packets(0, 3) == packets).all()
        assert stream.report is not None
        assert lost in stream.report.missing
    with pytest.raises(FormatError, match="missing: .*" + lost):
        edit.require_complete(StreamFile.open(io.BytesIO(data), partial=True))


def test_an_attachment_whose_head_is_damaged_is_missed_in_the_index() -> None:
    head = layout.SYNC + bytes([layout.ChunkType.GENERATOR_DELTA])
    report = check(io.BytesIO(damaged("delta_carried.stc", head)))
    assert report.missing == ("a personalised generator",)
    assert report.lost_types == {layout.ChunkType.GENERATOR_DELTA}


def test_a_file_that_ends_inside_a_generator() -> None:
    data = damaged("delta_carried.stc")
    with (
        StreamFile.open(io.BytesIO(data[: data.index(DELTA)])) as stream,
        pytest.raises(FormatError, match=r"missing.*a personalised generator"),
    ):
        personalizations(stream)


def test_a_repetition_stands_in_where_a_live_stream_is_damaged() -> None:
    one = Personalization(make_identity().digest, bytes(32))
    writer = StreamWriter(make_header(), live=True)
    data = writer.start() + writer.identity(make_identity())
    chunk = writer.attach(one)
    broken = chunk[:-1] + bytes([chunk[-1] ^ 1])
    group = writer.group(make_packets(2))
    with StreamFile.open(io.BytesIO(data + broken + group + chunk)) as stream:
        assert personalizations(stream) == {one.identity: one}
    with StreamFile.open(io.BytesIO(data + broken + group)) as stream, pytest.raises(FormatError):
        personalizations(stream)


def test_only_generators_of_the_streams_identities_are_kept() -> None:
    own = Personalization(make_identity().digest, bytes(32))
    known = Personalization(make_identity(2).digest, bytes(32))
    strangers = [Personalization(hashlib.sha256(bytes([k])).digest(), bytes(32)) for k in range(20)]
    writer = StreamWriter(make_header())
    data = writer.start()
    for one in (*strangers, own, known):
        data += writer.attach(one)
    data += writer.reference(make_identity(2)) + writer.identity(make_identity()) + writer.group(make_packets(2))
    with StreamFile.open(io.BytesIO(data + writer.finish())) as stream:
        assert personalizations(stream) == {own.identity: own, known.identity: known}


def test_a_generator_that_is_carried_counts_more_than_its_name() -> None:
    with StreamFile.open(VECTORS / "valid" / "delta_carried.stc") as stream:
        (carried,) = personalizations(stream).values()
    for order in ((carried.named, carried), (carried, carried.named)):
        found: dict[bytes, Personalization] = {}
        for one in order:
            admit(found, one)
        assert found == {carried.identity: carried}


def test_edits_go_round_what_they_leave_out() -> None:
    delta, plate = damaged("delta_carried.stc", DELTA), damaged("background_plate.stc", b"a JPEG file")
    made = b"".join(edit.strip(StreamFile.open(io.BytesIO(delta)), personalization=True))
    assert check(io.BytesIO(made)).complete
    made = b"".join(edit.strip(StreamFile.open(io.BytesIO(plate)), background=True))
    assert check(io.BytesIO(made)).complete
    made = b"".join(edit.puppet(make_identity(), StreamFile.open(io.BytesIO(delta))))
    assert check(io.BytesIO(made)).complete
    with pytest.raises(FormatError, match="GENERATOR_DELTA"):
        edit.cut(StreamFile.open(io.BytesIO(delta)), 0, 2)


def test_bytes_and_back() -> None:
    for one in (PLATE, Background(Mode.BLUR), Background(Mode.KEY, (1, 2, 3))):
        assert Background.parse(bytes(one)) == one
        assert parse_attachment(0x12, bytes(one)) == one


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"mode": Mode.BLUR, "colour": (1, 0, 0)}, CorruptChunk),
        ({"mode": Mode.KEY, "picture": b"x"}, CorruptChunk),
        ({"mode": Mode.PLATE}, CorruptChunk),
        (vars(PLATE) | {"width": 5000}, LimitExceeded),
        (vars(PLATE) | {"square": (1e9, 0.0, 10.0)}, LimitExceeded),
        (vars(PLATE) | {"picture": bytes((1 << 22) + 1)}, LimitExceeded),
    ],
)
def test_backgrounds_out_of_bounds(fields: dict[str, object], error: type[FormatError]) -> None:
    with pytest.raises(error):
        Background(**fields)  # type: ignore[arg-type]
