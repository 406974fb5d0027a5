"""`stylecodec models ...`: import published networks into packs; list, show, verify and remove packs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from ..packs.abilities import abilities
from ..packs.card import SHIPPED_ROLES, STREAM_ROLES
from ..packs.store import PACKS_VARIABLE, ModelPack, open_pack
from ..packs.upstream.importer import (
    DEFAULT_NAME,
    IMPORTED,
    ImportReport,
    find_packs,
    import_files,
    import_folder,
    remove_pack,
    verify_pack,
)

DONE, FAILED = 0, 1

EXAMPLES = f"""examples:
  stylecodec models import stylegan2-ffhq-config-f.pkl modellarge10k.pt
  stylecodec models import e4e_ffhq_encode.pt model_ir_se50.pth 79999_iter.pth --pack ffhq-1024
  stylecodec models list
  stylecodec models show ffhq-1024
  stylecodec models verify ffhq-1024
  stylecodec models remove ffhq-1024

Files are recognised by their content and converted; nothing in them is executed and nothing is downloaded. Packs go
into the first folder of {PACKS_VARIABLE}, else into the platform's folder for user data. Where to get each file, its
size, licence and digest: stylecodec/packs/upstream/README.md.

exit codes: 0 done; 1 it failed, or verify found damage; 2 wrong usage."""


def parser() -> argparse.ArgumentParser:
    """The arguments of `stylecodec models`."""
    top = argparse.ArgumentParser(
        prog="stylecodec models",
        description="Model packs: bring published networks, see what there is, check it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    take = commands.add_parser("import", help="convert published network files into a pack")
    take.add_argument("files", nargs="+", metavar="FILE", help="a file as published (.pkl, .pt, .pth, .dat)")
    take.add_argument(
        "--pack", default=DEFAULT_NAME, metavar="NAME", help="pack to begin or to add to (default: %(default)s)"
    )
    take.set_defaults(run=_import)
    every = commands.add_parser("list", help="the packs that a name finds")
    every.set_defaults(run=_list)
    show = commands.add_parser("show", help="what a pack holds, where it came from, what it can do")
    show.add_argument("pack", metavar="NAME|DIR")
    show.set_defaults(run=_show)
    verify = commands.add_parser("verify", help="read every byte of packs and compare digests")
    verify.add_argument("packs", nargs="*", metavar="NAME|DIR", help="default: every pack")
    verify.set_defaults(run=_verify)
    remove = commands.add_parser("remove", help="delete a pack of yours")
    remove.add_argument("pack", metavar="NAME")
    remove.set_defaults(run=_remove)
    for command in (take, every, show, verify, remove):
        command.add_argument("--json", action="store_true", help="report as JSON on stdout")
    return top


def main(argv: Sequence[str]) -> int:
    """Run `stylecodec models` with these arguments; returns the exit code."""
    arguments = parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def _import(arguments: argparse.Namespace) -> int:
    report = import_files(arguments.files, arguments.pack)
    if arguments.json:
        files = [dataclasses.asdict(file) for file in report.files]
        return _print_json({**_facts(report.pack), "files": files})
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


def _list(arguments: argparse.Namespace) -> int:
    found = find_packs()
    if arguments.json:
        packs = [_facts(pack) for pack in found if isinstance(pack, ModelPack)]
        broken = [sentence for sentence in found if isinstance(sentence, str)]
        return _print_json({"import_folder": str(import_folder()), "packs": packs, "unreadable": broken})
    for pack in found:
        if isinstance(pack, str):
            print(f"unreadable: {pack}")
        else:
            print(f"{pack.name:<20} {pack.card.resolution:>5}  {', '.join(pack.card.networks)}  {pack.folder}")
    return DONE


def _show(arguments: argparse.Namespace) -> int:
    pack = open_pack(arguments.pack)
    if arguments.json:
        return _print_json(_facts(pack))
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
    chosen: list[ModelPack | str] = [open_pack(name) for name in arguments.packs] or find_packs()
    rows = []
    for pack in chosen:
        wrong = [pack] if isinstance(pack, str) else verify_pack(pack)
        name, folder = ("?", "?") if isinstance(pack, str) else (pack.name, str(pack.folder))
        rows.append({"pack": name, "folder": folder, "whole": not wrong, "wrong": wrong})
    whole = all(row["whole"] for row in rows)
    if arguments.json:
        _print_json({"whole": whole, "packs": rows})
        return DONE if whole else FAILED
    for row in rows:
        print(f"{row['pack']} in {row['folder']}: {'every digest fits' if row['whole'] else 'damaged'}")
        for sentence in row["wrong"]:  # type: ignore[attr-defined]
            print(f"  {sentence}")
    return DONE if whole else FAILED


def _remove(arguments: argparse.Namespace) -> int:
    folder = remove_pack(arguments.pack)
    if arguments.json:
        return _print_json({"removed": str(folder)})
    print(f"removed {folder}")
    return DONE


def _facts(pack: ModelPack) -> dict[str, Any]:
    """A pack as JSON."""
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
        "abilities": [{"what": a.what, "works": a.works, "missing": list(a.missing)} for a in abilities(card)],
    }


def _print_json(facts: dict[str, Any]) -> int:
    print(json.dumps(facts, indent=2, ensure_ascii=False))
    return DONE
