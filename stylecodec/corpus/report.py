"""What a corpus holds, and whether it is what its manifest says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import api
from ..errors import StylecodecError
from ..files import PathLike
from .records import Record
from .state import content_digest, is_below


def corpus_stats(records: Iterable[Record]) -> dict[str, Any]:
    """Clips, hours, bytes by part, people, time by stage, scores, failures: values that JSON has too."""
    every = list(records)
    done = [record for record in every if record.done]
    seconds = sum(record.duration_seconds or 0.0 for record in done)
    account = _total(record.bytes_by_part for record in done)
    stages = _total(record.stage_seconds for record in every)
    cpu = sum(record.cpu_seconds or 0.0 for record in every)
    return {
        "clips": len(every),
        "done": len(done),
        "failed": len(every) - len(done),
        "failed_by_stage": dict(Counter(record.stage or "" for record in every if not record.done).most_common()),
        "frames": sum(record.frames or 0 for record in done),
        "held": sum(record.held or 0 for record in done),
        "hours": round(seconds / 3600, 6),
        "source_bytes": sum(record.source_bytes or 0 for record in done),
        "bytes": {name: int(value) for name, value in account.items()},
        "kbps": round(account.get("total", 0) * 8 / seconds / 1000, 3) if seconds else 0.0,
        "people": len({record.person for record in done if record.person}),
        "identities": len({record.identity for record in done if record.identity}),
        "packs": sorted({record.pack for record in done if record.pack}),
        "versions": sorted({record.version for record in done if record.version}),
        "worker_hours": round(sum(record.seconds or 0.0 for record in every) / 3600, 6),
        "cpu_hours": round(cpu / 3600, 6),
        "cpu_seconds_per_second": round(cpu / seconds, 3) if seconds else None,
        "stage_seconds": {name: round(value, 3) for name, value in stages.items()},
        "worker_mib": max((record.worker_mib for record in every if record.worker_mib is not None), default=None),
        "scores": _means(record.scores for record in done),
    }


def _total(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for table in tables:
        for name, value in table.items():
            found[name] = found.get(name, 0) + value
    return found


def _means(tables: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for table in tables:
        for name, value in table.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: round(sum(some) / len(some), 4) for name, some in values.items()}


@dataclass(frozen=True)
class Verdict:
    """Of one clip; problem: one sentence, None where its stream is whole and what was written."""

    name: str
    problem: str | None


def verify_corpus(folder: PathLike, records: Iterable[Record]) -> Iterator[Verdict]:
    """Read every stream that the manifest has, from its first byte to its last."""
    for record in records:
        if record.done:
            yield Verdict(record.name, _problem(Path(folder), record))


def _problem(folder: Path, record: Record) -> str | None:
    if record.output is None or not is_below(record.output):
        return f"the manifest names no file of the corpus: {record.output!r}"
    path = folder / record.output
    try:
        report = api.verify(path)
    except StylecodecError as error:
        return str(error)
    if not report.complete:
        return f"{path} is not whole: {'; '.join(report.missing)}"
    if content_digest(path, 0, path.stat().st_size) != record.output_sha256:
        return f"{path} is another stream than the one that was written"
    return None
