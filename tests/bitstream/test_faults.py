"""A part of the fault study of benchmarks/faults.py: nothing but FormatErrors, intact chunks and bounded memory."""

from __future__ import annotations

import pytest

from benchmarks import faults


@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("stream", ["raw", "raw with times", "compact with times"])
def test_damage_is_refused_or_leaves_intact_parts(stream: str, kind: str) -> None:
    data, step, _ = faults.sources()[stream]
    tallies = faults.study(data, [kind], 25, 41 * step)
    assert len(tallies) == len(faults.READERS)
    for (_, reader), tally in tallies.items():
        assert tally.faults == []
        assert tally.tried >= 20
        assert tally.tried == tally.refused + tally.intact + tally.other
        if kind == "mended mutations":
            assert tally.other > 0  # the parser behind the checksums was reached
        else:
            assert tally.other == 0
            assert tally.refused == tally.tried or reader != "strict"
            assert tally.refused < tally.tried or reader != "tolerant"


def test_a_compact_identity_is_studied_too() -> None:
    data, _, _ = faults.sources()["compact identity"]
    for tally in faults.study(data, ["mended mutations"], 2).values():
        assert (tally.tried, tally.faults) == (2, [])


def test_a_reader_that_fails_is_seen() -> None:
    data, _, _ = faults.sources()["raw with times"]
    tally = faults.Tally()

    def broken(data: bytes) -> faults.Iterator[faults.Signature]:
        yield "group 0 of 0", b"made up"
        raise IndexError("of ours")

    faults.attempt(broken, data, False, set(), tally)
    assert tally.faults == ["IndexError: of ours", "values that were never written: group 0 of 0"]
