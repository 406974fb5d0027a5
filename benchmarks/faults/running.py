"""Ranges of hostile inputs in processes of their own, which may not take more memory or time than is stated.

A process that dies or hangs is a fault of the input it was at; the next one goes on behind it.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from types import FrameType
from typing import Any

from . import attached, checkpoints, packets, packs, pictures, streams, text
from .judging import KEPT, SECONDS, Fault, Surface, Tally, attempt, cap_memory, measured

SURFACES: Mapping[str, Callable[[], Surface]] = {
    "stream": streams.surface,
    "repair": streams.repair_surface,
    "delta": attached.delta_surface,
    "background": attached.background_surface,
    "identity": attached.identity_surface,
    "identity card": attached.card_surface,
    "packets": packets.surface,
    "undump": text.surface,
    "checkpoint": checkpoints.surface,
    "pack card": packs.card_surface,
    "pack": packs.surface,
    "picture": pictures.surface,
}
ROOMS: Mapping[str, tuple[str, ...]] = {
    "identity card": ("bitstream", "decoding", "encoding"),
    "checkpoint": ("nets", "packs"),
    "pack card": ("nets", "packs"),
    "pack": ("nets", "packs"),
    "picture": ("decoding", "media"),
}
"""Rooms of the package that a surface's figures depend on, where it is not the bitstream alone."""
ROOM = 2 << 30  # by which the address space of a process may grow
OVERTIME = 30 * SECONDS  # of processor time after which a reading is broken off: traced, it takes ten times as long
HANGING = 600.0  # seconds of the clock on the wall after which a process is ended that tells nothing
CHUNK = 500  # inputs between two messages of a process

Result = tuple[int, dict[str, Tally], list[Fault]]  # the number to go on at, tallies by reader


class OvertimeError(Exception):
    """A reading was broken off."""


@dataclass
class Record:
    """What is known of a surface so far; the numbers below `next` are done."""

    next: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.next, tallies, faults = result
        for reader, tally in tallies.items():
            self.tallies.setdefault(reader, Tally()).add(tally)
        self.faults = (self.faults + faults)[:KEPT]

    def table(self) -> dict[str, Any]:
        """As JSON has it."""
        tallies = {reader: vars(tally) for reader, tally in self.tallies.items()}
        faults = [{**vars(fault), "data": fault.data.hex()} for fault in self.faults]
        return {"next": self.next, "tallies": tallies, "faults": faults}

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Record:
        """Of what `table` gave."""
        tallies = {
            reader: Tally(**{**one, "errors": Counter(one["errors"]), "labels": Counter(one["labels"])})
            for reader, one in table["tallies"].items()
        }
        faults = [Fault(**{**one, "data": bytes.fromhex(one["data"])}) for one in table["faults"]]
        return cls(table["next"], tallies, faults)

    @property
    def tried(self) -> int:
        return sum(tally.tried for tally in self.tallies.values())


def study(surface: Surface, first: int, last: int) -> Result:
    """The inputs first .. last-1, in this process."""
    tallies = {reader: Tally() for reader in surface.readers}
    faults: list[Fault] = []
    for number in range(first, last):
        case = surface.case(number)
        for reader in surface.readers:
            faults += attempt(surface, reader, number, case, tallies[reader])
    return last, tallies, faults


def study_apart(surface: Surface, first: int, last: int) -> Iterator[Result]:
    """The same in processes with a cap on memory and time, portion by portion."""
    context = multiprocessing.get_context("fork")
    while first < last:
        ours, theirs = context.Pipe(duplex=False)
        at: Synchronized[int] = context.Value("q", first)
        process = context.Process(target=_work, args=(surface, first, last, theirs, at), daemon=True)
        process.start()
        theirs.close()
        while first < last:
            try:
                result: Result | None = ours.recv() if ours.poll(HANGING) else None
            except EOFError:
                result = None
            if result is None:
                break
            first = result[0]
            yield result
        if first < last:  # it told of all inputs up to `first`, and came no further than `at`
            process.kill()
            process.join()
            number = at.value
            if number > first:
                yield from study_apart(surface, first, number)
            yield _lost(surface, number, process.exitcode)
            first = number + 1
        process.join()
        ours.close()


def _work(surface: Surface, first: int, last: int, told: Connection, at: Synchronized[int]) -> None:
    cap_memory(ROOM)
    signal.signal(signal.SIGPROF, break_off)
    for read in surface.readers.values():  # what is imported or built at the first reading is no input's memory
        for data in surface.seeds.values():
            measured(read, data, traced=False)
    gc.freeze()
    gc.disable()  # collected between readings, so that no reading pays for others
    for begin in range(first, last, CHUNK):
        end = min(begin + CHUNK, last)
        tallies = {reader: Tally() for reader in surface.readers}
        faults: list[Fault] = []
        for number in range(begin, end):
            at.value = number
            case = surface.case(number)
            for reader in surface.readers:
                signal.setitimer(signal.ITIMER_PROF, OVERTIME)
                faults += attempt(surface, reader, number, case, tallies[reader])
                signal.setitimer(signal.ITIMER_PROF, 0)
            if number % 20 == 0:
                gc.collect()
        told.send((end, tallies, faults))


def break_off(number: int, frame: FrameType | None) -> None:
    """The handler of SIGPROF: a reading has taken too long."""
    raise OvertimeError(f"broken off after {OVERTIME:g} seconds of processor time")


def _lost(surface: Surface, number: int, exitcode: Any) -> Result:
    case = surface.case(number)
    tally = Tally(tried=1, faults=1)
    fault = Fault(surface.name, "?", number, f"the process ended with {exitcode}", case.data)
    return number + 1, {next(iter(surface.readers)): tally}, [fault]
