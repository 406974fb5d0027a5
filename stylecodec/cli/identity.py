"""`stylecodec identity`: cards of known people."""

from __future__ import annotations

import argparse
from typing import Any

from ..bitstream import StreamFile
from ..bitstream.attached import personalizations
from ..bitstream.edit import first_identity
from ..decoding.known_people import LEAST_DIGITS, KnownItem, KnownPeople, remember
from ..files import check_output, reading
from .arguments import CommandParser, add_command, add_json
from .output import DONE, print_json, report_to
from .pipes import piped
from .stream_files import write

EXAMPLES = """
stylecodec encode first.mp4 first.stc --likeness full
stylecodec identity export first.stc me.stid        # the latent and the personalised generator
stylecodec identity import me.stid                  # on the machine that decodes: streams may now just name it
stylecodec encode second.mp4 second.stc --identity me.stid
stylecodec identity list                            # what is kept here, and where
stylecodec identity remove 3f9a60c1                 # forget what has this hash; `clear` forgets everything

Nothing of anybody is kept unless it is imported, or decoded with --remember. The folder is for its owner only."""


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "export", "write the identity of a stream, with its generator, as a card", _export_arguments)
    add_command(actions, "import", "keep the person of a card, for streams that only name them", _import_arguments)
    add_command(actions, "list", "list what is kept of people here", _list_arguments)
    add_command(actions, "remove", "forget what is kept under some hashes", _remove_arguments)
    add_command(actions, "clear", "forget everybody", _clear_arguments)


def _export_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec identity export first.stc me.stid")
    parser.add_argument("input", metavar="IN.stc", help="a stream of the person, or - for stdin")
    parser.add_argument("output", metavar="CARD.stid", help="the card to write, or - for stdout")
    add_json(parser)
    parser.set_defaults(run=_export)


def _import_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec identity import me.stid")
    parser.add_argument("input", metavar="CARD.stid", help="a card or stream, or - for stdin")
    add_json(parser)
    parser.set_defaults(run=_import)


def _list_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec identity list --json")
    add_json(parser)
    parser.set_defaults(run=_list)


def _remove_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec identity remove 3f9a60c1 d06e71ab")
    parser.add_argument("hashes", nargs="+", metavar="HASH", help=f"{LEAST_DIGITS} or more of its hexadecimal digits")
    add_json(parser)
    parser.set_defaults(run=_remove)


def _clear_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec identity clear")
    add_json(parser)
    parser.set_defaults(run=_clear)


def _export(arguments: argparse.Namespace) -> int:
    from ..encoding.identity.cards import card_bytes

    with piped([arguments.input], arguments.output) as ((source,), target):
        check_output(target, source)
        with reading(source), StreamFile.open(source, recall=KnownPeople().recall) as stream:
            write(target, card_bytes(stream))
        facts = _facts(target, arguments.output)
    words = "with a personalised generator" if facts["delta"] else "without a personalised generator"
    sentence = f"{arguments.output}: identity {facts['identity'][:16]}, {words}, {facts['bytes']:,} bytes"
    return _say(arguments, facts, sentence)


def _import(arguments: argparse.Namespace) -> int:
    with piped([arguments.input]) as ((source,), _):
        with reading(source), StreamFile.open(source) as stream:
            kept = remember(stream)
        facts = _facts(source, arguments.input) | {"kept": [digest.hex() for digest in kept]}
    words = ", ".join(digest.hex()[:16] for digest in kept)
    if kept:
        sentence = f"kept the personalised generator {words}"
    elif facts["card"]:
        sentence = f"kept the identity {facts['identity'][:16]}, it carries no personalised generator"
    else:
        sentence = "it carries no personalised generator"
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


def _facts(path: str, name: str) -> dict[str, Any]:
    """What a card is, or a stream of somebody known here, which the user called `name`."""
    with reading(path), StreamFile.open(path, recall=KnownPeople().recall) as stream:
        identity = first_identity(stream)
        found = personalizations(stream).get(identity.digest)
        pack = {"name": stream.header.pack_name, "digest": stream.header.pack_digest.hex()}
        delta = None if found is None else found.digest.hex()
        facts = {"file": name, "card": not stream.frame_count, "identity": identity.digest.hex()}
        return facts | {"delta": delta, "pack": pack, "bytes": stream.size}


def _say(arguments: argparse.Namespace, facts: dict[str, Any], sentence: str) -> int:
    to = report_to(getattr(arguments, "output", ""))
    if arguments.json:
        return print_json(facts, to)
    print(sentence, file=to)
    return DONE


COMMANDS = {"identity": _arguments}
