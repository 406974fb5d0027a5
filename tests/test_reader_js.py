"""The second reader, in JavaScript, reads every vector as the first one does."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

SPEC = Path(__file__).parent.parent / "format_spec"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed; the JavaScript reader needs it")


def read(kind: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By name of the vector: what the reader prints, and what the vector says."""
    paths = sorted((SPEC / "vectors" / kind).glob("*.stc"))
    command = [str(NODE), str(SPEC / "reader-js/read.js"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.returncode == (kind == "invalid")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in paths]
    wanted = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    return {path.stem: pair for path, *pair in zip(paths, lines, wanted, strict=True)}  # type: ignore[misc]


def packets32(group: dict[str, Any]) -> str:
    """The packets of a vector's group as binary32, which holds binary16 exactly."""
    if "packets32" in group:
        return str(group["packets32"])
    data = bytes.fromhex(group["packets"])
    return struct.pack(f"<{len(data) // 2}f", *struct.unpack(f"<{len(data) // 2}e", data)).hex()


def test_valid_vectors() -> None:
    for name, (got, want) in read("valid").items():
        assert "error" not in got, name
        numerator, _, denominator = want["fps"].partition("/")
        assert got["fps"] == [int(numerator), int(denominator or 1)], name
        for key in ("size", "frames", "identities", "audio", "unknown"):
            assert got[key] == want[key], name
        assert got["references"] == want.get("references", {}), name
        assert len(got["groups"]) == len(want["groups"]), name
        for one, other in zip(got["groups"], want["groups"], strict=True):
            assert one["packets32"] == packets32(other), name
            for key in ("first_frame", "identity", "levels", "pts"):
                assert one.get(key) == other.get(key), name
            assert one["sum"] == pytest.approx(other["sum"], abs=1e-6), name


def test_invalid_vectors() -> None:
    for name, (got, want) in read("invalid").items():
        assert {key: got[key] for key in want} == want, name


def test_it_depends_on_nothing() -> None:
    for path in (SPEC / "reader-js").glob("*.js"):
        assert all(name.startswith(("node:", "./")) for name in re.findall(r"from '([^']+)'", path.read_text()))
    package = json.loads((SPEC / "reader-js/package.json").read_text())
    assert "dependencies" not in package
