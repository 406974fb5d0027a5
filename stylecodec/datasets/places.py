"""Where streams lie: files of folders, members of tars; and how one is opened, with the people that it only names.

A Place is a few texts and numbers. What is opened by it belongs to one process: `opened` keeps the last few streams of
this process, and a forked child begins with none.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..bitstream import Identity, StreamFile
from ..decoding.known_people import KnownPeople
from ..errors import FormatError, MediaError, OptionError
from ..files import PathLike, reading, reason

STREAM, CARD = ".stc", ".stid"
IDENTITIES = "identities"  # folder of cards, beside the streams or above them
MAX_MEMBER_BYTES = 1 << 30  # of a stream in a tar, which is read as a whole
KEPT_OPEN = 16


@dataclass(frozen=True)
class Place:
    """One stream. member: (offset, bytes) in the tar at `path`, None for a file; cards: folders with people's cards."""

    name: str
    path: str
    member: tuple[int, int] | None = None
    cards: tuple[str, ...] = ()

    def open(self) -> StreamFile:
        """The stream, the caller's to close; FormatError, MediaError."""
        people = _people(self.cards)

        def recall(digest: bytes) -> Identity | None:
            return people.get(digest) or KnownPeople().recall(digest)

        with reading(self.path):
            if self.member is None:
                return StreamFile.open(self.path, recall=recall)
            offset, size = self.member
            with open(self.path, "rb") as file:
                file.seek(offset)
                data = file.read(size)
            if len(data) != size:
                raise MediaError(f"{self.path} ends within {self.name}")
            return StreamFile.open(io.BytesIO(data), recall=recall)


def find_streams(sources: PathLike | Iterable[PathLike]) -> list[Place]:
    """The streams of folders (of a corpus, too), of uncompressed tars, and single files, in order of their names.

    A folder is looked through with all below it, tars in it too. OptionError where a source is none of these or holds
    no stream; MediaError for a damaged tar.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    found: list[Place] = []
    for source in given:
        path = Path(source)
        some = sorted(_below(path, path), key=lambda place: (place.path, place.name))
        if not some:
            raise OptionError(f"there is no stream in {path}")
        found += some
    return found


def _below(source: Path, root: Path) -> Iterator[Place]:
    if source.is_dir():
        for folder, _, names in os.walk(source):
            for name in names:
                if not name.startswith(".") and Path(name).suffix in (STREAM, ".tar"):
                    yield from _below(Path(folder) / name, root)
    elif not source.exists():
        raise OptionError(f"there is no file or folder {source}")
    elif source.suffix == ".tar":
        yield from _in_tar(source)
    elif source.suffix == STREAM:
        name = source.name if source == root else source.relative_to(root).as_posix()
        yield Place(name.removesuffix(STREAM), os.path.abspath(source), None, _cards_of(source))
    else:
        raise OptionError(f"{source} is no folder, tar or stream (.stc)")


def _in_tar(path: Path) -> Iterator[Place]:
    length, cards = path.stat().st_size, _cards_of(path)
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                name = PurePosixPath(info.name)
                if name.suffix != STREAM or not info.isreg() or info.issparse():
                    continue
                if info.size > MAX_MEMBER_BYTES or info.offset_data + info.size > length:
                    raise MediaError(f"{info.name} in {path} is cut off, or too large")
                yield Place(
                    str(name.with_suffix("")), os.path.abspath(path), (info.offset_data, info.size), cards
                )
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise MediaError(f"{path} is no whole uncompressed tar: {error}") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}") from error


def _cards_of(path: Path) -> tuple[str, ...]:
    """Folders of cards beside a file, or above it as far as its corpus goes."""
    for folder in list(path.absolute().parents)[:16]:
        if (folder / IDENTITIES).is_dir():
            return (str(folder / IDENTITIES),)
    return ()


@lru_cache(maxsize=4)
def _people(folders: tuple[str, ...]) -> dict[bytes, Identity]:
    """{digest: identity} of the cards in some folders; what is no whole card is passed over."""
    found: dict[bytes, Identity] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob(f"*{CARD}")):
            try:
                with StreamFile.open(str(path)) as card:
                    found |= {identity.digest: identity for identity in card.identities}
            except (FormatError, OSError):
                continue
    return found


_open: tuple[int, OrderedDict[Place, StreamFile]] = (0, OrderedDict())  # the process that opened them, and they


def opened(place: Place) -> StreamFile:
    """The stream of a place, kept open for a while; FormatError, MediaError."""
    global _open
    if _open[0] != os.getpid():
        _open = (os.getpid(), OrderedDict())
    streams = _open[1]
    if place not in streams:
        streams[place] = place.open()
        if len(streams) > KEPT_OPEN:
            streams.popitem(last=False)  # closed when whoever still reads it has done
    streams.move_to_end(place)
    return streams[place]
