"""examples/inspect_stream.py runs where torch, av and dlib are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WITHOUT = (
    "import runpy, sys\n"
    "for name in ('torch', 'av', 'dlib'): sys.modules[name] = None\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def inspect(path: Path) -> str:
    script = ROOT / "examples/inspect_stream.py"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, script, path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


@pytest.mark.parametrize("name", ["audio", "empty", "live"])
def test_whole_streams(name: str) -> None:
    assert inspect(ROOT / f"format_spec/vectors/valid/{name}.stc").endswith("whole\n")


def test_a_cut_stream(tmp_path: Path) -> None:
    path = tmp_path / "cut.stc"
    path.write_bytes((ROOT / "format_spec/vectors/valid/raw_small.stc").read_bytes()[:-150])
    assert "missing: frame 2, in a group cut short; the end of the stream" in inspect(path)
