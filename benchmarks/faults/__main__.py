"""What hostile bytes do to everything that reads the bytes of strangers.

    python -m benchmarks.faults
    python -m benchmarks.faults --only undump --readings 20000
    python -m benchmarks.faults --state /tmp/faults.json     go on where a run was ended; results so far are kept
    python -m benchmarks.faults --only picture --number 60066   one input again: what it does, and its bytes
    python -m benchmarks.faults --guided 60        inputs chosen by coverage, with atheris, for a minute each surface

Inputs are made from small valid ones by number: cut off after every byte, every byte changed, then damaged at random,
half blindly and half with the format in mind, so that lengths and checksums fit. Each goes through all readers of its
surface. A reader may refuse it with a documented error, or accept it. Everything else is a fault: another exception, a
warning, more than a second of processor time, more memory than is stated, values that were never written although a
checksum tells, a process that ends. The exit code is 1 if there is one. Writes results/faults.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import EDIT, code_digests, provenance

from . import guided
from .judging import Fault, Tally, attempt
from .running import ROOMS, SURFACES, Record, study_apart

READINGS = 1_000_000  # of all surfaces together
SHARES = {  # of the readings, by what they are worth and what they cost
    "stream": 210,
    "repair": 2,
    "delta": 220,
    "background": 180,
    "identity": 3,
    "identity card": 12,
    "packets": 150,
    "undump": 90,
    "checkpoint": 60,
    "pack card": 25,
    "pack": 2,
    "picture": 46,
}
PORTION = 10_000  # inputs of a surface before the next one has its turn

State = dict[str, Record]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readings", type=int, default=READINGS, help="of all surfaces (default: %(default)s)")
    parser.add_argument("--only", choices=list(SURFACES), action="append", help="surfaces")
    parser.add_argument("--state", type=Path, help="file that keeps what is done")
    parser.add_argument("--number", type=int, help="one input of the surface of --only")
    parser.add_argument("--guided", type=int, metavar="SECONDS", help="choose inputs by coverage, for so long each")
    parser.add_argument("--out", type=Path, help="default: results/faults.json, with --guided faults_guided.json")
    arguments = parser.parse_args()
    names, seconds = arguments.only or list(SURFACES), arguments.guided
    if arguments.number is not None:
        return show(names[0], arguments.number)
    read = sorted({room for name in names for room in rooms(name)})
    amount = {"readings": arguments.readings} if seconds is None else {"guided": seconds}
    origin = provenance(None, {**amount, "only": arguments.only}, rooms=read)
    if seconds is None:
        state = run(names, arguments.readings, arguments.state)
    elif guided.installed():
        state = {name: run_guided(name, seconds) for name in names}
    else:
        return 1
    out = arguments.out or RESULTS / f"faults{'' if seconds is None else '_guided'}.json"
    found = [fault for record in state.values() for fault in record.faults]
    rows: list[dict[str, Any]] = [
        {"surface": name, "reader": reader, **tally.row()}
        for name, record in state.items()
        for reader, tally in record.tallies.items()
    ]
    tried, faults = (sum(row[name] for row in rows) for name in ("tried", "faults"))
    print(f"\n{table(rows)}\n\n{tried:,} readings, {faults:,} faults")
    save(out, origin, {**content(state), "tallies": rows, "faults": [words(fault) for fault in found]})
    return 1 if found else 0


def run(names: list[str], readings: int, path: Path | None) -> State:
    """All surfaces in turn, portion by portion, until each has its share of the readings."""
    state = load(path, names)
    whole = sum(SHARES[name] for name in names)
    surfaces = {name: SURFACES[name]() for name in names}
    open_ = list(names)
    while open_:
        for name in list(open_):
            surface, record = surfaces[name], state[name]
            last = -(-readings * SHARES[name] // whole // len(surface.readers))
            for result in study_apart(surface, record.next, min(record.next + PORTION, last)):
                record.add(result)
                for fault in result[2]:
                    print(f"  fault: {words(fault)}", flush=True)
            if record.next >= last:
                open_.remove(name)
            keep(path, state)
            seconds = sum(tally.total for tally in record.tallies.values())
            print(f"{name}: {record.tried:,} readings, {seconds:,.0f} s, {record.next:,} of {last:,}", flush=True)
    return state


def run_guided(name: str, seconds: int) -> Record:
    """One surface for so long."""
    record = guided.study_guided(SURFACES[name](), seconds)
    for fault in record.faults:
        print(f"  fault: {words(fault)}", flush=True)
    print(f"{name}: {record.tried:,} readings", flush=True)
    return record


def load(path: Path | None, names: list[str]) -> State:
    """What an earlier run of the same code has done; nothing of another code."""
    state: State = {}
    if path is not None and path.is_file():
        for name, kept in json.loads(path.read_text()).items():
            if kept["code"] == code_digests(rooms(name)):
                state[name] = Record.of(kept)
            else:
                print(f"{name}: the code has changed since, begun anew", file=sys.stderr)
    return {name: state.get(name, Record()) for name in names}


def rooms(name: str) -> tuple[str, ...]:
    """Of the package, those that a surface's figures depend on."""
    return ROOMS.get(name, ("bitstream", EDIT))


def keep(path: Path | None, state: State) -> None:
    if path is not None:
        tables = {name: {"code": code_digests(rooms(name)), **record.table()} for name, record in state.items()}
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(tables))
        partial.replace(path)


def content(state: State) -> dict[str, Any]:
    """Beside the tallies: errors and kinds of damage by surface."""
    errors: dict[str, dict[str, int]] = {}
    damage: dict[str, dict[str, int]] = {}
    for name, record in state.items():
        whole = Tally()
        for tally in record.tallies.values():
            whole.add(tally)
        errors[name], damage[name] = dict(whole.errors.most_common()), dict(whole.labels.most_common())
    return {"errors": errors, "damage": damage}


def words(fault: Fault) -> str:
    return f"{fault.surface}, {fault.reader}, number {fault.number}: {fault.what[:300]}"


def show(name: str, number: int) -> int:
    """One input, described and written to a file."""
    surface = SURFACES[name]()
    case = surface.case(number)
    path = Path(f"{name.replace(' ', '-')}-{number}.bin")
    path.write_bytes(case.data)
    print(f"{path}: {len(case.data):,} bytes, {case.label}")
    wrong = 0
    for reader in surface.readers:
        tally = Tally()
        faults = attempt(surface, reader, number, case, tally)
        wrong += len(faults)
        print(f"{reader}: {faults[0].what if faults else dict(tally.errors) or 'accepted'}; {tally.row()}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
