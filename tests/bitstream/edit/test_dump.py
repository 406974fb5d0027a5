"""A stream as lines of JSON and back: the same bytes; edited text: a valid stream."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stylecodec.bitstream import StreamWriter, layout
from stylecodec.bitstream.chunks import Prologue, pack_chunk
from stylecodec.bitstream.edit.dump import Dumper, undump
from stylecodec.errors import FormatError
from tests.bitstream.conftest import make_header, make_identity, make_stream
from tests.bitstream.edit.test_operations import opened, rows, talk

VECTORS = Path(__file__).parents[3] / "format_spec/vectors"
VALID, INVALID = sorted((VECTORS / "valid").glob("*.stc")), sorted((VECTORS / "invalid").glob("*.stc"))

COPIED = ("GENERATOR_DELTA", "BACKGROUND")


def dump(data: bytes, portion: int = 1 << 16) -> list[str]:
    dumper = Dumper()
    lines = [line for at in range(0, len(data), portion) for line in dumper.feed(data[at : at + portion])]
    dumper.close()
    return lines


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_there_and_back_is_nothing(path: Path) -> None:
    data = path.read_bytes()
    lines = dump(data)
    assert lines == dump(data, 500)
    assert b"".join(undump(lines)) == data
    for fields in map(json.loads, lines[1:]):
        assert ("payload" in fields) == (fields["chunk"].startswith("0x") or fields["chunk"] in COPIED)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_stream_is_not_dumped(path: Path) -> None:
    with pytest.raises(FormatError):
        dump(path.read_bytes())


def test_every_fp16_number_survives() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view("<f2")
    finite = bits[np.isfinite(bits)]
    packets = np.resize(finite, (1024, 35)), np.resize(finite[1024 * 35 :], (1024, 35))
    writer = StreamWriter(make_header(), live=True)
    data = writer.start() + writer.identity(make_identity())
    data += writer.group(packets[0]) + writer.group(packets[1])
    assert b"".join(undump(dump(data))) == data


def test_what_is_not_usual_is_kept() -> None:
    data = bytes(Prologue(1, 7, reserved=513)) + make_stream(live=True)[16:]
    assert b"".join(undump(dump(data))) == data
    writer = StreamWriter(make_header(), live=True)
    data = writer.start() + pack_chunk(0x90, b"\0\1", flags=0xFE)
    assert b"".join(undump(dump(data))) == data


def test_an_edited_text_is_a_valid_stream() -> None:
    lines = dump(talk(50))
    group = next(i for i, line in enumerate(lines) if '"GROUP"' in line)
    fields = json.loads(lines[group])
    fields["packets"][3][0] = 12.5
    fields["packets"].append(fields["packets"][-1])
    lines[group] = json.dumps(fields)
    later = next(i for i, line in enumerate(lines) if '"GROUP"' in line and i > group)
    lines[later] = lines[later].replace('"first_frame": 25', '"first_frame": 26')
    made = opened(undump(lines))
    assert made.frame_count == 51
    assert made.packets(3, 4)[0, 0] == 12.5
    assert len(rows(made)) == 51 * 70


@pytest.mark.parametrize(
    ("line", "new", "what"),
    [
        (0, "{}", "line 1: 'stylecodec' is missing"),
        (0, "[1]", "line 1: a line is one JSON object"),
        (0, '{"stylecodec": [1]}', "line 1: not enough values"),
        (0, '{"stylecodec": [1, 999]}', "line 1: "),
        (1, "{", "line 2: Expecting property name"),
        (1, "[" * 100_000, "line 2: "),
        (1, '{"chunk": "HEADR"}', "line 2: there is no chunk 'HEADR'"),
        (1, '{"chunk": "0x1FF", "payload": ""}', "line 2: there is no chunk type 0x1FF"),
        (1, '{"chunk": "HEADER"}', "line 2: "),
        (1, '{"chunk": 7}', "line 2: "),
        (2, '{"chunk": "IDENTITY", "slot": 0, "latent": [[1, 2], [3]]}', "line 3: "),
        (2, '{"chunk": "IDENTITY", "payload": ""}', "line 3: the IDENTITY chunk is too short"),
        (2, '{"chunk": "IDENTITY", "payload": "0g"}', "line 3: non-hexadecimal"),
        (3, '{"chunk": "GROUP", "first_frame": 0, "slot": 0, "packets": [[NaN]]}', "line 4: frame packets: the shape"),
        (3, '{"chunk": "GROUP", "first_frame": 0, "slot": 300, "packets": []}', "line 4: a frame group has no frames"),
        (3, '{"chunk": "GROUP", "payload": "00"}', "line 4: the GROUP chunk is too short"),
        (3, '{"chunk": "AUDIO", "time": 0, "packets": [""]}', "line 4: an audio packet of 0 bytes"),
        (3, '{"chunk": "GENERATOR_DELTA"}', "line 4: "),
        (3, '{"chunk": "0x80", "flags": 999, "payload": ""}', "line 4: "),
    ],
)
def test_wrong_text_names_its_line(line: int, new: str, what: str) -> None:
    lines = dump(make_stream((2,), audio=False))
    lines[line] = new
    with pytest.raises(FormatError) as caught:
        b"".join(undump(lines))
    assert str(caught.value).startswith(what)


def test_no_text() -> None:
    with pytest.raises(FormatError, match="holds no stream"):
        b"".join(undump(["", "\n"]))


def test_a_cut_stream_is_dumped_as_far_as_it_goes() -> None:
    data = make_stream((2, 3), audio=False)
    end = data.rindex(layout.SYNC + b"\x03")
    dumper = Dumper()
    assert len([*dumper.feed(data[: end + 50])]) == 4
    with pytest.raises(FormatError):
        dumper.close()


@pytest.mark.parametrize("rate", ["1e999999999", "1e-999999999", "9" * 100, "1/0", "25/", "0x19", "1_0"])
def test_a_rate_is_one_number_or_two(rate: str) -> None:
    lines = dump(make_stream())
    header = json.loads(lines[1])
    for right in ("25", 25, 12.5, "30000/1001"):
        b"".join(undump([lines[0], json.dumps(header | {"rate": right})]))
    with pytest.raises(FormatError, match=r"line 2: (a rate is frames/seconds|the frame rate has a denominator)"):
        b"".join(undump([lines[0], json.dumps(header | {"rate": rate})]))


def test_a_crop_of_anything() -> None:
    lines = dump(make_stream())
    header = json.loads(lines[1])
    crop = {"source_width": 64, "source_height": 48, "center_x": 32.0, "center_y": 24.5, "side": 20}
    b"".join(undump([lines[0], json.dumps(header | {"crop": crop})]))
    for name in crop:
        for value in (None, "x", [1], -1e400, 10**400, 1 << 40):
            if name.startswith("source") or value != 1 << 40:
                with pytest.raises(FormatError, match="line 2: "):
                    b"".join(undump([lines[0], json.dumps(header | {"crop": crop | {name: value}})]))
    b"".join(undump([lines[0], json.dumps(header | {"crop": crop | {"source_width": 64.5}})]))
