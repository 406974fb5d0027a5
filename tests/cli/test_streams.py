"""The commands on the bitstream: what they write and print, with which exit code, and what they never import."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stylecodec.bitstream import StreamFile
from stylecodec.cli import main as cli
from stylecodec.cli import streams
from tests.bitstream.conftest import make_identity, make_packets, make_stream
from tests.bitstream.edit.test_operations import heard, opened, rows, talk

Run = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def stc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """talk.stc, 60 frames at 25 per second with sound, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "talk.stc"
    path.write_bytes(talk())
    return path


def run(line: str, code: int = 0) -> None:
    assert cli.main(line.split()) == code


def frames_of(path: str) -> bytes:
    return rows(opened(Path(path).read_bytes()))


@pytest.mark.parametrize(
    ("options", "start", "stop"),
    [
        ("--start 0.4 --end 1.2", 10, 30),
        ("--start 0.4 --duration 0.8", 10, 30),
        ("--start 0.39 --duration 0.8", 10, 30),
        ("--end 1", 0, 25),
        ("--start 2", 50, 60),
        ("--frames 7:9", 7, 9),
        ("--frames 58:", 58, 60),
        ("--frames :3", 0, 3),
        ("", 0, 60),
    ],
)
def test_cut(options: str, start: int, stop: int, stc: Path, capsys: Run) -> None:
    run(f"cut talk.stc part.stc {options}")
    size = Path("part.stc").stat().st_size
    seconds = (stop - start) / 25
    out = f"part.stc: {stop - start} frames, {seconds:.2f} s, with sound, {size:,} bytes\n"
    assert capsys.readouterr().out == out
    assert frames_of("part.stc") == make_packets(60, 1)[start:stop].tobytes()


def test_cut_in_two_and_join(stc: Path, capsys: Run) -> None:
    run("cut talk.stc a.stc --frames :31 --json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["frames"], facts["first_frame"], facts["end_frame"], facts["sound"]) == (31, 0, 31, True)
    run("cut talk.stc b.stc --frames 31:")
    run("concat a.stc b.stc both.stc")
    assert Path("both.stc").read_bytes() == stc.read_bytes()
    run("concat a.stc b.stc a.stc three.stc --json")
    assert json.loads(capsys.readouterr().out.split("bytes\n")[-1])["inputs"] == 3
    assert len(frames_of("three.stc")) == 91 * 70


def test_strip(stc: Path, capsys: Run) -> None:
    run("strip talk.stc mute.stc --audio")
    assert "without sound" in capsys.readouterr().out
    assert heard(opened(Path("mute.stc").read_bytes())) == []
    assert frames_of("mute.stc") == frames_of("talk.stc")


def test_transcode(stc: Path, capsys: Run) -> None:
    run("transcode talk.stc small.stc --profile compact")
    out = capsys.readouterr().out
    assert out.startswith("71.4 bytes per frame became ")
    run("transcode small.stc back.stc --profile raw --json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["packet_bytes"] == 71.4
    run("dump small.stc --json")
    Path("small.jsonl").write_text(capsys.readouterr().out)
    run("undump small.jsonl same.stc")
    assert Path("same.stc").read_bytes() == Path("small.stc").read_bytes()
    run("transcode talk.stc a.stc --profile compact --quality 500", 2)


def test_puppet_between_streams(stc: Path) -> None:
    Path("who.stc").write_bytes(talk(5, identities=(7,)))
    run("puppet who.stc talk.stc doll.stc")
    with StreamFile.open("doll.stc") as doll:
        assert [i.digest for i in doll.identities] == [make_identity(7).digest]
    assert frames_of("doll.stc") == frames_of("talk.stc")


def test_repair(stc: Path, capsys: Run) -> None:
    data = talk(group=10)
    Path("cut.stc").write_bytes(data[: data.index(make_packets(60, 1)[50].tobytes()) + 9])
    run("verify cut.stc", 1)
    capsys.readouterr()
    run("repair cut.stc whole.stc")
    out = capsys.readouterr().out
    assert "missing: frames 50 to 59, in a group cut short" in out
    assert "whole.stc: 50 frames" in out
    run("verify whole.stc")
    middle = data.index(make_packets(60, 1)[25].tobytes())
    Path("hole.stc").write_bytes(data[:middle] + b"?" + data[middle + 1 :])
    capsys.readouterr()
    run("repair hole.stc whole.stc --json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["frames"], facts["frames_held"], facts["was_whole"]) == (60, 10, False)
    Path("head.stc").write_bytes(data[300:])
    run("repair head.stc whole2.stc", 1)
    assert "not a stylecodec stream" in capsys.readouterr().err
    assert not Path("whole2.stc").exists()
    run("repair head.stc whole2.stc --like talk.stc")
    assert frames_of("whole2.stc") == frames_of("talk.stc")


def test_dump_and_undump(stc: Path, capsys: Run) -> None:
    run("dump talk.stc --json")
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [json.loads(line).get("chunk") for line in lines[:4]] == [None, "HEADER", "AUDIO_CONFIG", "IDENTITY"]
    Path("talk.jsonl").write_text(out)
    run("undump talk.jsonl same.stc --json")
    assert json.loads(capsys.readouterr().out) == {"output": "same.stc", "bytes": stc.stat().st_size}
    assert Path("same.stc").read_bytes() == stc.read_bytes()
    run("dump talk.stc other.jsonl --json")
    assert Path("other.jsonl").read_text() == out


def test_of_a_line_without_an_end_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 10)
    text = io.StringIO("short\n" + "x" * 1000)
    lines = streams._text(text)
    assert [next(lines), next(lines)] == ["short\n", "x" * 11]  # undump refuses what is longer than the limit
    assert text.tell() < 100


def test_dump_for_people(stc: Path, capsys: Run) -> None:
    run("dump talk.stc")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["0", "16", "version", "1.0"]
    assert lines[1].split()[2:4] == ["HEADER", "profile=raw"]
    groups = [line for line in lines if " GROUP " in line]
    assert [line.split("packets=")[1] for line in groups] == ["25", "25", "10"]
    assert max(map(len, lines)) < 250


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("cut talk.stc a.stc --frames 5", 2, "--frames takes A:B"),
        ("cut talk.stc a.stc --frames x:y", 2, "--frames takes A:B, two numbers, not 'x:y'"),
        ("cut talk.stc a.stc --frames 60:70", 2, "that is no stretch of talk.stc: it has frames 0 to 59, 2.40 s"),
        ("cut talk.stc a.stc --frames 3:4 --start 1", 2, "--frames takes the place of"),
        ("cut talk.stc a.stc --end 3 --duration 1", 2, "give --end or --duration, not both"),
        ("cut talk.stc a.stc --start 9", 2, "that is no stretch"),
        ("cut talk.stc talk.stc --start 1", 1, "talk.stc would overwrite its own source"),
        ("cut none.stc a.stc", 1, "there is no file none.stc"),
        ("cut cut.stc a.stc", 1, "cut.stc: the file is not whole, missing: the end of the stream; repair it first"),
        ("concat talk.stc other.stc a.stc", 1, "one stream was made with pack avatar-1024"),
        ("concat talk.stc none.stc a.stc", 1, "there is no file none.stc"),
        ("strip talk.stc a.stc", 2, "say what to take out"),
        ("dump text.txt", 1, "text.txt: not a stylecodec stream"),
        ("undump text.txt a.stc", 1, "text.txt: line 1: Expecting value"),
        ("undump talk.stc a.stc", 1, "talk.stc: the file is not UTF-8 text"),
        ("repair text.txt a.stc", 1, "text.txt: not a stylecodec stream"),
    ],
)
def test_failures_are_one_sentence(line: str, code: int, sentence: str, stc: Path, capsys: Run) -> None:
    Path("other.stc").write_bytes(talk(5, pack_digest=bytes(32)))
    Path("cut.stc").write_bytes(make_stream()[:-40])
    Path("text.txt").write_text("neither text nor stream")
    before = sorted(Path().iterdir())
    run(line, code)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stylecodec: error: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert sorted(Path().iterdir()) == before


WITHOUT = """
import io, sys
for name in ("torch", "av", "dlib", "scipy", "PIL", "rich"): sys.modules[name] = None
from stylecodec.cli import main as cli
for line in sys.stdin.read().splitlines():
    assert cli.main(line.split()) == 0, line
"""


def test_no_command_needs_torch_av_or_dlib(stc: Path) -> None:
    Path("who.stc").write_bytes(talk(5, identities=(7,)))
    Path("cut.stc").write_bytes(talk(group=10)[:-900])
    lines = [
        "cut talk.stc a.stc --frames 10:20",
        "concat a.stc talk.stc b.stc",
        "puppet who.stc talk.stc c.stc",
        "strip talk.stc d.stc --audio",
        "transcode talk.stc h.stc --profile compact",
        "repair cut.stc e.stc",
        "dump talk.stc f.jsonl --json",
        "undump f.jsonl g.stc",
        "dump g.stc",
        "info g.stc",
        "verify g.stc",
    ]
    command = [sys.executable, "-W", "error", "-c", WITHOUT]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert Path("g.stc").read_bytes() == stc.read_bytes()


