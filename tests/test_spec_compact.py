"""Section 12 of SPEC.md: its tables are those of the package, its worked example is what the coders make."""

from __future__ import annotations

import re
import sys
from itertools import chain
from pathlib import Path

import numpy as np

from stylecodec.bitstream import FrameGroup, Profile, Quantiser, StreamFile, StreamHeader, Term, layout
from stylecodec.bitstream.compact.coding import decode_levels, encode_levels
from stylecodec.bitstream.compact.quantiser import step_of
from stylecodec.bitstream.compact.tables import ACTIVITY_OF_CLASS, CLASS_BOUNDS, INITIAL_CHANCES

sys.path.insert(0, str(Path(__file__).parent.parent / "format_spec"))

import compact_coding  # type: ignore[import-not-found]

SPEC = Path(__file__).parent.parent / "format_spec"


def block(name: str) -> str:
    found = re.search(rf"```{name}\n(.*?)```", (SPEC / "SPEC.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1].rstrip("\n")


def numbers(name: str) -> list[int]:
    return [int(number) for number in block(name).split()]


def test_tables() -> None:
    assert numbers("bounds") == list(CLASS_BOUNDS)
    assert numbers("activities") == list(ACTIVITY_OF_CLASS)
    assert numbers("zero") + numbers("size") + numbers("sign") == list(INITIAL_CHANCES)
    assert all(1 <= chance <= 255 for chance in INITIAL_CHANCES)
    script = (SPEC / "reader-js/compact.js").read_text()
    tables = re.findall(r"^const (?:BOUNDS|ACTIVITIES|ZERO|SIZE|SIGN) = \[(.*?)\];", script, re.MULTILINE | re.DOTALL)
    given = list(chain.from_iterable([int(n) for n in table.replace(",", " ").split()] for table in tables))
    assert given == [*CLASS_BOUNDS, *ACTIVITY_OF_CLASS, *INITIAL_CHANCES]


def test_worked_example() -> None:
    trace, data = compact_coding.example()
    assert block("trace") == trace
    assert block("bytes") == data
    levels = np.array([line.split() for line in block("levels").splitlines()], np.int32)
    assert levels.tolist() == compact_coding.EXAMPLE_ROWS
    quantiser = Quantiser((128,) * 35, (0,) * 35, (0,) * 35, (Term(1, 0, 16),))
    assert step_of(128) == 1
    assert encode_levels(levels, quantiser) == bytes.fromhex(data)
    assert np.array_equal(decode_levels(bytes.fromhex(data), 2, quantiser, False)[0], levels)
    with StreamFile.open(SPEC / "vectors/valid/compact_example.stc") as stream:
        assert stream.header.profile == Profile.COMPACT
        assert stream.header.quantiser == quantiser
        assert np.array_equal(stream.packets(0, 2), levels)
        assert bytes(stream.group(0))[layout.GROUP_HEAD_BYTES :] == bytes.fromhex(data)


def test_the_drawn_sizes() -> None:
    """Where the text says the parts of the quantiser begin, and how large a header may be."""
    quantiser = Quantiser((128,) * 35, (-1,) * 35, (0,) * 35, (Term(3, 1, -2),))
    data = bytes(quantiser)
    assert data[:35] == bytes([128] * 35)
    assert data[53:88] == bytes([1] * 35)
    assert data[88:] == bytes([1, 3, 1, 0xFE])
    assert layout.MAX_QUANTISER_BYTES == 35 + 18 + 3 * 35 + 1 + 3 * layout.MAX_TERMS
    overhead = (SPEC / "SPEC.md").read_text()
    assert f"{len(bytes(Quantiser((128,) * 35)))} and more with a quantiser" in overhead


def test_a_compact_group_has_the_overhead_that_is_stated() -> None:
    quantiser = Quantiser((128,) * 35)
    still = FrameGroup(0, np.zeros((50, 35)), None, 0, quantiser)
    assert len(bytes(still)) + layout.CHUNK_OVERHEAD <= 28 + 9
    timed = FrameGroup(0, np.zeros((50, 35)), np.cumsum([3003, 3003, 3004] * 17)[:50], 0, quantiser)
    assert len(bytes(timed)) - len(bytes(still)) < 8 + 50


def test_headers_of_both_profiles_are_told_apart() -> None:
    paths = sorted((SPEC / "vectors/valid").glob("*.stc"))
    profiles = set()
    for path in paths:
        with StreamFile.open(path) as stream:
            assert isinstance(stream.header, StreamHeader)
            assert (stream.header.quantiser is not None) == (stream.header.profile == Profile.COMPACT)
            profiles.add(stream.header.profile)
    assert profiles == set(Profile)
