"""`stylecodec models ...`: import published networks into packs; list, show, verify and remove packs."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from ..packs.abilities import ROLES_TO_BRING, abilities, to_bring
from ..packs.card import SHIPPED_ROLES, STREAM_ROLES
from .arguments import CommandParser, add_command, add_json
from .indices import indices_arguments
from .output import DONE, FAILED, print_json

if TYPE_CHECKING:
    from ..packs.store import ModelPack
    from ..packs.upstream.importer import ImportReport

EXAMPLES = """
stylecodec models import stylegan2-ffhq-config-f.pkl modellarge10k.pt
stylecodec models import e4e_ffhq_encode.pt model_ir_se50.pth 79999_iter.pth --pack ffhq-1024
stylecodec models list
stylecodec models show ffhq-1024
stylecodec models indices ffhq-1024 --out ./ffhq-mine
stylecodec models verify ffhq-1024
stylecodec models remove ffhq-1024

Files are recognised by their content and converted; nothing in them is executed and nothing is downloaded. Packs go
into the first folder of STYLECODEC_PACKS, else into the platform's folder for user data. Where to get each file, its
size, licence and digest: stylecodec/packs/upstream/README.md."""

VERIFY_EXITS = "exit codes: 0 every digest fits; 1 one does not; 2 wrong usage; 130 interrupted."


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES)
    actions = parser.add_subparsers(required=True, metavar="ACTION", title="actions")
    add_command(actions, "import", "convert published network files into a pack", _import_arguments)
    add_command(actions, "list", "the packs that a name finds", _list_arguments)
    add_command(actions, "show", "what a pack holds, where it came from, what it can do", _show_arguments)
    add_command(actions, "indices", "find the 32 StyleSpace channels that move a face", indices_arguments)
    add_command(actions, "verify", "read every byte of packs and compare digests", _verify_arguments)
    add_command(actions, "remove", "delete a pack of yours", _remove_arguments)


def _import_arguments(parser: CommandParser) -> None:
    from ..packs.upstream.importer import DEFAULT_NAME

    parser.end_with("""
stylecodec models import stylegan2-ffhq-config-f.pkl modellarge10k.pt
stylecodec models import e4e_ffhq_encode.pt --pack ffhq-1024 --json""")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file as published (.pkl, .pt, .pth, .dat)")
    parser.add_argument(
        "--pack", default=DEFAULT_NAME, metavar="NAME", help="pack to begin or to add to (default: %(default)s)"
    )
    add_json(parser)
    parser.set_defaults(run=_import)


def _list_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec models list --json")
    add_json(parser)
    parser.set_defaults(run=_list)


def _show_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec models show ffhq-1024")
    parser.add_argument("pack", metavar="NAME|DIR", help="name or folder of a pack")
    add_json(parser)
    parser.set_defaults(run=_show)


def _verify_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec models verify\nstylecodec models verify ffhq-1024 --json", VERIFY_EXITS)
    parser.add_argument("packs", nargs="*", metavar="NAME|DIR", help="default: every pack")
    add_json(parser)
    parser.set_defaults(run=_verify)


def _remove_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec models remove ffhq-1024")
    parser.add_argument("pack", metavar="NAME", help="name of a pack in the folder of imports")
    add_json(parser)
    parser.set_defaults(run=_remove)


def _import(arguments: argparse.Namespace) -> int:
    from ..packs.upstream.importer import import_files

    report = import_files(arguments.files, arguments.pack)
    if arguments.json:
        files = [dataclasses.asdict(file) for file in report.files]
        return print_json({**_facts(report.pack), "files": files})
    _print_import(report)
    return DONE


def _print_import(report: ImportReport) -> None:
    for file in report.files:
        kept = f"as {' and '.join(file.roles)}" if file.roles else "already there, not taken again"
        print(f"{file.path}: {file.what} ({file.form}), {kept}; {file.trust}")
        for note in file.notes:
            print(f"  {note}")
    print(f"pack {report.pack.name} in {report.pack.folder}")
    _print_abilities(report.pack)


def _print_abilities(pack: ModelPack) -> None:
    for ability in abilities(pack.card):
        state = "works" if ability.works else f"missing: {', '.join(ability.missing)}"
        print(f"  {ability.what:<62}{state}")
    lacking = {role: to_bring(role) for one in abilities(pack.card) for role in one.missing if role in ROLES_TO_BRING}
    for role, file in lacking.items():
        print(f"  to bring for {role}: {file}")


def _list(arguments: argparse.Namespace) -> int:
    from ..packs.upstream.importer import find_packs, import_folder

    found = find_packs()
    if arguments.json:
        packs = [_facts(pack) for pack in found if not isinstance(pack, str)]
        broken = [sentence for sentence in found if isinstance(sentence, str)]
        return print_json({"import_folder": str(import_folder()), "packs": packs, "unreadable": broken})
    for pack in found:
        if isinstance(pack, str):
            print(f"unreadable: {pack}")
        else:
            print(f"{pack.name:<20} {pack.card.resolution:>5}  {', '.join(pack.card.networks)}  {pack.folder}")
    return DONE


def _show(arguments: argparse.Namespace) -> int:
    from ..packs.store import open_pack
    from ..packs.upstream.importer import IMPORTED

    pack = open_pack(arguments.pack)
    if arguments.json:
        return print_json(_facts(pack))
    card = pack.card
    print(f"{pack.name} in {pack.folder}\n  licence: {card.licence}\n  source: {card.source}")
    record = card.training.get(IMPORTED, {})
    for role, entry in card.networks.items():
        print(f"  {role}: {entry.kind}, sha256 {entry.sha256}")
        print(f"    licence: {entry.licence}\n    source: {entry.source}")
        if role in record:
            origin = record[role]
            print(f"    from {origin['file']}, sha256 {origin['sha256']}, {origin['date']}; {origin['trust']}")
    for role, provider in _borrowed(pack).items():
        print(f"  {role}: that of {provider}, which comes with stylecodec")
    _print_abilities(pack)
    return DONE


def _borrowed(pack: ModelPack) -> dict[str, str]:
    """The roles that another pack fills, and its name."""
    return {role: pack.provider(role).name for role in SHIPPED_ROLES if pack.provider(role) is not pack}


def _verify(arguments: argparse.Namespace) -> int:
    from ..packs.store import open_pack
    from ..packs.upstream.importer import find_packs, verify_pack

    chosen: list[ModelPack | str] = [open_pack(name) for name in arguments.packs] or find_packs()
    rows = []
    for pack in chosen:
        wrong = [pack] if isinstance(pack, str) else verify_pack(pack)
        name, folder = ("?", "?") if isinstance(pack, str) else (pack.name, str(pack.folder))
        rows.append({"pack": name, "folder": folder, "whole": not wrong, "wrong": wrong})
    whole = all(row["whole"] for row in rows)
    if arguments.json:
        print_json({"whole": whole, "packs": rows})
        return DONE if whole else FAILED
    for row in rows:
        print(f"{row['pack']} in {row['folder']}: {'every digest fits' if row['whole'] else 'damaged'}")
        for sentence in row["wrong"]:  # type: ignore[attr-defined]
            print(f"  {sentence}")
    return DONE if whole else FAILED


def _remove(arguments: argparse.Namespace) -> int:
    from ..packs.upstream.importer import remove_pack

    folder = remove_pack(arguments.pack)
    if arguments.json:
        return print_json({"removed": str(folder)})
    print(f"removed {folder}")
    return DONE


def _facts(pack: ModelPack) -> dict[str, Any]:
    """A pack as JSON."""
    from ..packs.upstream.importer import IMPORTED

    card = pack.card
    partial = any(role not in card.networks for role in STREAM_ROLES)
    return {
        "name": pack.name,
        "folder": str(pack.folder),
        "resolution": card.resolution,
        "digest": None if partial else pack.digest.hex(),
        "networks": {
            role: {"kind": e.kind, "file": e.file, "sha256": e.sha256, "licence": e.licence, "source": e.source}
            for role, e in card.networks.items()
        },
        "borrowed": _borrowed(pack),
        "imported": card.training.get(IMPORTED, {}),
        "abilities": [
            {"what": a.what, "works": a.works, "missing": list(a.missing), "bring": list(a.bring)}
            for a in abilities(card)
        ],
    }


COMMANDS = {"models": _arguments}
