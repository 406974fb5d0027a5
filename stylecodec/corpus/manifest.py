"""The manifest of a corpus: JSON lines that grow while workers work, and the same as Parquet when they are done.

    OUT/manifest.jsonl           or manifest-3of8.jsonl, one for each shard: the last line of a clip counts
    OUT/manifest.parquet         one row per clip
    OUT/clips/NAME.stc           the streams
    OUT/identities/*.stid        cards of people whom streams only name

A line is written whole, by one call, to a file that one run at a time may have. A line that a power cut left unfinished
is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import OptionError, OutputError
from ..files import PathLike, blaming, reason
from .parquet import has_parquet, write_rows
from .records import Record

CLIPS, IDENTITIES = "clips", "identities"
NAME = re.compile(r"manifest(?:-(?P<number>\d+)of(?P<count>\d+))?\.jsonl")
MAX_LINE = 1 << 24

Shard = tuple[int, int]
"""(number from 0, count): a part of the clips."""


def shard_suffix(shard: Shard) -> str:
    """"" for all clips, "-3of8" for a part of them."""
    return "" if shard == (0, 1) else f"-{shard[0]}of{shard[1]}"


class Manifest:
    """The manifest of one shard, open for writing; a context manager. OutputError where another run has it."""

    def __init__(self, folder: PathLike, shard: Shard = (0, 1)) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"manifest{shard_suffix(shard)}.jsonl"
        with blaming(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _lock(self._file, self.path)
            self.records = {record.name: record for record in _lines(self.path)}
            self._end_line()
        except BaseException:
            os.close(self._file)
            raise

    def _end_line(self) -> None:
        """What follows an unfinished line begins a new one."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def add(self, record: Record) -> None:
        """Append a record; OutputError."""
        line = record.line()
        with blaming(self.path):
            if os.write(self._file, line) != len(line):
                raise OSError("the disk is full")
            os.fsync(self._file)
        self.records[record.name] = record

    def write_table(self) -> Path | None:
        """Write the Parquet beside it; None where PyArrow is not installed or there is no record."""
        if not has_parquet() or not self.records:
            return None
        table = self.path.with_suffix(".parquet")
        write_rows(table, [self.records[name].row() for name in sorted(self.records)])
        return table

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def read_records(folder: PathLike) -> dict[str, Record]:
    """The last record of every clip, by name, of all shards; OptionError where there is no manifest."""
    place = Path(folder)
    try:
        paths = sorted(path for path in place.iterdir() if NAME.fullmatch(path.name))
    except OSError as error:
        raise OptionError(f"{place} is no corpus: {reason(error)}") from error
    if not paths:
        raise OptionError(f"{place} is no corpus: there is no manifest.jsonl in it")
    found: dict[str, Record] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        found |= {record.name: record for record in _lines(path)}
    return dict(sorted(found.items()))


def _lines(path: Path) -> Iterator[Record]:
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                if (record := Record.parse(line)) is not None:
                    yield record
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason(error)}") from error


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nothing tells two runs apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"another run is writing {path}") from error
    except OSError:  # a file system without locks
        return
