"""`stylecodec rd`: rate and distortion of our streams beside ordinary codecs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..encoding.options import EncodeOptions
from ..errors import OptionError
from ..evaluation.rd.options import (
    CTC,
    PIXEL_METRICS,
    QUALITIES,
    USUAL_METRICS,
    RdOptions,
    codec_of,
    gfvc,
    usual_ways,
    way_of,
)
from ..evaluation.scores import rounded
from ..extras import need_extra
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_work
from .output import DONE, FAILED, print_json

if TYPE_CHECKING:
    from ..evaluation.rd.comparing import BreakEven, Comparison
    from ..evaluation.rd.report import RdReport

EXAMPLES = """
stylecodec rd talk.mp4 --out curves/
stylecodec rd clips/*.mp4 --out curves/ --sizes 256,512 --codecs x264,x265,svtav1
stylecodec rd talk.mp4 --out curves/ --points fast+off@40,62 fast+full --codecs x264@23,33,43,51
stylecodec rd talk.mp4 --out curves/ --long 60 --sizes 256
stylecodec rd clips/*.mp4 --out gfvc/ --ctc gfvc
stylecodec rd talk.mp4 --out curves/ --given talk-256.VTM.qp37.266 others.csv --json

Every codec gets the same squares around the face. The folder gets index.html, which opens offline, rd.json, points.csv
and the curves as SVG and PNG; in its folder "kept" lies what was encoded and scored, and a run that was interrupted
goes on from there. A BD-rate or length that cannot be told has its reason in place of a number."""

NONE = "none"
EXITS = "exit codes: 0 measured; 1 nothing has a score, or it failed; 2 wrong usage; 130 interrupted."


def _arguments(parser: CommandParser) -> None:
    usual = RdOptions(ways=())
    parser.end_with(EXAMPLES, EXITS)
    parser.add_argument("clips", metavar="CLIP", nargs="+", help="videos with a face")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the report and of what is kept")
    parser.add_argument(
        "--points",
        nargs="+",
        metavar="WAY",
        help="ours: PRESET+LIKENESS@DB,DB… as for encode, the numbers are qualities of the compact profile; or none "
        f"(default: fast+off and fast+quick at {','.join(f'{q:g}' for q in QUALITIES)})",
    )
    parser.add_argument(
        "--codecs",
        metavar="NAMES",
        action="append",
        help="of x264, x265, svtav1, vp9, vvc (needs vvencapp), commas between them, or none; a single one with its "
        "quality numbers as in x264@23,35,51; can be repeated (default: all that are here)",
    )
    parser.add_argument(
        "--sizes",
        metavar="N,N",
        help=f"pixels per side of the squares (default: {','.join(map(str, usual.sizes))})",
    )
    parser.add_argument(
        "--metrics",
        default=",".join(USUAL_METRICS),
        metavar="NAMES",
        help=f"of {', '.join(PIXEL_METRICS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--ctc", choices=[CTC], help="common test conditions, of generative face video coding: 256², 25 fps, 250 frames"
    )
    parser.add_argument("--long", type=float, metavar="S", help="measure calls of S seconds too, played forth and back")
    parser.add_argument("--start", type=float, default=usual.start, metavar="S", help="seconds of each clip to skip")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds of each clip to take")
    parser.add_argument("--fps", type=int, metavar="N", help="bring clips to so many frames per second")
    parser.add_argument(
        "--given",
        nargs="+",
        default=[],
        metavar="FILE",
        help="other codecs' videos of the kept sequences, SEQUENCE.SYSTEM.SETTING.266, or tables (.csv)",
    )
    parser.add_argument("--pack", default=EncodeOptions().pack, metavar="NAME|DIR", help="our model pack")
    parser.add_argument("--steps", type=int, metavar="N", help="of tuning a likeness, in place of its minutes")
    parser.add_argument("--networks", metavar="NAME|DIR", help="pack with imported judges (default: that of imports)")
    add_work(parser)
    parser.set_defaults(run=_rd)


def _rd(arguments: argparse.Namespace) -> int:
    need_extra("rd", "measuring curves")
    from ..evaluation.rd.rate_distortion import rate_distortion

    options = _options(arguments)
    with ProgressDisplay(arguments.progress) as progress:
        report = rate_distortion(arguments.clips, arguments.out, options, progress)
    if arguments.json:
        print_json(report.as_dict())
    else:
        _print(report, arguments.out)
    return DONE if report.measured else FAILED


def _options(arguments: argparse.Namespace) -> RdOptions:
    from ..media.codecs import CODECS

    if arguments.ctc is not None and (arguments.sizes is not None or arguments.fps is not None):
        raise OptionError("--ctc sets size and rate: leave out --sizes and --fps")
    ours = EncodeOptions(pack=arguments.pack, device=arguments.device)
    asked = [] if arguments.points == [NONE] else arguments.points
    ways = usual_ways(ours) if asked is None else tuple(way_of(words, ours) for words in asked)
    if arguments.steps is not None:
        ways = tuple(way.tuned_for(arguments.steps) for way in ways)
    found = RdOptions(
        ways=ways,
        codecs=None if arguments.codecs is None else dict(_codecs(arguments.codecs)),
        sizes=RdOptions(ways=()).sizes if arguments.sizes is None else tuple(_sizes(arguments.sizes)),
        metrics=tuple(arguments.metrics.split(",")),
        start=arguments.start,
        duration=arguments.duration,
        fps=arguments.fps,
        long=arguments.long,
        given=tuple(arguments.given),
        networks=arguments.networks,
        device=arguments.device,
    )
    return found if arguments.ctc is None else gfvc(found, [c.name for c in CODECS.values() if c.works])


def _codecs(words: Sequence[str]) -> list[tuple[str, tuple[int, ...] | None]]:
    """Of --codecs, each with names or one with numbers."""
    parts = [part for word in words for part in ([word] if "@" in word else word.split(","))]
    return [] if parts == [NONE] else [codec_of(part) for part in parts]


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"sizes are numbers of pixels with commas between them, not {text!r}") from None


def _print(report: RdReport, folder: str) -> None:
    for reason in report.left_out:
        print(f"left out: {reason}")
    for point in report.points:
        scores = [f"{name} {rounded(mean)}" for name in report.metrics if (mean := point.mean(name)) is not None]
        rates = ", ".join(f"{point.rates[rate]:.2f} {rate}" for rate in ("video", "total") if rate in point.rates)
        name = f"{point.clip}{' (long)' if point.long else ''} {point.size}²"
        print(f"{name}: {point.system} {point.setting}: {rates} kbit/s; {', '.join(scores) or 'no score'}")
        for reason in {} if scores else dict.fromkeys(point.left_out.values()):
            print(f"  {reason}")
    for one in report.comparisons:
        if one.rate == "video" and one.metric in report.found:
            print(_bd_words(one))
    for length in report.break_evens:
        print(_length_words(length))
    for metric, reason in {m: r for p in report.points for m, r in p.left_out.items()}.items():
        print(f"left out: {metric}: {reason}")
    print(f"{folder}: index.html, rd.json, points.csv and curves")


def _bd_words(one: Comparison) -> str:
    where = f"{one.clip}{' (long)' if one.long else ''} {one.size}²"
    head = f"BD-rate by {one.metric}, {where}, {one.system} against {one.anchor}"
    if one.percent is None:
        return f"{head}: none: {one.left_out}"
    span = "" if one.interval is None else f" ({one.interval[0]:+.0f} to {one.interval[1]:+.0f})"
    return f"{head}: {one.percent:+.1f} %{span}, {100 * one.share:.0f} % of the qualities shared"


def _length_words(one: BreakEven) -> str:
    where = f"{one.clip}{' (long)' if one.long else ''} {one.size}²"
    head = f"break-even by {one.metric}, {where}, {one.system} {one.setting} against {one.codec}"
    if one.seconds is None:
        return f"{head}: {one.says}"
    return f"{head}: from {one.seconds:.0f} s on{'' if one.measured else ' (computed)'}"


COMMANDS = {"rd": _arguments}
