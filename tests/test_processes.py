"""Processes end with the one that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_distributed import runs, wait_for

SCRIPT = """
import multiprocessing, os, sys, time
from pathlib import Path
from stylecodec.processes import leave_with

def work(starter, note):
    if sys.argv[2] == "bound":
        leave_with(starter)
    note.write_text(str(os.getpid()))
    time.sleep(20)

if __name__ == "__main__":
    note = Path(sys.argv[1])
    child = multiprocessing.get_context("spawn").Process(target=work, args=(os.getpid(), note))
    child.start()
    child.join()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="a process is looked up in /proc")
@pytest.mark.parametrize(("how", "ends"), [("bound", True), ("free", False)])
def test_a_process_leaves_with_its_starter(tmp_path: Path, how: str, ends: bool) -> None:
    script, note = tmp_path / "start.py", tmp_path / "note"
    script.write_text(SCRIPT)
    root = str(Path(__file__).resolve().parents[1])
    starter = subprocess.Popen([sys.executable, str(script), str(note), how], env=os.environ | {"PYTHONPATH": root})
    wait_for(lambda: note.is_file() and bool(note.read_text()))
    child = int(note.read_text())
    starter.kill()
    starter.wait()
    end = time.monotonic() + (10 if ends else 1.5)
    while runs(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert runs(child) is not ends
    if not ends:
        os.kill(child, 9)
