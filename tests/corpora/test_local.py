"""Worker processes, from the command line: the same bytes from any number, and what happens when they are ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stylecodec.cli.corpus import _shard
from stylecodec.cli.main import main
from stylecodec.corpus.manifest import read_records
from stylecodec.errors import OptionError
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.corpora.scene import CHEAP, streams, write_talk

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def arguments(*words: object) -> list[str]:
    return ["corpus", "encode", *map(str, words), *CHEAP, "--json"]


def run_here(*words: object) -> int:
    """The command in this process: its workers are processes as ever."""
    return main(arguments(*words))


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stylecodec", *arguments(*words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def heed_interrupts() -> None:  # a shell's background jobs ignore SIGINT, and their children would with them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, preexec_fn=heed_interrupts, **pipes)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes that have begun a clip: they have a folder for it, or have written a record."""
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
def test_a_killed_worker_costs_one_clip_and_the_same_bytes_come_of_two(
    tiny_pack: ModelPack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_talk(tmp_path / "in", [f"{k}.mp4" for k in range(4)])
    pack = ["--pack", tiny_pack.folder]
    process = started(source, "--out", tmp_path / "one", "--workers", 1, *pack)
    event = first_clip(process)
    os.kill(int(str(event["worker"]).rpartition("-")[2]), signal.SIGKILL)  # at its second clip
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert err == ""
    end = json.loads(out.splitlines()[-1])
    assert (end["event"], end["encoded"], end["failed"]) == ("end", 4, 0)
    assert len({record.worker for record in read_records(tmp_path / "one").values()}) == 2  # one came in its place
    assert run_here(source, "--out", tmp_path / "two", "--workers", 2, *pack) == 0, capfd.readouterr().err
    assert streams(tmp_path / "one") == streams(tmp_path / "two")
    assert len(streams(tmp_path / "one")) == 4


def test_the_command_line(
    talk: Path,
    tiny_pack: ModelPack,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    out = str(tmp_path / "out")
    (tmp_path / "list.txt").write_text(f"{talk / 'a.mp4'}\nnone.mp4\n")
    words = ["corpus", "encode", str(tmp_path / "list.txt"), "--out", out, "--workers", "1", "--pack", "tiny-1024"]
    assert main([*words, *CHEAP]) == 1
    said = capfd.readouterr()
    assert "2 clips: 1 encoded, 0 were there, 1 failed" in said.out
    assert main(["corpus", "stats", out]) == 0
    assert "1 of 2 clips" in capfd.readouterr().out
    assert main(["corpus", "stats", out, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["failed_by_stage"] == {"reading": 1}
    assert main(["corpus", "verify", out, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["damaged"] == {}
    assert main(["corpus", "export", out, "--webdataset", str(tmp_path / "tars")]) == 0
    assert "1 clips in 1 tars" in capfd.readouterr().out
    stream = next((tmp_path / "out" / "clips").rglob("*.stc"))
    stream.write_bytes(stream.read_bytes()[:-9])
    assert main(["corpus", "verify", out]) == 1
    assert "0 of 1 streams are whole" in capfd.readouterr().out
    assert main([*words, *CHEAP, "--pack", "no-such-pack"]) == 1
    assert "no model pack" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--likeness", "quick"], "bounded by minutes"),
        (["--shard", "2/2"], "a shard is I/N"),
        (["--workers", "0"], "1 worker or more"),
        (["--identity-by", "a", "--cluster-identities"], "not by both"),
    ],
)
def test_command_lines_that_make_no_sense(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "encode", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shards_of_a_slurm_array(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _shard(None) == (0, 1)
    for name, value in (("ID", "7"), ("COUNT", "4"), ("MIN", "5")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert _shard(None) == (2, 4)
    assert _shard("0/3") == (0, 3)
    with pytest.raises(OptionError):
        _shard("x")
