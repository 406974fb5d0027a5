"""From a sequence to points: encoded once, scored once, both kept.

    our stream    rendered at the sequence's size, aligned by its face, laid onto the reference by one move (`evaluate`)
    other codecs  decoded: their squares lie where the reference's do
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import api
from ...bitstream import StreamFile
from ...encoding.options import FULL, EncodeOptions
from ...face.align import Aligner
from ...files import atomic_write, file_digest
from ...media.codecs import VVENC, Setting, VideoCodec, decoded_video, encode_video
from ...packs.store import open_pack
from ...progress import Progress, ProgressCallback
from ..faces import AlignedFaces
from ..far_end import FarEnd
from ..judges import Judges, Readings
from ..matching import Matching
from ..measuring import Measurement
from ..options import EvaluateOptions
from ..pipeline import score_output
from ..scores import Score
from ..sources import opened
from .options import Way
from .points import CONTAINER, ORDINARY, OURS, SOUND, Point, Values, rates_of
from .sequences import Sequence as Frames
from .sequences import squares_of
from .store import Store, as_facts, from_facts, key_of, plain, write_json

if TYPE_CHECKING:
    from ...encoding.front_end import FrontEnd

PICTURE = "picture"  # the part of an ordinary codec's file that is seen
OUR_PARTS = {"audio": SOUND}  # by the names of `byte_account`


@dataclass(frozen=True)
class Scored:
    """Values by metric, why others are not there, and what is to be known."""

    scores: dict[str, Values]
    left_out: dict[str, str]
    notes: tuple[str, ...]


class SequenceRun:
    """One sequence, on which all codecs are measured; a context that needs disk space for its squares."""

    def __init__(
        self,
        frames: Frames,
        metrics: Sequence[str],
        judges: Judges,
        aligner: Aligner,
        store: Store,
        progress: ProgressCallback,
    ) -> None:
        self.frames, self.metrics, self.judges, self.aligner, self.store = frames, metrics, judges, aligner, store
        self._tell = progress
        self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    def __enter__(self) -> SequenceRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    @property
    def folder(self) -> Path:
        """For what is gone afterwards."""
        return Path(self._scratch.name)

    @cached_property
    def reference(self) -> AlignedFaces:
        """The sequence's squares, read when they are first needed."""
        return self.frames.faces(self.folder)

    @cached_property
    def measurement(self) -> Measurement:
        """Who measures against these squares."""
        readings = Readings(self.reference, self.judges)
        options = EvaluateOptions(size=self.frames.size, delay=0, device=self.judges.device)
        return Measurement(
            readings, self.judges, FarEnd(readings, self.judges), options, None, self._tell, frozenset(self.metrics)
        )

    def point(
        self,
        system: str,
        setting: str,
        origin: str,
        parts: Mapping[str, int] | None,
        found: Scored,
        tuned: frozenset[int] = frozenset(),
        rates: Mapping[str, float] | None = None,
    ) -> Point:
        """A point of this sequence. rates: in place of those of the bytes."""
        frames = self.frames
        return Point(
            clip=frames.clip,
            long=frames.long,
            size=frames.size,
            seconds=frames.seconds,
            frames=len(frames.pictures),
            fps=float(frames.rate),
            system=system,
            setting=setting,
            origin=origin,
            parts=parts,
            rates=rates or rates_of(parts or {}, frames.seconds),
            scores=found.scores,
            left_out=found.left_out,
            tuned=tuned,
            notes=found.notes,
        )

    def told(self, what: str) -> ProgressCallback:
        """Progress that says what of which sequence."""
        return lambda event: self._tell(replace(event, stage=f"{self.frames.name}, {what}: {event.stage}"))

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A folder for the squares of one output."""
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def score(self, what: str, path: Path, as_ours: bool) -> Scored:
        """The scores of a stream or of a coded video, kept."""
        facts = {
            "sequence": self.frames.key,
            "file": file_digest(path),
            "metrics": list(self.metrics),
            "judges": self.judges.facts(),
            "as_ours": as_ours,
        }
        place = self.store.path("scores", f"{self.frames.name}-{what}", key_of(facts), ".json")
        kept = self.store.facts(place, lambda: self._scored(what, path, as_ours))
        return Scored(from_facts(kept["scores"]), kept["left_out"], tuple(kept["notes"]))

    def _scored(self, what: str, path: Path, as_ours: bool) -> dict[str, Any]:
        measurement = replace(self.measurement, progress=self.told(what))
        with self._place() as folder:
            if as_ours:
                scores, notes = self._stream(path, measurement, folder)
            else:
                scores, notes = measurement.of(what, self._squares(path, folder), self._frame_by_frame), []
        values = {score.metric.name: _values(score) for score in scores if not score.left_out}
        left = {score.metric.name: score.left_out for score in scores if score.left_out}
        return {"scores": as_facts(values), "left_out": left, "notes": notes}

    def _stream(self, path: Path, measurement: Measurement, folder: Path) -> tuple[Sequence[Score], list[str]]:
        with (
            opened(self.frames.path, self.judges.device, folder) as source,
            opened(path, self.judges.device, folder, self.frames.size) as output,
        ):
            found = score_output(output, source, measurement, self.aligner, folder)
        return found.scores, list(found.notes)

    def _squares(self, path: Path, folder: Path) -> AlignedFaces:
        count, size = len(self.frames.pictures), self.frames.size
        return replace(self.reference, crops=squares_of(decoded_video(path), count, size, path, folder))

    @property
    def _frame_by_frame(self) -> Matching:
        seen = np.flatnonzero(self.frames.found)
        return Matching(seen, seen, 0.0, 0.0, len(self.frames.found), 0.0, None)


def _values(score: Score) -> Values:
    frames, values = zip(*score.per_frame, strict=True)
    return Values(score.metric.name, np.array(frames, np.intp), np.array(values, np.float64))


# --- ours -------------------------------------------------------------------------------------------------


def our_points(run: SequenceRun, way: Way, front_end: FrontEnd | None) -> list[Point]:
    """Our way at its qualities. Raises what `encode` raises."""
    options = replace(way.options, start=0.0, duration=None)
    pack = open_pack(options.pack)
    asked = {**plain(options), "pack": pack.digest.hex(), "checkpoint": None}
    paths = {}
    for quality in way.qualities:
        key = key_of({"sequence": run.frames.key, "options": {**asked, "quality": quality}})
        paths[quality] = run.store.path("encodes", f"{run.frames.name}-{way.name}-{quality:g}dB", key, ".stc")
    missing = {quality: path for quality, path in paths.items() if not _facts_of(path).exists()}
    if missing:
        _encode(run, way, options, missing, front_end)
    points = []
    for quality, path in paths.items():
        facts = run.store.facts(_facts_of(path), dict)
        with StreamFile.open(path) as stream:
            account = stream.byte_account()
        parts = {OUR_PARTS.get(name, name): size for name, size in account.items() if name != "total" and size}
        pictures = run.frames.pictures
        tuned = np.flatnonzero(np.isin(pictures, pictures[np.array(facts["tuned"], np.intp)]))
        setting = f"{quality:g} dB"
        found = run.score(f"{way.name} {setting}", path, as_ours=True)
        found = replace(found, notes=(*facts["notes"], *found.notes))
        points.append(run.point(ours(way.name), setting, OURS, parts, found, frozenset(tuned.tolist())))
    return points


def ours(way: str) -> str:
    """What a way of ours is called beside other codecs."""
    return f"stylecodec {way}"


def _facts_of(path: Path) -> Path:
    """What is to be known of a stream; written after it, so that it stands for both."""
    return path.with_suffix(".json")


def _encode(
    run: SequenceRun, way: Way, options: EncodeOptions, paths: Mapping[float, Path], front_end: FrontEnd | None
) -> None:
    checkpoint = None
    if options.wanted_likeness == FULL:  # a quarter of an hour that goes on where it was interrupted
        checkpoint = next(iter(paths.values())).with_suffix(".checkpoint")
        options = replace(options, checkpoint=checkpoint)
    reports = api.encode_at(run.frames.path, paths, options, run.told(way.name), front_end)
    for quality, report in reports.items():
        tuning = report.personalization or {}
        facts = {"tuned": tuning.get("frame_numbers", []), "personalization": tuning, "notes": report.notes}
        write_json(_facts_of(paths[quality]), facts)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


# --- other codecs -----------------------------------------------------------------------------------------


def codec_point(run: SequenceRun, codec: VideoCodec, setting: Setting) -> Point:
    """An ordinary codec at one setting. Raises what `encode_video` raises."""
    frames, words = run.frames, f"{'qp' if codec.encoder == VVENC else setting.constant} {setting.quality}"
    key = key_of({"sequence": frames.key, "codec": codec.name, "options": setting.options(codec), "setting": setting})
    path = run.store.path("encodes", f"{frames.name}-{codec.name}-{words}", key, codec.suffix)
    facts = path.with_suffix(".json")
    if not facts.exists():
        tell, what = run.told(f"{codec.name} {words}"), len(frames.pictures)
        video = encode_video(
            decoded_video(frames.path),
            frames.rate,
            codec,
            setting,
            frames.sound,
            lambda done: tell(Progress("encoding", done, what)),
        )
        with atomic_write(path) as file:
            file.write(video.data)
        container = len(video.data) - video.picture - (video.sound if path.suffix == ".mkv" else 0)
        write_json(facts, {"parts": {PICTURE: video.picture, SOUND: video.sound, CONTAINER: container}})
    parts = {name: size for name, size in run.store.facts(facts, dict)["parts"].items() if size}
    return run.point(codec.name, words, ORDINARY, parts, run.score(f"{codec.name} {words}", path, as_ours=False))
