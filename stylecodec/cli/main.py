"""The command line: argv -> options -> api -> exit code.

Exit codes: 0 done; 1 it failed, or `verify` found damage; 2 the command line makes no sense; 130 interrupted.
Failures are one sentence on stderr; STYLECODEC_DEBUG=1 shows the traceback as well.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from .. import __version__, api
from ..decoding.options import DecodeOptions
from ..encoding.options import LANDMARKS, PRESETS, PROFILES, EncodeOptions, FitOptions, FollowOptions
from ..errors import OptionError, StylecodecError
from ..progress import ProgressDisplay
from . import identity as encoding_cli
from . import live as live_cli
from . import streams as bitstream_cli
from .streams import add_command

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "STYLECODEC_DEBUG"

EXAMPLES = """examples:
  stylecodec encode talk.mp4 talk.stc
  stylecodec decode talk.stc avatar.mp4 --size 512
  stylecodec info talk.stc --json
  stylecodec puppet portrait.jpg talk.stc puppet.stc && stylecodec decode puppet.stc puppet.mp4
  stylecodec verify talk.stc
  stylecodec models import stylegan2-ffhq-config-f.pkl modellarge10k.pt
  stylecodec cut talk.stc part.stc --start 2 --duration 3 && stylecodec concat part.stc talk.stc both.stc
  stylecodec dump talk.stc --json > talk.jsonl && stylecodec undump talk.jsonl same.stc

exit codes: 0 done; 1 it failed, or verify found damage; 2 wrong usage; 130 interrupted.
STYLECODEC_PACKS names folders to search for model packs, STYLECODEC_IDENTITIES the folder in which people are known;
STYLECODEC_DEBUG=1 shows tracebacks."""

ENCODE_EXAMPLES = """examples:
  stylecodec encode talk.mp4 talk.stc
  stylecodec encode talk.mp4 talk.stc --start 10 --duration 30 --audio-bitrate 16000
  stylecodec encode talk.mp4 small.stc --quality 44
  stylecodec encode talk.mp4 exact.stc --profile raw
  stylecodec encode talk.mp4 me.stc --personalize --minutes 20 --checkpoint me.safetensors --background plate
  stylecodec encode later.mp4 later.stc --identity me.stc
  stylecodec encode talk.mp4 talk.stc --pack ./my-pack --device cuda --json"""

DECODE_EXAMPLES = """examples:
  stylecodec decode talk.stc talk.mp4
  stylecodec decode talk.stc small.mp4 --size 256 --no-audio
  stylecodec decode cut-off.stc rest.mp4 --partial
  stylecodec decode me.stc avatar.mp4 --avatar --background blur

Nothing is kept of the person in the file unless --remember asks for it (`stylecodec identity list`)."""

PUPPET_EXAMPLES = """examples:
  stylecodec puppet portrait.jpg talk.stc puppet.stc
  stylecodec puppet other.stc talk.stc puppet.stc --relative"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is sys.argv[1:] when left out."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough of it. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OptionError as error:
        return _complain(f"error: {error}", USAGE)
    except StylecodecError as error:
        return _complain(f"error: {error}", FAILED)
    except Exception as error:  # a fault of ours, or the machine's: a sentence all the same
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _complain(f"error: unexpected {what} ({DEBUG_VARIABLE}=1 shows where)", FAILED)


def _run(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["models"]:
            from .models import main as models

            return models(arguments[1:])
        if arguments[:1] == ["train"]:
            from .train import main as train

            return train(arguments[1:])
        parsed = _parser().parse_args(arguments)
    except SystemExit as error:  # argparse has said what it had to say
        return error.code if isinstance(error.code, int) else DONE
    code: int = parsed.run(parsed)
    return code


def _complain(sentence: str, code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exc()
    print(f"stylecodec: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """End by an exception, so that half-written files are removed."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="stylecodec",
        description="A talking-head video codec: one identity latent and 35 numbers per frame.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"stylecodec {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _encode_arguments(add_command(commands, "encode", "encode a video into an .stc file", ENCODE_EXAMPLES))
    _decode_arguments(add_command(commands, "decode", "render an .stc file into a video", DECODE_EXAMPLES))
    info = add_command(commands, "info", "say what an .stc file holds")
    info.add_argument("input", metavar="IN.stc")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    _puppet_arguments(add_command(commands, "puppet", "give a stream another identity", PUPPET_EXAMPLES))
    verify = add_command(commands, "verify", "read every byte of an .stc file and report damage")
    verify.add_argument("input", metavar="IN.stc")
    verify.add_argument("--json", action="store_true", help="as JSON")
    verify.set_defaults(run=_verify)
    encoding_cli.register(commands)
    bitstream_cli.register(commands)
    live_cli.register(commands)
    commands.add_parser("models", help="import published networks, verify packs (see models --help)", add_help=False)
    commands.add_parser("train", help="train the networks of a model pack (see train --help)", add_help=False)
    return top


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto, CUDA where there is one)")
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="progress on stderr (default: on a terminal)"
    )


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    usual = EncodeOptions()
    parser.add_argument("input", metavar="IN", help="a video with a face")
    parser.add_argument("output", metavar="OUT.stc")
    parser.add_argument("--preset", default=usual.preset, help=f"{', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument(
        "--pack", default=usual.pack, metavar="NAME|DIR", help="name or folder of a model pack (default: %(default)s)"
    )
    parser.add_argument("--start", type=float, default=usual.start, metavar="S", help="seconds to skip")
    parser.add_argument("--duration", type=float, default=usual.duration, metavar="S", help="seconds to encode")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="leave the sound out")
    parser.add_argument(
        "--audio-bitrate",
        type=int,
        default=usual.audio_bitrate,
        metavar="BPS",
        help="bits per second of mono Opus (default: %(default)s)",
    )
    parser.add_argument(
        "--landmarks",
        default=usual.landmarks,
        metavar="HOW",
        help=f"{', '.join(LANDMARKS)} or a .dat file; dlib68 is not for commercial use (default: %(default)s)",
    )
    parser.add_argument(
        "--identity-average",
        type=int,
        default=usual.identity_average,
        metavar="N",
        help="best frames whose mean identity may be sent; 1: the single best (default: %(default)s)",
    )
    parser.add_argument(
        "--identity-steps",
        type=int,
        default=usual.fit.steps,
        metavar="N",
        help="in which the identity is fitted to the clip; 0: as the feed-forward encoder gives it (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--no-follow",
        dest="follow",
        action="store_false",
        help="leave pose and expression as the feed-forward encoder gives them, without a look at the face mesh",
    )
    parser.add_argument(
        "--smoothing",
        type=float,
        default=usual.smoothing,
        metavar="S",
        help="smooth pose and expression over time, Gaussian of S seconds; 0: off (default: %(default)s)",
    )
    parser.add_argument(
        "--profile",
        default=usual.profile,
        metavar="HOW",
        help=f"{' or '.join(PROFILES)}: raw packets take 70 bytes per frame (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=float,
        default=usual.quality,
        metavar="DB",
        help="of the compact profile, 30 to 70: PSNR against the pictures of raw packets (default: %(default)s)",
    )
    encoding_cli.person_arguments(parser, usual)
    _common(parser)
    parser.set_defaults(run=_encode)


def _decode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN.stc")
    parser.add_argument("output", metavar="OUT", help="a video: .mp4, .mkv or .webm")
    parser.add_argument("--size", type=int, metavar="N", help="pixels per side, even, 16 to 1024 (default: 1024)")
    parser.add_argument(
        "--pose",
        choices=("restore", "aligned"),
        default="restore",
        help="restore the head's roll or leave it upright (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="TYPE",
        help="auto, float32, bfloat16 or float16; bfloat16 is quicker on some CPUs, and a little coarser",
    )
    parser.add_argument("--pack", metavar="NAME|DIR", help="the model pack (default: the one the stream names)")
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
        choices=("stream", "render", "blur", "key"),
        default="stream",
        help="behind the head: as the stream says, what the generator makes of it, a blur, a key colour "
        "(default: %(default)s)",
    )
    _common(parser)
    parser.set_defaults(run=_decode)


def _puppet_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="who is seen: a picture of a face, an .stc file or a card")
    parser.add_argument("driving", metavar="DRIVING.stc", help="what they do and say")
    parser.add_argument("output", metavar="OUT.stc")
    parser.add_argument("--pack", metavar="NAME|DIR", help="the model pack (default: the one the stream names)")
    parser.add_argument(
        "--relative", action="store_true", help="add the motion to SOURCE's own face at rest; else it is taken as it is"
    )
    _common(parser)
    parser.set_defaults(run=_puppet)


def _encode(arguments: argparse.Namespace) -> int:
    names = ("preset", "pack", "device", "start", "duration", "audio", "audio_bitrate", "landmarks")
    more = ("identity_average", "smoothing", "profile", "quality")
    values = {name: getattr(arguments, name) for name in (*names, *more)}
    values["fit"] = FitOptions(steps=arguments.identity_steps)
    if not arguments.follow:
        values["follow"] = FollowOptions(frames=0)
    options = EncodeOptions(**values, **encoding_cli.person_options(arguments, EncodeOptions()))
    with ProgressDisplay(arguments.progress) as progress:
        report = api.encode(arguments.input, arguments.output, options, progress)
    if arguments.json:
        return _print_json(report.as_dict())
    print(
        f"{report.output}: {report.frames:,} frames, {report.duration_seconds:.2f} s, {report.bytes['total']:,} bytes, "
        f"{report.kbps['total']:.1f} kbps; {_rate(report.frames, report.seconds_taken)}"
    )
    if report.held:
        print(f"{report.held:,} frames show no face and repeat the one before")
    if (tuned := report.personalization) is not None:
        print(
            f"personalised in {tuned['minutes']} minutes, {tuned['steps']:,} steps: {tuned['psnr']:.1f} dB of the "
            f"head, worst frame {tuned['psnr_worst']:.1f}; {tuned['delta_bytes']:,} bytes"
        )
    return DONE


def _decode(arguments: argparse.Namespace) -> int:
    names = ("size", "device", "pose", "pack", "audio", "partial", "precision", "avatar", "background", "remember")
    options = DecodeOptions(**{name: getattr(arguments, name) for name in names})
    with ProgressDisplay(arguments.progress) as progress:
        report = api.decode(arguments.input, arguments.output, options, progress)
    if arguments.json:
        return _print_json(report.as_dict())
    sound = "with sound" if report.audio else "without sound"
    print(
        f"{report.output}: {report.frames:,} frames of {report.width}x{report.height}, {sound}; "
        f"{_rate(report.frames, report.seconds_taken)}"
    )
    if report.held:
        print(f"{report.held:,} frames were missing and repeat the one before")
    for sentence in report.missing:
        print(f"missing: {sentence}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    facts = api.probe(arguments.input)
    if arguments.json:
        return _print_json(facts)
    _print_facts(facts)
    return DONE


def _puppet(arguments: argparse.Namespace) -> int:
    with ProgressDisplay(arguments.progress) as progress:
        facts = api.puppet(
            arguments.source,
            arguments.driving,
            arguments.output,
            arguments.pack,
            arguments.device,
            relative=arguments.relative,
            progress=progress,
        )
    if arguments.json:
        return _print_json(facts)
    print(f"{arguments.output}: {facts['frames']:,} frames, {facts['bytes']['total']:,} bytes")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    report = api.verify(arguments.input)
    code = DONE if report.complete else FAILED
    damage = [f"{d.error}; {d.length:,} bytes skipped from byte {d.offset:,}" for d in report.damage]
    if arguments.json:
        facts = {name: getattr(report, name) for name in ("complete", "truncated", "groups", "frames", "frames_lost")}
        facts |= {"missing": list(report.missing), "damage": damage, "damage_count": report.damage_count}
        _print_json({"file": arguments.input, **facts, "bytes": report.bytes_read})
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


def _print_json(facts: dict[str, Any]) -> int:
    print(json.dumps(facts, indent=2, ensure_ascii=False))
    return DONE


def _print_facts(facts: dict[str, Any]) -> None:
    sound = facts["audio"]
    variable = " on average, variable" if facts["variable_rate"] else ""
    rows = [
        ("frames", f"{facts['frames']:,} in {facts['groups']:,} groups, {facts['identities']} identity latent(s)"),
        ("time", f"{facts['duration_seconds']:.2f} s at {facts['fps']:g} frames per second{variable}"),
        ("picture", f"{facts['width']}x{facts['height']}"),
        ("pack", f"{facts['pack']['name']} {facts['pack']['digest'][:16]}"),
        ("profile", facts["profile"]),
        ("background", facts["background"]),
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


def _personal_words(one: dict[str, Any]) -> str:
    where = "in the file" if one["carried"] else "named only, not in the file"
    return f"identity {one['identity'][:16]} by generator {one['delta'][:16]}, {where}"


def _rate(frames: int, seconds: float) -> str:
    return f"{seconds:.1f} s, {frames / max(seconds, 1e-3):.1f} frames per second"
