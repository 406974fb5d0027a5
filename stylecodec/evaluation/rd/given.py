"""What others coded or measured: VVC streams and other videos of the kept sequences, and tables.

    SEQUENCE.SYSTEM.SETTING.266   a coded sequence (.mkv, .mp4, .ivf … likewise), decoded and scored here; SEQUENCE is
                                  the name of a file in kept/sequences without its key: talk-256.VTM.qp37.266
    TABLE.csv                     rates and scores of others, as they are: columns clip, size, system, setting, kbps,
                                  and one for each metric (PSNR, LPIPS-vgg, …)
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import MediaError, OptionError
from ...files import PathLike, reading
from .measuring import PICTURE, SequenceRun
from .options import PIXEL_METRICS
from .points import GIVEN, Point
from .sequences import Sequence

COLUMNS = ("clip", "size", "system", "setting", "kbps")
MOST_BYTES = 16_000_000  # of a table


@dataclass(frozen=True)
class GivenVideo:
    """A coded sequence that somebody brought."""

    path: Path
    sequence: str
    system: str
    setting: str


@dataclass(frozen=True)
class Row:
    """One row of a table. clip: as the sequence's clip is called."""

    clip: str
    size: int
    system: str
    setting: str
    kbps: float
    scores: dict[str, float]


def given_files(paths: Iterable[PathLike]) -> tuple[list[GivenVideo], list[Row]]:
    """Videos and rows of tables; OptionError for a name that does not tell, MediaError for what cannot be read."""
    videos: list[GivenVideo] = []
    rows: list[Row] = []
    for path in map(Path, paths):
        if path.suffix.lower() == ".csv":
            rows += read_table(path)
            continue
        words = path.stem.split(".", 2)
        if len(words) != 3 or not all(words):
            raise OptionError(
                f"{path}: a coded sequence is called SEQUENCE.SYSTEM.SETTING, as in talk-256.VTM.qp37.266"
            )
        with reading(path), path.open("rb"):
            videos.append(GivenVideo(path, *words))
    return videos, rows


def read_table(path: Path) -> list[Row]:
    """The rows of a table; MediaError, which names row and column of what makes no sense."""
    with reading(path), path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise MediaError(f"{path} is larger than {MOST_BYTES:,} bytes")
    table = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))
    lacking = [name for name in COLUMNS if name not in (table.fieldnames or [])]
    if lacking:
        raise MediaError(f"{path} has no column {', '.join(lacking)}")
    rows = []
    try:
        for number, cells in enumerate(table, 2):
            rows.append(_row(path, number, cells))
    except csv.Error as error:
        raise MediaError(f"{path} is no table: {error}") from error
    return rows


def _row(path: Path, number: int, cells: dict[str, str | None]) -> Row:
    def value(column: str) -> float:
        try:
            found = float(cells[column] or "")
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise MediaError(f"{path}, row {number}: {column} is no number but {cells[column]!r}")
        return found

    size, kbps = value("size"), value("kbps")
    if size != int(size) or kbps <= 0:
        raise MediaError(f"{path}, row {number}: the size is a whole number and the rate above 0 kbit/s")
    scores = {name: value(name) for name in PIXEL_METRICS if (cells.get(name) or "").strip()}
    words = (str(cells[name] or "").strip() for name in ("clip", "system", "setting"))
    clip, system, setting = words
    return Row(clip, int(size), system, setting, kbps, scores)


def video_points(run: SequenceRun, videos: Iterable[GivenVideo]) -> list[Point]:
    """Those of this sequence. MediaError for one that is of other frames."""
    points = []
    for video in videos:
        if video.sequence == run.frames.name:
            found = run.score(f"{video.system} {video.setting}", video.path, as_ours=False)
            parts = {PICTURE: video.path.stat().st_size}
            points.append(run.point(video.system, video.setting, GIVEN, parts, found))
    return points


def row_points(frames: Sequence, rows: Iterable[Row]) -> list[Point]:
    """The rows of a table that are of this sequence: nothing of them is measured here."""
    return [
        Point(
            clip=frames.clip,
            long=frames.long,
            size=frames.size,
            seconds=frames.seconds,
            frames=len(frames.pictures),
            fps=float(frames.rate),
            system=row.system,
            setting=row.setting,
            origin=GIVEN,
            parts=None,
            rates={"video": row.kbps},
            scores={},
            means=row.scores,
            notes=("rate and scores as a table gives them, not measured here",),
        )
        for row in rows
        if (row.clip, row.size) == (frames.clip, frames.size) and not frames.long
    ]
