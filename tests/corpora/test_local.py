"""Worker processes: one that is killed, and the command line."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from stylecodec.cli.corpus import _shard
from stylecodec.cli.main import main
from stylecodec.corpus.local import LocalHand, LocalPool
from stylecodec.corpus.manifest import read_records
from stylecodec.corpus.run import encode_corpus
from stylecodec.corpus.work import Settings
from stylecodec.errors import OptionError
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.corpora.scene import CHEAP, cheap, streams


class Doomed(LocalHand):
    """Its process is killed when it has been given its second clip."""

    given = 0

    def submit(self, task: Any) -> Future[Any]:
        future, self.given = super().submit(task), self.given + 1
        if self.given == 2:
            os.kill(self.ready.result(), signal.SIGKILL)
        return future


class LosesOne(LocalPool):
    """A pool of one worker, whose first is doomed."""

    hired = 0

    def hire(self) -> LocalHand:
        self.hired += 1
        return Doomed(self.settings) if self.hired == 1 else super().hire()


def test_a_killed_worker_costs_one_clip_and_no_byte(
    talk: Path, whole: dict[str, bytes], tiny_pack: ModelPack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """That two processes write the bytes of one: test_benchmark."""
    pools: list[LosesOne] = []

    def pool(settings: Settings) -> LosesOne:
        pools.append(LosesOne(settings, 1))
        return pools[0]

    summary = encode_corpus([talk], tmp_path / "killed", cheap(tiny_pack), pool)
    assert capfd.readouterr().err == ""
    assert (summary.encoded, summary.failed, pools[0].hired) == (3, 0, 2)
    assert len({record.worker for record in read_records(tmp_path / "killed").values()}) == 2  # one came in its place
    assert streams(tmp_path / "killed") == whole
    assert len(streams(tmp_path / "killed")) == 3


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
