"""Write a model pack: safetensors files, their digests and the card, visible only when whole.

The last line of a card written here is its own digest, so that `check_card` sees a single changed character.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from ..errors import OptionError, OutputError
from .card import CARD_FILE, NO_VALUE, NetworkEntry, PackCard, usual_kind
from .registry import drop_zeros, stored_tensors
from .store import ModelPack, read_card

SEAL = b"# sha256 "  # begins the last line of a card


@dataclass(frozen=True)
class NetworkSource:
    """A trained module on its way into a pack."""

    module: nn.Module
    params: Mapping[str, Any] = field(default_factory=dict)  # what the registry hands to the module's class
    licence: str = ""
    source: str = ""
    half: bool = True  # floats are stored as fp16; they are computed with as fp32

    @classmethod
    def of(cls, pack: ModelPack, role: str) -> NetworkSource:
        """A network of another pack, to be stored with the precision that it has there."""
        entry, module = pack.card.networks[role], pack.network(role, "cpu")
        with safe_open(pack.folder / entry.file, "pt") as file:
            half = all(file.get_slice(name).get_dtype() != "F32" for name in file.keys())  # noqa: SIM118
        return cls(module, entry.params, entry.licence, entry.source, half)


@dataclass(frozen=True)
class StoredNetwork:
    """A network on its way into a pack as tensors, in the names of the module that `kind` and `params` build."""

    kind: str
    tensors: Mapping[str, Tensor]
    params: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    source: str = ""

    @classmethod
    def of(cls, role: str, source: NetworkSource) -> StoredNetwork:
        """The same of a module."""
        tensors = stored_tensors(source.module, source.half, role)
        return cls(kind_of(role), tensors, source.params, source.licence, source.source)


def kind_of(role: str) -> str:
    """The usual kind of a role; OptionError when there is no such role."""
    kind = usual_kind(role)
    if kind is None:
        raise OptionError(f"there is no role {role!r} in a pack")
    return kind


def write_pack(
    folder: str | os.PathLike[str],
    networks: Mapping[str, NetworkSource],
    *,
    overwrite: bool = False,
    **card: Any,
) -> ModelPack:
    """Write a pack into `folder` and open it.

    `networks` maps roles to modules; `card` takes the remaining fields of PackCard (name, resolution, indices,
    alignment, pose, version, licence, source, training, figures). All files are written into a folder beside and
    renamed when whole; with `overwrite`, an existing pack is replaced (OutputError without, and for a folder that
    is no pack).
    """
    target = Path(folder)
    if target.exists() and not (overwrite and (target / CARD_FILE).is_file()):
        raise OutputError(f"{target} exists already" + (" and is not a model pack" if overwrite else ""))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            entries = {role: _write_network(staging, role, source) for role, source in networks.items()}
            _write(staging / CARD_FILE, _sealed(PackCard(networks=entries, **card)))
            staging.chmod(0o755)
            _put_in_place(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"the pack {target} cannot be written: {error.strerror or error}") from error
    return ModelPack(target, read_card(target))


def update_card(folder: str | os.PathLike[str], **changes: Any) -> ModelPack:
    """Replace fields of a pack's card (for example `figures`), leaving its weights; returns the pack reopened."""
    target = Path(folder)
    card = dataclasses.replace(read_card(target), **changes)
    _write_card(target, card)
    return ModelPack(target, card)


def put_networks(
    folder: Path, networks: Mapping[str, StoredNetwork], card: PackCard | None, **fields: Any
) -> ModelPack:
    """Add networks to the pack of `folder`, in place of those that had their roles, or begin a pack.

    card: the pack's card, None to begin one; fields: what of the card to set. Nothing changes before the new card takes
    the old one's place; files that it no longer names are removed then.
    """
    begun = not folder.exists()
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = dict(card.networks) if card else {}
        for role, network in networks.items():
            entries[role], file = _put_file(folder, role, network)
            written.append(file)
        fields["networks"] = entries
        new = dataclasses.replace(card, **fields) if card else PackCard(**fields)
        _write_card(folder, new)
    except BaseException as error:
        kept = {entry.file for entry in card.networks.values()} if card else set()
        for file in written:
            if file.name not in kept:
                file.unlink(missing_ok=True)
        if begun and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if isinstance(error, OSError | SafetensorError):
            raise OutputError(f"the pack {folder} cannot be written: {error}") from error
        raise
    drop_strays(folder, card, new)
    return ModelPack(folder, new)


def drop_strays(folder: Path, before: PackCard | None, after: PackCard) -> None:
    """Remove the files that only the card before named."""
    named = {entry.file for entry in after.networks.values()}
    for entry in before.networks.values() if before else ():
        if entry.file not in named:
            (folder / entry.file).unlink(missing_ok=True)


def check_card(folder: Path) -> str | None:
    """What is wrong with the bytes of a card: a sentence, or None when its last line is the digest of the rest."""
    text = (folder / CARD_FILE).read_bytes()
    body, mark, seal = text.rpartition(SEAL)
    if not mark:
        return f"{CARD_FILE} does not end with its own digest"
    if seal != hashlib.sha256(body).hexdigest().encode() + b"\n":
        return f"{CARD_FILE} does not match the digest in its last line"
    return None


def _sealed(card: PackCard) -> bytes:
    body = card.to_toml().encode()
    return body + SEAL + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _write_card(folder: Path, card: PackCard) -> None:
    partial = folder / f".{CARD_FILE}.partial"
    try:
        _write(partial, _sealed(card))
        partial.replace(folder / CARD_FILE)
    except OSError as error:
        raise OutputError(f"the card of {folder} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _put_file(folder: Path, role: str, network: StoredNetwork) -> tuple[NetworkEntry, Path]:
    """Write a network under a name that holds part of its digest, so that it never takes another one's place."""
    tensors = {name: value.contiguous() for name, value in network.tensors.items()}
    zeros = drop_zeros(tensors)
    partial = folder / f".{role}.partial"
    try:
        save_file(tensors, partial)
        with partial.open("r+b") as handle:
            os.fsync(handle.fileno())
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        partial.chmod(0o644)
        file = folder / f"{role}-{digest[:8]}.safetensors"
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    params = {name: NO_VALUE if value is None else value for name, value in network.params.items()}
    return NetworkEntry(network.kind, file.name, digest, network.licence, network.source, params, zeros), file


def _write_network(folder: Path, role: str, source: NetworkSource) -> NetworkEntry:
    tensors = stored_tensors(source.module, source.half, role)
    zeros = drop_zeros(tensors)
    data = save(tensors)
    _write(folder / f"{role}.safetensors", data)
    return NetworkEntry(
        kind=kind_of(role),
        file=f"{role}.safetensors",
        sha256=hashlib.sha256(data).hexdigest(),
        licence=source.licence,
        source=source.source,
        params={name: NO_VALUE if value is None else value for name, value in source.params.items()},
        zeros=zeros,
    )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename a folder over another: folders cannot be replaced in one step, so the old one steps aside first."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(aside / target.name)
    try:
        staging.rename(target)
    except OSError:
        (aside / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
