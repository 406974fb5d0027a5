"""What is there already: sources, streams and cards of an earlier run, held against what they were."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from .. import api
from ..bitstream import StreamFile
from ..errors import StylecodecError
from ..files import atomic_write
from .clips import Clip
from .manifest import IDENTITIES
from .people import Person
from .records import Record


def same_source(clip: Clip, record: Record) -> bool:
    """Whether a clip is what it was: by size and date, or by its content where the date is another."""
    try:
        status = os.stat(clip.path)
    except OSError:
        return False
    size = status.st_size if clip.member is None else clip.member[1]
    if size != record.source_bytes or clip.source != record.source:
        return False
    if status.st_mtime_ns == record.source_mtime_ns:
        return True
    offset = 0 if clip.member is None else clip.member[0]
    return content_digest(Path(clip.path), offset, size) == record.source_sha256


def content_digest(path: Path, offset: int, size: int) -> str | None:
    """SHA-256 of a stretch of a file, hex; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while size > 0 and (portion := file.read(min(size, 1 << 20))):
                digest.update(portion)
                size -= len(portion)
    except OSError:
        return None
    return None if size else digest.hexdigest()


def whole(out: Path, record: Record) -> bool:
    """Whether the stream of a record is there, unchanged, and `verify` finds nothing missing."""
    if record.output is None or not is_below(record.output):
        return False
    path = out / record.output
    try:
        size = path.stat().st_size
        return content_digest(path, 0, size) == record.output_sha256 and api.verify(path).complete
    except (OSError, StylecodecError):
        return False


def is_below(name: str) -> bool:
    """Whether a path that a manifest gives stays in the corpus folder."""
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts


def kept_card(out: Path, person: Person, key: str) -> Person | None:
    """The person with the card of an earlier run, if it was made of the same."""
    place = out / IDENTITIES / f"{person.slug}.stid"
    try:
        if place.with_suffix(".key").read_text() != key or not api.verify(place).complete:
            return None
        with StreamFile.open(str(place)) as card:
            return replace(person, card=str(place), identity=card.identities[0].digest.hex())
    except (OSError, StylecodecError, IndexError):
        return None


def keep_card(person: Person, key: str) -> None:
    """Note what the card of a person was made of."""
    assert person.card is not None
    with atomic_write(Path(person.card).with_suffix(".key")) as file:
        file.write(key.encode())
