"""A report to look at: one HTML page that needs nothing else, and the same as JSON.

No picture of anybody is in it unless it is asked for.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import OutputError
from ..files import PathLike, atomic_write, blaming, check_output
from .faces import Crops
from .report import EvaluateReport, OutputScores
from .scores import Score, rounded

PAGE, DATA = "index.html", "report.json"
WIDTH, HEIGHT, EDGE = 300, 56, 4  # pixels of a curve, and around it
TILE, QUALITY = 192, 85  # pixels and JPEG quality of a picture

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } .wide { overflow-x: auto }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #ddd; vertical-align: middle }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
small { color: #555 } .out td { color: #555 } .stand { color: #7a4b00 }
svg { display: block } figure { display: inline-block; margin: 0 1rem 1rem 0 } figcaption { font-size: .85rem }
"""

EXPLANATION = """
<p>Mean over the frames; in brackets its 95&nbsp;% interval by a bootstrap of half seconds, which says how sure the mean
is for clips like this one. <em>Worst</em> is the frame of the reference, counted from 0. <em>Unrelated</em> is what the
faces of people who have nothing to do with the clip score, for a correlation what unrelated motion does: a score near
it means that the metric sees no likeness. <span class="stand">Stand-ins</span> are measured on networks that come with
stylecodec and are not to be compared with published figures.</p>
"""


def write_report(report: EvaluateReport, folder: PathLike, pictures: bool = False) -> tuple[Path, Path]:
    """Write page and data into a folder, which is made if it is not there; their paths. OutputError.

    pictures: show reference and output at the worst frames.
    """
    place = report_folder(folder)
    page, data = place / PAGE, place / DATA
    with atomic_write(data) as file:
        file.write((json.dumps(report.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    with atomic_write(page) as file:
        file.write(as_html(report, pictures).encode())
    return page, data


def report_folder(folder: PathLike) -> Path:
    """The folder, made if it is not there; OutputError where a report cannot be written into it."""
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise OutputError(f"{place} is not a folder")
    with blaming(place):
        place.mkdir(parents=True, exist_ok=True)
    check_output(place / PAGE)
    return place


def as_html(report: EvaluateReport, pictures: bool = False) -> str:
    """The page."""
    reference = report.reference
    how = "compared as a puppet: by the metrics that need no pixel truth" if report.puppet else "compared"
    title = f"Scores against {Path(reference['file']).name}"
    head = (
        f"<p>{_video(reference)}. Faces are aligned upright at a constant scale and {how} as squares of "
        f"{report.size}&nbsp;pixels; unless it is a puppet, an output is laid onto the reference by one move for all "
        "frames.</p>"
    )
    for role, file in report.judges.get("imported", {}).items():
        words = f"{role}: {file['what']}, {file['file']}, sha256 {file['sha256']}"
        head += f"<p><small>{html.escape(words)}</small></p>"
    outputs = "".join(_output(output, report.seconds, pictures) for output in report.outputs)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>'
        f"<h1>{html.escape(title)}</h1>{head}{EXPLANATION}{outputs}</body></html>\n"
    )


def _video(facts: dict[str, object]) -> str:
    words = f"{facts['file']}: {facts['width']}×{facts['height']}, {facts['fps']:g} frames per second"
    if "frames" in facts:
        words += f", {facts['frames']:,} frames, {facts['frames_with_a_face']:,} with a face"
    return html.escape(words)


def _output(output: OutputScores, seconds: Sequence[float], pictures: bool) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in output.notes)
    rows = "".join(_row(score, seconds) for score in output.scores if not score.left_out)
    absent = "".join(
        f'<tr class="out"><td>{html.escape(score.metric.name)}</td><td>{html.escape(score.left_out)}</td></tr>'
        for score in output.scores
        if score.left_out
    )
    columns = ("metric", "mean", "95 %", "worst", "unrelated", "n", "over time")
    header = "".join(f"<th>{name}</th>" for name in columns)
    table = f'<div class="wide"><table><tr>{header}</tr>{rows}</table></div>' if rows else ""
    left = f"<h3>Left out</h3><table>{absent}</table>" if absent else ""
    shown = _pictures(output) if pictures and output.worst else ""
    name = html.escape(Path(output.source["file"]).name)
    return f"<h2>{name}</h2><p>{_video(output.source)}</p><ul>{notes}</ul>{table}{shown}{left}"


def _row(score: Score, seconds: Sequence[float]) -> str:
    metric, worst = score.metric, score.worst
    kind = ' class="stand"' if metric.stand_in else ""
    arrow = "↑" if metric.better == "higher" else "↓"
    details = [f"{metric.what}{f' ({metric.unit})' if metric.unit else ''}", *score.notes]
    if score.parts:
        details.append(", ".join(f"{name} {number(value)}" for name, value in score.parts.items()))
    name = f"<span{kind}>{html.escape(metric.name)}</span> {arrow}<br><small>{html.escape('; '.join(details))}</small>"
    span = "–" if score.interval is None else f"{number(score.interval[0])} to {number(score.interval[1])}"
    where = (
        "–" if worst is None else f"{number(worst.value)}<br><small>frame {worst.frame}, {worst.seconds:.2f} s</small>"
    )
    far = "–" if score.unrelated is None else number(score.unrelated)
    cells = (f"<strong>{number(score.mean)}</strong>", span, where, far, f"{score.n:,}")
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f"<tr><td>{name}</td>{numbers}<td>{curve(score, seconds)}</td></tr>"


def number(value: float) -> str:
    """A score for people."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    return rounded(value)


def curve(score: Score, seconds: Sequence[float]) -> str:
    """A metric over time as inline SVG, the worst frame as a dot; infinite values are left out."""
    points = [(seconds[frame], value) for frame, value in score.per_frame if math.isfinite(value)]
    if len(points) < 2:
        return ""
    times, values = np.array(points).T
    low, high = float(values.min()), float(values.max())
    begin, end = float(seconds[0]), float(seconds[-1])
    x = EDGE + (times - begin) / max(end - begin, 1e-9) * (WIDTH - 2 * EDGE)
    y = HEIGHT - EDGE - (values - low) / max(high - low, 1e-9) * (HEIGHT - 2 * EDGE)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    dot = ""
    if score.worst is not None and math.isfinite(score.worst.value):
        place = int(np.argmin(np.abs(times - score.worst.seconds)))
        dot = f'<circle cx="{x[place]:.1f}" cy="{y[place]:.1f}" r="3" fill="#b3261e"/>'
    label = f"{score.metric.name} from {number(low)} to {number(high)} over {end - begin:.2f} s"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{html.escape(label)}"><title>'
        f'{html.escape(label)}</title><polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.3"/>'
        f"{dot}</svg>"
    )


def _pictures(output: OutputScores) -> str:
    """Reference and output at the worst frames, each pair once."""
    figures: dict[int, tuple[list[str], tuple[Crops, Crops]]] = {}
    for score in output.scores:
        if score.worst is not None and score.metric.name in output.worst:
            names, _ = figures.setdefault(score.worst.frame, ([], output.worst[score.metric.name]))
            names.append(score.metric.name)
    shown = []
    for frame, (names, pair) in sorted(figures.items()):
        images = "".join(f'<img src="{_embedded(picture)}" width="{TILE}" height="{TILE}" alt="">' for picture in pair)
        words = html.escape(f"frame {frame}, reference and output: worst by {', '.join(names)}")
        shown.append(f"<figure>{images}<figcaption>{words}</figcaption></figure>")
    return f"<h3>Worst frames</h3>{''.join(shown)}"


def _embedded(picture: Crops) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
