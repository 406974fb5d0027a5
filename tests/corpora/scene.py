"""What the tests of corpora share: short clips of a face, cheap options, workers without a process of their own."""

from __future__ import annotations

import functools
import json
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stylecodec.corpus import work
from stylecodec.corpus.dispatch import Hand
from stylecodec.corpus.options import CorpusOptions
from stylecodec.corpus.progress import CorpusProgress
from stylecodec.corpus.run import Summary, encode_corpus
from stylecodec.corpus.work import Settings, Worker
from stylecodec.encoding.options import EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.media import VideoReader, VideoWriter
from stylecodec.packs.store import ModelPack, open_pack
from tests.tiny import FixedFace

TALK = Path(__file__).resolve().parents[2] / "examples" / "talk.mp4"
FRAMES = 4
CHEAP = ["--profile", "raw", "--identity-average", "1", "--no-identity-fit", "--no-landmark-correction"]
CHEAP += ["--device", "cpu"]
opened = functools.cache(open_pack)  # its networks are built once, not by every worker of this process


def write_talk(folder: Path, names: list[str]) -> Path:
    """Short clips of the example's face, 192x192, each of other frames."""
    folder.mkdir(parents=True, exist_ok=True)
    source = VideoReader(TALK).frames()
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, 256, 256, Fraction(25)) as writer:
            for _, (_, frame) in zip(range(FRAMES), source, strict=False):
                writer.write(frame[::2, ::2].copy())
    return folder


def cheap(pack: ModelPack, **changes: Any) -> CorpusOptions:
    encode = EncodeOptions(
        pack=pack.folder,
        device="cpu",
        likeness="off",
        profile="raw",
        identity_candidates=2,
        identity_average=1,
        fit=FitOptions(False),
        landmark_correction=LandmarkCorrectionOptions(enabled=False),
    )
    return CorpusOptions(encode, **changes)


class InlineWorker(Hand):
    """Does its tasks at once, in this process, with a face in the middle of every picture."""

    def __init__(self, pool: Inline) -> None:
        self.pool, self.ready = pool, Future[Any]()
        self.ready.set_result(None)

    def submit(self, task: Any) -> Future[Any]:
        self.pool.tasks.append(task)
        future = Future[Any]()
        future.set_result(self.pool.worker(task))
        return future

    def end(self) -> None:
        self.pool.ended += 1


class Inline:
    """A pool of one such worker; looks: it finds faces as a worker process does."""

    size, depth = 1, 1
    died: tuple[type[BaseException], ...] = ()

    def __init__(self, settings: Settings, looks: bool = False) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(work, "open_pack", opened)
            if not looks:
                patch.setattr(work, "front_end_for", lambda pack, options: FixedFace())
            self.worker = Worker(settings)
        self.tasks: list[Any] = []
        self.ended = 0

    def hire(self) -> InlineWorker:
        return InlineWorker(self)

    def close(self) -> None:
        pass


def looking(settings: Settings) -> Inline:
    """No process, and what worker processes write to the byte: the faces are those of the pictures."""
    return Inline(settings, looks=True)


class Run:
    """One run of `encode_corpus`, and what it did."""

    def __init__(
        self, sources: list[Path], out: Path, options: CorpusOptions, shard: tuple[int, int] = (0, 1), **more: Any
    ) -> None:
        self.pools: list[Inline] = []

        def make(settings: Settings) -> Inline:
            self.pools.append(Inline(settings))
            return self.pools[-1]

        progress = more.get("progress") or CorpusProgress()
        self.summary: Summary = encode_corpus(sources, out, options, make, shard, progress)

    @property
    def did(self) -> list[str]:
        """The names of what was worked on."""
        return [task.name for task in self.pools[0].tasks]


def streams(out: Path) -> dict[str, bytes]:
    """The streams of a corpus by name."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted((out / "clips").rglob("*.stc"))}


def lines(out: Path) -> list[dict[str, Any]]:
    """The manifest."""
    return [json.loads(line) for path in sorted(out.glob("manifest*.jsonl")) for line in path.read_text().splitlines()]
