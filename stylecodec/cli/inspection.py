"""`stylecodec info`, `verify` and `dump`: what a stream is, whether it is whole, what it is made of."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, BinaryIO

from .. import api
from ..bitstream.chunks import Chunk, Prologue
from ..bitstream.edit import Dumper
from ..errors import BadMagic, MediaError
from ..files import check_output, reading
from .arguments import CommandParser, add_json, add_stream_input
from .output import DONE, FAILED, print_json
from .pipes import PIPE, piped
from .stream_files import write

_BLOCK_BYTES = 1 << 16

INFO_EXAMPLES = """
stylecodec info talk.stc
stylecodec info talk.stc --json
stylecodec info talk.mkv                             # the streams of a video, and which of them encode takes
stylecodec cut talk.stc - --end 1 | stylecodec info -"""

VERIFY_EXAMPLES = """
stylecodec verify talk.stc
stylecodec verify talk.stc --json
stylecodec verify - < talk.stc"""

VERIFY_EXITS = "exit codes: 0 the stream is whole; 1 it is not, or cannot be read; 2 wrong usage; 130 interrupted."

DUMP_EXAMPLES = """
stylecodec dump talk.stc                             # one line per chunk, for people
stylecodec dump talk.stc --json > talk.jsonl         # everything, one JSON object per line
stylecodec undump talk.jsonl same.stc"""


def _info_arguments(parser: CommandParser) -> None:
    parser.end_with(INFO_EXAMPLES)
    parser.add_argument("input", metavar="IN", help="a stream or a video, or - for stdin")
    add_json(parser)
    parser.set_defaults(run=_info)


def _verify_arguments(parser: CommandParser) -> None:
    parser.end_with(VERIFY_EXAMPLES, VERIFY_EXITS)
    add_stream_input(parser)
    add_json(parser)
    parser.set_defaults(run=_verify)


def _dump_arguments(parser: CommandParser) -> None:
    parser.end_with(DUMP_EXAMPLES)
    add_stream_input(parser)
    parser.add_argument("output", metavar="OUT", nargs="?", default=PIPE, help="text file (default: stdout)")
    parser.add_argument("--json", action="store_true", help="every number, one JSON object per line, for undump")
    parser.set_defaults(run=_dump)


# --- info -------------------------------------------------------------------------------------------------


def _info(arguments: argparse.Namespace) -> int:
    with piped([arguments.input]) as ((path,), _):
        facts, show = _facts(path)
    facts |= {"file": arguments.input}
    if arguments.json:
        return print_json(facts)
    show(facts)
    return DONE


def _facts(path: str) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
    """What a stream or a media file is, and who prints it for people."""
    try:
        return api.probe(path), _print_facts
    except BadMagic as error:
        try:
            return api.probe_source(path), _print_source
        except MediaError:
            raise error from None


def _print_facts(facts: dict[str, Any]) -> None:
    sound, latents = facts["audio"], facts["latents"]
    refined = any("base" in one for one in latents)
    variable = " as a rule, variable" if facts["variable_rate"] else ""
    rows = [
        ("frames", f"{facts['frames']:,} in {facts['groups']:,} groups, {facts['identities']} identity latent(s)"),
        ("time", f"{facts['duration_seconds']:.2f} s at {facts['fps']:g} frames per second{variable}"),
        ("picture", f"{facts['width']}x{facts['height']}"),
        ("pack", f"{facts['pack']['name']} {facts['pack']['digest'][:16]}"),
        ("profile", facts["profile"]),
        ("background", facts["background"]),
        *(("identity", _latent_words(one)) for one in latents if refined),
        *(("personalised", _personal_words(one)) for one in facts["personalized"]),
        ("sound", f"Opus, {sound['channels']} channel(s)" if sound else "none"),
    ]
    if not facts["complete"]:
        rows.append(("not whole", "; ".join(facts["missing"]) or "damaged"))
    print(facts["file"])
    for name, value in rows:
        print(f"  {name:<16}{value}")
    print(f"  {'bytes':<16}{facts['bytes']['total']:>12,}")
    for part, count in facts["bytes"].items():
        if part != "total":
            rate = f"{facts['kbps'][part]:8.2f} kbps" if part in facts["kbps"] else ""
            print(f"    {part:<16}{count:>10,}  {rate}".rstrip())
    print(f"  {'in all':<16}{facts['kbps']['total']:.2f} kbps")


def _print_source(facts: dict[str, Any]) -> None:
    seconds = facts["duration_seconds"]
    print(f"{facts['file']}: {facts['format']}, {'unknown length' if seconds is None else f'{seconds:.2f} s'}")
    for one in facts["streams"]:
        shape = f"{one['width']}x{one['height']}" if one["width"] else ""
        shape = f"{one['channels']} channel(s)" if one["channels"] else shape
        rate = f"{one['rate']:g} per second" if one["rate"] else ""
        flags = [word for word in ("default", "cover") if one[word]] + ([] if one["decodable"] else ["no decoder"])
        words = [one["codec"], shape, rate, one["language"], one["title"], *flags]
        mark = "*" if one["chosen"] else " "
        print(f" {mark}{one['index']:>3}  {one['kind']:<10}{', '.join(word for word in words if word)}")
    print("  * is what encode takes unless --video-stream or --audio-stream says otherwise")


def _latent_words(one: dict[str, Any]) -> str:
    of = f", predicted from {one['base'][:16]}" if "base" in one else ""
    return f"{one['digest'][:16]}, {one['bytes']:,} bytes{of}"


def _personal_words(one: dict[str, Any]) -> str:
    where = "in the file" if one["carried"] else "named only, not in the file"
    return f"identity {one['identity'][:16]} by generator {one['delta'][:16]}, {where}"


# --- verify -----------------------------------------------------------------------------------------------


def _verify(arguments: argparse.Namespace) -> int:
    with piped([arguments.input]) as ((path,), _):
        report = api.verify(path)
    code = DONE if report.complete else FAILED
    damage = [f"{d.error}; {d.length:,} bytes skipped from byte {d.offset:,}" for d in report.damage]
    if arguments.json:
        facts = {name: getattr(report, name) for name in ("complete", "truncated", "groups", "frames", "frames_lost")}
        facts |= {"missing": list(report.missing), "damage": damage, "damage_count": report.damage_count}
        print_json({"file": arguments.input, **facts, "bytes": report.bytes_read})
        return code
    state = "whole" if report.complete else "not whole"
    print(
        f"{arguments.input}: {state}, {report.groups:,} groups, {report.frames:,} frames, {report.bytes_read:,} bytes"
    )
    for sentence in report.missing:
        print(f"  missing: {sentence}")
    for sentence in damage:
        print(f"  damaged: {sentence}")
    if report.damage_count > len(damage):
        print(f"  and {report.damage_count - len(damage):,} more damaged places")
    return code


# --- dump -------------------------------------------------------------------------------------------------


def _dump(arguments: argparse.Namespace) -> int:
    with piped([arguments.input]) as ((path,), _):
        if arguments.output == PIPE:
            with reading(path), open(path, "rb") as file:
                for line in _lines(file, arguments.json):
                    print(line)
            return DONE
        check_output(arguments.output, path)
        with reading(path), open(path, "rb") as file:
            write(arguments.output, (f"{line}\n".encode() for line in _lines(file, arguments.json)))
    return DONE


def _lines(file: BinaryIO, as_json: bool) -> Iterator[str]:
    dumper = Dumper()
    while block := file.read(_BLOCK_BYTES):
        yield from dumper.feed(block) if as_json else map(_describe, dumper.chunks(block), repeat(dumper))
    dumper.close()


def _describe(chunk: Chunk | Prologue, dumper: Dumper) -> str:
    """A chunk as a line for people: where, how long, what."""
    if isinstance(chunk, Prologue):
        return f"{0:>12,} {16:>10,}  version {chunk.major}.{chunk.minor}"
    fields = dumper.fields(chunk)
    what = {name: value for name, value in fields.items() if name not in ("chunk", "latent", "indices", "payload")}
    for name in ("packets", "levels", "times"):
        if name in what:
            what[name] = len(what[name])
    if "pack" in what:
        what["pack"] = what["pack"]["name"]
    words = " ".join(f"{name}={_short(value)}" for name, value in what.items())
    return f"{chunk.offset:>12,} {chunk.size:>10,}  {fields['chunk']:<12} {words}".rstrip()


def _short(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 40 else f"{text[:37]}…"


COMMANDS = {"info": _info_arguments, "verify": _verify_arguments, "dump": _dump_arguments}
