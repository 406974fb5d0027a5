"""Curves as pictures: one figure for each size and metric, by what is seen and by the whole file."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scores import METRICS
from . import published
from .comparing import BEST, systems
from .points import GIVEN, OURS, RATES, Point, of_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"x264": "#1f5fa8", "x265": "#2a8a3e", "svtav1": "#8a5a00", "vp9": "#7a3f98", "vvc": "#444444"}
OWN = ("#b3261e", "#e0721b", "#a8005c", "#d4a000", "#7a0f0f", "#c25e8f")
OTHERS = ("#0f7f86", "#5b6b1f", "#5a4fcf", "#996515")
RATE_WORDS = {"video": "what is seen", "total": "the file, with sound"}
DPI = 110
PUBLISHED = "published"  # the figure of published curves alone
Panel = Callable[["Axes"], None]
SALT = "stylecodec"  # so that the same curves are the same SVG


@dataclass(frozen=True)
class Figure:
    """One figure: its name for a file, its title, and the picture as SVG and PNG."""

    name: str
    title: str
    svg: str
    png: bytes


def figures(points: Sequence[Point], metrics: Sequence[str], with_published: bool) -> list[Figure]:
    """For every size and metric that has curves, for clips and long calls apart. Published curves have a panel of
    their own beside the metric that is theirs, and a figure of their own where that could not be measured."""
    found = []
    for long, size in dict.fromkeys((p.long, p.size) for p in points):
        some = [p for p in points if (p.long, p.size) == (long, size)]
        for metric in metrics:
            if any(p.mean(metric) is not None for p in some):
                beside = with_published and metric == published.METRIC and not long
                found.append(_figure(some, metric, beside))
    if with_published and not any(p.mean(published.METRIC) is not None for p in points):
        found.append(_drawn(PUBLISHED, f"{published.METRIC} as published, nothing of it measured here", [_published]))
    return found


def _figure(points: Sequence[Point], metric: str, beside: bool) -> Figure:
    first, clips = points[0], len({p.clip for p in points})
    which = f"{first.seconds:g} s calls" if first.long else "clips"
    title = f"{metric} at {first.size}², {'mean of ' if clips > 1 else ''}{clips} {which if clips > 1 else which[:-1]}"
    name = f"{'long-' if first.long else ''}{first.size}-{metric}"
    panels: list[Panel] = [partial(_measured, points=points, metric=metric, rate=rate) for rate in RATES]
    return _drawn(name, title, [*panels, _published] if beside else panels)


def _drawn(name: str, title: str, panels: Sequence[Panel]) -> Figure:
    """A figure whose panels, side by side, are drawn by these."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": SALT + name, "font.size": 9}):
        canvas = Canvas(figsize=(5.2 * len(panels), 4.2), dpi=DPI, layout="constrained")
        for axis, draw in zip(np.atleast_1d(canvas.subplots(1, len(panels))), panels, strict=True):
            draw(axis)
        canvas.suptitle(title)
        svg, png = io.StringIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        canvas.savefig(png, format="png", metadata={"Software": None})
    return Figure(name, title, svg.getvalue(), png.getvalue())


def _measured(axis: Axes, points: Sequence[Point], metric: str, rate: str) -> None:
    own = iter(OWN * 4)
    others = iter(OTHERS * 8)
    for system, those in systems(points).items():
        if system == BEST:
            continue
        origin = those[0].origin
        colour = next(own) if origin == OURS else COLOURS.get(system) or next(others)
        style: dict[str, Any] = {"color": colour, "linestyle": "--" if origin == GIVEN else "-"}
        for clip in dict.fromkeys(p.clip for p in those):
            _, rates, means = of_curve([p for p in those if p.clip == clip], metric, rate)
            axis.plot(rates, means, linewidth=0.6, alpha=0.35, **style)
        label = f"{system} (given)" if origin == GIVEN else system
        rates, means = mean_curve(those, metric, rate)
        axis.plot(rates, means, marker="o" if origin != OURS else "s", markersize=4, label=label, **style)
    better = METRICS[metric].better
    unit = METRICS[metric].unit
    axis.set_ylabel(f"{metric}{f', {unit}' if unit else ''} ({better} is better)")
    _by_rate(axis, f"kbit/s of {RATE_WORDS[rate]}")


def _by_rate(axis: Axes, label: str) -> None:
    from matplotlib.ticker import LogLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda value, _: "")
    axis.set_xlabel(label)
    axis.grid(True, which="both", linewidth=0.3, alpha=0.6)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def _published(axis: Axes) -> None:
    """Other clips than these: a panel of their own, on axes of their own."""
    for curve in published.CURVES:
        rates, values = zip(*curve.points, strict=True)
        axis.plot(rates, [1 - value for value in values], linestyle=":", marker="x", label=f"{curve.system}, published")
    axis.set_ylabel(f"{published.METRIC} (lower is better)")
    axis.set_title("published, of other clips: not measured here", fontsize=9)
    _by_rate(axis, "kbit/s of what is seen")


def mean_curve(points: Sequence[Point], metric: str, rate: str) -> tuple[list[float], list[float]]:
    """(rates, means) of a system over its clips: for each setting that all clips have the means of both, by rate."""
    clips = {p.clip for p in points}
    found = []
    for setting in dict.fromkeys(p.setting for p in points):
        there, rates, means = of_curve([p for p in points if p.setting == setting], metric, rate)
        if {p.clip for p in there} == clips:
            found.append((float(np.mean(rates)), float(np.mean(means))))
    found.sort()
    return [r for r, _ in found], [m for _, m in found]


def inline(figure: Figure) -> str:
    """The SVG as a part of an HTML page that names no address."""
    body = figure.svg[figure.svg.index("<svg") :]
    begin, end = body.find("<metadata>"), body.find("</metadata>")
    if begin >= 0:
        body = body[:begin] + body[end + len("</metadata>") :]
    for words in (' xmlns:xlink="http://www.w3.org/1999/xlink"', ' xmlns="http://www.w3.org/2000/svg"'):
        body = body.replace(words, "")
    return body.replace("xlink:href=", "href=")
