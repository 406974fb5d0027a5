"""A corpus whose encoding is interrupted, by signals to the command's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stylecodec.cli.main import main
from stylecodec.corpus import local
from stylecodec.corpus.manifest import read_records
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import CHEAP, looking, streams, write_talk

ROOT = Path(__file__).resolve().parents[2]
CLIPS = 6  # more than a worker does before it hears of a signal, twice


def arguments(*words: object) -> list[str]:
    return ["corpus", "encode", *map(str, words), *CHEAP, "--json"]


def run_here(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The command in this process, and its one worker too."""
    monkeypatch.setattr(local, "LocalPool", lambda settings, size: looking(settings))
    return main(arguments(*words))


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stylecodec", *arguments(*words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def heed_interrupts() -> None:  # a shell's background jobs ignore SIGINT, and their children would with them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, preexec_fn=heed_interrupts, **pipes)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a command."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def first_clip(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, object] = json.loads(line)
        if event["event"] == "clip":
            return event
    raise AssertionError(process.communicate()[1])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_interruptions_leave_whole_streams_and_it_goes_on(
    tiny_pack: ModelPack, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted by Ctrl-C, then by the system, then left alone."""
    source = write_talk(tmp_path / "in", [f"{k}.mp4" for k in range(CLIPS)])
    words = (source, "--out", tmp_path / "out", "--workers", 1, "--pack", tiny_pack.folder)
    before: set[str] = set()
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)):
        process = started(*words)
        first_clip(process)
        workers = workers_of(process)
        assert workers
        process.send_signal(number)
        _, err = process.communicate(timeout=500)
        assert process.returncode == code
        assert "Traceback" not in err
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        done = {record.name for record in read_records(tmp_path / "out").values()}
        assert before < done
        assert {f"clips/{name}.stc" for name in done} == set(streams(tmp_path / "out"))
        assert not list((tmp_path / "out").glob(".work*"))
        assert main(["corpus", "verify", str(tmp_path / "out")]) == 0
        before = done
    capfd.readouterr()
    assert run_here(monkeypatch, *words) == 0
    end = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert end["skipped"] == len(done) >= 2
    assert end["encoded"] == CLIPS - len(done)
