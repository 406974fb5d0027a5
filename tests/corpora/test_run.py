"""A corpus in one process: what is encoded, what is left as it is, what fails and how that is told."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path

import pytest

from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.corpus.manifest import Manifest, read_records
from stylecodec.corpus.options import CorpusOptions
from stylecodec.corpus.progress import CorpusProgress
from stylecodec.corpus.records import Record
from stylecodec.corpus.report import corpus_stats, verify_corpus
from stylecodec.corpus.run import encode_corpus
from stylecodec.corpus.work import Settings, Worker
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import OptionError, OutputError
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import FRAMES, Inline, Run, cheap, lines, streams
from tests.corpora.test_clips import tar_of
from tests.tiny import FixedFace, write_clip


def test_streams_and_their_records(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    told = io.StringIO()
    run = Run([talk], tmp_path / "out", cheap(tiny_pack, score=True), progress=CorpusProgress(events=told))
    assert run.summary.encoded == run.summary.clips == 3
    assert run.summary.failed == run.summary.skipped == 0
    records = read_records(tmp_path / "out")
    assert list(records) == ["a", "b", "deep/c"]
    one = records["deep/c"]
    stream = tmp_path / "out" / "clips" / "deep" / "c.stc"
    facts = api.probe(stream)
    assert (one.frames, one.held, one.shots, one.people) == (FRAMES, 0, 1, 1)
    assert one.bytes_by_part == facts["bytes"]
    assert one.kbps == facts["kbps"]["total"]
    with StreamFile.open(str(stream)) as opened:
        assert one.identity == opened.identities[0].digest.hex()
    assert one.pack == tiny_pack.digest.hex()
    assert set(one.scores) == {"psnr", "psnr_worst", "ssim"}
    assert (one.scores["psnr"] or 0) >= (one.scores["psnr_worst"] or 0) > 0
    assert set(one.stage_seconds) >= {"reading", "finding the face", "encoding", "verifying the stream"}
    stats = corpus_stats(records.values())
    assert (stats["done"], stats["frames"]) == (3, 3 * FRAMES)
    assert stats["bytes"]["total"] == sum(map(len, streams(tmp_path / "out").values()))
    assert [one.problem for one in verify_corpus(tmp_path / "out", records.values())] == [None] * 3
    events = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == ["stage", *["clip"] * 3, "end"]
    assert not list((tmp_path / "out").glob(".work*"))


def test_a_stream_is_what_encode_makes(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    options = cheap(tiny_pack)
    Run([talk], tmp_path / "out", options)
    api.encode(talk / "a.mp4", tmp_path / "a.stc", options.encode, front_end=FixedFace())
    assert (tmp_path / "a.stc").read_bytes() == streams(tmp_path / "out")["clips/a.stc"]


def test_two_stages_give_the_same(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    """What a Ray cluster with GPUs does: crops go from one worker to another."""
    Run([talk], tmp_path / "out", cheap(tiny_pack))

    class Apart(Inline):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings)
            other = Worker(settings)
            prepare = self.worker
            self.worker = lambda task: other.finish(prepare.prepare(task, apart=True))  # type: ignore[assignment]

    encode_corpus([talk], tmp_path / "apart", cheap(tiny_pack), Apart)
    assert streams(tmp_path / "apart") == streams(tmp_path / "out")


@pytest.mark.usefixtures("quick_rounding")
def test_what_is_done_is_left_as_it_is(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    out, options = tmp_path / "out", cheap(tiny_pack)
    Run([talk], out, options)
    again = Run([talk], out, options)
    assert again.did == []
    assert (again.summary.encoded, again.summary.skipped) == (0, 3)
    before = streams(out)
    (out / "clips" / "a.stc").write_bytes(before["clips/a.stc"][:-50])  # damaged
    (out / "clips" / "b.stc").unlink()
    assert Run([talk], out, options).did == ["a", "b"]
    assert streams(out) == before
    scored = Run([talk], out, dataclasses.replace(options, score=True))  # no stream is written anew
    assert scored.did == ["a", "b", "deep/c"]
    assert streams(out) == before
    assert all(record.scores for record in read_records(out).values())
    compact = dataclasses.replace(options, encode=dataclasses.replace(options.encode, profile="compact"))
    assert Run([talk], out, compact).did == ["a", "b", "deep/c"]


def test_a_source_that_changed_is_encoded_anew(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.mp4").write_bytes((talk / "a.mp4").read_bytes())
    out, options = tmp_path / "out", cheap(tiny_pack)
    Run([source], out, options)
    os.utime(source / "a.mp4", (1, 1))  # another date, the same content
    assert Run([source], out, options).did == []
    (source / "a.mp4").write_bytes((talk / "b.mp4").read_bytes())
    assert Run([source], out, options).did == ["a"]


def test_what_cannot_be_encoded_is_a_line(
    talk: Path, clip: Path, tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "whole.mp4").write_bytes((talk / "a.mp4").read_bytes())
    (folder / "damaged.mp4").write_bytes((talk / "a.mp4").read_bytes()[:300])
    (folder / "loop").symlink_to(folder)
    write_clip(folder / "huge.mp4", 3, size=320)
    write_clip(folder / "long.mp4", 30)
    write_clip(folder / "noface.mp4", 5)
    source = tmp_path / "list.csv"
    source.write_text("path\nin/gone.mp4\n")

    track = FixedFace.track

    def tracked(self: FixedFace, frames: object, rate: float) -> object:
        found = list(frames)  # type: ignore[call-overload]
        if len(found) == 5:
            self = FixedFace(lost=range(5))
        return track(self, found, rate)

    monkeypatch.setattr(FixedFace, "track", tracked)
    out, options = tmp_path / "out", cheap(tiny_pack, minutes=0.01, pixels=300 * 300)
    run = Run([folder, source], out, options)
    assert (run.summary.clips, run.summary.encoded, run.summary.failed) == (7, 1, 6)
    failed = {line["name"]: (line["stage"], line["error"]) for line in lines(out) if line["status"] == "failed"}
    assert set(failed) == {"damaged", "loop", "huge", "long", "noface", "in/gone"}
    assert failed["noface"][0] == "finding the face"
    assert failed["loop"][0] == "finding clips"
    assert {failed[name][0] for name in ("damaged", "huge", "long", "in/gone")} == {"reading"}
    words_of = {"damaged": "not a video", "huge": "320x320", "long": "more than the 0.01", "in/gone": "no file"}
    for name, words in words_of.items():
        assert words in failed[name][1], failed[name]
        assert "\n" not in failed[name][1]
    assert "noface" not in Run([folder, source], out, options).did  # by the same options it would fail again
    assert "noface" in Run([folder, source], out, dataclasses.replace(options, again=True)).did


def test_a_fault_of_ours_is_a_line_too(
    talk: Path, tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("stylecodec.corpus.work.encode_source", broken)
    run = Run([talk], tmp_path / "out", cheap(tiny_pack))
    assert run.summary.failed == 3
    assert {line["error"] for line in lines(tmp_path / "out")} == {"unexpected ZeroDivisionError: oh"}
    assert not streams(tmp_path / "out")


def test_members_of_tars(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    Run([talk], tmp_path / "plain", cheap(tiny_pack))
    data = {"x.mp4": (talk / "a.mp4").read_bytes(), "x.json": b'{"speaker": "Ann"}', "bad.mp4": b"no video at all"}
    source = tar_of(tmp_path / "t.tar", data)
    Run([source], tmp_path / "out", cheap(tiny_pack))
    assert streams(tmp_path / "out") == {"clips/t/x.stc": streams(tmp_path / "plain")["clips/a.stc"]}
    records = read_records(tmp_path / "out")
    assert records["t/x"].columns == {"speaker": "Ann"}
    assert f"{source}:bad" in (records["t/bad"].error or "")
    assert ".work" not in (records["t/bad"].error or "")


def test_shards_are_the_whole(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    Run([talk], tmp_path / "whole", cheap(tiny_pack))
    names = [Run([talk], tmp_path / "parts", cheap(tiny_pack), (k, 2)).did for k in range(2)]
    assert names == [["a", "deep/c"], ["b"]]
    assert streams(tmp_path / "parts") == streams(tmp_path / "whole")
    assert list(read_records(tmp_path / "parts")) == ["a", "b", "deep/c"]
    with pytest.raises(OptionError, match="among all clips"):
        Run([talk], tmp_path / "parts", cheap(tiny_pack, cluster=True), (0, 2))


def test_the_table_has_a_row_for_every_clip(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="PyArrow is not installed")
    run = Run([talk], tmp_path / "out", cheap(tiny_pack))
    rows = parquet.read_table(run.summary.table).to_pylist()
    assert [row["name"] for row in rows] == ["a", "b", "deep/c"]
    assert all(row["bytes_identity"] > 0 and row["frames"] == FRAMES and row["error"] is None for row in rows)


# --- the manifest ----------------------------------------------------------------------------------------------


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.add(Record("a", "done", "a.mp4"))
        manifest.add(Record("a", "failed", "a.mp4", "reading", "no"))
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(b'{"name": "b", "status": "do')
    with Manifest(tmp_path) as manifest:
        assert list(manifest.records) == ["a"]
        assert manifest.records["a"].error == "no"
        manifest.add(Record("c", "done", "c.mp4", notes=("n",)))
    assert list(read_records(tmp_path)) == ["a", "c"]
    assert read_records(tmp_path)["c"].notes == ("n",)


@pytest.mark.parametrize("line", [b"[]", b"null", b"{}", b'{"name": 1, "status": "done", "source": "x"}', b"[" * 9000])
def test_lines_that_are_none(line: bytes) -> None:
    assert Record.parse(line) is None


def test_values_of_another_kind_are_left_out() -> None:
    record = Record.parse(b'{"name": "a", "status": "done", "source": "s", "frames": "x", "output": 3, "scores": []}')
    assert record == Record("a", "done", "s")


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "other.stc").write_bytes(b"precious")
    out = tmp_path / "out"
    with Manifest(out) as manifest:
        manifest.add(Record("a", "done", "a.mp4", output="../other.stc"))
    (verdict,) = verify_corpus(out, read_records(out).values())
    assert "no file of the corpus" in (verdict.problem or "")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(OutputError, match="another run is writing"):
        Manifest(tmp_path)
    with Manifest(tmp_path, (0, 2)), Manifest(tmp_path, (1, 2)):
        pass


def test_no_corpus(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(OptionError, match="is no corpus"):
            read_records(folder)


# --- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"encode": EncodeOptions()},  # a minute of tuning
        {"encode": EncodeOptions(likeness="off", identity="x.stid")},
        {"encode": EncodeOptions(preset="paper"), "identity_by": "who"},
        {"threads": 0},
        {"timeout": 0.0},
        {"cluster": True, "identity_by": "who"},
        {"minutes": 0},
    ],
)
def test_options_that_make_no_sense(changes: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CorpusOptions(**changes)  # type: ignore[arg-type]


def test_the_digest_changes_with_what_bytes_depend_on() -> None:
    usual = CorpusOptions()
    told = {usual.digest("cpu", "p", {}), usual.digest("cuda", "p", {}), usual.digest("cpu", "q", {})}
    told |= {usual.digest("cpu", "p", {"parser": "1"}), CorpusOptions(threads=2).digest("cpu", "p", {})}
    assert len(told) == 5
    assert CorpusOptions(score=True).digest("cpu", "p", {}) == usual.digest("cpu", "p", {})


