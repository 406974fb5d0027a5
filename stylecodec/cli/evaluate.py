"""`stylecodec evaluate`: the scores of videos against a reference."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..evaluation.evaluate import evaluate
from ..evaluation.options import LEAST_SIZE, MOST_SIZE, NATIVE, EvaluateOptions
from ..evaluation.scores import rounded
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_work
from .output import DONE, FAILED, print_json, print_notes

if TYPE_CHECKING:
    from ..evaluation.report import EvaluateReport, OutputScores
    from ..evaluation.scores import Score

EXAMPLES = """
stylecodec evaluate talk.mp4 talk.stc
stylecodec evaluate talk.mp4 mine.mp4 theirs.mp4 --size native --report scores/
stylecodec evaluate talk.mp4 mine.mp4 --openface talk.csv mine.csv --json
stylecodec evaluate driving.mp4 puppet.mp4 --puppet --identity portrait.jpg

Frames are matched by time, after a constant delay that is found; faces are aligned upright at a constant scale. What
needs weights that cannot be shipped (LPIPS, DISTS, L_ID, FID, FVD) is read from what `stylecodec models import` took,
and is left out with the reason otherwise. Stand-ins have names of their own; "unrelated" is what a stranger scores."""

EXITS = "exit codes: 0 every output has scores; 1 one has none, or it failed; 2 wrong usage; 130 interrupted."
COLUMNS = ("metric", "mean", "95 %", "worst", "at frame", "unrelated", "n")


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES, EXITS)
    parser.add_argument("reference", metavar="REFERENCE", help="a video or an .stc file: what should be seen")
    parser.add_argument("outputs", metavar="OUTPUT", nargs="+", help="videos or .stc files to score")
    parser.add_argument(
        "--size",
        default=str(EvaluateOptions().size),
        metavar="N",
        help=f"pixels per side of the aligned squares, {LEAST_SIZE} to {MOST_SIZE}, or {NATIVE}: as the reference has "
        "them (default: %(default)s)",
    )
    parser.add_argument("--puppet", action="store_true", help="the output shows somebody else who does the same")
    parser.add_argument("--identity", metavar="FILE", help="with --puppet: picture, video or stream of that somebody")
    parser.add_argument(
        "--openface", nargs=2, metavar=("REF.csv", "OUT.csv"), help="tables of OpenFace 2: action units, gaze, pose"
    )
    parser.add_argument(
        "--delay", type=int, metavar="FRAMES", help="by which outputs are late (default: found out, up to 0.5 s)"
    )
    parser.add_argument("--networks", metavar="NAME|DIR", help="pack with imported judges (default: that of imports)")
    parser.add_argument("--report", metavar="DIR", help="write index.html and report.json, curves over time in it")
    parser.add_argument("--pictures", action="store_true", help="show the worst frames in the report")
    add_work(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.pictures and arguments.report is None:
        raise OptionError("--pictures are for the page of --report DIR")
    options = EvaluateOptions(
        size=_size(arguments.size),
        puppet=arguments.puppet,
        identity=arguments.identity,
        openface=None if arguments.openface is None else (arguments.openface[0], arguments.openface[1]),
        networks=arguments.networks,
        delay=arguments.delay,
        device=arguments.device,
    )
    with ProgressDisplay(arguments.progress) as progress:
        report = evaluate(
            arguments.reference, arguments.outputs, options, progress, arguments.report, arguments.pictures
        )
    code = DONE if all(output.scored for output in report.outputs) else FAILED
    if arguments.json:
        print_json(report.as_dict())
        return code
    _print(report)
    return code


def _size(text: str) -> int | None:
    if text == NATIVE:
        return None
    if not text.isdecimal():
        raise OptionError(f"the size is a number of pixels or {NATIVE}, not {text!r}")
    return int(text)


def _print(report: EvaluateReport) -> None:
    for output in report.outputs:
        print(f"{output.source['file']} against {report.reference['file']}, squares of {report.size} pixels")
        print_notes(output.notes)
        _print_table([_row(score) for score in output.scores if not score.left_out])
        for note in dict.fromkeys(f"{s.metric.name}: {note}" for s in output.scores for note in s.notes):
            print(f"  {note}")
        _print_left_out(output)


def _print_left_out(output: OutputScores) -> None:
    """Metrics that share a reason in one line."""
    reasons: dict[str, list[str]] = {}
    for score in output.scores:
        if score.left_out:
            reasons.setdefault(score.left_out, []).append(score.metric.name)
    for reason, names in reasons.items():
        print(f"  left out: {', '.join(names)}: {reason}")


def _row(score: Score) -> tuple[str, ...]:
    worst, span = score.worst, score.interval
    arrow = "higher" if score.metric.better == "higher" else "lower"
    return (
        f"{score.metric.name} ({arrow} is better)",
        rounded(score.mean),
        "" if span is None else f"{rounded(span[0])} to {rounded(span[1])}",
        "" if worst is None else rounded(worst.value),
        "" if worst is None else f"{worst.frame} ({worst.seconds:.2f} s)",
        "" if score.unrelated is None else rounded(score.unrelated),
        f"{score.n:,}",
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    lines = [COLUMNS, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        print(f"  {'  '.join(cells)}")


COMMANDS = {"evaluate": _arguments}
