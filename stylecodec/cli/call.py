"""`stylecodec call`: a live call, out of a camera and into a browser."""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TextIO

from ..call.options import PICTURE, SHOW_PORT, PlayoutOptions, SourceOptions
from ..encoding.live.options import LiveOptions
from ..errors import OptionError
from ..extras import need_extra
from .arguments import CommandParser
from .output import DONE
from .pipes import PIPE, data_output

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from ..call.run import ReceivingSide, SendingSide

Facts = dict[str, Any]

EXAMPLES = """
stylecodec call --send-to 192.0.2.7:5004                       # the first camera; who it is is guessed, then fitted
stylecodec call --send-to 192.0.2.7:5004 --identity me.stid    # somebody known: nothing is fitted
stylecodec call --listen 5004 --show                           # the other end, in any browser of this machine
stylecodec call --send-to 192.0.2.7:5004 --listen 5004 --show  # both directions at once
stylecodec call --play talk.mp4 --send-to 127.0.0.1:5004       # a file in place of a camera, in real time
stylecodec call --listen 5004 --once --out call.stc            # keep what comes, with its sound, till they hang up
stylecodec call --listen 5004 --out - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
ffmpeg -f v4l2 -i /dev/video0 -f matroska - | stylecodec call --play - --send-to 192.0.2.7:5004

Ctrl-C ends a call. Late frames are dropped, never queued; when a frame takes too long to encode, only every second or
third is sent, which is said. RTP over UDP, unencrypted: for anything but a trusted network put it into a tunnel."""


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES)
    parser.add_argument("--send-to", metavar="HOST:PORT", help="to whom the picture goes")
    parser.add_argument("--listen", metavar="[HOST:]PORT", help="where the other end's picture comes in")
    _source_arguments(parser)
    _sending_arguments(parser)
    _receiving_arguments(parser)
    parser.add_argument("--duration", type=float, metavar="S", help="end after S seconds")
    parser.add_argument("--json", action="store_true", help="a line of JSON per second and one at the end, on stdout")
    parser.set_defaults(run=_call)


def _source_arguments(parser: argparse.ArgumentParser) -> None:
    usual, source = SourceOptions(), parser.add_argument_group("picture and sound to send")
    source.add_argument("--camera", metavar="NAME", help="a camera by the system's name (default: the first)")
    source.add_argument("--play", metavar="FILE", help="a video in real time, a named pipe, or - for stdin")
    source.add_argument("--loop", action="store_true", help="the file again and again")
    source.add_argument(
        "--microphone", nargs="?", const="", metavar="NAME", help="sound too (default: a file's own, none of a camera)"
    )
    source.add_argument("--no-audio", dest="audio", action="store_false", help="leave the sound out")
    source.add_argument(
        "--audio-bitrate", type=int, default=usual.bitrate, metavar="BPS", help="of Opus (default: %(default)s)"
    )
    source.add_argument(
        "--size",
        default=f"{usual.width}x{usual.height}",
        metavar="WxH",
        help="asked of the camera (default: %(default)s)",
    )
    source.add_argument(
        "--rate", type=int, default=usual.rate, metavar="N", help="frames per second (default: %(default)s)"
    )


def _sending_arguments(parser: argparse.ArgumentParser) -> None:
    usual, sending = LiveOptions(), parser.add_argument_group("encoding")
    sending.add_argument("--identity", metavar="CARD", help="card or .stc file of a known person; nothing is fitted")
    sending.add_argument("--no-fit", dest="fit", action="store_false", help="stay with the first guess of the identity")
    sending.add_argument("--pack", metavar="NAME|DIR", help="model pack to encode with, and to decode with if given")
    sending.add_argument("--device", default=usual.device, help="auto, cpu, cuda or mps (default: %(default)s)")
    sending.add_argument(
        "--group",
        type=float,
        default=usual.group_seconds,
        metavar="S",
        help="send S seconds together, 0 to 1: delay against bytes (default: %(default)s)",
    )
    sending.add_argument(
        "--profile", default=usual.profile, metavar="HOW", help="compact or raw (default: %(default)s)"
    )
    sending.add_argument(
        "--quality", type=float, default=usual.quality, metavar="DB", help="30 to 70 (default: %(default)s)"
    )
    sending.add_argument(
        "--look-ahead",
        type=int,
        default=usual.look_ahead,
        metavar="N",
        help="frames waited for to smooth, 0 or 1 (default: %(default)s)",
    )
    sending.add_argument(
        "--correct", action="store_true", help="correct every frame by the face mesh; it takes a fast machine"
    )


def _receiving_arguments(parser: argparse.ArgumentParser) -> None:
    receiving = parser.add_argument_group("what comes in")
    receiving.add_argument(
        "--show",
        nargs="?",
        type=int,
        const=SHOW_PORT,
        metavar="PORT",
        help=f"in a browser of this machine, http://127.0.0.1:PORT/ ({SHOW_PORT})",
    )
    receiving.add_argument(
        "--out",
        action="append",
        default=[],
        metavar="OUT",
        help="OUT.stc keeps the stream with its sound; .mp4, .mkv, .webm the pictures; a named pipe or - takes raw RGB",
    )
    receiving.add_argument(
        "--picture", type=int, default=PICTURE, metavar="N", help="pixels per side, decoded (default: %(default)s)"
    )
    receiving.add_argument(
        "--delay",
        type=float,
        default=PlayoutOptions.delay,
        metavar="S",
        help="by which arrivals may differ (default: %(default)s)",
    )
    receiving.add_argument("--once", action="store_true", help="end when the other end hangs up")


def _call(arguments: argparse.Namespace) -> int:
    if arguments.send_to is None and arguments.listen is None:
        raise OptionError("say whom to call (--send-to HOST:PORT) or where to take calls (--listen PORT), or both")
    from threading import Event

    from ..call.cores import share_cores

    share_cores()
    need_extra("video", "a call")
    from ..call.run import Call

    stop = Event()
    receiving = None if arguments.listen is None else _receiving(arguments)
    try:
        sending = None if arguments.send_to is None else _sending(arguments, stop)
    except BaseException:
        if receiving is not None:
            receiving.close()
        raise
    call = Call(
        sending, receiving, told=_teller(arguments), duration=arguments.duration, once=arguments.once, stop=stop
    )
    facts = call.run()
    if arguments.json:
        _line({"summary": facts}, arguments)
    else:
        for sentence in sentences(facts):
            print(sentence, file=_to(arguments))
    return DONE


def _sending(arguments: argparse.Namespace, stop: threading.Event) -> SendingSide:
    need_extra("encode", "sending")
    from ..call.send import sending_side

    source, options = source_options(arguments), live_options(arguments)
    return sending_side(arguments.send_to, source, options, arguments.identity, say=_say, stop=stop)


def source_options(arguments: argparse.Namespace) -> SourceOptions:
    """Where picture and sound come from; OptionError."""
    width, cross, height = arguments.size.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise OptionError(f"--size is WxH, not {arguments.size}")
    return SourceOptions(
        play=arguments.play,
        loop=arguments.loop,
        camera=arguments.camera,
        microphone=arguments.microphone if arguments.audio else None,
        sound=arguments.audio,
        width=int(width),
        height=int(height),
        rate=arguments.rate,
        bitrate=arguments.audio_bitrate,
    )


def live_options(arguments: argparse.Namespace) -> LiveOptions:
    """What the command line asks of the encoder; OptionError."""
    changes = {} if arguments.pack is None else {"pack": arguments.pack}
    return LiveOptions(
        device=arguments.device,
        rate=Fraction(arguments.rate),
        profile=arguments.profile,
        quality=arguments.quality,
        group_seconds=arguments.group,
        look_ahead=arguments.look_ahead,
        correct=arguments.correct,
        fit_seconds=LiveOptions.fit_seconds if arguments.fit else None,
        **changes,
    )


def _receiving(arguments: argparse.Namespace) -> ReceivingSide:
    from ..call.receive import receiving_side
    from ..decoding.options import DecodeOptions

    address = arguments.listen if ":" in arguments.listen else f":{arguments.listen}"
    options = DecodeOptions(device=arguments.device, pack=arguments.pack, size=arguments.picture)
    playout = PlayoutOptions(delay=arguments.delay)
    return receiving_side(
        address, arguments.out, arguments.show, options, playout=playout, say=_say, stdout=data_output
    )


def _say(sentence: str) -> None:
    print(f"stylecodec: {sentence}", file=sys.stderr, flush=True)


def _to(arguments: argparse.Namespace) -> TextIO:
    """Where reports go: stdout, unless frames go there."""
    return sys.stderr if PIPE in arguments.out else sys.stdout


def _line(facts: Facts, arguments: argparse.Namespace) -> None:
    print(json.dumps(facts), file=_to(arguments), flush=True)


def _teller(arguments: argparse.Namespace) -> Callable[[Facts], object]:
    if arguments.json:
        return lambda facts: _line(facts, arguments)
    if not sys.stderr.isatty():
        return lambda facts: None
    return lambda facts: print(f"\r{status(facts)}\x1b[K", end="", file=sys.stderr, flush=True)


def status(facts: Facts) -> str:
    """One second of a call in words."""
    words = [f"{facts['seconds']:.0f} s"]
    for name, stage in (("out", "sent"), ("in", "render")):
        if name in facts:
            one = facts[name]
            taken = one["ms"].get(stage)
            late = "" if taken is None else f", {taken['p50']:.0f} ms"
            words.append(f"{name}: {one['fps']:.1f} fps, {one['kbps']:.0f} kbit/s{late}")
    return "; ".join(words)


def sentences(facts: Facts) -> list[str]:
    """A whole call in words."""
    said = []
    if "out" in facts:
        out = facts["out"]
        said.append(
            f"out: {out['frames']:,} frames in {facts['seconds']:.1f} s, {out['sent']:,} sent, {out['skipped']:,} "
            f"skipped, {out['late']:,} late, {out['held']:,} without a face; {out['kbps']:.1f} kbit/s"
            f"{_took(out, 'sent')}"
        )
    if "in" in facts:
        into = facts["in"]
        said.append(
            f"in: {into['frames']:,} frames, {into['shown']:,} shown, {into['passed']:,} passed over; "
            f"{into['datagrams']:,} datagrams, {into['lost']:,} lost, {into['late']:,} too late{_took(into, 'render')}"
        )
    return said


def _took(facts: Facts, stage: str) -> str:
    taken = facts["ms"].get(stage)
    what = {"sent": "from the camera to the network", "render": "to render"}[stage]
    return "" if taken is None else f"; {what} {taken['p50']:.0f} ms (95 %: {taken['p95']:.0f})"


COMMANDS = {"call": _arguments}
