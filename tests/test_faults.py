"""A part of the study of benchmarks/faults: documented errors or nothing, intact values, bounded memory and time."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import __main__ as program
from benchmarks.faults import guided, judging, running
from benchmarks.faults.judging import Case, Signature, Surface, Tally, attempt
from benchmarks.faults.mutating import Mutations
from stylecodec.errors import FormatError

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.iterdir() if path.suffix == ".bin")
RANDOM = 1_000_000  # from here on numbers are damaged at random, whatever the surface
COUNTS = {"identity": 4, "identity card": 10, "repair": 10, "pack": 6}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory and processes are watched on Linux alone")


@pytest.fixture(scope="module")
def surfaces() -> dict[str, Surface]:
    return {}


def surface_of(surfaces: dict[str, Surface], name: str) -> Surface:
    if name not in surfaces:
        surfaces[name] = running.SURFACES[name]()
    return surfaces[name]


@pytest.mark.parametrize("name", running.SURFACES)
def test_hostile_inputs_are_refused_or_read(name: str, surfaces: dict[str, Surface]) -> None:
    surface, count = surface_of(surfaces, name), COUNTS.get(name, 60)
    labels: set[str] = set()
    for first in (0, RANDOM):
        _, tallies, faults = running.study(surface, first, first + count)
        # Processor time depends on the machine: the benchmark judges it, not this test.
        assert [fault for fault in faults if "seconds of processor time" not in fault.what] == []
        for tally in tallies.values():
            assert tally.tried == count == tally.refused + tally.intact + tally.other
            labels |= set(tally.labels)
    assert {"cut", "one byte"} <= labels
    assert len(labels) > 3


@pytest.mark.parametrize("name", running.SURFACES)
def test_valid_inputs_are_read(name: str, surfaces: dict[str, Surface]) -> None:
    """Else the hostile ones would be refused for another reason than what was done to them."""
    surface = surface_of(surfaces, name)
    accepted: set[str] = set()
    for data in surface.seeds.values():
        for reader in surface.readers:
            tally = Tally()
            assert attempt(surface, reader, 0, Case(data, "seed"), tally) == []
            accepted |= {reader} if not tally.refused else set()
    assert accepted == set(surface.readers)


def test_nothing_foreign_comes_out_of_damaged_streams(surfaces: dict[str, Surface]) -> None:
    surface = surface_of(surfaces, "stream")
    cases = [case for number in range(RANDOM, RANDOM + 400) if (case := surface.case(number)).known is not None]
    assert {case.label for case in cases} == {"mutated", "spliced", "shuffled"}
    for reader in surface.readers:
        tally = Tally()
        for number, case in enumerate(cases[:80]):
            assert attempt(surface, reader, number, case, tally) == []
        assert tally.other == 0
        assert tally.refused == tally.tried or reader != "strict" or tally.intact
        assert tally.refused < tally.tried or reader != "tolerant"


def test_damage_behind_checksums_reaches_the_parser(surfaces: dict[str, Surface]) -> None:
    surface, tally = surface_of(surfaces, "stream"), Tally()
    for number in range(RANDOM, RANDOM + 200):
        case = surface.case(number)
        if case.label == "mended":
            attempt(surface, "tolerant", number, case, tally)
    assert tally.other > 0


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_a_fault_is_none_any_more(path: Path, surfaces: dict[str, Surface]) -> None:
    surface = surface_of(surfaces, path.stem.partition("--")[0].replace("-", " "))
    for reader in surface.readers:
        assert attempt(surface, reader, 0, Case(path.read_bytes(), "corpus"), Tally()) == []


def test_every_file_of_the_corpus_is_described() -> None:
    text = (CORPUS / "README.md").read_text()
    assert FOUND
    for path in FOUND:
        assert f"`{path.name}`" in text
        assert path.stat().st_size < 20_000


def test_inputs_are_the_same_whenever_they_are_asked_for(surfaces: dict[str, Surface]) -> None:
    surface = surface_of(surfaces, "undump")
    again = running.SURFACES["undump"]()
    for number in (0, 1, 17, RANDOM, RANDOM + 1, RANDOM + 12):
        assert surface.case(number) == again.case(number)
    assert len({surface.case(number).data for number in range(RANDOM, RANDOM + 50)}) > 45


# --- what judges ------------------------------------------------------------------------------------------------


def judged(read: judging.Read, known: frozenset[Signature] | None = None, data: bytes = b"abc") -> list[str]:
    surface = Surface("test", {"reader": read}, Mutations({"a": data}), {"a": data})
    tally = Tally(tried=1)  # the first of so many is traced
    faults = attempt(surface, "reader", 0, Case(data, "test", known), tally)
    assert tally.faults == len(faults)
    return [fault.what for fault in faults]


def test_a_reader_that_fails_is_seen() -> None:
    def broken(data: bytes) -> Iterator[Signature]:
        yield "group 0 of 0", b"made up"
        raise IndexError("of ours")

    def foreign(data: bytes) -> Iterator[Signature]:
        yield "group 0 of 0", b"made up"

    def refusing(data: bytes) -> Iterator[Signature]:
        raise FormatError("no")
        yield

    def exhausted(data: bytes) -> Iterator[Signature]:
        raise FormatError("no memory") from MemoryError()
        yield

    assert judged(broken, frozenset()) == ["IndexError: of ours"]
    assert judged(foreign, frozenset()) == ["values that were never written: group 0 of 0"]
    assert judged(foreign) == judged(refusing) == []
    assert judged(exhausted) == ["MemoryError: no memory"]


def test_a_reader_that_takes_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.0, 1.5))
    monkeypatch.setattr(judging.time, "process_time", lambda: next(seconds))
    assert judged(lambda data: []) == ["1.50 seconds of processor time for 3 bytes"]


@LINUX
def test_a_reader_that_takes_too_much_memory_is_seen() -> None:
    def greedy(data: bytes) -> Iterator[Signature]:
        with mmap.mmap(-1, 64 << 20) as kept:  # new memory, whatever this process has freed before
            for place in range(0, len(kept), mmap.PAGESIZE):
                kept[place] = 1  # pages that are not touched take none
        yield from ()

    (fault,) = judged(greedy)
    assert fault.endswith("bytes of memory for 3")


@LINUX
def test_a_process_that_dies_or_hangs_loses_one_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> Iterator[Signature]:
        if data == b"die":
            os._exit(3)
        if data == b"hang":
            while True:
                pass
        if data == b"fill":
            bytearray(4 << 30)
        if data == b"stop":
            time.sleep(100)
        yield from ()

    inputs = [b"", b"die", b"fill", b"", b"hang", b"stop", b""]
    monkeypatch.setattr(running, "OVERTIME", 0.05)
    monkeypatch.setattr(running, "HANGING", 3.0)
    surface = Surface("test", {"reader": read}, lambda number: Case(inputs[number], "test"), {})
    record = running.Record()
    for result in running.study_apart(surface, 0, len(inputs)):
        record.add(result)
    assert (record.next, record.tried, record.tallies["reader"].faults) == (7, 7, 4)
    assert [(fault.number, fault.what.split(":")[0]) for fault in record.faults] == [
        (1, "the process ended with 3"),
        (2, "MemoryError"),
        (4, "OvertimeError"),
        (5, "the process ended with -9"),
    ]
    assert running.Record.of(record.table()) == record


# --- inputs chosen by coverage ------------------------------------------------------------------------------------


def picky(data: bytes) -> Iterator[Signature]:
    if data[:2] == b"no":
        raise FormatError("no")
    if data[:2] == b"x!":
        raise IndexError("of ours")
    yield "all", data


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Surface:
    monkeypatch.setattr(guided, "OWN_INPUTS", range(20_000, 20_010))
    monkeypatch.setattr(guided, "WATCHED", ("tests",))
    seeds = {"a seed": b"no and more"}
    return Surface("test", {"reader": picky}, Mutations(seeds), seeds)


def test_what_only_looked_like_a_fault_is_none(chosen: Surface, tmp_path: Path) -> None:
    record = running.Record(9, {"reader": Tally(tried=9, faults=2)})
    files = [tmp_path / name for name in ("slow", "wrong")]
    for path, data in zip(files, (b"only slow while it is watched", b"x! of ours"), strict=True):
        path.write_bytes(data)
    guided.judge(chosen, files, record)
    assert [fault.what for fault in record.faults] == ["IndexError: of ours"]
    assert record.faults[0].data == b"x! of ours"
    assert (record.tried, record.tallies["reader"].faults) == (9, 1)


def test_it_begins_with_the_seeds_and_inputs_of_ours(chosen: Surface) -> None:
    inputs = dict(guided.beginning(chosen))
    assert inputs["a-seed"] == b"no and more"
    assert len(inputs) == 11


def test_only_what_reads_bytes_is_watched() -> None:
    found = guided.watched()
    assert attempt not in found
    assert any(function.__module__ == "stylecodec.bitstream.reader" for function in found)
    assert {str(function.__module__).partition(".")[0] for function in found} <= set(guided.WATCHED)


def test_a_guided_study_finds_what_is_wrong(chosen: Surface, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("atheris", reason="coverage-guided inputs need atheris")
    clean = guided.study_guided(replace(chosen, readers={"reader": lambda data: []}), 1)
    assert clean.faults == []
    assert clean.tried > 100
    record = guided.study_guided(chosen, 8)
    assert [fault.what for fault in record.faults] == ["IndexError: of ours"]
    assert record.faults[0].data.startswith(b"x!")
    kept = Path(capfd.readouterr().out.split("what was found: ")[1].splitlines()[0])
    assert len(list((kept / "found").iterdir())) == 1
    shutil.rmtree(kept)


def test_without_atheris_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guided, "find_spec", lambda name: None)
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["faults", "--only", "undump", "--guided", "1", "--out", str(out)])
    assert program.main() == 1
    assert "stylecodec[fuzz]" in capsys.readouterr().err
    assert not out.exists()


def test_a_guided_run_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tally = Tally(tried=7, refused=4, other=3)
    monkeypatch.setattr(guided, "installed", lambda: True)
    monkeypatch.setattr(guided, "study_guided", lambda surface, seconds: running.Record(7, {"reader": tally}))
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["faults", "--only", "undump", "--guided", "5", "--out", str(out)])
    assert program.main() == 0
    found = json.loads(out.read_text())
    assert found["provenance"]["options"] == {"guided": 5, "only": ["undump"]}
    assert [(row["surface"], row["tried"]) for row in found["tallies"]] == [("undump", 7)]
