"""Published networks into a user's pack: opened as data, recognised by content, converted, recorded.

    file ──► containers (bytes as data) ──► recognise (which network) ──► safetensors and a card in the pack's folder

Nothing in a file is executed, nothing is downloaded, and nothing is written outside the pack's folder. Either all
files of a call are taken, or none.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ...errors import ImportRefused, OptionError, OutputError, PackCorrupt, PackError, PackNotFound
from ...nets.styleflow import PUBLISHED_ROWS
from ...nets.stylespace import StyleSpaceLayout
from ..abilities import Ability, abilities
from ..card import ALPHA_COUNT, CARD_FILE, PackCard, Pose
from ..registry import check_tensors
from ..store import PACKS_VARIABLE, ModelPack, open_pack, read_card, user_pack_folder
from ..writing import StoredNetwork, check_card, put_networks
from .containers import FORMS, Container, open_container
from .published import PUBLISHED
from .recognition import Part, recognise

DEFAULT_NAME = "ffhq-1024"
IMPORTED = "imported"  # table of the card's [training] that says what came from where
POSE = Pose(rows=PUBLISHED_ROWS, yaw=(-30.0, 30.0), pitch=(-20.0, 20.0))

# Where a packet's offsets go in the FFHQ generator. The paper's own 32 channels are not published; these are channels
# that tables published with StyleSpace (Wu et al., 2011.12799) place in mouth, eyes and brows. They are candidates, to
# be re-scored by the paper's own measure when an encoder for such packs is built.
FFHQ_INDICES: tuple[tuple[int, int], ...] = (
    *((6, 21), (6, 113), (6, 202), (6, 259), (6, 378), (6, 491), (6, 501), (8, 17)),
    *((8, 456), (9, 26), (9, 452), (11, 6), (11, 86), (11, 174), (11, 447), (12, 239)),
    *((8, 272), (9, 63), (9, 409), (11, 257), (12, 43), (12, 149), (14, 180), (14, 239)),
    *((6, 166), (6, 228), (8, 6), (8, 56), (9, 30), (9, 135), (9, 185), (9, 340)),
)


@dataclass(frozen=True)
class ImportedFile:
    """What became of one file."""

    path: str
    what: str
    form: str
    sha256: str
    trust: str
    roles: tuple[str, ...]  # that it fills in the pack
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImportReport:
    """What an import did, and what the pack can do now."""

    pack: ModelPack
    files: tuple[ImportedFile, ...]
    abilities: tuple[Ability, ...]


def import_folder() -> Path:
    """Where packs are imported to: the first folder of $STYLECODEC_PACKS, else the user's pack folder."""
    named = [part for part in os.environ.get(PACKS_VARIABLE, "").split(os.pathsep) if part]
    return Path(named[0]) if named else user_pack_folder()


def import_files(
    paths: Sequence[str | os.PathLike[str]], name: str = DEFAULT_NAME, folder: Path | None = None
) -> ImportReport:
    """Take published files into the pack `name` in `folder` (import_folder), which is begun or added to.

    Raises ImportRefused, naming the file and the reason, for a file that is no network stylecodec knows, that is
    damaged or hostile, or that does not fit the pack; OutputError when the pack cannot be written.
    """
    target = _target(name, folder)
    card = read_card(target) if (target / CARD_FILE).is_file() else None
    if card is not None and card.name != name:
        raise ImportRefused(f"the folder {target} holds another pack, {card.name!r}")
    opened = [_opened(Path(path)) for path in paths]
    chosen = _chosen(opened, card, target)
    _check_together(chosen, card)
    networks = {role: _stored(part, path) for role, (path, part) in chosen.items()}
    pack = put_networks(target, networks, card, **_card_fields(name, card, chosen, opened))
    files = tuple(
        ImportedFile(
            str(source.path),
            " and ".join(PUBLISHED[part.origin].what for part in source.parts),
            FORMS[source.form],
            source.sha256,
            source.trust,
            tuple(role for role, (path, _) in chosen.items() if path is source),
            tuple(note for part in source.parts for note in part.notes),
        )
        for source in opened
    )
    return ImportReport(pack, files, abilities(pack.card))


def remove_pack(name: str, folder: Path | None = None) -> Path:
    """Delete an imported or otherwise user-owned pack; packs that come with stylecodec are not touched."""
    target = _target(name, folder)
    if not (target / CARD_FILE).is_file():
        raise PackNotFound(f"there is no pack {name!r} in {target.parent}")
    card = read_card(target)
    strays = {path.name for path in target.iterdir()} - {CARD_FILE} - {e.file for e in card.networks.values()}
    if strays:
        raise OutputError(f"{target} holds files that are not the pack's, such as {sorted(strays)[0]!r}: not removed")
    try:
        shutil.rmtree(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be removed: {error.strerror or error}") from error
    return target


def verify_pack(pack: ModelPack) -> list[str]:
    """What is wrong with the files of a pack, one sentence each: every byte is read. Empty when all is well."""
    wrong = []
    card_fault = check_card(pack.folder)
    if card_fault and (IMPORTED in pack.card.training or "match" in card_fault):
        wrong.append(card_fault)
    for role, entry in pack.card.networks.items():
        try:
            pack.verify_role(role)
            check_tensors(entry.kind, entry.params, pack.folder / entry.file, entry.zeros, f"pack {pack.name}, {role}")
        except PackError as error:
            wrong.append(str(error))
    return wrong


def find_packs() -> list[ModelPack | str]:
    """Every pack that a name finds, in the order of search; a sentence in the place of one that cannot be read."""
    from ..store import search_path

    found: list[ModelPack | str] = []
    seen: set[str] = set()
    for root in search_path():
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not (folder / CARD_FILE).is_file():
                continue
            try:
                pack = open_pack(folder)
            except PackCorrupt as error:
                found.append(str(error))
                continue
            if pack.name not in seen:
                seen.add(pack.name)
                found.append(pack)
    return found


# --- one file -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Opened:
    path: Path
    form: Any
    parts: list[Part]
    sha256: str
    size: int
    trust: str


def _opened(path: Path) -> _Opened:
    try:
        container = open_container(path)
        parts = recognise(container)
    except ImportRefused as error:
        raise ImportRefused(f"{path} is not imported: {error}") from error
    except RecursionError as error:
        raise ImportRefused(f"{path} is not imported: it nests too deeply") from error
    except MemoryError as error:
        raise ImportRefused(f"{path} is not imported: it asks for more memory than there is") from error
    sha256, blob = _digests(container)
    return _Opened(
        path, container.form, parts, sha256, container.size, PUBLISHED[parts[0].origin].trust(sha256, blob)
    )


def _digests(container: Container) -> tuple[str, str]:
    """SHA-256 of a file, and the name that git gives its content."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {container.size}\0".encode(), usedforsecurity=False)
    with container.path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            blob.update(block)
    return sha256.hexdigest(), blob.hexdigest()


def _stored(part: Part, source: _Opened) -> StoredNetwork:
    published = PUBLISHED[part.origin]
    return StoredNetwork(
        part.kind, part.state, part.params, published.licence, f"{source.path.name}; published at {published.source}"
    )


# --- what goes into the pack ----------------------------------------------------------------------------------

Chosen = dict[str, tuple[_Opened, Part]]


def _chosen(opened: Iterable[_Opened], card: PackCard | None, folder: Path) -> Chosen:
    """Which part of which file fills each role."""
    chosen: Chosen = {}
    for source in opened:
        for part in source.parts:
            if part.by_product or part.amends:
                continue
            if part.role in chosen:
                other = chosen[part.role][0].path
                raise ImportRefused(f"{other} and {source.path} both hold the pack's {part.role} network: give one")
            chosen[part.role] = source, part
    for source in opened:
        for part in source.parts:
            if part.amends:
                chosen[part.role] = source, _amended(part, source, chosen, card, folder)
            elif part.by_product and part.role not in chosen and not (card and part.role in card.networks):
                chosen[part.role] = source, part
    return chosen


def _amended(part: Part, source: _Opened, chosen: Chosen, card: PackCard | None, folder: Path) -> Part:
    """The network of a role with some of its tensors replaced."""
    base: Mapping[str, Tensor]
    if part.role in chosen:
        base = chosen[part.role][1].state
    elif card and part.role in card.networks:
        base = load_file(folder / card.networks[part.role].file)
    else:
        raise ImportRefused(
            f"{source.path} is not imported: it holds LPIPS channel weights, which measure nothing without their "
            f"trunk: give {PUBLISHED['lpips-' + part.params['trunk']].files} (it brings the published weights itself)"
        )
    origin = f"lpips-{part.params['trunk']}"
    return dataclasses.replace(part, state={**base, **part.state}, origin=origin, amends=False)


def _check_together(chosen: Chosen, card: PackCard | None) -> None:
    """Networks of one pack must speak of the same W+."""

    def params(role: str) -> Mapping[str, Any]:
        if role in chosen:
            return chosen[role][1].params
        return card.networks[role].params if card and role in card.networks else {}

    generator, encoder, flow = params("generator"), params("inversion"), params("flow")
    if generator and encoder and "resolution" in generator:
        rows = 2 * int(generator["resolution"]).bit_length() - 4
        if encoder.get("rows", 18) != rows or encoder.get("style_dim", 512) != generator.get("w_dim", 512):
            raise ImportRefused(
                f"the encoder gives {encoder.get('rows', 18)} rows of {encoder.get('style_dim', 512)}, "
                f"the pack's generator takes {rows} rows of {generator.get('w_dim', 512)}"
            )
    if generator and flow and flow.get("dim", 512) != generator.get("w_dim", 512):
        raise ImportRefused(
            f"the flow moves rows of {flow.get('dim', 512)}, the pack's generator takes {generator.get('w_dim', 512)}"
        )


def _card_fields(name: str, card: PackCard | None, chosen: Chosen, opened: Sequence[_Opened]) -> dict[str, Any]:
    """What the card says after the import."""
    record = {} if card is None else dict(card.training.get(IMPORTED, {}))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    for role, (source, part) in chosen.items():
        origin = source.parts[0].origin if source.parts[0].amends else part.origin
        record[f"{role}_heads" if source.parts[0].amends else role] = {
            "file": source.path.name,
            "bytes": source.size,
            "sha256": source.sha256,
            "form": FORMS[source.form],
            "what": PUBLISHED[origin].what,
            "trust": source.trust,
            "date": today,
        }
    training = {**(card.training if card else {}), IMPORTED: record}
    fields: dict[str, Any] = {"training": training}
    if card is None:
        fields |= {"name": name, "licence": "see each network", "source": "imported by the user", "pose": POSE}
        fields |= {"resolution": 1024, "indices": FFHQ_INDICES}
    if "generator" in chosen:
        params = chosen["generator"][1].params
        fields |= {"resolution": params["resolution"], "indices": _indices(params)}
        rows = 2 * int(params["resolution"]).bit_length() - 4
        fields["pose"] = dataclasses.replace(card.pose if card else POSE, rows=min(PUBLISHED_ROWS, rows))
    return fields


def _indices(params: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """FFHQ_INDICES where the generator has them; else the first channels of its convolutions, 32 in all."""
    channels = {int(size): int(width) for size, width in params["channels"].items()}
    layers = StyleSpaceLayout.of(params["resolution"], channels).layers
    if all(layer < len(layers) and channel < layers[layer].channels for layer, channel in FFHQ_INDICES):
        return FFHQ_INDICES
    convs = [k for k, layer in enumerate(layers) if layer.kind != "rgb"]
    pairs = sorted((channel, k) for k in convs for channel in range(layers[k].channels))
    if len(pairs) < ALPHA_COUNT:
        raise ImportRefused("the generator has fewer StyleSpace channels than a packet has offsets")
    return tuple((k, channel) for channel, k in pairs[:ALPHA_COUNT])


def _target(name: str, folder: Path | None) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise OptionError(
            f"a pack's name is 1 to 64 letters, digits, dots, dashes and underscores, not {name[:80]!r}"
        )
    return (import_folder() if folder is None else folder) / name
