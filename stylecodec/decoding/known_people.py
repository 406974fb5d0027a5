"""Known people: identity latents and personalised generators that the user of this machine chose to keep.

    card or stream ──► remember ──► a private folder, each item under its hash ──► streams that only name them

Latents and personalised generators are biometric data: nothing is kept unless it is asked for. Needs no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from platformdirs import user_cache_path

from ..bitstream import IDENTITY_BYTES, IDENTITY_DIM, IDENTITY_ROWS, Identity, StreamFile
from ..bitstream.attached import personalizations
from ..bitstream.delta import MAX_DELTA_BYTES, GeneratorDelta, Personalization
from ..errors import DeltaNotFound, FormatError, OptionError, OutputError
from ..files import atomic_write

IDENTITIES_VARIABLE = "STYLECODEC_IDENTITIES"  # the folder of known people
FOLDER_MODE, FILE_MODE = 0o700, 0o600  # nobody else on this machine may look
MAX_KNOWN = 256  # items of either kind; the one unused for longest goes first
LEAST_DIGITS = 8  # of a hash that names an item to be removed

Kind = Literal["generator", "latent"]
_SUFFIXES: dict[Kind, str] = {"generator": ".delta", "latent": ".latent"}


@dataclass(frozen=True)
class KnownItem:
    """One thing that is kept of a person: a personalised generator, or an identity latent."""

    kind: Kind
    digest: bytes
    bytes: int


def known_folder() -> Path:
    """Where known people are kept: $STYLECODEC_IDENTITIES, else stylecodec/identities in the user's cache folder."""
    if named := os.environ.get(IDENTITIES_VARIABLE):
        return Path(named)
    return user_cache_path("stylecodec", appauthor=False, opinion=False) / "identities"


class KnownPeople:
    """Generator deltas and identity latents in a folder, each under its hash; what does not fit its hash is not used.

    folder: by default `known_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = known_folder() if folder is None else folder

    def find(self, digest: bytes) -> GeneratorDelta:
        """The delta of this hash; DeltaNotFound when it is not known, or not any more what it was."""
        data = self._read(digest, "generator", MAX_DELTA_BYTES)
        try:
            if data is None:
                raise FormatError("it is not there")
            delta = GeneratorDelta(data)
        except FormatError:
            raise DeltaNotFound(
                f"the personalised generator {digest.hex()[:16]} is not in the stream and not known here; "
                "import the person's identity card (stylecodec identity import), or decode it as an avatar"
            ) from None
        return delta

    def recall(self, digest: bytes) -> Identity | None:
        """The identity of this hash, None when it is not known; fits StreamFile.open."""
        data = self._read(digest, "latent", IDENTITY_BYTES)
        if data is None or len(data) != IDENTITY_BYTES:
            return None
        return Identity(np.frombuffer(data, "<f2").reshape(IDENTITY_ROWS, IDENTITY_DIM))

    def add(self, delta: GeneratorDelta) -> None:
        """Keep a delta; OutputError where the folder cannot be written."""
        self._write(delta.digest, "generator", bytes(delta))

    def add_identity(self, identity: Identity) -> None:
        """Keep an identity latent; as `add`."""
        self._write(identity.digest, "latent", identity.latent.astype("<f2").tobytes())

    def items(self) -> list[KnownItem]:
        """Everything that is kept, generators first, by hash."""
        return sorted(
            (KnownItem(kind, bytes.fromhex(path.stem), path.stat().st_size) for kind, path in self._files()),
            key=lambda item: (item.kind, item.digest),
        )

    def remove(self, digits: str) -> KnownItem:
        """Forget the item whose hash begins with these hexadecimal digits, at least 8 of them.

        Raises OptionError where they name nothing or several items, OutputError where the file stays.
        """
        if not re.fullmatch(f"[0-9a-fA-F]{{{LEAST_DIGITS},64}}", digits):
            raise OptionError(f"a hash is given by {LEAST_DIGITS} to 64 hexadecimal digits, not {digits!r}")
        found = [item for item in self.items() if item.digest.hex().startswith(digits.lower())]
        if len(found) != 1:
            what = f"{len(found)} items of a hash" if found else "nothing of a hash"
            raise OptionError(f"{self.folder} keeps {what} that begins with {digits}")
        self._delete(found)
        return found[0]

    def clear(self) -> list[KnownItem]:
        """Forget everything; what was kept. OutputError where a file stays."""
        found = self.items()
        self._delete(found)
        return found

    def _path(self, kind: Kind, digest: bytes) -> Path:
        return self.folder / f"{digest.hex()}{_SUFFIXES[kind]}"

    def _files(self) -> Iterator[tuple[Kind, Path]]:
        for kind, suffix in _SUFFIXES.items():
            for path in self.folder.glob(f"*{suffix}") if self.folder.is_dir() else ():
                if re.fullmatch("[0-9a-f]{64}", path.stem):
                    yield kind, path

    def _delete(self, items: list[KnownItem]) -> None:
        for item in items:
            try:
                self._path(item.kind, item.digest).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{item.digest.hex()[:16]} stays in {self.folder}: {error.strerror}") from error

    def _read(self, digest: bytes, kind: Kind, most: int) -> bytes | None:
        """What is kept under a hash, if it still has that hash."""
        path = self._path(kind, digest)
        try:
            if path.stat().st_size > most:
                return None
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == digest else None

    def _write(self, digest: bytes, kind: Kind, data: bytes) -> None:
        """Keep data under its hash, unless it is kept already and undamaged."""
        if self._read(digest, kind, len(data)) is not None:
            return
        try:
            self._make_folder()
            with atomic_write(self._path(kind, digest)) as file:
                os.chmod(file.name, FILE_MODE)
                file.write(data)
            self._forget_the_oldest(kind)
        except OSError as error:
            raise OutputError(f"people cannot be kept in {self.folder}: {error.strerror}") from error

    def _make_folder(self) -> None:
        """The folder, which only its owner may open; one that the user made and named stays as it is."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not os.environ.get(IDENTITIES_VARIABLE) and self.folder == known_folder():
            self.folder.chmod(FOLDER_MODE)

    def _forget_the_oldest(self, kind: Kind) -> None:
        kept = sorted((path for of, path in self._files() if of == kind), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(len(kept) - MAX_KNOWN, 0)]:
            path.unlink(missing_ok=True)


def resolve(found: Personalization, known: KnownPeople | None = None) -> GeneratorDelta:
    """The delta of a chunk: the one it carries, else the known one of that hash (DeltaNotFound)."""
    return found.delta if found.delta is not None else (known or KnownPeople()).find(found.digest)


def remember(stream: StreamFile, known: KnownPeople | None = None) -> list[bytes]:
    """Keep the personalised generators that a card or stream carries, and their identities; a card's in any case.

    Streams that only name them can be decoded here from then on. Returns the digests of the generators. Raises
    OutputError where they cannot be written, FormatError where the stream is damaged there.
    """
    store = known or KnownPeople()
    found = personalizations(stream)
    for identity in stream.identities:
        if identity.digest in found or not stream.frame_count:
            store.add_identity(identity)
    deltas = [one.delta for one in found.values() if one.delta is not None]
    for delta in deltas:
        store.add(delta)
    return [delta.digest for delta in deltas]
