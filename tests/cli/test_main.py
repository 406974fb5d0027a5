"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stylecodec
from stylecodec import api
from stylecodec.cli import main as cli
from stylecodec.cli.arguments import CommandParser
from stylecodec.encoding import front_end
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import OptionError
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from stylecodec.progress import Progress, ProgressDisplay
from tests.decoding import streams
from tests.tiny import FixedFace

Run = pytest.CaptureFixture[str]
ENCODE = ["--pack", "tiny-1024", "--device", "cpu", "--identity-steps", "1", "--no-landmark-correction"]
ENCODE += ["--likeness", "off"]  # all that takes time is left out


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tiny_pack: ModelPack) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    monkeypatch.setattr(front_end, "front_end_for", lambda pack, options: FixedFace(lost=[1]))


@pytest.fixture(scope="module")
def stc(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "talk.stc"
    path.write_bytes(streams.stream(tiny_pack, count=6, sound=True))
    return path


def test_the_whole_round(clip: Path, tmp_path: Path, capsys: Run) -> None:
    talk, video, doll = tmp_path / "talk.stc", tmp_path / "talk.mp4", tmp_path / "doll.stc"
    assert cli.main(["encode", str(clip), str(talk), *ENCODE]) == 0
    out = capsys.readouterr().out
    assert f"{talk}: 20 frames, 0.80 s, {talk.stat().st_size:,} bytes" in out
    assert "1 frames show no face" in out
    assert cli.main(["decode", str(talk), str(video), "--size", "32", "--device", "cpu"]) == 0
    assert f"{video}: 20 frames of 32x32, with sound" in capsys.readouterr().out
    assert cli.main(["puppet", str(talk), str(talk), str(doll)]) == 0
    assert doll.stat().st_size == talk.stat().st_size
    assert cli.main(["info", str(doll)]) == 0
    assert "tiny-1024" in capsys.readouterr().out
    assert cli.main(["verify", str(doll)]) == 0
    assert ": whole, 1 groups, 20 frames" in capsys.readouterr().out


def test_info_as_json(stc: Path, capsys: Run) -> None:
    assert cli.main(["info", str(stc), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == 6
    assert facts["fps"] == 10.0
    assert facts["duration_seconds"] == 0.6
    assert facts["profile"] == "raw"
    assert facts["pack"]["name"] == "tiny-1024"
    assert len(facts["pack"]["digest"]) == 64
    assert sum(n for part, n in facts["bytes"].items() if part != "total") == facts["bytes"]["total"]
    assert facts["bytes"]["total"] == stc.stat().st_size
    assert facts["kbps"]["packets"] == pytest.approx(facts["bytes"]["packets"] * 8 / 600, abs=1e-3)


def test_info_for_people(stc: Path, capsys: Run) -> None:
    assert cli.main(["info", str(stc)]) == 0
    out = capsys.readouterr().out
    for part in ("6 in 2 groups", "0.60 s at 10 frames per second", "Opus, 1 channel(s)", "identity", "kbps"):
        assert part in out


def test_reports_as_json(clip: Path, stc: Path, tmp_path: Path, capsys: Run) -> None:
    given = ["encode", str(clip), str(tmp_path / "a.stc"), *ENCODE, "--profile", "raw", "--no-audio", "--json"]
    assert cli.main(given) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["held"], report["bytes"]["audio"]) == (20, 1, 0)
    assert cli.main(["decode", str(stc), str(tmp_path / "a.mp4"), "--size", "32", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 6
    assert cli.main(["puppet", str(stc), str(stc), str(tmp_path / "b.stc"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 6


def test_options_reach_the_encoder(clip: Path, tmp_path: Path, capsys: Run) -> None:
    arguments = ["--start", "0.2", "--duration", "0.4", "--identity-average", "1", "--smoothing", "0.1"]
    arguments += ["--profile", "raw"]
    code = cli.main(["encode", str(clip), str(tmp_path / "a.stc"), *ENCODE, *arguments, "--json"])
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 10
    assert report["identity"]["averaged"] == 1


@pytest.mark.parametrize(
    ("flags", "off"),
    [
        ([], ()),
        (["--no-landmark-correction"], ("correction",)),
        (["--no-identity-fit", "--no-smoothing"], ("fit", "smoothing")),
        (["--identity-steps", "0"], ("fit",)),
        (["--no-pixel-correction"], ("pixels",)),
    ],
)
def test_stages_can_be_left_out(
    flags: list[str], off: tuple[str, ...], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run
) -> None:
    given: list[EncodeOptions] = []

    def encode(source: str, output: str, options: EncodeOptions, progress: object) -> None:
        given.append(options)
        raise OptionError("seen enough")

    monkeypatch.setattr(api, "encode", encode)
    assert cli.main(["encode", str(clip), str(tmp_path / "talk.stc"), "--pack", "tiny-1024", *flags]) != 0
    assert "seen enough" in capsys.readouterr().err
    (options,) = given
    correction, fit = options.landmark_correction.enabled, options.fit.enabled
    pixels = options.pixel_correction.enabled
    switches = {"correction": correction, "fit": fit, "smoothing": options.smooth, "pixels": pixels}
    assert {name for name, on in switches.items() if not on} == set(off)


def test_verify_tells_of_damage_by_its_exit_code(stc: Path, tmp_path: Path, capsys: Run) -> None:
    data = bytearray(stc.read_bytes())
    data[data.index(streams.packets(6)[2].tobytes())] ^= 1
    bad = tmp_path / "bad.stc"
    bad.write_bytes(data)
    assert cli.main(["verify", str(bad)]) == 1
    out = capsys.readouterr().out
    assert "not whole" in out
    assert "damaged: " in out
    assert cli.main(["verify", str(bad), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["frames_lost"] == 5
    assert cli.main(["info", str(bad)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["decode", "none.stc", "a.mp4"], 1, "there is no file none.stc"),
        (["info", "none.stc"], 1, "there is no file none.stc"),
        (["info", "."], 1, "cannot be read: is a directory"),
        (["encode", "none.mp4", "a.stc", *ENCODE], 1, "there is no file none.mp4"),
        (["encode", "text.txt", "a.stc", *ENCODE], 1, "text.txt is not a video that can be read"),
        (["decode", "text.txt", "a.mp4"], 1, "text.txt: not a stylecodec stream"),
        (["encode", "CLIP", "a.stc", "--pack", "no-such"], 1, "there is no model pack 'no-such'"),
        (["encode", "CLIP", "no/a.stc", *ENCODE], 1, "there is no folder no"),
        (["decode", "STC", "a.mp4", "--pack", "OTHER"], 1, "the stream was made with pack tiny-1024"),
        (["puppet", "none.png", "STC", "a.stc"], 1, "there is no file none.png"),
        (["decode", "STC", "a.mp4", "--size", "31"], 2, "a video needs an even size"),
        (["decode", "STC", "a.mp4", "--size", "2000"], 2, "the size must be 16 to 1024"),
        (["decode", "STC", "a.gif", "--size", "32"], 2, "a video is written as one of"),
        (["encode", "CLIP", "a.stc", "--preset", "magic"], 2, "there is no preset 'magic'"),
        (["encode", "CLIP", "a.stc", "--duration", "-1"], 2, "the duration must be more than 0"),
        (["decode", "STC", "a.mp4", "--device", "abacus"], 2, "no device 'abacus'"),
    ],
)
def test_failures_are_one_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    clip: Path,
    stc: Path,
    other_pack: ModelPack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Run,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("neither video nor stream")
    places = {"CLIP": str(clip), "STC": str(stc), "OTHER": str(other_pack.folder)}
    assert cli.main([places.get(a, a) for a in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stylecodec: error: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]


def test_no_face_is_one_sentence(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run) -> None:
    monkeypatch.setattr(front_end, "front_end_for", lambda pack, options: FixedFace(lost=range(99)))
    assert cli.main(["encode", str(clip), str(tmp_path / "a.stc"), *ENCODE]) == 1
    assert capsys.readouterr().err == "stylecodec: error: no face was found in any of the 20 frames\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["encode"], ["transcode"], ["decode", "a", "b", "--size", "big"]])
def test_wrong_usage(arguments: list[str], capsys: Run) -> None:
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert "usage: stylecodec" in err
    assert "error: " in err


def every_command() -> list[list[str]]:
    """The words of every command, those with actions of their own included."""
    found: list[list[str]] = []

    def look(words: list[str], parser: CommandParser) -> None:
        actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if words:
            found.append(words)
        for name, one in (pair for action in actions for pair in action.choices.items()):
            assert isinstance(one, CommandParser)
            if one._fill is not None:
                one._fill(one)
            look([*words, name], one)

    look([], cli._parser())
    return found


def test_every_command_has_help_with_examples_and_exit_codes(capsys: Run) -> None:
    commands = every_command()
    assert [words[0] for words in commands if len(words) == 1] == list(cli.COMMANDS)
    assert len(commands) >= 35
    for words in [[], *commands]:
        assert cli.main([*words, "--help"]) == 0
        out = capsys.readouterr().out
        command = " ".join(["stylecodec", *words])
        assert out.startswith(f"usage: {command} ")
        assert command in out.split("examples:\n")[1].split("exit codes: 0 ")[0]
        assert "; 2 wrong usage; 130 interrupted." in out
        assert max(map(len, out.splitlines())) <= 120


def test_help_knows_every_command(capsys: Run) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, what) in cli.COMMANDS.items():
        assert f"    {name} " in out or f"    {name}\n" in out
        assert what.split(",")[0] in out


def test_one_family_is_loaded() -> None:
    """The help of the program loads no command, and a command loads its family only."""
    code = (
        "import sys\nfrom stylecodec.cli.main import main\nmain(sys.argv[1:])\n"
        "print(sorted(m.split('.')[-1] for m in sys.modules if m.startswith('stylecodec.cli.')), file=sys.stderr)"
    )
    families = {family for family, _ in cli.COMMANDS.values()}
    for words, loaded in (["--help"], set()), (["cut", "--help"], {"streams"}), (["train", "--help"], {"train"}):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert set(ast.literal_eval(done.stderr)) & families == loaded


@pytest.mark.parametrize(("set_before", "expected"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep(set_before: str | None, expected: str) -> None:
    """Threads that spin starve one another beside a busy process. Who set the variable keeps it; a host its own."""
    code = (
        "import os, sys\nfrom stylecodec.cli.main import main\nmain(['--version'])\n"
        "print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)\nsys.argv[1:] = ['--version']\nmain()\n"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if set_before is not None:
        environment["OMP_WAIT_POLICY"] = set_before
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[1::2] == [f"{set_before} False", f"{expected} False"]


def test_version(capsys: Run) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"stylecodec {stylecodec.__version__}\n"


def test_faults_of_ours_are_sentences_too(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(api, "encode", broken)
    command = ["encode", str(clip), str(tmp_path / "a.stc")]
    assert cli.main(command) == 1
    err = capsys.readouterr().err
    assert err == "stylecodec: error: unexpected ZeroDivisionError: two lines (STYLECODEC_DEBUG=1 shows where)\n"
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    assert cli.main(command) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interrupted(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stylecodec.encoding.pipeline.analyse_clip", stop)
    assert cli.main(["encode", str(clip), str(tmp_path / "a.stc"), *ENCODE]) == 130
    assert capsys.readouterr().err == "stylecodec: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_progress_is_quiet_at_first_and_then_has_a_rate(capsys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("stylecodec.progress.monotonic", lambda: now[0])
    with ProgressDisplay(shown=True) as progress:
        for done in range(1, 41):
            now[0] += 0.25
            progress(Progress("rendering", done, 40))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["rendering: 8 of 40 frames, 4.0 per second", "rendering: 28 of 40 frames, 4.0 per second"]
    with ProgressDisplay() as progress:  # no terminal, not asked for
        now[0] += 50
        progress(Progress("rendering", 1, None))
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(capsys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    monkeypatch.setattr("stylecodec.progress.monotonic", lambda: now[0])
    with ProgressDisplay() as progress:
        for done in range(1, 6):
            now[0] += 1.0
            progress(Progress("encoding", done, 5))
        for done in range(1, 6):
            now[0] += 1.0
            progress(Progress("fitting the identity", done, 9, "steps"))
    seen = capsys.readouterr().err
    assert "frames/s" in seen[: seen.index("fitting")]
    assert "steps/s" in seen


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stylecodec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_as_a_program(stc: Path, tmp_path: Path) -> None:
    done = run("decode", stc, tmp_path / "a.mp4", "--size", 32, "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    failed = run("decode", tmp_path / "none.stc", tmp_path / "b.mp4")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"stylecodec: error: there is no file {tmp_path / 'none.stc'}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no shell")
def test_a_reader_that_leaves_is_no_error(stc: Path) -> None:
    shell = f"{sys.executable} -m stylecodec info {stc} | head -c 1"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert done.stderr == ""
