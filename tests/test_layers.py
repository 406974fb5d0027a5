"""The house rules: who may import whom, what importing costs, and how large things may become.

An import counts wherever it stands, at the top of a module or inside a function: what is imported late to start
quickly is a dependency all the same. Only what stands under `if TYPE_CHECKING:` does not count; it never runs.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HERE, LONGEST

ROOT = Path(__file__).resolve().parents[1] / "stylecodec"

LEAVES = {"errors", "extras", "geometry", "files", "jpeg", "progress", "processes"}  # importable by everyone
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "extras": {"errors"},
    "geometry": {"errors"},
    "files": {"errors"},
    "jpeg": set(),
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
    "evaluation": LEAVES | {"bitstream", "media", "nets", "packs", "face", "decoding", "encoding", "metrics", "api"},
    "distributed": LEAVES,
    "training": LEAVES | {"nets", "packs", "face", "decoding", "encoding", "metrics", "distributed"},
    "opus_chunks": {"bitstream", "media"},
    "clip_source": LEAVES | {"bitstream", "media", "packs", "encoding", "opus_chunks"},
    "api": LEAVES
    | {"bitstream", "media", "nets", "packs", "face", "decoding", "encoding", "opus_chunks", "clip_source"},
    "call": LEAVES | {"bitstream", "media", "packs", "decoding", "encoding"},
    "corpus": LEAVES
    | {"bitstream", "nets", "packs", "face", "decoding", "encoding", "metrics", "clip_source", "api"},
    "datasets": LEAVES | {"bitstream", "media", "packs", "decoding", "opus_chunks"},
    "cli": LEAVES
    | {"bitstream", "media", "packs", "face", "decoding", "encoding", "evaluation", "api", "progress", "training"}
    | {"call", "corpus"},
}
# Only these rooms touch the libraries that are heavy, native or optional.
LIBRARIES = {
    "av": {"media", "training"},
    "dlib": {"face"},
    "moderngl": {"training"},
    "torch": {"nets", "metrics", "distributed", "packs", "face", "decoding", "encoding", "evaluation", "training"}
    | {"corpus", "datasets"},
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A module's source; read-only."""
    return ast.parse(path.read_text())


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def name_of_module(path: Path) -> str:
    """stylecodec.room.module; a package's __init__.py has the name of the package."""
    parts = ("stylecodec", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        if not typing_only:
            yield from running(node)


def imported(path: Path, typing_too: bool = True) -> Iterator[str]:
    """Full names of everything a module imports, at the top or inside functions."""
    package = ("stylecodec", *path.relative_to(ROOT).with_suffix("").parts[:-1])
    tree = parsed(path)
    for node in ast.walk(tree) if typing_too else running(tree):
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
        ("stylecodec.cli.main", "torch av dlib scipy PIL rich construct numpy zstandard"),
        ("stylecodec.call.receive", "dlib scipy rich"),
        ("stylecodec.cli.call", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.corpus", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.decode", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.encode", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.evaluate", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.inspection", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.live", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.models", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.rd", "torch av dlib scipy PIL rich matplotlib bjontegaard"),
        ("stylecodec.cli.streams", "torch av dlib scipy PIL rich"),
        ("stylecodec.cli.train", "torch av dlib scipy PIL rich"),
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


def graph() -> dict[str, set[str]]:
    """Module: the modules of the package that it imports. What a package's __init__.py offers counts as the package."""
    names = {name_of_module(path): path for path in modules()}
    edges: dict[str, set[str]] = {}
    for name, path in names.items():
        found = imported(path, typing_too=False)
        edges[name] = {one if one in names else one.rpartition(".")[0] for one in found} & set(names) - {"stylecodec"}
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The nodes of one circle, none where there is none."""
    done: set[str] = set()

    def look(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for other in sorted(edges[node]):
            if found := look(other, [*way, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := look(node, []))), [])


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"a"}}) == ["a", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    edges = graph()
    assert sum(map(len, edges.values())) > 300  # the graph is not empty
    assert " → ".join(circle(edges)) == ""


def test_rooms_depend_one_way() -> None:
    assert circle({room: names & set(MAY_IMPORT) for room, names in MAY_IMPORT.items()}) == []
    assert {room_of(path) for path in modules()} - set(ENTRY_POINTS) == set(MAY_IMPORT)


READING = {"open", "read_text", "read_bytes", "load_file", "safe_open", "load", "fromfile", "memmap", "files", "Path"}


@pytest.mark.parametrize("path", sorted((ROOT / "nets").glob("*.py")), ids=name_of)
def test_nets_read_no_files(path: Path) -> None:
    """Weights come from packs: what carries weights or was fitted is on a card, with digest and provenance."""
    calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}
    assert not names & READING, f"{name_of(path)} reads files: {sorted(names & READING)}"


LONGEST_FUNCTION, LONGEST_FILE = 60, 400
FOLDERS = [ROOT.parent / name for name in ("stylecodec", "benchmarks", "examples")]
SIZED = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]


def test_no_file_is_overgrown() -> None:
    lines = {str(path.relative_to(ROOT.parent)): len(path.read_text().splitlines()) for path in SIZED}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_no_function_is_overgrown() -> None:
    """Its lines, from `def` to the last, documentation included."""
    long = {}
    for path in SIZED:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or 0) - node.lineno + 1
                if count > LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT.parent)}: {node.name}"] = count
    assert long == {}


def test_the_test_files_that_begin_first_are_there() -> None:
    assert len(set(LONGEST)) == len(LONGEST)
    assert [name for name in LONGEST if not (HERE / name).is_file()] == []


def test_no_utils() -> None:
    assert not [p for p in modules() if p.stem in ("utils", "util", "helpers", "misc", "common")]
