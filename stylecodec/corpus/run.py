"""Encode a corpus: what is to be done, who does it, what is written down."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import OptionError
from ..files import PathLike, atomic_write
from ..packs.abilities import require_preset
from ..packs.registry import pick_device
from ..packs.store import open_pack
from .clips import FINDING, Clip, Found, find_clips
from .dispatch import Dispatcher, Pool
from .manifest import Manifest, Shard, shard_suffix
from .options import CorpusOptions
from .people import Described, Person, clustered, columns_of, grouped
from .progress import CorpusProgress
from .records import FAILED, LATER, WORKING, Record
from .state import keep_card, kept_card, same_source, whole
from .work import Settings, Task

DESCRIBING, FITTING, ENCODING = "telling people apart", "fitting identities", "encoding clips"
PEOPLE_TABLE = "people.csv"
PARTS = ".work"  # folder of what is half written, emptied when a run begins

MakePool = Callable[[Settings], Pool]


@dataclass(frozen=True)
class Summary:
    """What a run did. skipped: were there already, whole and by the same options; failed: how many clips of this shard
    have no stream; table: the Parquet, None without PyArrow."""

    clips: int
    encoded: int
    skipped: int
    failed: int
    people: int
    manifest: str
    table: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def encode_corpus(
    sources: Iterable[PathLike],
    out: PathLike,
    options: CorpusOptions,
    make_pool: MakePool,
    shard: Shard = (0, 1),
    progress: CorpusProgress | None = None,
) -> Summary:
    """Encode the clips of some sources into the folder `out`, and record them in its manifest.

    make_pool: gives the workers. shard: (number from 0, count), the part of the clips to encode.
    A clip that fails is a line of the manifest. What is there already, by the same options, whole and of the same
    source, is left as it is. Raises OptionError, PackError, OutputError, MissingDependency, StylecodecError (workers
    that cannot load their models).
    """
    if options.cluster and shard[1] > 1:
        raise OptionError(f"people are told apart among all clips: do it once, then --identity-by with {PEOPLE_TABLE}")
    run = _Run(Path(os.path.abspath(out)), options, shard, progress or CorpusProgress())
    with Manifest(run.out, shard) as manifest:
        run.empty_parts()
        dispatcher = Dispatcher(make_pool(run.settings), lost, None if not options.timeout else options.timeout * 60)
        try:
            with closing(dispatcher):
                return run.encode(find_clips(sources), manifest, dispatcher)
        finally:
            run.empty_parts()


class _Run:
    def __init__(self, out: Path, options: CorpusOptions, shard: Shard, progress: CorpusProgress) -> None:
        self.out, self.options, self.shard, self.progress = out, options, shard, progress
        pack = open_pack(options.encode.pack)
        require_preset(pack.card, options.encode.preset)
        device = str(pick_device(options.encode.device))
        networks = {role: network.sha256 for role, network in pack.card.networks.items()}
        digest = options.digest(device.partition(":")[0], pack.digest.hex(), networks)
        self.parts = out / f"{PARTS}{shard_suffix(shard)}"
        self.settings = Settings(options, str(out), str(self.parts), digest, device)

    def empty_parts(self) -> None:
        """Remove what an earlier run, or this one, left half written."""
        shutil.rmtree(self.parts, ignore_errors=True)

    def encode(self, found: Found, manifest: Manifest, dispatcher: Dispatcher) -> Summary:
        """See `encode_corpus`."""
        whose = self._whose(found.clips, dispatcher)
        number, count = self.shard
        clips = [clip for k, clip in enumerate(found.clips) if part_of(clip, k, whose, count) == number]
        people = self._fitted(grouped(clips, whose), dispatcher)
        tasks = []
        for clip in clips:
            person = people.get(whose.get(clip.name, ""))
            digest = clip_digest(self.settings.digest, clip, person)
            have, again = self._state(clip, digest, manifest.records.get(clip.name))
            if again:
                tasks.append(task_of(clip, person, digest, have))
        problems = len(found.problems) if number == 0 else 0
        self.progress.begin(ENCODING, len(tasks) + problems, skipped=len(clips) - len(tasks))
        encoded = 0
        try:
            self._note_problems(found, manifest)
            for record in dispatcher.run(tasks):
                encoded += record.done
                manifest.add(record)
                self.progress.step(not record.done, record)
        finally:
            table = manifest.write_table()
        done = sum(manifest.records[clip.name].done for clip in clips)
        failed = len(clips) - done + problems
        written = (str(manifest.path), None if table is None else str(table))
        summary = Summary(len(clips) + problems, encoded, done - encoded, failed, len(people), *written)
        self.progress.end(summary.as_dict())
        return summary

    def _note_problems(self, found: Found, manifest: Manifest) -> None:
        """What was found and cannot be taken is a line of the first shard's manifest."""
        for problem in found.problems if self.shard[0] == 0 else ():
            record = Record(problem.name, FAILED, problem.source, FINDING, problem.error, version=__version__)
            if manifest.records.get(record.name) != record:
                manifest.add(record)
            self.progress.step(True, record)

    # --- people ------------------------------------------------------------------------------------------------

    def _whose(self, clips: Sequence[Clip], dispatcher: Dispatcher) -> dict[str, str]:
        """{clip: person}, as far as that is asked for and known."""
        column = self.options.identity_by
        if column is not None:
            found = dict(columns_of(clips, column))
            if not found:
                raise OptionError(f"no clip has a column {column!r} that says whose it is")
            return found
        if not self.options.cluster:
            return {}
        self.progress.begin(DESCRIBING, len(clips))
        described = []
        for one in dispatcher.run(Task("face", clip) for clip in clips):
            self.progress.step(False)
            described.append(one)
        people = clustered(described, self.options.another)
        self._write_people(clips, people)
        return people

    def _write_people(self, clips: Sequence[Clip], people: dict[str, str]) -> None:
        """A table of who was taken for whom, which can be put right by hand and given as a source."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["name", "path", "person"])
        for clip in clips:
            if clip.member is None:
                table.writerow([clip.name, clip.path, people.get(clip.name, "")])
        with atomic_write(self.out / PEOPLE_TABLE) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))

    def _fitted(self, people: Sequence[Person], dispatcher: Dispatcher) -> dict[str, Person]:
        """{name: person, with a card if there can be one}; an earlier run's stays where it was made of the same."""
        known: dict[str, Person] = {}
        tasks = []
        for person in people:
            kept = kept_card(self.out, person, person.key(self.settings.digest))
            if kept is not None:
                known[person.name] = kept
            else:
                tasks.append(Task("person", person=person))
        if people:
            self.progress.begin(FITTING, len(tasks), "people", skipped=len(known))
        for person in dispatcher.run(tasks):
            self.progress.step(person.card is None)
            known[person.name] = person
            if person.card is not None:
                keep_card(person, person.key(self.settings.digest))
        return known

    # --- what is there already ---------------------------------------------------------------------------------

    def _state(self, clip: Clip, digest: str, record: Record | None) -> tuple[Record | None, bool]:
        """(the record of a stream that is only to be scored, whether there is anything to do)."""
        if record is None or record.options != digest or not same_source(clip, record):
            return None, True
        if not record.done:
            return None, self.options.again or record.stage in LATER
        if not whole(self.out, record):
            return None, True
        unscored = self.options.score and not record.scores
        return (record if unscored else None), unscored


def lost(task: Task, sentence: str) -> Any:
    """What becomes of a task that no worker could do."""
    if task.kind == "person" and task.person is not None:
        return replace(task.person, error=sentence)
    assert task.clip is not None
    if task.kind == "face":
        return Described(task.clip.name, None, sentence)
    person = None if task.person is None else task.person.name
    return Record(
        task.name, FAILED, task.clip.source, WORKING, sentence, options=task.digest, version=__version__, person=person
    )


def task_of(clip: Clip, person: Person | None, digest: str, have: Record | None) -> Task:
    """Encode a clip, with the identity of its person where there is one."""
    if person is None:
        return Task("clip", clip, digest=digest, have=have)
    return Task("clip", clip, replace(person, clips=()), person.card, digest, have)


def part_of(clip: Clip, number: int, whose: dict[str, str], count: int) -> int:
    """The shard of a clip: all of a person's are in one."""
    if clip.name not in whose:
        return number % count
    return int.from_bytes(hashlib.sha256(whose[clip.name].encode("utf-8", "surrogatepass")).digest()[:8]) % count


def clip_digest(digest: str, clip: Clip, person: Person | None) -> str:
    """The options' digest, with what is this clip's own: its times, and the identity that its stream names."""
    told = [digest, str(clip.start), str(clip.duration), "" if person is None else str(person.identity)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
