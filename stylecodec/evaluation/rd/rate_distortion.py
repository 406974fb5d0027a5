"""Rate–distortion curves of our streams and ordinary codecs: `rate_distortion`. Can be read without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...extras import need_extra
from ...files import PathLike
from ...progress import ProgressCallback, silent
from .options import RdOptions

if TYPE_CHECKING:
    from ...encoding.front_end import FrontEnd
    from .report import RdReport


def rate_distortion(
    clips: Sequence[PathLike],
    folder: PathLike,
    options: RdOptions | None = None,
    progress: ProgressCallback | None = None,
    front_end: FrontEnd | None = None,
) -> RdReport:
    """Encode clips by our ways and by ordinary codecs, score all, and write a report into a folder.

    folder: gets index.html, rd.json, points.csv and the curves as SVG and PNG; it is made if it is not there. What was
    encoded and scored is kept in its folder "kept", and a later run goes on from there. front_end: finds the face for
    our encoder in place of the pack's own.
    Clips without a face are left out with the reason. Raises MediaError, PackError, OptionError (no clip can be
    measured), OutputError, MissingDependency (an extra, or a codec that was asked for).
    """
    need_extra("rd", "measuring curves")
    from ...nets.isolation import isolated
    from ..page import report_folder
    from .page import write_report
    from .run import Run

    place = report_folder(folder)
    with isolated(draws=True):
        report = Run(options or RdOptions(), place, progress or silent, front_end).of(clips)
    write_report(report, place)
    return report
