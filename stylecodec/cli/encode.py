"""`stylecodec encode`: a video into a stream."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any

from .. import api
from ..encoding.options import (
    ALIGNS,
    BACKGROUNDS,
    DEINTERLACE,
    DELTAS,
    FULL,
    LANDMARKS,
    LIKENESS,
    LIKENESSES,
    OFF,
    PAPER,
    PRESETS,
    PROFILES,
    QUICK,
    SPLITS,
    TUNING,
    EncodeOptions,
    FitOptions,
    LandmarkCorrectionOptions,
    PixelCorrectionOptions,
    TuneOptions,
)
from ..encoding.paper.settings import METHODS, PAPER_TARGETS, PaperOptions
from ..errors import OptionError
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_work
from .output import DONE, print_json, print_notes, rate, report_to
from .pipes import PIPE, piped

MOST_PROCESSES = 4  # unless more are asked for

EXAMPLES = """
stylecodec encode talk.mp4 talk.stc
stylecodec encode talk.mp4 talk.stc --start 10 --duration 30 --audio-bitrate 16000
stylecodec encode talk.mp4 small.stc --quality 44
stylecodec encode talk.mp4 exact.stc --profile raw
stylecodec encode talk.mp4 small.stc --likeness off
stylecodec encode talk.mp4 soon.stc --likeness off --progressive
stylecodec encode talk.mp4 talk.stc --preset paper --target inversion --checkpoint talk.safetensors
stylecodec encode talk.mp4 me.stc --likeness full --minutes 20 --checkpoint me.safetensors --background plate
stylecodec encode later.mp4 later.stc --identity me.stc
stylecodec encode talk.mp4 talk.stc --pack ./my-pack --device cuda --json
ffmpeg -i talk.avi -f matroska - | stylecodec encode - - > talk.stc"""


def _arguments(parser: CommandParser) -> None:
    usual = EncodeOptions()
    parser.end_with(EXAMPLES)
    parser.add_argument("input", metavar="IN", help="a video with a face, or - for stdin")
    parser.add_argument("output", metavar="OUT.stc", help="the stream to write, or - for stdout")
    add_clip_options(parser)
    parser.add_argument(
        "--progressive",
        action="store_true",
        help=f"with --likeness {OFF}: begin with a coarse identity, half of the bytes, and refine it with the "
        "second group of frames; both together take a quarter more bytes than one",
    )
    _person_arguments(parser, usual)
    add_work(parser)
    parser.set_defaults(run=_encode)


def add_clip_options(parser: argparse.ArgumentParser) -> None:
    """Options of how a clip is encoded, whose it may be; `clip_options` reads them."""
    usual = EncodeOptions()
    parser.add_argument("--preset", default=usual.preset, help=f"{', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument(
        "--pack", default=usual.pack, metavar="NAME|DIR", help="name or folder of a model pack (default: %(default)s)"
    )
    _source_arguments(parser, usual)
    _analysis_arguments(parser, usual)
    _paper_arguments(parser, usual.paper)
    _coding_arguments(parser, usual)
    _scene_arguments(parser, usual)
    of_one_person = {"likeness": None, "checkpoint": None, "identity": None, "refit": False, "delta": usual.delta}
    parser.set_defaults(**of_one_person, progressive=False, minutes=None, steps=None, processes=None, delta_bytes=None)


def _source_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    source = parser.add_argument_group("picture and sound")
    source.add_argument("--start", type=float, default=usual.start, metavar="S", help="seconds to skip")
    source.add_argument("--duration", type=float, default=usual.duration, metavar="S", help="seconds to encode")
    source.add_argument("--no-audio", dest="audio", action="store_false", help="leave the sound out")
    source.add_argument(
        "--audio-bitrate",
        type=int,
        default=usual.audio_bitrate,
        metavar="BPS",
        help="bits per second of mono Opus (default: %(default)s)",
    )
    source.add_argument(
        "--video-stream", metavar="N", help="which video of several, 2 or v:1 (default: FFmpeg's choice, see info IN)"
    )
    source.add_argument("--audio-stream", metavar="N", help="which sound of several, 2 or a:1 (default: likewise)")
    source.add_argument(
        "--deinterlace",
        choices=DEINTERLACE,
        default=usual.deinterlace,
        help="of interlaced video: a frame of each pair of fields, of each field, or fields as they are "
        "(default: %(default)s)",
    )


def _analysis_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    analysis = parser.add_argument_group("face, pose and expression")
    analysis.add_argument(
        "--landmarks",
        default=usual.landmarks,
        metavar="HOW",
        help=f"{', '.join(LANDMARKS)} or a .dat file; dlib68 is not for commercial use (default: %(default)s)",
    )
    analysis.add_argument(
        "--align",
        choices=ALIGNS,
        default=usual.align,
        help="lay the square by registration to key frames (flow), or frame by frame (landmarks); auto: flow with "
        f"--preset {PAPER} (default: %(default)s)",
    )
    analysis.add_argument(
        "--identity-average",
        type=int,
        default=usual.identity_average,
        metavar="N",
        help="best frames whose mean identity may be sent; 1: the single best (default: %(default)s)",
    )
    analysis.add_argument(
        "--identity-steps",
        type=int,
        default=usual.fit.steps,
        metavar="N",
        help="steps in which the identity is fitted to the clip; 0: as --no-identity-fit (default: %(default)s)",
    )
    analysis.add_argument(
        "--no-identity-fit",
        dest="identity_fit",
        action="store_false",
        help="send the identity as the feed-forward encoder gives it",
    )
    analysis.add_argument(
        "--no-landmark-correction",
        dest="landmark_correction",
        action="store_false",
        help="leave pose and expression as the feed-forward encoder gives them, without a look at the face mesh",
    )
    analysis.add_argument(
        "--no-pixel-correction",
        dest="pixel_correction",
        action="store_false",
        help="with --likeness quick: leave them as they were before the generator was tuned",
    )
    analysis.add_argument(
        "--smoothing",
        type=float,
        default=usual.smoothing,
        metavar="S",
        help="smooth pose and expression over time, Gaussian of S seconds (default: %(default)s)",
    )
    analysis.add_argument("--no-smoothing", dest="smooth", action="store_false", help="do not smooth over time")


def _paper_arguments(parser: argparse.ArgumentParser, usual: PaperOptions) -> None:
    paper = parser.add_argument_group(f"--preset {PAPER}, the encoder of arXiv 2203.14512")
    paper.add_argument(
        "--target",
        choices=PAPER_TARGETS,
        default=usual.target,
        help="what renderings are compared with: each frame's inversion, as in the paper, or the frame; auto: the "
        "frame where inversions do not move as the face does (default: %(default)s)",
    )
    paper.add_argument(
        "--method",
        choices=METHODS,
        default=usual.method,
        help="many frames at once, or line by line as in the paper, which takes many times as long "
        "(default: %(default)s)",
    )


def _coding_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    coding = parser.add_argument_group("coding")
    coding.add_argument(
        "--profile",
        default=usual.profile,
        metavar="HOW",
        help=f"{' or '.join(PROFILES)}: raw packets take 70 bytes per frame (default: %(default)s)",
    )
    coding.add_argument(
        "--quality",
        type=float,
        default=usual.quality,
        metavar="DB",
        help="of the compact profile, 30 to 70: least PSNR against the pictures of raw packets and the same identity, "
        "whose own rounding follows it by a quarter; calm faces are coded finer (default: %(default)s)",
    )


def _scene_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    scene = parser.add_argument_group("people and the scene")
    scene.add_argument(
        "--split",
        choices=SPLITS,
        default=usual.split,
        help="of a video that shows one person after another: an identity for each, or one for all "
        "(default: %(default)s)",
    )
    scene.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default=usual.background,
        help="behind the head: what the generator makes of it, a still of the scene (plate), a blur, a key colour "
        "(default: %(default)s)",
    )


def _person_arguments(parser: argparse.ArgumentParser, usual: EncodeOptions) -> None:
    person = parser.add_argument_group("a known person")
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
    _tuning_arguments(parser)


def _processes() -> int:
    """How many share a full personalisation on a CPU unless it is said."""
    return min(os.cpu_count() or 1, MOST_PROCESSES)


def _tuning_arguments(parser: argparse.ArgumentParser) -> None:
    quick, full = TUNING[QUICK], TUNING[FULL]
    tuning = parser.add_argument_group("a personalised generator")
    tuning.add_argument(
        "--likeness",
        choices=LIKENESSES,
        help="fine-tune the generator to the person; what changes travels in the file: quick takes a minute and "
        f"{quick.delta_bytes // 1000} kB at most, full {full.minutes:g} minutes and {full.delta_bytes // 1000:,} kB "
        f"(default: {LIKENESS}; {OFF} with an identity and with --preset {PAPER})",
    )
    tuning.add_argument(
        "--personalize", dest="likeness", action="store_const", const=FULL, help=f"the same as --likeness {FULL}"
    )
    tuning.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help=f"time to spend (default: {QUICK} {quick.minutes:g}, {FULL} {full.minutes:g})",
    )
    tuning.add_argument("--steps", type=int, metavar="N", help="steps to take, in place of minutes")
    tuning.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help=f"that share the work on a CPU (default: {QUICK} {quick.processes}, {FULL} one per core, "
        f"at most {MOST_PROCESSES}: {_processes()})",
    )
    tuning.add_argument(
        "--delta-bytes",
        type=int,
        metavar="N",
        help="that the personalised generator may take in the file "
        f"(default: {QUICK} {quick.delta_bytes}, {FULL} {full.delta_bytes})",
    )
    tuning.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="file from which personalising goes on when it was interrupted, or has a larger budget now; with --preset "
        f"{PAPER} the encoding itself, frame by frame",
    )


def clip_options(arguments: argparse.Namespace) -> EncodeOptions:
    """What the command line asks for; OptionError."""
    if PIPE in (arguments.checkpoint, arguments.identity):
        raise OptionError("a checkpoint and an identity card are files: they cannot be -")
    names = """preset pack device start duration audio audio_bitrate video_stream audio_stream deinterlace landmarks
        align identity_average smooth smoothing profile quality likeness checkpoint identity refit delta background
        split progressive"""
    values: dict[str, Any] = {name: getattr(arguments, name) for name in names.split()}
    fits = arguments.identity_fit and arguments.identity_steps != 0
    values["fit"] = FitOptions(True, steps=arguments.identity_steps) if fits else FitOptions(False)
    values["landmark_correction"] = LandmarkCorrectionOptions(enabled=arguments.landmark_correction)
    values["pixel_correction"] = PixelCorrectionOptions(enabled=arguments.pixel_correction)
    paper = PaperOptions(target=arguments.target, method=arguments.method)
    return EncodeOptions(**values, tune=_tuning(arguments), paper=paper)


def _tuning(arguments: argparse.Namespace) -> TuneOptions | None:
    """How to personalise: what the likeness has, and what was asked for otherwise."""
    usual = EncodeOptions(likeness=arguments.likeness)
    given = {name: getattr(arguments, name) for name in ("minutes", "steps", "processes", "delta_bytes")}
    changes = {name: value for name, value in given.items() if value is not None}
    if usual.wanted_likeness == FULL:
        changes.setdefault("processes", _processes())
    return replace(usual.tuning, **changes) if changes else None


def _encode(arguments: argparse.Namespace) -> int:
    options = clip_options(arguments)
    with (
        piped([arguments.input], arguments.output) as ((source,), target),
        ProgressDisplay(arguments.progress) as progress,
    ):
        report = replace(api.encode(source, target, options, progress), output=arguments.output)
    print_notes(report.notes)
    to = report_to(arguments.output)
    if arguments.json:
        return print_json(report.as_dict(), to)
    _print_report(report, to)
    return DONE


def _print_report(report: api.EncodeReport, to: Any) -> None:
    print(
        f"{report.output}: {report.frames:,} frames, {report.duration_seconds:.2f} s, {report.bytes['total']:,} bytes, "
        f"{report.kbps['total']:.1f} kbps; {rate(report.frames, report.seconds_taken)}",
        file=to,
    )
    if report.held:
        print(f"{report.held:,} frames show no face and repeat the one before", file=to)
    if (tuned := report.personalization) is not None:
        print(
            f"personalised in {tuned['minutes']} minutes, {tuned['steps']:,} steps: {tuned['psnr']:.1f} dB of the "
            f"head, worst frame {tuned['psnr_worst']:.1f}; {tuned['delta_bytes']:,} bytes",
            file=to,
        )


COMMANDS = {"encode": _arguments}
