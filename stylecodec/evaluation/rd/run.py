"""The whole run: from clips to a report in a folder. What it kept before, it does not do again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import FaceNotFound, OptionError
from ...face.align import Aligner
from ...files import PathLike
from ...media.codecs import CODECS, Setting, VideoCodec
from ...progress import ProgressCallback
from ..faces import aligner_for
from ..judges import Judges, imported_pack
from .comparing import break_evens, comparisons
from .given import given_files, row_points, video_points
from .measuring import SequenceRun, codec_point, our_points
from .options import RdOptions
from .points import RATES, Point
from .report import RdReport
from .sequences import Clip, sequence_name
from .sequences import Sequence as Frames
from .store import Store

if TYPE_CHECKING:
    from ...encoding.front_end import FrontEnd


class Run:
    """One run of `rate_distortion`, in a folder that is there."""

    def __init__(
        self, options: RdOptions, folder: PathLike, progress: ProgressCallback, front_end: FrontEnd | None
    ) -> None:
        self.options, self.store, self.progress, self.front_end = options, Store(folder), progress, front_end
        self.codecs = chosen_codecs(options)
        self.videos, self.rows = given_files(options.given)
        self._judges: dict[int, Judges] = {}
        self._networks = imported_pack(options.networks)

    def of(self, paths: Sequence[PathLike]) -> RdReport:
        """Measure clips; see `rate_distortion`."""
        points: list[Point] = []
        facts: list[dict[str, Any]] = []
        left_out = [f"{codec.name}: {codec_missing(codec)}" for codec in self._absent()]
        clips = self._clips(paths)
        self._check_given([clip.name for clip in clips])
        aligner = aligner_for(self.options.device)
        for clip in clips:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
                for sequence in self._sequences(clip, aligner, Path(name), left_out):
                    facts.append(_facts(sequence))
                    points += self._points(sequence, aligner)
        if not points:
            raise OptionError(f"no clip could be measured: {'; '.join(left_out)}")
        options = self.options
        return RdReport(
            points=tuple(points),
            comparisons=tuple(comparisons(points, options.shown_metrics, RATES)),
            break_evens=tuple(break_evens(points, options.shown_metrics)),
            sequences=tuple(facts),
            left_out=tuple(left_out),
            metrics=options.shown_metrics,
            judges=next(iter(self._judges.values())).facts() if self._judges else {},
            conditions=options.conditions,
            with_published=options.published,
        )

    def _absent(self) -> list[VideoCodec]:
        """Codecs that are not here, where all were asked for."""
        return [c for c in CODECS.values() if not c.works] if self.options.codecs is None else []

    def _clips(self, paths: Sequence[PathLike]) -> list[Clip]:
        if not paths:
            raise OptionError("there is no clip to measure")
        clips = [Clip(path, self.options, self.store) for path in paths]
        names = [clip.name for clip in clips]
        if twice := {name for name in names if names.count(name) > 1}:
            raise OptionError(f"two clips are called {', '.join(sorted(twice))}: their names must differ")
        return clips

    def _sequences(self, clip: Clip, aligner: Aligner, folder: Path, left_out: list[str]) -> Iterator[Frames]:
        """Of a clip, at all sizes and lengths; why it has none goes to `left_out`. folder: for its squares."""
        for size in sorted(self.options.sizes):
            for long in self._lengths:
                try:
                    sequence, reason = clip.sequence(size, long, aligner, folder, self.progress)
                except FaceNotFound as error:
                    sequence, reason = None, str(error)
                if sequence is None:
                    left_out.append(reason)
                    return
                yield sequence

    def _points(self, sequence: Frames, aligner: Aligner) -> list[Point]:
        points = []
        judges = self._judges_for(sequence.size)
        with SequenceRun(sequence, self.options.shown_metrics, judges, aligner, self.store, self.progress) as run:
            for way in self.options.ways:
                points += our_points(run, way, self.front_end)
            for codec, numbers in self.codecs.items():
                for number in numbers:
                    setting = Setting(number, "crf" if self.options.constant == "crf" else "qp", self.options.low_delay)
                    points.append(codec_point(run, CODECS[codec], setting))
            points += video_points(run, self.videos)
        return [*points, *row_points(sequence, self.rows)]

    def _judges_for(self, size: int) -> Judges:
        if size not in self._judges:
            self._judges[size] = Judges(self._networks, self.options.device)
        return self._judges[size]

    @property
    def _lengths(self) -> list[float | None]:
        """Seconds of the sequences of a clip; None: as long as it is."""
        return [None] if self.options.long is None else [None, self.options.long]

    def _check_given(self, clips: Sequence[str]) -> None:
        """OptionError for a coded video or a row of a table that belongs to no sequence."""
        every = [(clip, long, size) for clip in clips for long in self._lengths for size in self.options.sizes]
        names = {sequence_name(*one) for one in every}
        for video in self.videos:
            if video.sequence not in names:
                these = ", ".join(sorted(names))
                raise OptionError(f"{video.path} is of no sequence of this run, which are: {these}")
        for row in self.rows:
            if (row.clip, row.size) not in {(clip, size) for clip, _, size in every}:
                where = f"{row.clip} at {row.size}²"
                raise OptionError(f"a table has {row.system} on {where}, which this run does not measure")


def chosen_codecs(options: RdOptions) -> dict[str, tuple[int, ...]]:
    """Codecs with their quality numbers. OptionError for one that is not known, MissingDependency for one not here."""
    asked = options.codecs
    if asked is None:
        asked = {name: None for name, codec in CODECS.items() if codec.works}
    found = {}
    for name, numbers in asked.items():
        if name not in CODECS:
            raise OptionError(f"there is no codec {name!r}; the codecs are: {', '.join(CODECS)}")
        codec = CODECS[name]
        codec.require()
        found[name] = codec.points if numbers is None else numbers
        for number in found[name]:
            Setting(number).options(codec)  # OptionError beyond its scale
    return found


def codec_missing(codec: VideoCodec) -> str:
    """Why a codec is not here."""
    return f"{codec.title} is not measured: its encoder {codec.encoder} is not here"


def _facts(sequence: Frames) -> dict[str, Any]:
    return {
        "name": sequence.name,
        "clip": sequence.clip,
        "long": sequence.long,
        "size": sequence.size,
        "frames": len(sequence.pictures),
        "pictures": len(set(sequence.pictures.tolist())),
        "seconds": round(sequence.seconds, 4),
        "fps": round(float(sequence.rate), 6),
        "pixels_of_the_square": round(sequence.side, 2),
        "file": f"{sequence.path.parent.parent.name}/{sequence.path.parent.name}/{sequence.path.name}",
        "notes": list(sequence.notes),
    }
