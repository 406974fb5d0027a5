"""A corpus whose encoding is interrupted: a file of its own, as it takes as long as all else of `test_local`."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from stylecodec.cli.main import main
from stylecodec.corpus.manifest import read_records
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import streams, write_talk
from tests.corpora.test_local import first_clip, run_here, started, workers_of

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_interruptions_leave_whole_streams_and_it_goes_on(
    tiny_pack: ModelPack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Interrupted by Ctrl-C, then by the system, then left alone."""
    source = write_talk(tmp_path / "in", [f"{k}.mp4" for k in range(8)])
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
    assert run_here(*words) == 0
    end = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert end["skipped"] == len(done) >= 2
    assert end["encoded"] == 8 - len(done)
