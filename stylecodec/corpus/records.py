"""What is known of one clip after an attempt to encode it: one line of the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

DONE, FAILED = "done", "failed"
WORKING = "working"  # the stage of a clip whose worker died
LATER = frozenset({WORKING, "reading"})
"""Stages whose failures may pass: such a clip is tried again by the next run. All others stay failed."""


@dataclass(frozen=True)
class Record:
    """status: DONE, or FAILED at `stage` with `error`, one sentence. What is not known is None or empty."""

    name: str
    status: str
    source: str
    stage: str | None = None
    error: str | None = None
    source_bytes: int | None = None
    source_mtime_ns: int | None = None
    source_sha256: str | None = None
    output: str | None = None  # path of the stream below the corpus folder
    output_sha256: str | None = None
    options: str | None = None  # digest of all that its bytes depend on but the source
    frames: int | None = None
    held: int | None = None  # frames without a face
    shots: int | None = None
    people: int | None = None
    fps: float | None = None
    duration_seconds: float | None = None
    bytes_by_part: Mapping[str, int] = field(default_factory=dict)
    kbps: float | None = None
    identity: str | None = None  # digest of the (first) identity latent
    named: bool | None = None  # whether the stream only names it
    person: str | None = None  # whose clip it is, where that was asked for
    pack: str | None = None  # digest
    version: str | None = None  # of stylecodec
    scores: Mapping[str, float | None] = field(default_factory=dict)  # of the stream against the source
    notes: tuple[str, ...] = ()
    seconds: float | None = None  # of wall time
    cpu_seconds: float | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    worker: str | None = None
    worker_mib: float | None = None  # resident memory of the worker when the clip was done
    columns: Mapping[str, str] = field(default_factory=dict)  # what its table says

    @property
    def done(self) -> bool:
        """Whether there is a stream."""
        return self.status == DONE

    def line(self) -> bytes:
        """One line of JSON."""
        kept = {name: value for name, value in asdict(self).items() if value not in (None, {}, (), [])}
        return json.dumps(kept, ensure_ascii=True).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes | str) -> Self | None:
        """None for what is no line of a manifest: one that was cut off, or of a later version."""
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(content, dict):
            return None
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in content.items() if name in known and _fits(name, value)}
        values["notes"] = tuple(values.get("notes", ()))
        if not all(isinstance(values.get(name), str) for name in ("name", "status", "source")):
            return None
        return cls(**values)

    def row(self) -> dict[str, Any]:
        """For a table: what is nested goes into columns of its own, as "bytes_identity"."""
        found: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                found |= {f"{_NESTED[name]}_{key}": one for key, one in value.items()}
            else:
                found[name] = "; ".join(value) if name == "notes" else value
        return found


_NESTED = {"bytes_by_part": "bytes", "scores": "score", "stage_seconds": "seconds", "columns": "column"}
_TEXTS = frozenset({"name", "status", "source", "stage", "error", "source_sha256", "output", "output_sha256"})
_TEXTS |= {"options", "identity", "person", "pack", "version", "worker"}


def _fits(name: str, value: Any) -> bool:
    """Whether a value of a manifest has the kind that its field has."""
    if name in _NESTED:
        return isinstance(value, dict)
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "notes":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, bool | int | float)
