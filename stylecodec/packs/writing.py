"""Write a model pack: safetensors files, their digests and the card, visible only when whole."""

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

from safetensors.torch import save
from torch import nn

from ..errors import OutputError
from .card import CARD_FILE, NO_VALUE, ROLES, NetworkEntry, PackCard
from .registry import drop_zeros, stored_tensors
from .store import ModelPack, read_card


@dataclass(frozen=True)
class NetworkSource:
    """A trained module on its way into a pack."""

    module: nn.Module
    params: Mapping[str, Any] = field(default_factory=dict)  # what the registry hands to the module's class
    licence: str = ""
    source: str = ""
    half: bool = True  # floats are stored as fp16; they are computed with as fp32


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
            _write(staging / CARD_FILE, PackCard(networks=entries, **card).to_toml().encode())
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
    partial = target / f".{CARD_FILE}.partial"
    try:
        _write(partial, card.to_toml().encode())
        partial.replace(target / CARD_FILE)
    except OSError as error:
        raise OutputError(f"the card of {target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ModelPack(target, card)


def _write_network(folder: Path, role: str, source: NetworkSource) -> NetworkEntry:
    tensors = stored_tensors(source.module, source.half, role)
    zeros = drop_zeros(tensors)
    data = save(tensors)
    _write(folder / f"{role}.safetensors", data)
    return NetworkEntry(
        kind=ROLES[role],
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
