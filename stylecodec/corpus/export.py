"""A corpus as WebDataset tars: of each clip NAME.stc and NAME.json, what the manifest says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import OptionError, OutputError
from ..files import PathLike, atomic_write, blaming, reading
from .manifest import IDENTITIES
from .records import Record
from .state import is_below
from .tars import tar_writer

TAR_BYTES = 1 << 28
"""Bytes of streams from which on the next tar begins."""
MAX_KEY = 90  # characters, what the oldest readers of tars take with the ending


def export_tars(
    folder: PathLike, records: Iterable[Record], target: PathLike, tar_bytes: int = TAR_BYTES
) -> Iterator[tuple[Path, int]]:
    """Write tars into a folder, and the cards of people whom streams only name beside them; (tar, clips in it) of each.

    The same corpus gives the same tars. OptionError for a size of 0; OutputError; MediaError where a stream is missing.
    """
    if tar_bytes < 1:
        raise OptionError(f"a tar takes 1 byte and more, not {tar_bytes}")
    place = Path(target)
    with blaming(place):
        place.mkdir(parents=True, exist_ok=True)
    done = [record for record in records if record.done and record.output and is_below(record.output)]
    _copy_cards(Path(folder), place)
    for number, part in enumerate(_parts(done, tar_bytes)):
        tar = place / f"clips-{number:06d}.tar"
        with atomic_write(tar) as file, tar_writer(file) as writer:
            for record, key in part:
                path = Path(folder) / str(record.output)
                with reading(path):
                    writer.add(f"{key}.stc", path.read_bytes())
                writer.add(f"{key}.json", described(record))
        yield tar, len(part)


def described(record: Record) -> bytes:
    """What goes into a tar of a record: nothing that another run of the same work would have otherwise."""
    row = json.loads(record.line())
    for name in ("seconds", "cpu_seconds", "stage_seconds", "worker", "worker_mib", "source_mtime_ns", "source"):
        row.pop(name, None)
    return json.dumps(row, sort_keys=True).encode() + b"\n"


def _parts(records: Iterable[Record], tar_bytes: int) -> Iterator[list[tuple[Record, str]]]:
    part: list[tuple[Record, str]] = []
    taken: set[str] = set()
    size = 0
    for record in records:
        key = _key(record.name, taken)
        part.append((record, key))
        size += record.bytes_by_part.get("total", 0)
        if size >= tar_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part


def _key(name: str, taken: set[str]) -> str:
    """A name without dots, which would end WebDataset's key, and that no other clip has."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace(".", "_")[-MAX_KEY:].strip("/")
    key, number = plain, 1
    while key in taken:
        number += 1
        key = f"{plain[: MAX_KEY - 8]}-{number}"
    taken.add(key)
    return key


def _copy_cards(folder: Path, place: Path) -> None:
    cards = sorted((folder / IDENTITIES).glob("*.stid"))
    try:
        if cards:
            (place / IDENTITIES).mkdir(exist_ok=True)
        for card in cards:
            shutil.copyfile(card, place / IDENTITIES / card.name)
    except OSError as error:
        raise OutputError(f"the cards of {folder} cannot be copied to {place}: {error.strerror}") from error
