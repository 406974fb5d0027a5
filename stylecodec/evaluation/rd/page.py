"""The report of a run to look at: one HTML page that needs nothing else, and its data as files beside it."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...files import PathLike, atomic_write
from ..page import STYLE, number
from ..scores import METRICS
from . import published
from .comparing import ALL, BreakEven, Comparison, grouped
from .figures import RATE_WORDS, Figure, figures, inline
from .points import GIVEN, RATES, Point
from .report import PARTS, RdReport, as_csv

PAGE, DATA, TABLE = "index.html", "rd.json", "points.csv"
NUMBER = ' class="number"'
LONGEST_SHOWN = 100 * 3600  # seconds, above which a length is told in days

OWN_STYLE = """
svg { max-width: 100%; height: auto } .less { color: #1c6b2d } .more { color: #b3261e } details { margin: 1rem 0 }
table.small { font-size: .85rem } td.number small { white-space: normal; display: inline-block; max-width: 18rem }
"""

EXPLANATION = """
<p>All codecs are given the same frames: squares around the face, upright at a constant scale, without loss. An ordinary
codec's squares lie where these do; ours are rendered at the same size, aligned by the face and laid onto them by one
move for all frames, as <code>stylecodec evaluate</code> does. Every byte of a file counts. <em>What is seen</em> leaves
out the sound and an ordinary codec's container, and of ours the sound alone; <em>the file</em> is all of it, with the
same sound for all. Means are over frames, intervals 95&nbsp;% by a bootstrap of half seconds (over several clips: of
clips too). In the curves thick lines are means over clips, thin ones the clips.</p>
"""
BD_WORDS = """
<p>Bits at equal quality against the codec named at the head of each column, over the qualities that both curves have
(Bjøntegaard's measure, PCHIP): below 0 ours takes fewer. <em>Shared</em> is how much of all that either curve covers:
the less it is, the less the number says.</p>
"""
BREAK_EVEN_WORDS = """
<p>Ours pays identity and generator once. From this length on a call takes fewer bits, of what is seen, than the codec
takes at the same quality, its rate read off its curve. Lengths beyond that of the sequence are computed from its bytes
paid once and per second (<em>computed</em>), others were measured.</p>
"""


def write_report(report: RdReport, folder: PathLike) -> list[Path]:
    """Write page, JSON, CSV and the curves as SVG and PNG into a folder that is there; their paths. OutputError."""
    place = Path(folder)
    drawn = figures(report.points, report.metrics, report.with_published)
    facts = json.dumps(report.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = {DATA: facts.encode(), TABLE: as_csv(report.points, report.metrics).encode()}
    for figure in drawn:
        files |= {f"{figure.name}.svg": figure.svg.encode(), f"{figure.name}.png": figure.png}
    files[PAGE] = as_html(report, drawn).encode()
    for name, data in files.items():
        with atomic_write(place / name) as file:
            file.write(data)
    return [place / name for name in files]


def as_html(report: RdReport, drawn: Sequence[Figure]) -> str:
    """The page."""
    clips = dict.fromkeys(point.clip for point in report.points)
    title = f"Rate and distortion on {len(clips)} clip{'s' if len(clips) != 1 else ''}"
    head = f"<p>Measured under the {html.escape(report.conditions)}.</p>" if report.conditions else ""
    curves = "".join(f"<h2>{html.escape(one.title)}</h2><figure>{inline(one)}</figure>" for one in drawn)
    if report.with_published:
        curves += f"<p><small>Published curves: {html.escape(published.SOURCE)}.</small></p>"
    body = (
        f"{head}{_sequences(report)}{EXPLANATION}{curves}"
        f"<h2>BD-rate</h2>{BD_WORDS}{_bd_rates([c for c in report.comparisons if c.metric in report.found])}"
        f"<h2>Break-even length of a call</h2>{BREAK_EVEN_WORDS}{_break_evens(report.break_evens)}"
        f"<h2>Points</h2>{_points(report)}{_untuned(report.points)}{_left_out(report)}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{OWN_STYLE}</style></head>\n<body>'
        f"<h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], texts: int = 1) -> str:
    """Cells are HTML already. texts: columns of text before those of numbers."""
    lines = "".join(
        "<tr>" + "".join(f"<td{NUMBER * (k >= texts)}>{cell}</td>" for k, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    header = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f'<div class="wide"><table class="small"><tr>{header}</tr>{lines}</table></div>' if lines else ""


def _sequences(report: RdReport) -> str:
    rows = [
        (
            html.escape(str(one["name"])),
            f"{one['frames']:,} frames, {one['seconds']:.2f} s at {one['fps']:g} per second, {one['size']}²",
            html.escape("; ".join(one["notes"])),
        )
        for one in report.sequences
    ]
    return _table(("sequence", "what", "to be known"), rows, texts=3)


# --- BD-rate ----------------------------------------------------------------------------------------------


def _bd_rates(comparisons: Sequence[Comparison]) -> str:
    found = ""
    for (long, size, rate), those in grouped(comparisons, lambda c: (c.long, c.size, c.rate)):
        shown = [c for c in those if c.clip == ALL] or those
        anchors = list(dict.fromkeys(c.anchor for c in shown))
        kind = "long calls" if long else "clips"
        rows = []
        for (clip, metric, system), cells in grouped(shown, lambda c: (c.clip, c.metric, c.system)):
            by_anchor = {c.anchor: c for c in cells}
            where = [html.escape(text) for text in (clip, metric, system)]
            rows.append([*where, *(_bd_cell(by_anchor.get(anchor)) for anchor in anchors)])
        head = ("clip", "metric", "system", *(f"against {anchor}" for anchor in anchors))
        found += f"<h3>{size}², {kind}, {RATE_WORDS[rate]}</h3>{_table(head, rows, texts=3)}"
    return found or "<p>Nothing to compare.</p>"


def _bd_cell(one: Comparison | None) -> str:
    if one is None:
        return ""
    if one.percent is None:
        return f"–<br><small>{html.escape(one.left_out)}</small>"
    span = "" if one.interval is None else f"{one.interval[0]:+.0f} to {one.interval[1]:+.0f} %"
    clips = "" if one.clips == (1, 1) else f", {one.clips[0]} of {one.clips[1]} clips"
    kind = "less" if one.percent < 0 else "more"
    return (
        f'<strong class="{kind}">{one.percent:+.1f} %</strong><br><small>{span}, shared {100 * one.share:.0f} %{clips}'
        "</small>"
    )


# --- break-even -------------------------------------------------------------------------------------------


def _break_evens(found: Sequence[BreakEven]) -> str:
    out = ""
    for (long, size), those in grouped(found, lambda b: (b.long, b.size)):
        codecs = list(dict.fromkeys(b.codec for b in those))
        rows = []
        for (clip, metric, system, setting), cells in grouped(
            those, lambda b: (b.clip, b.metric, b.system, b.setting)
        ):
            by_codec = {b.codec: b for b in cells}
            where = [html.escape(text) for text in (clip, metric, f"{system} {setting}")]
            rows.append([*where, *(_length_cell(by_codec.get(codec)) for codec in codecs)])
        table = _table(("clip", "metric", "point", *codecs), rows, texts=3)
        out += f"<details open><summary>{size}², {'long calls' if long else 'clips'}</summary>{table}</details>"
    return out or "<p>Nothing to compare.</p>"


def _length_cell(one: BreakEven | None) -> str:
    if one is None:
        return ""
    if one.seconds is None:
        return f"–<br><small>{html.escape(one.says)}</small>"
    span = "" if one.interval is None else f"{duration(one.interval[0])} to {duration(one.interval[1])}, "
    how = "measured" if one.measured else "computed"
    return f"<strong>{duration(one.seconds)}</strong><br><small>{span}{how}</small>"


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < LONGEST_SHOWN else f"{seconds / 86400:.0f} days"


# --- points -----------------------------------------------------------------------------------------------


def _points(report: RdReport) -> str:
    out = ""
    for (clip, long, size), those in grouped(report.points, lambda p: (p.clip, p.long, p.size)):
        used = [part for part in PARTS if any((p.parts or {}).get(part) for p in those)]
        rows = []
        for point in those:
            kind = "" if point.origin != GIVEN else " <small>given</small>"
            parts = [f"{(point.parts or {}).get(part, 0):,}" if point.parts else "–" for part in used]
            rates = [f"{point.rates[rate]:.2f}" if rate in point.rates else "–" for rate in RATES]
            scores = [_score(point, metric) for metric in report.found]
            rows.append([f"{html.escape(f'{point.system} {point.setting}')}{kind}", *parts, *rates, *scores])
        rates_of = ("kbit/s seen", "kbit/s file")
        head = ("point", *(f"{part}, bytes" for part in used), *rates_of, *map(_arrow, report.found))
        name = f"{clip}{' as a long call' if long else ''}, {size}²"
        out += f"<details><summary>{html.escape(name)}</summary>{_table(head, rows)}</details>"
    return out


def _arrow(metric: str) -> str:
    return f"{metric} {'↑' if METRICS[metric].better == 'higher' else '↓'}"


def _score(point: Point, metric: str) -> str:
    mean = point.mean(metric)
    if mean is None:
        return "–"
    span = point.scores[metric].as_dict(point.block)["interval_95"] if metric in point.scores else None
    if span is None or not math.isfinite(mean):
        return number(mean)
    return f"{number(mean)}<br><small>{number(span[0])} to {number(span[1])}</small>"


def _untuned(points: Sequence[Point]) -> str:
    rows = []
    for point in points:
        apart = point.untuned()
        for metric, values in apart.items():
            whose = f"{point.clip}{' as a long call' if point.long else ''}, {point.size}²"
            every, count = point.scores[metric], len(values.values)
            cells = (number(every.mean), number(values.mean), f"{count:,}", f"{len(every.values) - count:,}")
            rows.append((html.escape(f"{whose}: {point.system} {point.setting}"), metric, *cells))
    if not rows:
        return ""
    head = ("point", "metric", "all frames", "not tuned on", "frames not tuned on", "others")
    words = (
        "<p>A generator that is tuned to some frames of a clip shows these better. In a call that is played forth and "
        "back a frame counts as tuned on wherever its picture returns.</p>"
    )
    return f"<h2>Frames that the generator was not tuned on</h2>{words}{_table(head, rows, texts=2)}"


def _left_out(report: RdReport) -> str:
    reasons: dict[str, list[str]] = {}
    for point in report.points:
        for metric, reason in point.left_out.items():
            reasons.setdefault(f"{metric}: {reason}", []).append(f"{point.system} {point.setting}")
        for note in point.notes:
            reasons.setdefault(note, []).append(f"{point.clip}, {point.size}²: {point.system} {point.setting}")
    lines = [*report.left_out]
    for reason, whose in reasons.items():
        every = len(whose) == len(report.points)
        lines.append(reason if every else f"{reason} ({', '.join(dict.fromkeys(whose))})")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>Left out, and to be known</h2><ul>{items}</ul>" if items else ""
