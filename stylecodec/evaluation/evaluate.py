"""Score videos against a reference: `evaluate`. Can be read without torch; the rest is imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..extras import need_extra
from ..files import PathLike
from ..progress import ProgressCallback, silent
from .options import EvaluateOptions

if TYPE_CHECKING:
    from .report import EvaluateReport


def evaluate(
    reference: PathLike,
    outputs: Sequence[PathLike],
    options: EvaluateOptions | None = None,
    progress: ProgressCallback | None = None,
    report: PathLike | None = None,
    pictures: bool = False,
) -> EvaluateReport:
    """Score videos or streams against a reference video or stream.

    report: folder for a page to look at and its data; pictures: the worst frames in it.
    A metric that cannot be measured is left out with its reason; in an output without a face every one is.
    Raises MediaError, FormatError, PackError, FaceNotFound (the reference shows no face), OptionError, OutputError,
    MissingDependency.
    """
    need_extra("encode", "evaluating videos")
    from ..nets.isolation import isolated
    from .page import report_folder, write_report
    from .pipeline import scored

    if report is not None:
        report_folder(report)
    with isolated(draws=True):
        found = scored(reference, outputs, options or EvaluateOptions(), progress or silent)
    if report is not None:
        write_report(found, report, pictures)
    return found
