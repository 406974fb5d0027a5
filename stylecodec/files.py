"""Files at the edge: outputs that appear whole or not at all, and errors that name their file."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import FormatError, MediaError, OutputError

PathLike = str | os.PathLike[str]


def check_output(output: PathLike, *sources: PathLike) -> None:
    """OutputError before the work rather than after it: the folder must be there, and no source be overwritten."""
    target, folder = Path(output), place_of(output).parent
    if not folder.is_dir():
        raise OutputError(f"{target} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{target} cannot be written: the folder {folder} is not writable")
    for source in sources:
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise OutputError(f"{target} would overwrite its own source")


def place_of(output: PathLike) -> Path:
    """Where an output lies: `output`, or what it links to; OutputError where a folder, pipe or device is there."""
    target = Path(output)
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{target} is a pipe or a device, which no file can replace")
    return Path(os.path.realpath(target)) if os.path.islink(target) else target


@contextmanager
def whole_file(path: PathLike) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well and leaves nothing behind when it does not.

    Links are followed. Raises OutputError as `place_of`, and where the file cannot be written.
    """
    target, place = Path(path), place_of(path)
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {_reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)


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
        raise MediaError(f"{path} cannot be read: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
