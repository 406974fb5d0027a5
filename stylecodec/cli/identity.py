"""The `identity` commands, and the options of `encode` for known and personalised people."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bitstream import StreamFile
from ..bitstream.attached import personalizations
from ..bitstream.edit.operations import first_identity
from ..decoding.known_people import KnownItem, KnownPeople, remember
from ..encoding.options import BACKGROUNDS, DELTAS, EncodeOptions
from ..files import check_output, reading, whole_file
from .streams import add_command

MOST_PROCESSES = 4  # unless more are asked for
EXAMPLES = """examples:
  stylecodec encode first.mp4 first.stc --personalize
  stylecodec identity export first.stc me.stid        # the latent and the personalised generator
  stylecodec identity import me.stid                  # on the machine that decodes: streams may now just name it
  stylecodec encode second.mp4 second.stc --identity me.stid
  stylecodec identity list                            # what is kept here, and where
  stylecodec identity remove 3f9a60c1                 # forget what has this hash; `clear` forgets everything

Nothing of anybody is kept unless it is imported, or decoded with --remember. The folder is yours alone."""


def person_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    """Options of `encode` about the person and the scene."""
    person = parser.add_argument_group("the person and the scene")
    person.add_argument(
        "--personalize",
        action="store_true",
        help="fine-tune the generator to the person; what changes travels in the file, and takes minutes to find",
    )
    person.add_argument(
        "--minutes",
        type=float,
        default=usual.tune.minutes,
        metavar="M",
        help="for personalising (default: %(default)s)",
    )
    person.add_argument("--steps", type=int, metavar="N", help="for personalising, in place of minutes")
    person.add_argument(
        "--processes",
        type=int,
        default=min(os.cpu_count() or 1, MOST_PROCESSES),
        metavar="N",
        help=f"that share personalising on a CPU (default: one per core, at most {MOST_PROCESSES}: %(default)s)",
    )
    person.add_argument(
        "--delta-bytes",
        type=int,
        default=usual.tune.delta_bytes,
        metavar="N",
        help="that the personalised generator may take in the file (default: %(default)s)",
    )
    person.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="file from which personalising goes on when it was interrupted, or has a larger budget now",
    )
    person.add_argument(
        "--identity", metavar="CARD", help="card or .stc file of a known person, whose generator is used as it is"
    )
    person.add_argument(
        "--refit",
        action="store_true",
        help="with --identity: fit the latent to this video's light, hair and clothes; it travels in the file (6 kB)",
    )
    person.add_argument(
        "--delta",
        choices=DELTAS,
        default=usual.delta,
        help="carry a personalised generator and its latent in the file or name them; auto: carry what was made for "
        "this file",
    )
    person.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default=usual.background,
        help="behind the head: what the generator makes of it, a still of the scene (plate), a blur, a key colour "
        "(default: %(default)s)",
    )


def person_options(arguments: argparse.Namespace, usual: EncodeOptions) -> dict[str, Any]:
    """The values of `person_arguments` by the name of their option."""
    names = ("personalize", "checkpoint", "identity", "refit", "delta", "background")
    values = {name: getattr(arguments, name) for name in names}
    tune = replace(
        usual.tune,
        minutes=arguments.minutes,
        steps=arguments.steps,
        processes=arguments.processes,
        delta_bytes=arguments.delta_bytes,
    )
    return values | {"tune": tune}


def register(commands: Any) -> None:
    """Add the command to the subparsers of the program."""
    identity = add_command(
        commands, "identity", "cards of known people: export, import, list, remove, clear", EXAMPLES
    )
    actions = identity.add_subparsers(title="actions", metavar="ACTION", required=True)
    export = add_command(actions, "export", "write the identity of a stream, with its generator, as a card", EXAMPLES)
    export.add_argument("input", metavar="IN.stc")
    export.add_argument("output", metavar="CARD.stid")
    export.set_defaults(run=_export)
    taken = add_command(actions, "import", "keep the person of a card, for streams that only name them", EXAMPLES)
    taken.add_argument("input", metavar="CARD.stid")
    taken.set_defaults(run=_import)
    listed = add_command(actions, "list", "list what is kept of people here", EXAMPLES)
    listed.set_defaults(run=_list)
    removed = add_command(actions, "remove", "forget what is kept under hashes", EXAMPLES)
    removed.add_argument("hashes", nargs="+", metavar="HASH", help="8 or more of its hexadecimal digits")
    removed.set_defaults(run=_remove)
    cleared = add_command(actions, "clear", "forget everybody", EXAMPLES)
    cleared.set_defaults(run=_clear)
    for parser in (export, taken, listed, removed, cleared):
        parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _export(arguments: argparse.Namespace) -> int:
    from ..encoding.identity.cards import card_bytes

    check_output(arguments.output, arguments.input)
    with (
        reading(arguments.input),
        StreamFile.open(arguments.input, recall=KnownPeople().recall) as stream,
        whole_file(Path(arguments.output)) as file,
    ):
        for portion in card_bytes(stream):
            file.write(portion)
    facts = _facts(arguments.output)
    words = "with a personalised generator" if facts["delta"] else "without a personalised generator"
    name = facts["identity"][:16]
    return _say(arguments, facts, f"{arguments.output}: identity {name}, {words}, {facts['bytes']:,} bytes")


def _import(arguments: argparse.Namespace) -> int:
    with reading(arguments.input), StreamFile.open(arguments.input) as stream:
        kept = remember(stream)
    facts = _facts(arguments.input) | {"kept": [digest.hex() for digest in kept]}
    words = ", ".join(digest.hex()[:16] for digest in kept)
    sentence = f"kept the personalised generator {words}" if kept else "it carries no personalised generator"
    return _say(arguments, facts, f"{arguments.input}: {sentence}")


def _list(arguments: argparse.Namespace) -> int:
    known = KnownPeople()
    found = known.items()
    lines = [f"{known.folder}: {len(found)} kept", *map(_line, found)]
    return _say(arguments, {"folder": str(known.folder), "items": list(map(_item, found))}, "\n".join(lines))


def _remove(arguments: argparse.Namespace) -> int:
    known = KnownPeople()
    return _forgot(arguments, known, [known.remove(digits) for digits in arguments.hashes])


def _clear(arguments: argparse.Namespace) -> int:
    known = KnownPeople()
    return _forgot(arguments, known, known.clear())


def _forgot(arguments: argparse.Namespace, known: KnownPeople, items: list[KnownItem]) -> int:
    lines = [f"{known.folder}: {len(items)} forgotten", *map(_line, items)]
    return _say(arguments, {"folder": str(known.folder), "forgotten": list(map(_item, items))}, "\n".join(lines))


def _item(item: KnownItem) -> dict[str, Any]:
    return {"kind": item.kind, "hash": item.digest.hex(), "bytes": item.bytes}


def _line(item: KnownItem) -> str:
    return f"  {item.kind:<10}{item.digest.hex()}  {item.bytes:>9,} bytes"


def _facts(path: str) -> dict[str, Any]:
    """What a card is, or a stream of somebody known here."""
    with reading(path), StreamFile.open(path, recall=KnownPeople().recall) as stream:
        identity = first_identity(stream)
        found = personalizations(stream).get(identity.digest)
        pack = {"name": stream.header.pack_name, "digest": stream.header.pack_digest.hex()}
        delta = None if found is None else found.digest.hex()
        return {"file": path, "identity": identity.digest.hex(), "delta": delta, "pack": pack, "bytes": stream.size}


def _say(arguments: argparse.Namespace, facts: dict[str, Any], sentence: str) -> int:
    print(json.dumps(facts, indent=2, ensure_ascii=False) if arguments.json else sentence)
    return 0
