"""Files at the edge: outputs that appear whole or not at all, and errors that name their file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import FormatError, MediaError, OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

PathLike = str | os.PathLike[str]
_TRIED_BYTES = 4096  # written and removed again to see that a folder takes files


def check_output(output: PathLike, *sources: PathLike) -> None:
    """OutputError before the work rather than after it, for everything that can be known by then.

    The name must be one that the file system takes, its folder must be there and take a file of one block, and no
    source may be overwritten.
    """
    target, place = Path(output), place_of(output)
    if not place.parent.is_dir():
        raise OutputError(f"{target} cannot be written: there is no folder {place.parent}")
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"{target} cannot be written: the folder {place.parent} is not writable")
    for source in sources:
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise OutputError(f"{target} would overwrite its own source")
    part = part_of(place)
    try:
        with part.open("xb") as file:
            file.write(bytes(_TRIED_BYTES))
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def place_of(output: PathLike) -> Path:
    """Where an output lies: `output`, or what it links to; OutputError where a folder, pipe or device is there, or
    where no file can have that name."""
    target = Path(output)
    try:
        os.lstat(target)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # the folder is what is wrong, if anything
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "no file has a name like that"
        raise OutputError(f"{_shortened(target)} cannot be written: {why}") from error
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{target} is a pipe or a device, which no file can replace")
    return Path(os.path.realpath(target)) if os.path.islink(target) else target


def part_of(place: Path) -> Path:
    """A new hidden name beside `place` for the file that is to become it; short, since names have a longest length."""
    return place.with_name(f".{os.urandom(8).hex()}.part")


class _Part(io.BufferedWriter):
    """A file whose own failures are OutputError, told from those of whatever else happens while it is written."""

    def __init__(self, part: Path, target: Path) -> None:
        self._target = target
        super().__init__(io.FileIO(part, "xb"))

    def write(self, data: Buffer, /) -> int:
        with blaming(self._target):
            return super().write(data)

    def flush(self) -> None:
        with blaming(self._target):
            super().flush()


@contextmanager
def blaming(target: PathLike) -> Iterator[None]:
    """Make an OSError within the block an OutputError that names `target`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {reason(error)}") from error


@contextmanager
def atomic_write(path: PathLike) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well and leaves nothing behind when it does not.

    Links are followed. Raises OutputError as `place_of`, and where the file cannot be written; what else fails within
    the block passes unchanged.
    """
    target, place = Path(path), place_of(path)
    part = part_of(place)
    try:
        with blaming(target):
            file = _Part(part, target)
        try:
            yield file
            file.flush()
            with blaming(target):
                os.fsync(file.fileno())
        finally:
            _close(file)
        with blaming(target):
            part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _close(file: io.BufferedWriter) -> None:
    """Close a file that is flushed, or that nobody wants: what it still holds may not fit on the disk."""
    with suppress(OSError, OutputError):
        file.close()


@contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Name the file in what goes wrong while a stream is read: FormatError, or MediaError for OSError."""
    try:
        yield
    except FormatError as error:
        named = type(error)(f"{path}: {error}")
        named.offset = error.offset
        raise named from error
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise MediaError(f"there is no file {path}") from error
        raise MediaError(f"{path} cannot be read: {reason(error)}") from error


def file_digest(path: PathLike) -> str:
    """SHA-256 of a file, hex; MediaError where it cannot be read."""
    with reading(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: OSError) -> str:
    """Why, in the system's words: "no space left on device"."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _shortened(path: Path) -> str:
    """A path as a message can hold it."""
    text = str(path).replace("\0", "\\0")
    return text if len(text) <= 120 else f"{text[:80]}…{text[-39:]}"
