"""One hostile input through the readers of its surface, judged: exceptions, values, processor time, memory."""

from __future__ import annotations

import os
import resource
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from stylecodec.errors import FormatError, StylecodecError

SECONDS = 1.0  # of processor time, for one reading
TRACED = 50  # of so many readings one is traced by tracemalloc; the process's own peak is looked at in each
MIB = 1 << 20
KEPT = 20  # faults of a surface that are described, each with its input; all are counted
STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")

Signature = tuple[str, bytes]
Read = Callable[[bytes], Iterable[Signature]]


@dataclass(frozen=True)
class Case:
    """One hostile input. label: what was done to it.

    known: where nothing in it can pass for something else, the signatures of all that a reader may give.
    """

    data: bytes
    label: str
    known: frozenset[Signature] | None = None


@dataclass(frozen=True)
class Surface:
    """What takes strangers' bytes.

    readers: by name; each gives signatures of what it read, or raises one of `allowed`. case: the hostile input of a
    number, the same whenever it is asked for. factor, fixed: memory that a reading may take, in the input's bytes so
    many times and a fixed part. seeds: the valid inputs that hostile ones are made from, by name.
    """

    name: str
    readers: Mapping[str, Read]
    case: Callable[[int], Case]
    seeds: Mapping[str, bytes]
    allowed: tuple[type[StylecodecError], ...] = (FormatError,)
    factor: int = 8
    fixed: int = 4 * MIB


@dataclass
class Tally:
    """What became of all hostile inputs of a surface in one reader."""

    tried: int = 0
    refused: int = 0  # one of the documented errors, perhaps after intact parts
    intact: int = 0  # accepted: only what the valid input held
    other: int = 0  # accepted: other values that nobody can tell from meant ones
    seconds: float = 0.0  # of processor time, the slowest reading
    peak: int = 0  # bytes, the largest
    total: float = 0.0  # seconds of processor time
    faults: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what another range of numbers gave."""
        for name in ("tried", "refused", "intact", "other", "total", "faults"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds, self.peak = max(self.seconds, other.seconds), max(self.peak, other.peak)
        self.errors.update(other.errors)
        self.labels.update(other.labels)

    def row(self) -> dict[str, Any]:
        """For the table."""
        return {
            "tried": self.tried,
            "refused": self.refused,
            "intact part": self.intact,
            "other values": self.other,
            "slowest s": round(self.seconds, 4),
            "peak KiB": self.peak >> 10,
            "faults": self.faults,
        }


@dataclass(frozen=True)
class Fault:
    """Something that must not happen, and the input that makes it happen."""

    surface: str
    reader: str
    number: int
    what: str
    data: bytes


def attempt(surface: Surface, reader: str, number: int, case: Case, tally: Tally, trace: bool = True) -> list[Fault]:
    """One input through one reader. trace: whether tracemalloc may look at it, which is slow."""
    traced = trace and tally.tried % TRACED == 0
    tally.tried += 1
    tally.labels[case.label] += 1
    given, error, seconds, peak = measured(surface.readers[reader], case.data, traced)
    wrong: list[str] = []
    if error is None:
        intact = case.known is not None and all(one in case.known for one in given)
        tally.intact += intact
        tally.other += not intact
    elif isinstance(error, surface.allowed) and not isinstance(error.__cause__, MemoryError):
        tally.refused += 1
        tally.errors[type(error).__name__] += 1
        if isinstance(error, FormatError) and error.offset is None and reader == "strict":
            wrong.append(f"no offset: {error}")
    else:
        wrong.append(f"{type(error.__cause__ or error).__name__}: {error}")
    if seconds > SECONDS:
        wrong.append(f"{seconds:.2f} seconds of processor time for {len(case.data):,} bytes")
    if peak > surface.factor * len(case.data) + surface.fixed:
        wrong.append(f"{peak:,} bytes of memory for {len(case.data):,}")
    if case.known is not None and (foreign := [one[0] for one in given if one not in case.known]):
        wrong.append(f"values that were never written: {foreign[0]}")
    tally.total += seconds
    tally.seconds, tally.peak = max(tally.seconds, seconds), max(tally.peak, peak)
    tally.faults += bool(wrong)
    return [Fault(surface.name, reader, number, what, case.data) for what in wrong[:1]]


def measured(read: Read, data: bytes, traced: bool) -> tuple[list[Signature], Exception | None, float, int]:
    """What a reader gave, what it raised, seconds of processor time, and bytes that the process or Python grew by."""
    given: list[Signature] = []
    error: Exception | None = None
    before = reset_peak()
    if traced:
        tracemalloc.start()
    begun = time.process_time()
    try:
        with warnings.catch_warnings(action="error"):
            for one in read(data):
                given.append(one)
    except Exception as caught:
        error = caught
    seconds = time.process_time() - begun
    peak = max(0, resident("VmHWM") - before)
    if traced:
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        seconds = 0.0  # tracing takes longer than reading
    return given, error, seconds, peak


# --- the process ------------------------------------------------------------------------------------------


@cache
def watches_memory() -> bool:
    """Whether the system tells a process's peak of memory and lets it be reset: Linux."""
    return STATUS.is_file() and os.access(RESET_PEAK, os.W_OK)


def reset_peak() -> int:
    """Begin a new peak of resident memory; bytes that are resident now."""
    if not watches_memory():
        return 0
    with open(RESET_PEAK, "w") as file:
        file.write("5")
    return resident("VmRSS")


def resident(name: str) -> int:
    """VmRSS or VmHWM of this process, bytes; 0 where the system does not tell."""
    if not watches_memory():
        return 0
    with open(STATUS, "rb") as file:
        text = file.read()
    at = text.index(name.encode()) + len(name) + 1
    return int(text[at : text.index(b"kB", at)]) << 10


def cap_memory(room: int) -> None:
    """Let the address space of this process grow by no more than `room` bytes."""
    with open("/proc/self/statm", "rb") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + room, resource.getrlimit(resource.RLIMIT_AS)[1]))
