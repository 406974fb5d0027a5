"""Inputs chosen by the code that they reach: libFuzzer by way of atheris, where it is installed (the extra `fuzz`).

Code that is watched takes longer, so what looks like a fault is read again where nothing is watched, and judged there.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType

from .judging import KEPT, Case, Fault, Surface, Tally, attempt, cap_memory, measured
from .running import OVERTIME, ROOM, Record, break_off, study_apart

MAX_BYTES = 1 << 16
WATCHED = ("stylecodec", "construct", "tomllib", "PIL")  # packages whose branches count: they read strangers' bytes
OWN_INPUTS = range(0, 200_000, 2000)  # numbers of inputs that know the format, to begin with beside the seeds
HANGING = 60  # seconds after which libFuzzer ends a process that does not come back from native code
TOLD_EVERY = 100  # inputs, between two looks at what is to be cleaned up and kept


def installed() -> bool:
    """Whether atheris is; else it is said how to install it."""
    if find_spec("atheris") is None:
        print("coverage-guided inputs need atheris: pip install 'stylecodec[fuzz]'", file=sys.stderr)
        return False
    return True


def study_guided(surface: Surface, seconds: float) -> Record:
    """Fuzz a surface for so long, in a process of its own. The folder with what it found stays, if it is something."""
    folder = Path(tempfile.mkdtemp(prefix="faults-guided-"))
    for part in ("corpus", "found"):
        (folder / part).mkdir()
    for name, data in beginning(surface):
        (folder / "corpus" / name).write_bytes(data)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(surface, seconds, folder))
    process.start()
    process.join()
    told = folder / "tallies.json"
    record = Record.of(json.loads(told.read_text())) if told.is_file() else Record()
    judge(surface, sorted((folder / "found").iterdir()), record)
    if process.exitcode and not record.faults:
        record.faults.append(Fault(surface.name, "?", -1, f"the process ended with {process.exitcode}", b""))
    if record.faults:
        print(f"what was found: {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return record


def beginning(surface: Surface) -> Iterator[tuple[str, bytes]]:
    """What libFuzzer begins with: names and inputs."""
    for name, data in surface.seeds.items():
        yield name.replace(" ", "-").replace("/", "-"), data
    for number in OWN_INPUTS:
        case = surface.case(number)
        if len(case.data) <= MAX_BYTES:
            yield f"number-{number}", case.data


def judge(surface: Surface, files: list[Path], record: Record) -> None:
    """Read again what looked like a fault, unwatched; what is one goes into the record."""
    for tally in record.tallies.values():
        tally.faults = 0
    suspects = replace(surface, case=lambda number: Case(files[number].read_bytes(), "guided"))
    for _, tallies, faults in study_apart(suspects, 0, len(files)):
        record.faults = (record.faults + faults)[:KEPT]
        for reader, tally in tallies.items():
            record.tallies.setdefault(reader, Tally()).faults += tally.faults


def watched() -> list[FunctionType]:
    """The functions whose branches count, of what has been imported."""
    found = [one for one in gc.get_objects() if type(one) is FunctionType]
    return [one for one in found if str(one.__module__).partition(".")[0] in WATCHED]


def _work(surface: Surface, seconds: float, folder: Path) -> None:
    """Never returns: the process ends after the time, or libFuzzer ends it."""
    import atheris

    for read in surface.readers.values():  # all is imported before it is watched
        for data in surface.seeds.values():
            measured(read, data, traced=False)
    functions = watched()
    for function in functions:
        atheris.instrument_func(function)
    print(f"{surface.name}: {len(functions):,} functions are watched", flush=True)
    once = _Once(surface, time.monotonic() + seconds, folder)
    flags = [f"-max_len={MAX_BYTES}", "-rss_limit_mb=4096", f"-timeout={HANGING}", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={folder / 'found'}/", str(folder / "corpus")], once)
    cap_memory(ROOM)
    signal.signal(signal.SIGPROF, break_off)
    gc.freeze()
    gc.disable()  # collected between readings, so that no reading pays for others
    atheris.Fuzz()


class _Once:
    """What libFuzzer calls with each input: all readers, until the time is over."""

    def __init__(self, surface: Surface, end: float, folder: Path) -> None:
        self._surface, self._end, self._folder = surface, end, folder
        self._tallies = {reader: Tally() for reader in surface.readers}
        self._seen: set[str] = set()
        self._inputs = 0

    def __call__(self, data: bytes) -> None:
        case = Case(bytes(data), "guided")
        for reader, tally in self._tallies.items():
            signal.setitimer(signal.ITIMER_PROF, OVERTIME)
            faults = attempt(self._surface, reader, -1, case, tally, trace=False)
            signal.setitimer(signal.ITIMER_PROF, 0)
            for fault in faults:
                self._keep(fault)
        self._inputs += 1
        over = time.monotonic() > self._end
        if over or self._inputs % TOLD_EVERY == 0:
            gc.collect()
            self._tell()
        if over:
            os._exit(0)

    def _keep(self, fault: Fault) -> None:
        """One input for each reader and beginning of what went wrong."""
        kind = f"{fault.reader} {fault.what[:40]}"
        if kind not in self._seen and len(self._seen) < KEPT:
            self._seen.add(kind)
            name = hashlib.sha256(fault.data).hexdigest()[:16]
            (self._folder / "found" / f"input-{name}").write_bytes(fault.data)
            print(f"  looked like a fault: {kind}", flush=True)

    def _tell(self) -> None:
        partial = self._folder / "tallies.partial"
        partial.write_text(json.dumps(Record(self._inputs, self._tallies).table()))
        partial.replace(self._folder / "tallies.json")
