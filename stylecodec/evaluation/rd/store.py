"""What a run keeps, so that an interrupted one goes on: sequences, encodes and scores, named by what they depend on."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...errors import OutputError
from ...files import PathLike, atomic_write, blaming, reading
from .points import Values

KEPT = "kept"  # the folder's name
KEY_DIGITS = 16
PACKAGE = Path(__file__).resolve().parents[2]
ROOMS = ("bitstream", "decoding", "encoding", "evaluation", "face", "media", "metrics", "nets", "packs")
LIBRARIES = ("av", "torch", "numpy", "dlib-bin")


class Store:
    """A folder of files whose names end with a key: the digest of all that their content depends on."""

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder) / KEPT

    def path(self, kind: str, name: str, key: str, suffix: str) -> Path:
        """Where a file of a kind ("sequences", "encodes", "scores") lies; its folder is made. OutputError."""
        place = self.folder / kind
        with blaming(place):
            place.mkdir(parents=True, exist_ok=True)
        return place / f"{slug(name)}-{key}{suffix}"

    def facts(self, path: Path, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What is kept as JSON at a path, or what `make` gives, which is then kept. OutputError for a damaged file."""
        if not path.exists():
            write_json(path, make())
        return read_json(path)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Facts as JSON; OutputError."""
    with atomic_write(path) as file:
        file.write((json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A table of JSON that a run kept; OutputError where it is none, MediaError where it cannot be read."""
    with reading(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"{path}, which an earlier run kept, is damaged: delete it")
    return found


def key_of(facts: Mapping[str, Any]) -> str:
    """The digest of facts and of the code and libraries that work on them, KEY_DIGITS hex digits."""
    every = {**facts, "code": code_digest(), "libraries": {name: installed(name) for name in LIBRARIES}}
    return hashlib.sha256(json.dumps(plain(every), sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


@cache
def code_digest() -> str:
    """SHA-256 of the package's Python code that streams and scores depend on, hex."""
    digest = hashlib.sha256(__version__.encode())
    for path in coding_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def coding_files() -> list[Path]:
    """The modules of ROOMS, and those between the rooms."""
    rooms = (path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")))
    return [*sorted(PACKAGE.glob("*.py")), *rooms]


def installed(package: str) -> str:
    """The version of a package, "" when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def plain(value: Any) -> Any:
    """Options as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def slug(text: str) -> str:
    """A name for a file: letters, digits, dots and dashes."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "clip"


def as_facts(scores: Mapping[str, Values]) -> dict[str, Any]:
    """Scores as JSON has them, infinite values as "inf"."""
    return {
        name: {
            "frames": [int(frame) for frame in one.frames],
            "values": [float(value) if math.isfinite(value) else "inf" for value in one.values],
        }
        for name, one in scores.items()
    }


def from_facts(facts: Mapping[str, Any]) -> dict[str, Values]:
    """What `as_facts` made."""
    return {
        name: Values(name, np.array(one["frames"], np.intp), np.array([float(v) for v in one["values"]], np.float64))
        for name, one in facts.items()
    }
