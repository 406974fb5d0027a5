"""The chunks that only a renderer needs: vectors with faults in them, and the background's own bounds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from stylecodec import errors
from stylecodec.bitstream import StreamFile, StreamReader
from stylecodec.bitstream.attached import background, parse_attached, personalizations
from stylecodec.bitstream.background import Background, Mode, PictureFormat
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded

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


def test_a_damaged_attachment_costs_nothing_else() -> None:
    data = bytearray((VECTORS / "valid" / "delta_carried.stc").read_bytes())
    clean = bytes(data)
    at = clean.index(b"blocks.0.to_rgb")
    data[at] ^= 1
    with StreamFile.open(io.BytesIO(bytes(data))) as stream:
        assert stream.frame_count == 3


def test_bytes_and_back() -> None:
    for scene in (PLATE, Background(Mode.BLUR), Background(Mode.KEY, (1, 2, 3))):
        assert Background.parse(bytes(scene)) == scene
        assert parse_attached(0x12, bytes(scene)) == scene


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
