"""Commands that make streams of streams: cut, concat, strip, transcode, repair, undump. None loads torch or av."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TextIO

from ..bitstream import edit
from ..bitstream.compact.modelling import PLAIN_QUALITY
from ..bitstream.edit import Repair, undump
from ..bitstream.edit.dump import MAX_LINE
from ..bitstream.file import StreamFile
from ..bitstream.header import Profile
from ..errors import FormatError, OptionError
from ..files import check_output, reading
from .arguments import CommandParser, add_stream_input, add_stream_output
from .output import DONE, print_json, report_to
from .pipes import piped
from .stream_files import opened, report, write, written

QUALITIES = (20, 90)  # dB

CUT_EXAMPLES = """
stylecodec cut talk.stc part.stc --start 1.5 --duration 2
stylecodec cut talk.stc part.stc --frames 38:88      # frames 38 to 87, counted from 0
stylecodec cut talk.stc - --end 60 | stylecodec strip - mute.stc --audio"""

CONCAT_EXAMPLES = """
stylecodec concat first.stc second.stc both.stc"""

STRIP_EXAMPLES = """
stylecodec strip talk.stc mute.stc --audio
stylecodec strip me.stc public.stc --personalization --background --private"""

TRANSCODE_EXAMPLES = """
stylecodec transcode raw.stc small.stc --profile compact
stylecodec transcode small.stc raw.stc --profile raw"""

REPAIR_EXAMPLES = """
stylecodec repair cut-off.stc whole.stc
stylecodec repair headless.stc whole.stc --like another.stc"""

UNDUMP_EXAMPLES = """
stylecodec dump talk.stc --json > talk.jsonl
stylecodec undump talk.jsonl same.stc"""


# --- cut --------------------------------------------------------------------------------------------------


def _cut_arguments(parser: CommandParser) -> None:
    parser.end_with(CUT_EXAMPLES)
    add_stream_input(parser)
    add_stream_output(parser)
    parser.add_argument("--start", type=float, metavar="S", help="seconds at which it begins (default: 0)")
    parser.add_argument("--end", type=float, metavar="S", help="seconds at which it ends (default: the end)")
    parser.add_argument("--duration", type=float, metavar="S", help="its length in seconds, in place of --end")
    parser.add_argument("--frames", metavar="A:B", help="frames A to B-1, in place of times")
    parser.set_defaults(run=_cut)


def _cut(arguments: argparse.Namespace) -> int:
    with piped([arguments.input], arguments.output) as ((source,), target):
        check_output(target, source)
        with opened(source) as stream:
            edit.require_complete(stream)
            start, stop = _stretch(arguments, stream)
            write(target, edit.cut(stream, start, stop))
        facts = written(target, arguments.output)
    return report(arguments, facts | {"first_frame": start, "end_frame": stop})


def _stretch(arguments: argparse.Namespace, stream: StreamFile) -> tuple[int, int]:
    """First frame and the one after the last that the options ask for."""
    start, stop = _by_number(arguments, stream) if arguments.frames is not None else _by_time(arguments, stream)
    if not 0 <= start < stop <= stream.frame_count:
        raise OptionError(
            f"that is no stretch of {arguments.input}: it has frames 0 to {stream.frame_count - 1:,}, "
            f"{stream.duration_seconds:.2f} s"
        )
    return start, stop


def _by_number(arguments: argparse.Namespace, stream: StreamFile) -> tuple[int, int]:
    if any(time is not None for time in (arguments.start, arguments.end, arguments.duration)):
        raise OptionError("--frames takes the place of --start, --end and --duration")
    first, colon, last = arguments.frames.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first or 0), int(last or stream.frame_count)
    except ValueError:
        raise OptionError(f"--frames takes A:B, two numbers, not {arguments.frames!r}") from None


def _by_time(arguments: argparse.Namespace, stream: StreamFile) -> tuple[int, int]:
    if arguments.end is not None and arguments.duration is not None:
        raise OptionError("give --end or --duration, not both")
    begin = arguments.start or 0.0
    end = arguments.end if arguments.duration is None else begin + arguments.duration
    stop = stream.frame_count if end is None else edit.first_frame_from(stream, end)
    return edit.first_frame_from(stream, begin), stop


# --- concat, strip, transcode -----------------------------------------------------------------------------


def _concat_arguments(parser: CommandParser) -> None:
    parser.end_with(CONCAT_EXAMPLES)
    parser.add_argument("inputs", nargs="+", metavar="IN.stc", help="streams, one of which may be - for stdin")
    add_stream_output(parser)
    parser.set_defaults(run=_concat)


def _concat(arguments: argparse.Namespace) -> int:
    with piped(arguments.inputs, arguments.output) as (sources, target):
        check_output(target, *sources)
        with ExitStack() as stack:
            streams = [_open(stack, path) for path in sources]
            write(target, edit.concat(streams))
        facts = written(target, arguments.output)
    return report(arguments, facts | {"inputs": len(streams)})


def _open(stack: ExitStack, path: str) -> StreamFile:
    """One of several streams: only what goes wrong with opening it can be told from the others."""
    with reading(path):
        return stack.enter_context(StreamFile.open(path))


def _strip_arguments(parser: CommandParser) -> None:
    parser.end_with(STRIP_EXAMPLES)
    add_stream_input(parser)
    add_stream_output(parser)
    parser.add_argument("--audio", action="store_true", help="the sound")
    parser.add_argument("--personalization", action="store_true", help="personalised generators")
    parser.add_argument("--background", action="store_true", help="what is behind the head")
    parser.add_argument("--private", action="store_true", help="chunks of private and unknown types")
    parser.set_defaults(run=_strip)


def _strip(arguments: argparse.Namespace) -> int:
    parts = {name: getattr(arguments, name) for name in ("audio", "personalization", "background", "private")}
    if not any(parts.values()):
        raise OptionError("say what to take out: --audio, --personalization, --background, --private")
    with piped([arguments.input], arguments.output) as ((source,), target):
        check_output(target, source)
        with opened(source) as stream:
            write(target, edit.strip(stream, **parts))
        facts = written(target, arguments.output) | {"bytes_before": os.path.getsize(source)}
    return report(arguments, facts)


def _transcode_arguments(parser: CommandParser) -> None:
    parser.end_with(TRANSCODE_EXAMPLES)
    add_stream_input(parser)
    add_stream_output(parser)
    parser.add_argument(
        "--profile", required=True, choices=[profile.name.lower() for profile in Profile], help="to write"
    )
    parser.add_argument(
        "--quality",
        type=float,
        default=PLAIN_QUALITY,
        metavar="DB",
        help="of the compact profile, 20 to 90; a guess from the numbers alone, encode measures it (default: "
        "%(default)s)",
    )
    parser.set_defaults(run=_transcode)


def _transcode(arguments: argparse.Namespace) -> int:
    low, high = QUALITIES
    if not low <= arguments.quality <= high:
        raise OptionError(f"the quality must be {low} to {high} dB, not {arguments.quality:g}")
    with piped([arguments.input], arguments.output) as ((source,), target):
        check_output(target, source)
        with opened(source) as stream:
            profile = Profile[arguments.profile.upper()]
            write(target, edit.transcode(stream, profile, arguments.quality))
            before = _packet_bytes(stream)
        with opened(target) as made:
            after = _packet_bytes(made)
        facts = written(target, arguments.output)
    sentence = f"{before:.1f} bytes per frame became {after:.1f}, group heads included"
    facts |= {"packet_bytes_before": round(before, 3), "packet_bytes": round(after, 3)}
    return report(arguments, facts, [sentence])


def _packet_bytes(stream: StreamFile) -> float:
    """Bytes per frame of the packets and their framing."""
    return stream.byte_account()["packets"] / stream.frame_count


# --- repair -----------------------------------------------------------------------------------------------


def _repair_arguments(parser: CommandParser) -> None:
    parser.end_with(REPAIR_EXAMPLES)
    add_stream_input(parser)
    add_stream_output(parser)
    parser.add_argument("--like", metavar="OTHER.stc", help="stream to take a lost header or identity from")
    parser.set_defaults(run=_repair)


def _repair(arguments: argparse.Namespace) -> int:
    inputs = [arguments.input, *([arguments.like] if arguments.like else [])]
    with piped(inputs, arguments.output) as (sources, target), ExitStack() as stack:
        check_output(target, *sources)
        like = _open(stack, sources[1]) if arguments.like else None
        with reading(sources[0]), open(sources[0], "rb") as file:
            repair = Repair(file, like)
            write(target, repair.portions())
        facts = written(target, arguments.output)
    facts |= {"frames_held": repair.held, "frames_shifted": repair.shifted, "lost": repair.lost}
    facts |= {"was_whole": repair.found.complete, "missing": list(repair.found.missing)}
    return report(arguments, facts, _what_repair_did(repair))


def _what_repair_did(repair: Repair) -> Iterator[str]:
    for sentence in (*repair.found.missing, *repair.lost):
        yield f"  missing: {sentence}"
    if repair.held:
        yield f"  {repair.held:,} frames repeat the picture before a gap"
    if repair.shifted:
        yield f"  it began at frame {repair.shifted:,}, which is now frame 0"


# --- undump -----------------------------------------------------------------------------------------------


def _undump_arguments(parser: CommandParser) -> None:
    parser.end_with(UNDUMP_EXAMPLES)
    parser.add_argument("input", metavar="IN.jsonl", help="text file, or - for stdin")
    add_stream_output(parser)
    parser.set_defaults(run=_undump)


def _undump(arguments: argparse.Namespace) -> int:
    with piped([arguments.input], arguments.output) as ((source,), target):
        check_output(target, source)
        with reading(source), open(source, encoding="utf-8", errors="strict") as file:
            write(target, undump(_text(file)))
        facts = {"output": arguments.output, "bytes": os.path.getsize(target)}
    to = report_to(arguments.output)
    if arguments.json:
        return print_json(facts, to)
    print(f"{arguments.output}: {facts['bytes']:,} bytes", file=to)
    return DONE


def _text(file: TextIO) -> Iterator[str]:
    """The lines of a text file; FormatError where it is no text."""
    try:
        while line := file.readline(MAX_LINE + 1):  # of a longer one no more is read
            yield line
    except UnicodeDecodeError as error:
        raise FormatError("the file is not UTF-8 text") from error


COMMANDS = {
    "cut": _cut_arguments,
    "concat": _concat_arguments,
    "strip": _strip_arguments,
    "transcode": _transcode_arguments,
    "repair": _repair_arguments,
    "undump": _undump_arguments,
}
