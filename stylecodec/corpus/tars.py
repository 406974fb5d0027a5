"""Tars as WebDataset has them: the files of one sample follow each other and share all before the first dot.

Nothing is extracted by its name: a member is a stretch of bytes of the tar, so that hostile paths lead nowhere.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from ..errors import MediaError
from ..files import reason

MAX_JSON_BYTES = 1 << 20
MAX_MEMBERS = 10_000_000


@dataclass(frozen=True)
class Member:
    """A file in a tar. key: all before the first dot of its name; error: why it cannot be taken."""

    key: str
    offset: int
    size: int
    columns: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


def split_name(name: str) -> tuple[str, str]:
    """A member's key and ending: ("a/b", ".left.mp4") of "a/b.left.mp4"."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.partition(".")
    folder = str(path.parent)
    return (stem if folder == "." else f"{folder}/{stem}"), f"{dot}{ending}"


def members(path: Path, endings: Collection[str]) -> Iterator[Member]:
    """The members with one of these endings, with what the .json of the same key says (texts and numbers alone).

    MediaError where the file is no plain tar. One that is cut off gives what it has, and then a member with an error.
    """
    length = path.stat().st_size
    found: list[Member] = []
    columns: dict[str, Mapping[str, str]] = {}
    damage: str | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            try:
                for count, info in enumerate(tar):
                    if count >= MAX_MEMBERS:
                        damage = f"{path} has more than {MAX_MEMBERS:,} members"
                        break
                    _take(info, tar, length, endings, found, columns)
                else:
                    cut = f"{path} is cut off or damaged at byte {tar.offset:,}: what follows is not read"
                    damage = None if _ends(path, tar.offset) else cut
            except tarfile.TarError as error:
                damage = f"{path} is damaged after {len(found):,} clips: {error}"
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise MediaError(f"{path} is no uncompressed tar: {error}") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}") from error
    for one in found:
        yield Member(one.key, one.offset, one.size, columns.get(one.key, {}), one.error)
    if damage is not None:
        yield Member("rest", 0, 0, error=damage)


def _ends(path: Path, offset: int) -> bool:
    """Whether a tar ends there as it should, by a block of zeros; tarfile takes any other block for an end too."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _take(
    info: tarfile.TarInfo,
    tar: tarfile.TarFile,
    length: int,
    endings: Collection[str],
    found: list[Member],
    columns: dict[str, Mapping[str, str]],
) -> None:
    key, ending = split_name(info.name)
    if ending == ".json" and info.isreg() and info.size <= MAX_JSON_BYTES:
        columns[key] = _columns(tar, info)
    suffix = PurePosixPath(ending).suffix.lower() or ending.lower()
    if suffix not in endings:
        return
    error = None
    if not info.isreg() or info.issparse():
        error = f"{info.name} in {tar.name!s} is no plain file"
    elif info.offset_data + info.size > length:
        error = f"{info.name} is cut off: {tar.name!s} ends within it"
    found.append(Member(key, info.offset_data, info.size, error=error))


def _columns(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Mapping[str, str]:
    file = tar.extractfile(info)
    try:
        content = json.loads(file.read()) if file else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    plain = {name: value for name, value in content.items() if isinstance(value, str | int | float)}
    return {name: str(value) for name, value in plain.items()}


@contextmanager
def tar_writer(file: BinaryIO | IO[bytes]) -> Iterator[TarWriter]:
    """Members into a tar that depends on nothing but their names and bytes."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        yield TarWriter(tar)


class TarWriter:
    """See `tar_writer`."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, data: bytes) -> None:
        """Add a file; its date is 1970, its owner nobody."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))
