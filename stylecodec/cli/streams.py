"""Commands on the bitstream alone: cut, concat, strip, transcode, repair, dump, undump. None loads torch or av."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..bitstream import edit
from ..bitstream.chunks import Chunk, Prologue
from ..bitstream.compact.modelling import DEFAULT_QUALITY
from ..bitstream.edit import Dumper, Repair, undump
from ..bitstream.file import StreamFile
from ..bitstream.header import Profile
from ..errors import FormatError, OptionError
from ..files import atomic_write, check_output, reading

_BLOCK_BYTES = 1 << 16

CUT_EXAMPLES = """examples:
  stylecodec cut talk.stc part.stc --start 1.5 --duration 2
  stylecodec cut talk.stc part.stc --frames 38:88      # frames 38 to 87, counted from 0"""

CONCAT_EXAMPLES = """examples:
  stylecodec concat first.stc second.stc both.stc"""

STRIP_EXAMPLES = """examples:
  stylecodec strip talk.stc mute.stc --audio"""

TRANSCODE_EXAMPLES = """examples:
  stylecodec transcode raw.stc small.stc --profile compact
  stylecodec transcode small.stc raw.stc --profile raw"""

REPAIR_EXAMPLES = """examples:
  stylecodec repair cut-off.stc whole.stc
  stylecodec repair headless.stc whole.stc --like another.stc"""

DUMP_EXAMPLES = """examples:
  stylecodec dump talk.stc                             # one line per chunk, for people
  stylecodec dump talk.stc --json > talk.jsonl         # everything, one JSON object per line
  stylecodec undump talk.jsonl same.stc"""


def register(commands: Any) -> None:
    """Add the commands to the subparsers of the program."""
    cut = add_command(commands, "cut", "cut a stretch out of a stream, sound in step", CUT_EXAMPLES)
    _paths(cut)
    cut.add_argument("--start", type=float, metavar="S", help="seconds at which it begins (default: 0)")
    cut.add_argument("--end", type=float, metavar="S", help="seconds at which it ends (default: the end)")
    cut.add_argument("--duration", type=float, metavar="S", help="its length in seconds, in place of --end")
    cut.add_argument("--frames", metavar="A:B", help="frames A to B-1, in place of times")
    cut.set_defaults(run=_cut)

    concat = add_command(commands, "concat", "join streams, one after the other", CONCAT_EXAMPLES)
    concat.add_argument("inputs", nargs="+", metavar="IN.stc")
    concat.add_argument("output", metavar="OUT.stc")
    _json(concat)
    concat.set_defaults(run=_concat)

    strip = add_command(commands, "strip", "take parts out of a stream", STRIP_EXAMPLES)
    _paths(strip)
    strip.add_argument("--audio", action="store_true", help="the sound")
    strip.add_argument("--personalization", action="store_true", help="personalised generators")
    strip.add_argument("--background", action="store_true", help="what is behind the head")
    strip.add_argument("--private", action="store_true", help="chunks of private and unknown types")
    strip.set_defaults(run=_strip)

    transcode = add_command(commands, "transcode", "write a stream in another profile", TRANSCODE_EXAMPLES)
    _paths(transcode)
    transcode.add_argument("--profile", required=True, choices=[p.name.lower() for p in Profile])
    transcode.add_argument(
        "--quality",
        type=float,
        default=DEFAULT_QUALITY,
        metavar="DB",
        help="of the compact profile; a guess from the numbers alone, encode measures it (default: %(default)s)",
    )
    transcode.set_defaults(run=_transcode)

    repair = add_command(commands, "repair", "save what is whole of a damaged or cut-off stream", REPAIR_EXAMPLES)
    _paths(repair)
    repair.add_argument("--like", metavar="OTHER.stc", help="stream to take a lost header or identity from")
    repair.set_defaults(run=_repair)

    dump = add_command(commands, "dump", "list what a stream is made of", DUMP_EXAMPLES)
    dump.add_argument("input", metavar="IN.stc")
    dump.add_argument("output", metavar="OUT", nargs="?", help="text file (default: stdout)")
    dump.add_argument("--json", action="store_true", help="every number, one JSON object per line, for undump")
    dump.set_defaults(run=_dump)

    back = add_command(commands, "undump", "make a stream of what dump --json wrote", DUMP_EXAMPLES)
    back.add_argument("input", metavar="IN.jsonl", help="text file, or - for stdin")
    back.add_argument("output", metavar="OUT.stc")
    back.set_defaults(run=_undump)


def add_command(commands: Any, name: str, what: str, examples: str | None = None) -> argparse.ArgumentParser:
    """A subcommand with its description and, where there are some, examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN.stc")
    parser.add_argument("output", metavar="OUT.stc")
    _json(parser)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


# --- commands ---------------------------------------------------------------------------------------------


def _cut(arguments: argparse.Namespace) -> int:
    check_output(arguments.output, arguments.input)
    with opened(arguments.input) as stream:
        edit.require_complete(stream)
        start, stop = _stretch(arguments, stream)
        write(arguments.output, edit.cut(stream, start, stop))
    return report(arguments, {"first_frame": start, "end_frame": stop})


def _stretch(arguments: argparse.Namespace, stream: StreamFile) -> tuple[int, int]:
    """First frame and the one after the last that the options ask for."""
    times = arguments.start, arguments.end, arguments.duration
    if arguments.frames is not None:
        if any(time is not None for time in times):
            raise OptionError("--frames takes the place of --start, --end and --duration")
        first, colon, last = arguments.frames.partition(":")
        try:
            if not colon:
                raise ValueError
            start, stop = int(first or 0), int(last or stream.frame_count)
        except ValueError:
            raise OptionError(f"--frames takes A:B, two numbers, not {arguments.frames!r}") from None
    else:
        if arguments.end is not None and arguments.duration is not None:
            raise OptionError("give --end or --duration, not both")
        begin = arguments.start or 0.0
        end = arguments.end if arguments.duration is None else begin + arguments.duration
        start = edit.first_frame_from(stream, begin)
        stop = stream.frame_count if end is None else edit.first_frame_from(stream, end)
    if not 0 <= start < stop <= stream.frame_count:
        raise OptionError(
            f"that is no stretch of {arguments.input}: it has frames 0 to {stream.frame_count - 1:,}, "
            f"{stream.duration_seconds:.2f} s"
        )
    return start, stop


def _concat(arguments: argparse.Namespace) -> int:
    check_output(arguments.output, *arguments.inputs)
    with ExitStack() as stack:
        streams = [_open(stack, path) for path in arguments.inputs]
        write(arguments.output, edit.concat(streams))
    return report(arguments, {"inputs": len(streams)})


def _strip(arguments: argparse.Namespace) -> int:
    parts = {name: getattr(arguments, name) for name in ("audio", "personalization", "background", "private")}
    if not any(parts.values()):
        raise OptionError("say what to take out: --audio, --personalization, --background, --private")
    check_output(arguments.output, arguments.input)
    with opened(arguments.input) as stream:
        write(arguments.output, edit.strip(stream, **parts))
    return report(arguments, {"bytes_before": os.path.getsize(arguments.input)})


def _transcode(arguments: argparse.Namespace) -> int:
    if not 20 <= arguments.quality <= 90:
        raise OptionError(f"the quality must be 20 to 90 dB, not {arguments.quality:g}")
    check_output(arguments.output, arguments.input)
    with opened(arguments.input) as stream:
        profile = Profile[arguments.profile.upper()]
        write(arguments.output, edit.transcode(stream, profile, arguments.quality))
        before = stream.byte_account()["packets"] / stream.frame_count
    with opened(arguments.output) as made:
        after = made.byte_account()["packets"] / made.frame_count
    if not arguments.json:
        print(f"{before:.1f} bytes per frame became {after:.1f}, group heads included")
    return report(arguments, {"packet_bytes_before": round(before, 3), "packet_bytes": round(after, 3)})


def _repair(arguments: argparse.Namespace) -> int:
    sources = [arguments.input, *([arguments.like] if arguments.like else [])]
    check_output(arguments.output, *sources)
    with ExitStack() as stack:
        like = _open(stack, arguments.like) if arguments.like else None
        with reading(arguments.input), open(arguments.input, "rb") as file:
            repair = Repair(file, like)
            write(arguments.output, repair.portions())
    facts = {"frames_held": repair.held, "frames_shifted": repair.shifted, "lost": repair.lost}
    if not arguments.json:
        for sentence in (*repair.found.missing, *repair.lost):
            print(f"  missing: {sentence}")
        if repair.held:
            print(f"  {repair.held:,} frames repeat the picture before a gap")
        if repair.shifted:
            print(f"  it began at frame {repair.shifted:,}, which is now frame 0")
    return report(arguments, facts | {"was_whole": repair.found.complete, "missing": list(repair.found.missing)})


def _dump(arguments: argparse.Namespace) -> int:
    if arguments.output is None:
        with reading(arguments.input), open(arguments.input, "rb") as file:
            _print_lines(_lines(file, arguments.json), sys.stdout)
        return 0
    check_output(arguments.output, arguments.input)
    with reading(arguments.input), open(arguments.input, "rb") as file:
        write(arguments.output, (f"{line}\n".encode() for line in _lines(file, arguments.json)))
    return 0


def _lines(file: Any, as_json: bool) -> Iterator[str]:
    dumper = Dumper()
    while block := file.read(_BLOCK_BYTES):
        yield from dumper.feed(block) if as_json else map(_describe, dumper.chunks(block), [dumper] * len(block))
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


def _print_lines(lines: Iterable[str], out: TextIO) -> None:
    for line in lines:
        print(line, file=out)


def _undump(arguments: argparse.Namespace) -> int:
    if arguments.input == "-":
        check_output(arguments.output)
        write(arguments.output, undump(sys.stdin))
        return 0
    check_output(arguments.output, arguments.input)
    with reading(arguments.input), open(arguments.input, encoding="utf-8", errors="strict") as file:
        write(arguments.output, undump(_bounded(file)))
    return 0


def _bounded(file: TextIO) -> Iterator[str]:
    """The lines of a text file; FormatError where it is no text."""
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise FormatError("the file is not UTF-8 text") from error


# --- files ------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: str) -> Iterator[StreamFile]:
    """A stream, its path named in what goes wrong with it."""
    with reading(path), StreamFile.open(path) as stream:
        yield stream


def _open(stack: ExitStack, path: str) -> StreamFile:
    """One of several streams: only what goes wrong with opening it can be told from the others."""
    with reading(path):
        return stack.enter_context(StreamFile.open(path))


def write(path: str, portions: Iterable[bytes]) -> None:
    """A file that appears under its name when it is whole."""
    with atomic_write(Path(path)) as file:
        for portion in portions:
            file.write(portion)


def report(arguments: argparse.Namespace, facts: dict[str, Any]) -> int:
    """Say what was written."""
    with opened(arguments.output) as made:
        known = {"output": arguments.output, "frames": made.frame_count, "seconds": round(made.duration_seconds, 6)}
        known |= {"bytes": made.size, "identities": len(made.identities), "sound": made.audio_config is not None}
    if arguments.json:
        print(json.dumps(known | facts, indent=2, ensure_ascii=False))
    else:
        sound = "with sound" if known["sound"] else "without sound"
        print(
            f"{arguments.output}: {known['frames']:,} frames, {known['seconds']:.2f} s, {sound}, "
            f"{known['bytes']:,} bytes"
        )
    return 0
