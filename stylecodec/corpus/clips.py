"""What there is to encode: the clips of folders, lists, tables and tars, each under a name of its own.

A folder's clips are called as their path in it, a list's as the path that it gives, a tar's tar name/member; endings do
not count. A source that cannot be taken is a Problem, which becomes a line of the manifest; nothing is opened yet but
the list, table or tar itself.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import MediaError, OptionError
from ..files import PathLike, reason
from .parquet import read_rows
from .tars import members

VIDEOS = frozenset({".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"})
VIDEOS |= {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
"""Endings that are looked for in folders and tars."""
PATH_COLUMNS = ("path", "file", "video", "clip")
"""The column of a table that says where a clip lies: the first of these that it has."""
MAX_LIST_BYTES = 1 << 30
MAX_NAME = 200  # characters of a clip's name
FINDING = "finding clips"  # the stage's name in reports of progress, and in the manifest


@dataclass(frozen=True)
class Clip:
    """One clip. member: (offset, bytes) in the tar at `path`; start, duration: seconds, None as the options have it."""

    name: str
    path: str
    member: tuple[int, int] | None = None
    start: float | None = None
    duration: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # what else its table says

    @property
    def source(self) -> str:
        """Where it comes from, in words that can be looked up."""
        return self.path if self.member is None else f"{self.path}:{PurePosixPath(self.name).name}"


@dataclass(frozen=True)
class Problem:
    """Something that looked like a clip and cannot be taken; error: one sentence."""

    name: str
    source: str
    error: str


@dataclass(frozen=True)
class Found:
    """All clips of some sources, in order of their names, and what cannot be taken."""

    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]


def find_clips(sources: Iterable[PathLike]) -> Found:
    """The clips of folders, lists (.txt, .lst), tables (.csv, .tsv, .parquet), tars and single videos.

    OptionError where a source is none of these or cannot be read as what it is; MissingDependency for a table in
    Parquet without PyArrow.
    """
    taken: dict[str, Clip] = {}
    problems = []
    for source in sources:
        for one in _clips_of(Path(source)):
            if isinstance(one, Clip) and one.name in taken:
                one = _renamed(one)
            if isinstance(one, Clip) and one.name in taken:
                other = taken[one.name]
                if other.path == one.path and other.member == one.member and other.start == one.start:
                    continue  # given twice
                said = f"another clip, {other.source}, is called {one.name!r} too: give names in a table"
                one = Problem(f"{one.name} ({one.source})", one.source, said)
            if isinstance(one, Clip):
                taken[one.name] = one
            else:
                problems.append(one)
    clips = tuple(taken[name] for name in sorted(taken))
    return Found(clips, tuple(sorted(problems, key=lambda problem: problem.name)))


def _clips_of(source: Path) -> Iterator[Clip | Problem]:
    kind = source.suffix.lower()
    if source.is_dir():
        yield from _walked(source, source, {})
    elif not source.exists():
        raise OptionError(f"there is no file or folder {source}")
    elif kind == ".tar":
        yield from _of_tar(source)
    elif kind in (".txt", ".lst"):
        yield from _of_list(source)
    elif kind in (".csv", ".tsv", ".parquet"):
        yield from _of_table(source)
    elif kind in VIDEOS:
        yield _clip(source.name, source)
    else:
        raise OptionError(f"{source} is no folder, list (.txt), table (.csv, .tsv, .parquet), tar or video")


def _clip(written: str, path: Path, **more: Any) -> Clip:
    """written: the path as its source gives it, from which the name is made."""
    parts = [part for part in PurePosixPath(Path(written).as_posix()).parts if part not in ("/", "..", ".")]
    stem = str(PurePosixPath(*parts).with_suffix("")) if parts else "clip"
    return Clip(_safe(stem), os.path.abspath(path), **more)


def _safe(name: str) -> str:
    """A name that every file system takes; without what could lead out of a folder."""
    cleaned = re.sub(r'[\x00-\x1f\x7f<>:"\\|?*\ud800-\udfff]', "_", name)
    parts = [part.strip(" ") for part in cleaned.split("/") if part.strip(" .")]
    return "/".join(parts)[-MAX_NAME:].strip("/") or "clip"


def _renamed(clip: Clip) -> Clip:
    """The clip under a longer name, with its ending, for one that is called as another."""
    return clip if clip.member is not None else replace(clip, name=f"{clip.name}{Path(clip.path).suffix}")


# --- folders ---------------------------------------------------------------------------------------------------


def _walked(root: Path, folder: Path, seen: dict[tuple[int, int], Path]) -> Iterator[Clip | Problem]:
    """The videos below a folder, links followed; a folder is read once. seen: what was read, by device and inode."""
    named = folder.relative_to(root).as_posix()
    try:
        status = folder.stat()
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Problem(named, str(folder), f"the folder {folder} cannot be read: {reason(error)}")
        return
    key = (status.st_dev, status.st_ino)
    if key in seen:
        where = "leads back to" if seen[key] in (folder, *folder.parents) else "is the same folder as"
        yield Problem(named, str(folder), f"the folder {folder} {where} {seen[key]}, which is read already")
        return
    seen[key] = folder
    for entry in found:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _walked(root, path, seen)
                continue
            plain = entry.is_file()
        except OSError as error:
            yield Problem(path.relative_to(root).as_posix(), str(path), f"{path} cannot be read: {reason(error)}")
            continue
        if path.suffix.lower() not in VIDEOS:
            continue
        if plain:
            yield _clip(path.relative_to(root).as_posix(), path)
        else:
            what = "is a link that leads nowhere" if entry.is_symlink() else "is no file"
            yield Problem(path.relative_to(root).as_posix(), str(path), f"{path} {what}")


# --- lists, tables, tars ---------------------------------------------------------------------------------------


def _text(source: Path) -> str:
    """A list or table; OptionError where it cannot be read."""
    try:
        if source.stat().st_size > MAX_LIST_BYTES:
            raise OptionError(f"{source} is larger than {MAX_LIST_BYTES:,} bytes")
        return source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(f"{source} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{source} is no text in UTF-8") from error


def _of_list(source: Path) -> Iterator[Clip | Problem]:
    """One path a line, relative to the list; lines that begin with # do not count."""
    for line in _text(source).splitlines():
        if line.strip() and not line.startswith("#"):
            yield _placed(source, line.strip())


def _placed(source: Path, written: str, **more: Any) -> Clip | Problem:
    if "\0" in written:
        return Problem(_safe(written), str(source), f"{source} names a path that cannot be: {written[:80]!r}")
    return _clip(written, source.parent / written, **more)


def _of_table(source: Path) -> Iterator[Clip | Problem]:
    rows: Iterable[Mapping[str, Any]]
    if source.suffix.lower() == ".parquet":
        rows = read_rows(source)
    else:
        try:
            delimiter = "\t" if source.suffix.lower() == ".tsv" else ","
            rows = list(csv.DictReader(_text(source).splitlines(), delimiter=delimiter))
        except csv.Error as error:
            raise OptionError(f"{source} cannot be read as a table: {error}") from error
    for number, row in enumerate(rows, 1):
        column = next((name for name in PATH_COLUMNS if name in row), None)
        if column is None:
            raise OptionError(f"{source} has no column {' or '.join(PATH_COLUMNS)}")
        yield _of_row(source, number, column, row)


def _of_row(source: Path, number: int, column: str, row: Mapping[str, Any]) -> Clip | Problem:
    """row: path, and if they are there name, start and duration in seconds; all others are kept as texts."""
    values = {str(name): str(value) for name, value in row.items() if name is not None and value not in (None, "")}
    written = values.pop(column, "")
    where = f"row {number} of {source}"
    if not written:
        return Problem(f"{source.stem}/row {number}", str(source), f"{where} names no {column}")
    times: dict[str, float | None] = {}
    for name in ("start", "duration"):
        text = values.pop(name, None)
        try:
            times[name] = None if text is None else float(text)
        except ValueError:
            times[name] = math.nan
        seconds = times[name]
        if seconds is not None and not (math.isfinite(seconds) and seconds >= (0 if name == "start" else 1e-6)):
            return Problem(_safe(written), written, f"{where} has no seconds in {name}: {str(text)[:40]!r}")
    name = values.pop("name", "")
    clip = _placed(source, written, **times, columns=values)
    if isinstance(clip, Problem):
        return clip
    begin = "" if clip.start is None else f"@{clip.start:g}"
    return replace(clip, name=_safe(name) if name else f"{clip.name}{begin}")


def _of_tar(source: Path) -> Iterator[Clip | Problem]:
    """The videos of a WebDataset tar; what the .json beside one says are its columns."""
    try:
        found = list(members(source, VIDEOS))
    except MediaError as error:
        yield Problem(source.stem, str(source), str(error))
        return
    for member in found:
        name = _safe(f"{source.stem}/{member.key}")
        if member.error is not None:
            yield Problem(name, f"{source}:{member.key}", member.error)
        else:
            yield Clip(name, os.path.abspath(source), (member.offset, member.size), columns=member.columns)
