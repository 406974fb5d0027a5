"""`stylecodec decode` and `stylecodec puppet`: a stream into a video, or into a stream of somebody else."""

from __future__ import annotations

import argparse

from .. import api
from ..decoding.options import BACKGROUND_CHOICES, POSE_MODES, PRECISIONS, DecodeOptions
from ..errors import OptionError
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_pack_of_stream, add_work
from .output import DONE, print_json, print_notes, rate, report_to
from .pipes import PIPE, piped

DECODE_EXAMPLES = """
stylecodec decode talk.stc talk.mp4
stylecodec decode talk.stc small.mp4 --size 256 --no-audio
stylecodec decode cut-off.stc rest.mp4 --partial
stylecodec decode me.stc avatar.mp4 --avatar --background blur
ssh host cat talk.stc | stylecodec decode - talk.mp4

Nothing is kept of the person in the file unless --remember asks for it (`stylecodec identity list`)."""

PUPPET_EXAMPLES = """
stylecodec puppet portrait.jpg talk.stc puppet.stc
stylecodec puppet someone.mp4 talk.stc puppet.stc
stylecodec puppet other.stc talk.stc puppet.stc --relative"""


def _decode_arguments(parser: CommandParser) -> None:
    parser.end_with(DECODE_EXAMPLES)
    parser.add_argument("input", metavar="IN.stc", help="a stream, or - for stdin")
    parser.add_argument("output", metavar="OUT", help="a video: .mp4, .mkv or .webm")
    parser.add_argument("--size", type=int, metavar="N", help="pixels per side, even, 16 to 1024 (default: 1024)")
    parser.add_argument(
        "--pose",
        choices=POSE_MODES,
        default="restore",
        help="restore the head's roll or leave it upright (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="TYPE",
        help=f"{', '.join(PRECISIONS)}; bfloat16 is quicker on some CPUs, and a little coarser",
    )
    add_pack_of_stream(parser)
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="leave the sound out")
    parser.add_argument("--partial", action="store_true", help="decode what is whole of a damaged or cut-off file")
    parser.add_argument("--avatar", action="store_true", help="leave personalised generators aside")
    parser.add_argument(
        "--remember",
        action="store_true",
        help="keep the personalised people that the file carries, for files that only name them (see `identity`)",
    )
    parser.add_argument(
        "--background",
        choices=BACKGROUND_CHOICES,
        default="stream",
        help="behind the head: as the stream says, what the generator makes of it, a blur, a key colour "
        "(default: %(default)s)",
    )
    add_work(parser)
    parser.set_defaults(run=_decode)


def _puppet_arguments(parser: CommandParser) -> None:
    parser.end_with(PUPPET_EXAMPLES)
    parser.add_argument("source", metavar="SOURCE", help="who is seen: a picture or video, an .stc file or a card")
    parser.add_argument("driving", metavar="DRIVING.stc", help="what they do and say")
    parser.add_argument("output", metavar="OUT.stc", help="the stream to write, or - for stdout")
    add_pack_of_stream(parser)
    parser.add_argument(
        "--relative", action="store_true", help="add the motion to SOURCE's own face at rest; else it is taken as it is"
    )
    add_work(parser)
    parser.set_defaults(run=_puppet)


def _decode(arguments: argparse.Namespace) -> int:
    if arguments.output == PIPE:
        raise OptionError("a video is not written to stdout: name a file, .mp4, .mkv or .webm")
    names = ("size", "device", "pose", "pack", "audio", "partial", "precision", "avatar", "background", "remember")
    options = DecodeOptions(**{name: getattr(arguments, name) for name in names})
    with piped([arguments.input]) as ((source,), _), ProgressDisplay(arguments.progress) as progress:
        report = api.decode(source, arguments.output, options, progress)
    if arguments.json:
        return print_json(report.as_dict())
    sound = "with sound" if report.audio else "without sound"
    print(
        f"{report.output}: {report.frames:,} frames of {report.width}x{report.height}, {sound}; "
        f"{rate(report.frames, report.seconds_taken)}"
    )
    if report.held:
        print(f"{report.held:,} frames were missing and repeat the one before")
    for sentence in report.missing:
        print(f"missing: {sentence}")
    return DONE


def _puppet(arguments: argparse.Namespace) -> int:
    with (
        piped([arguments.source, arguments.driving], arguments.output) as ((source, driving), target),
        ProgressDisplay(arguments.progress) as progress,
    ):
        facts = api.puppet(
            source,
            driving,
            target,
            arguments.pack,
            arguments.device,
            relative=arguments.relative,
            progress=progress,
        )
    print_notes(facts["notes"])
    to = report_to(arguments.output)
    if arguments.json:
        return print_json(facts | {"file": arguments.output}, to)
    print(f"{arguments.output}: {facts['frames']:,} frames, {facts['bytes']['total']:,} bytes", file=to)
    return DONE


COMMANDS = {"decode": _decode_arguments, "puppet": _puppet_arguments}
