"""The benchmark of corpora: its clips, its arithmetic, its part of RESULTS.md, and a run of a few clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import corpus as benchmark
from benchmarks.corpus_clips import BAD, LENGTHS, people, write_bad_clips, write_clips
from benchmarks.corpus_figures import cost_model, line, memory
from benchmarks.report_corpus import corpus as report
from stylecodec.corpus.clips import find_clips
from stylecodec.corpus.records import Record
from stylecodec.media import VideoReader
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import TALK


def record(name: str, frames: int, **more: object) -> Record:
    total = {"total": 1000 + 10 * frames, "packets": 10 * frames, "audio": 0}
    usual: dict[str, object] = {"frames": frames, "duration_seconds": frames / 25, "bytes_by_part": total}
    usual |= {"seconds": 2.0 + 0.1 * frames, "cpu_seconds": 1.0 + 0.1 * frames}
    return Record(name, "done", name, **usual | more)  # type: ignore[arg-type]


def test_the_cost_model_is_a_line() -> None:
    found = cost_model([record(str(n), n) for n in (8, 12, 24)], clips=3600, seconds=10, fps=25)
    assert found["seconds_per_clip"] == pytest.approx(2)
    assert found["seconds_per_frame"] == pytest.approx(0.1)
    assert found["worker_hours"] == pytest.approx(2 + 25)
    assert found["cpu_hours"] == pytest.approx(1 + 25)
    assert found["bytes_per_clip"] == pytest.approx(1000 + 2500)
    assert cost_model([])["measured_clips"] == 0


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [((1, 2, 3), (1, 2, 3), (0, 1)), ((2, 2), (4, 4), (0, 2)), ((1, 2), (4, 2), (3, 0)), ((1, 2), (0, 2), (0, 0.8))],
)
def test_lines_go_neither_down_nor_below_nothing(
    x: tuple[float, ...], y: tuple[float, ...], expected: tuple[float, float]
) -> None:
    assert line(np.array(x, float), np.array(y, float)) == pytest.approx(expected, abs=1e-9)


def test_memory_that_grows_is_seen() -> None:
    flat = [record(str(k), 8, worker="a", worker_mib=500.0 + k % 3) for k in range(8)]
    grows = [record(str(k), 8, worker="b", worker_mib=500.0 + 20 * k) for k in range(8)]
    assert [(row["verdict"], row["clips"]) for row in memory([*flat, *grows])] == [("flat", 8), ("grows", 8)]
    assert memory([record("a", 8, worker="a", worker_mib=1.0)])[0]["growth_mib"] == 0


def test_clips_are_short_and_differ(tiny_pack: ModelPack, tmp_path: Path) -> None:
    paths = write_clips(tmp_path / "clips", [TALK], 3, 1, str(tiny_pack.folder))
    assert len({path.read_bytes() for path in paths}) == len(paths) == 3
    for path, length in zip(paths, (*LENGTHS[:2], LENGTHS[0]), strict=True):
        reader = VideoReader(path)
        assert len(list(reader.frames())) == length
        assert max(reader.width, reader.height) <= 320
    again = people(str(tiny_pack.folder), "cpu")
    assert not np.array_equal(next(again)[0], next(again)[0])
    listed = write_bad_clips(tmp_path / "clips", tmp_path / "list.txt", 64 * 64)
    found = find_clips([tmp_path / "clips", listed])
    assert len(found.clips) + len(found.problems) == 3 + len(BAD)


def test_a_small_run(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "DEFAULT_CLIPS", 0)
    quick = benchmark.quick_options(str(tiny_pack.folder), "cpu")
    raw = replace(quick, encode=replace(quick.encode, profile="raw"))  # compaction takes longer than all else
    monkeypatch.setattr(benchmark, "quick_options", lambda pack, device: raw)
    out = tmp_path / "corpus.json"
    words = ["--clips", "3", "--rendered", "0", "--pack", str(tiny_pack.folder), "--no-ray", "--out", str(out)]
    assert benchmark.main(words) == 0
    content = json.loads(out.read_text())
    assert content["same_bytes"]
    one, two, _ = content["runs"]
    assert (one["clips"], one["done"], one["failed"]) == (3 + len(BAD), 3, len(BAD))
    assert sum(worker["clips"] for worker in two["workers"]) == 3
    assert content["provenance"]["inputs"].keys() == {"talk.mp4"}
    text = "\n\n".join(report(content))
    assert "| 1 worker | 8 | 3 |" in text
    assert "10,000,000 clips" in text
