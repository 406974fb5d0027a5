"""The house rules: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "stylecodec"

LEAVES = {"errors", "extras", "geometry", "files", "progress", "processes"}  # importable by everyone
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "extras": {"errors"},
    "geometry": {"errors"},
    "files": {"errors"},
    "processes": set(),
    "progress": set(),
    "bitstream": LEAVES,
    "media": LEAVES,
    "nets": LEAVES,
    "packs": LEAVES | {"nets"},
    "face": LEAVES | {"packs", "nets"},
    "decoding": LEAVES | {"bitstream", "nets", "packs"},
    "encoding": LEAVES | {"bitstream", "nets", "packs", "decoding", "face", "metrics", "distributed"},
    "metrics": LEAVES | {"nets", "packs"},
    "distributed": LEAVES,
    "training": LEAVES | {"nets", "packs", "metrics", "distributed"},
    "opus_chunks": {"bitstream", "media"},
    "api": LEAVES | {"bitstream", "media", "packs", "face", "decoding", "encoding", "opus_chunks"},
    "cli": LEAVES | {"bitstream", "media", "packs", "face", "decoding", "encoding", "api", "progress", "training"},
}
# Only these rooms touch the libraries that are heavy, native or optional.
LIBRARIES = {
    "av": {"media", "training"},
    "dlib": {"face"},
    "moderngl": {"training"},
    "torch": {"nets", "metrics", "distributed", "packs", "face", "decoding", "encoding", "training"},
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """Full names of everything a module imports, at the top or inside functions."""
    package = ("stylecodec", *path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            yield from (f"{stem}.{alias.name}" for alias in node.names)


ENTRY_POINTS = ("__init__", "__main__")  # may import everything


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [m for m in modules() if room_of(m) not in ENTRY_POINTS], ids=name_of)
def test_imports_follow_the_layers(path: Path) -> None:
    room = room_of(path)
    parts = [name.split(".") for name in imported(path)]
    rooms = {p[1] for p in parts if p[0] == "stylecodec" and len(p) > 1}
    allowed = MAY_IMPORT[room] | {room, "__version__"}
    assert rooms <= allowed, f"{room} may not import {sorted(rooms - allowed)}"
    for library, rooms_with in LIBRARIES.items():
        if any(p[0] == library for p in parts):
            assert room in rooms_with, f"only {sorted(rooms_with)} may import {library}"


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("stylecodec", "torch av dlib scipy PIL rich construct numpy"),
        ("stylecodec.bitstream", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.main", "torch av dlib scipy PIL rich"),
        ("stylecodec.api", "torch av dlib scipy PIL rich"),
        ("stylecodec.decoding.decoder", "av dlib scipy PIL rich"),
        ("stylecodec.decoding.known_people", "torch av dlib scipy PIL rich"),
        ("stylecodec.decoding.options", "torch av dlib scipy PIL rich"),
        ("stylecodec.packs.card", "torch av dlib"),
    ],
)
def test_what_a_module_does_without(module: str, without: str) -> None:
    code = f"import sys\nfor m in {without.split()!r}: sys.modules[m] = None\nimport {module}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_no_module_is_overgrown() -> None:
    """400 lines where sensible; networks and tables may be longer."""
    long = {name_of(p): n for p in modules() if (n := len(p.read_text().splitlines())) > 450}
    assert not {name for name in long if not name.startswith(("nets/", "training/"))}, long


def test_no_utils() -> None:
    assert not [p for p in modules() if p.stem in ("utils", "util", "helpers", "misc", "common")]
