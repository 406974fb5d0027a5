"""What a worker does: one clip, file to file, with models that it loaded once. Whatever goes wrong becomes a Record.

    source ─► read ─► find faces ─┐ prepare (CPU)
                                  └─► encode ─► write ─► verify ─► score ─► Record: finish (GPU, where there is one)

A stream is written into the worker's own folder and moves to its name when `verify` has found it whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .. import __version__, api
from ..bitstream import StreamFile
from ..clip_source import SourceClip, encode_source, open_source, read_source
from ..encoding.front_end import front_end_for
from ..encoding.identity.cards import IdentityCard, read_card
from ..encoding.identity.people_in_clip import CropDescriptor
from ..encoding.options import EncodeOptions
from ..encoding.report import EncodeReport
from ..errors import MediaError, StylecodecError
from ..files import atomic_write, blaming, file_digest, part_of, reading
from ..nets.isolation import isolated
from ..packs.store import open_pack
from ..progress import Progress
from .clips import Clip
from .manifest import CLIPS
from .options import CorpusOptions
from .people import Described, Person, describe_clip, identity_of, write_card
from .records import DONE, FAILED, Record
from .scores import scores

READING, WRITING, VERIFYING, SCORING = "reading", "writing the stream", "verifying the stream", "scoring the stream"
COPIED_BYTES = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What all workers of a run are told. out, work: absolute folders; digest: of the options; device: of networks."""

    options: CorpusOptions
    out: str
    work: str
    digest: str
    device: str


@dataclass(frozen=True)
class Task:
    """One thing to do: encode `clip`, or describe its face, or fit the identity of `person`. have: the stream is
    there and is only to be scored."""

    kind: str  # of KINDS
    clip: Clip | None = None
    person: Person | None = None
    card: str | None = None  # of the clip's person: the path, and
    digest: str = ""  # of the options and the card
    have: Record | None = None

    @property
    def name(self) -> str:
        """Whose failure it would be."""
        return self.clip.name if self.clip is not None else self.person.name if self.person is not None else ""


class StageClock:
    """A ProgressCallback that measures how long stages take, in wall seconds."""

    def __init__(self, stage: str = READING) -> None:
        self.stage, self.seconds = stage, dict[str, float]()
        self._since: float | None = None

    def __call__(self, event: Progress) -> None:
        """A stage is at work."""
        if event.stage != self.stage:
            self.begin(event.stage)

    def begin(self, stage: str) -> None:
        """From now on it is this stage."""
        self.stop()
        self.stage, self._since = stage, time.perf_counter()

    def stop(self) -> None:
        """Nothing is at work."""
        if self._since is not None:
            taken = time.perf_counter() - self._since
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + taken
        self._since = None


@dataclass
class Attempt:
    """A clip at work: what is known of it so far."""

    task: Task
    record: Record
    options: EncodeOptions
    clock: StageClock = field(default_factory=StageClock)
    notes: list[str] = field(default_factory=list)
    clip: SourceClip | None = None  # set when its face has been found
    reader_notes: Callable[[], list[str]] = list
    cpu_seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Within, this process works on it."""
        begun = time.process_time()
        self.clock.begin(self.clock.stage)
        try:
            yield
        finally:
            self.clock.stop()
            self.cpu_seconds += time.process_time() - begun

    def stored(self) -> Attempt:
        """For another process: the crops come along, the source is not read again."""
        clip = None if self.clip is None else self.clip.stored()
        return replace(self, clip=clip, notes=[*self.reader_notes(), *self.notes], reader_notes=list)


class Worker:
    """Loads the pack when it is made; PackError, OptionError."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.options = settings, settings.options
        torch.set_num_threads(self.options.threads)
        self.device = torch.device(settings.device)
        with isolated(draws=True):
            self.pack = open_pack(self.options.encode.pack)
            self.front_end = front_end_for(self.pack, self._encode_options(self.options.encode))
        self.folder = Path(settings.work) / f"{os.uname().nodename if hasattr(os, 'uname') else 'here'}-{os.getpid()}"
        self._cards: dict[str, IdentityCard] = {}

    def __call__(self, task: Task) -> Any:
        """Do it: a Record, a Described or a Person with its card."""
        with isolated(draws=True):
            if task.kind == "face" and task.clip is not None:
                return self._described(task.clip)
            if task.kind == "person" and task.person is not None:
                return self._fitted(task.person)
        return self.finish(self.prepare(task))

    # --- one clip ----------------------------------------------------------------------------------------------

    def prepare(self, task: Task, apart: bool = False) -> Attempt | Record:
        """Read a clip and find its face. apart: to be finished in another process."""
        clip = task.clip
        assert clip is not None
        options = self._encode_options(self.options.of_clip(clip.start, clip.duration, task.card))
        record = Record(
            clip.name, FAILED, clip.source, options=task.digest, pack=self.pack.digest.hex(), version=__version__,
            columns=dict(clip.columns), worker=self.folder.name,
        )  # fmt: skip
        attempt, failure = Attempt(task, record, options), None
        with attempt.timed(), isolated(draws=True):
            try:
                self._read(attempt, clip)
                attempt = attempt.stored() if apart else attempt
            except Exception as error:
                failure = self._failed(attempt, error)
        if apart or failure is not None:
            self.clear()
        return attempt if failure is None else self._stamped(failure, attempt)

    def finish(self, attempt: Attempt | Record) -> Record:
        """Encode and write a clip whose face has been found; score it alone where the stream is there."""
        if isinstance(attempt, Record):
            return attempt
        with attempt.timed(), isolated(draws=True):
            try:
                record = self._written(attempt)
            except Exception as error:
                record = self._failed(attempt, error)
        self.clear()
        return self._stamped(record, attempt)

    def _read(self, attempt: Attempt, clip: Clip) -> None:
        """Hash the source, look whether it is one to take, find its face."""
        path, digest = self._source(clip)
        status = Path(clip.path).stat()
        size = status.st_size if clip.member is None else clip.member[1]
        attempt.record = replace(
            attempt.record, source_bytes=size, source_mtime_ns=status.st_mtime_ns, source_sha256=digest
        )
        self._check(path)
        reader = open_source(path, attempt.options)
        frames = reader.count(attempt.options.start, attempt.options.duration)
        if frames is not None and frames / float(reader.rate) > self.options.minutes * 60:
            seconds = frames / float(reader.rate)
            raise MediaError(f"it lasts {seconds / 60:.1f} minutes, more than the {self.options.minutes:g} allowed")
        attempt.reader_notes = lambda: reader.notes
        known = attempt.task.card is not None
        attempt.clip = read_source(reader, attempt.options, self.front_end, known, attempt.clock, attempt.notes)

    def _check(self, path: Path) -> None:
        """MediaError for a video that is too large to be looked at: by what its head says, before it is decoded."""
        facts = api.probe_source(path)
        for stream in facts["streams"]:
            pixels = (stream["width"] or 0) * (stream["height"] or 0)
            if stream["kind"] == "video" and pixels > self.options.pixels:
                size = f"{stream['width']}x{stream['height']}"
                raise MediaError(f"its pictures of {size} have more than the {self.options.pixels:,} pixels allowed")

    def _source(self, clip: Clip) -> tuple[Path, str]:
        """The file to read, which for a member of a tar is a copy, and its SHA-256."""
        if clip.member is None:
            return Path(clip.path), file_digest(clip.path)
        digest = hashlib.sha256()
        with reading(clip.path), open(clip.path, "rb") as file:
            copy = self._own(f"member{Path(clip.source).suffix}")
            with blaming(copy), copy.open("wb") as target:
                for portion in _portions(file, *clip.member):
                    digest.update(portion)
                    target.write(portion)
        return copy, digest.hexdigest()

    def _written(self, attempt: Attempt) -> Record:
        task, clock, record = attempt.task, attempt.clock, attempt.record
        name = f"{CLIPS}/{record.name}.stc"
        place = Path(self.settings.out) / name
        if task.have is not None:
            record = replace(task.have, source_mtime_ns=record.source_mtime_ns)
            part, notes = place, list(record.notes)
        else:
            part = self._own("stream.stc")
            notes = self._encode(attempt, part)
            clock.begin(VERIFYING)
            record = replace(attempt.record, **_facts(part), output=name)
        found: dict[str, float | None] = {}
        if self.options.score:
            assert attempt.clip is not None
            clock.begin(SCORING)
            found = scores(attempt.clip.faces.clip, part, self.pack, self.device, self._card(task.card))
        if part != place:
            clock.begin(WRITING)
            with blaming(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                part.replace(place)
        return replace(record, status=DONE, stage=None, error=None, scores=found, notes=tuple(notes))

    def _encode(self, attempt: Attempt, part: Path) -> list[str]:
        """Write the stream; what is to be known of the clip."""
        assert attempt.clip is not None
        writer = encode_source(attempt.clip, self.pack, attempt.options, self._card(attempt.task.card), attempt.clock)
        attempt.clock.begin(WRITING)
        with atomic_write(part) as file:
            for portion in writer.portions():
                file.write(portion)
        report = EncodeReport.of(part, writer.clip, writer.written, [*attempt.reader_notes(), *attempt.notes], 0.0)
        attempt.record = replace(
            attempt.record, frames=report.frames, held=report.held, shots=report.shots, people=len(report.people),
            fps=report.fps, duration_seconds=report.duration_seconds,
        )  # fmt: skip
        return report.notes

    def _card(self, path: str | None) -> IdentityCard | None:
        if path is None:
            return None
        if path not in self._cards:
            self._cards.clear()
            self._cards[path] = read_card(path, self.pack)
        return self._cards[path]

    # --- people ------------------------------------------------------------------------------------------------

    def _described(self, clip: Clip) -> Described:
        try:
            with self._copied(clip) as path:
                options = self._encode_options(self.options.of_clip(clip.start, clip.duration, None))
                return describe_clip(clip.name, path, options, self.front_end, self._descriptor)
        except Exception as error:
            return Described(clip.name, None, self._sentence(error, clip.source))
        finally:
            self.clear()

    def _fitted(self, person: Person) -> Person:
        def read(clip: Clip) -> Any:
            return self._copied(clip)

        try:
            options = self._encode_options(self.options.encode)
            identity = identity_of(person, read, self.pack, options, self.front_end, self.device)
            return write_card(Path(self.settings.out), person, identity, self.pack)
        except Exception as error:
            return replace(person, error=self._sentence(error, person.name))
        finally:
            self.clear()

    @cached_property
    def _descriptor(self) -> CropDescriptor:
        return CropDescriptor()

    # --- this worker -------------------------------------------------------------------------------------------

    @contextmanager
    def _copied(self, clip: Clip) -> Iterator[Path]:
        """The file to read of a clip that may be too large or missing."""
        path, _ = self._source(clip)
        self._check(path)
        yield path

    def _encode_options(self, options: EncodeOptions) -> EncodeOptions:
        return replace(options, device=self.settings.device)

    def _own(self, name: str) -> Path:
        with blaming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return part_of(self.folder / name).with_suffix(Path(name).suffix)

    def clear(self) -> None:
        """Remove what is left of a clip."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _failed(self, attempt: Attempt, error: Exception) -> Record:
        said = self._sentence(error, attempt.record.source)
        notes = tuple(getattr(error, "__notes__", ()))
        return replace(attempt.record, stage=attempt.clock.stage, error=said, notes=notes)

    def _stamped(self, record: Record, attempt: Attempt) -> Record:
        """With what the attempt took."""
        return replace(
            record,
            person=None if attempt.task.person is None else attempt.task.person.name,
            seconds=round(sum(attempt.clock.seconds.values()), 3),
            cpu_seconds=round(attempt.cpu_seconds, 3),
            stage_seconds={name: round(value, 3) for name, value in attempt.clock.seconds.items()},
            worker=self.folder.name,
            worker_mib=resident_mib(),
        )

    def _sentence(self, error: Exception, source: str) -> str:
        """An error of ours as it is, any other with its kind; one line, in which copies are called as their source."""
        text = str(error) if isinstance(error, StylecodecError) else f"unexpected {type(error).__name__}: {error}"
        named = re.sub(rf"{re.escape(str(self.folder))}/[^\s:,]+", lambda _: source, text)
        return " ".join(named.split())[:1000]


def _facts(stream: Path) -> dict[str, Any]:
    """What the written file is, read again from its first byte to its last; StylecodecError where it is not whole."""
    report = api.verify(stream)
    if not report.complete:
        raise StylecodecError(f"the stream that was written is not whole: {'; '.join(report.missing)}")
    facts = api.probe(stream)
    named = bool(report.not_held)
    with reading(stream), StreamFile.open(str(stream), recall=lambda _: None) as opened:
        identity = report.not_held[0] if named else opened.identities[0].digest
    return {
        "output_sha256": file_digest(stream),
        "bytes_by_part": facts["bytes"],
        "kbps": facts["kbps"]["total"],
        "identity": identity.hex(),
        "named": named,
    }


def _portions(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size > 0:
        portion = file.read(min(size, COPIED_BYTES))
        if not portion:
            raise MediaError("the tar ends within the clip")
        size -= len(portion)
        yield portion


def resident_mib() -> float | None:
    """Memory of this process, None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
