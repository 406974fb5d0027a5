"""Every script in examples/ does as its docstring says, every command of the tour is one, README can be followed."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stylecodec
from stylecodec import EncodeOptions, EncodeReport, FitOptions, LandmarkCorrectionOptions
from stylecodec.bitstream import check
from stylecodec.cli.main import main
from stylecodec.media import VideoReader, VideoWriter
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.decoding import streams

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLIPS = sorted(EXAMPLES.glob("*.mp4"))
ROOT = EXAMPLES.parent
READMES = ("README.md", "examples/README.md", "benchmarks/README.md", "stylecodec/training/README.md", "CHANGELOG.md")


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a Markdown file."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


def commands(name: str) -> list[list[str]]:
    """The arguments of every `stylecodec` command in the blocks of a Markdown file, those after && too."""
    found = []
    for line in "".join(blocks(name, "sh")).replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words and words[0].endswith("stylecodec"):
                found.append(words[1:])
    return found


TOUR = [arguments for name in READMES for arguments in commands(name)]


@pytest.fixture(scope="module")
def stc(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "talk.stc"
    path.write_bytes(streams.stream(tiny_pack, count=10, sound=True))
    return path


@pytest.fixture
def run(
    tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a script with arguments where the tiny packs are found, in this process, and gives what it wrote."""

    def ran(script: str, *arguments: object) -> str:
        monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return ran


def test_every_script_is_tried() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {
        "audio_to_motion.py",
        "decode_frames.py",
        "encode_clip.py",
        "inspect_stream.py",
        "live_udp.py",
        "puppeteer.py",
    }


def test_a_script_is_a_program(stc: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "inspect_stream.py"), str(stc)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "10" in done.stdout


def test_audio_to_motion(run: Callable[..., str], tiny_pack: ModelPack, tmp_path: Path) -> None:
    for seed in range(2):
        (tmp_path / f"{seed}.stc").write_bytes(streams.stream(tiny_pack, count=40, sound=True, seed=seed))
    out = run("audio_to_motion.py", tmp_path, 0.5)
    assert "2 streams, 8 windows of 25 frames" in out
    assert "(35, 25) from 40000 samples" in out


def test_decode_frames(run: Callable[..., str], stc: Path, tmp_path: Path) -> None:
    out = run("decode_frames.py", stc, tmp_path / "strip.png")
    assert "10 frames at 10 per second" in out
    assert "(8, 256, 256, 3) uint8" in out
    assert np.asarray(Image.open(tmp_path / "strip.png")).shape == (256, 768, 3)


def test_puppeteer(run: Callable[..., str], stc: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "who.stc").write_bytes(streams.stream(tiny_pack, identities=(8,)))
    out = run("puppeteer.py", tmp_path / "who.stc", stc, tmp_path / "a.mp4", 32)
    assert "10 frames" in out
    assert (tmp_path / "a.mp4").stat().st_size > 0


def test_encode_clip(
    run: Callable[..., str], tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is but for the steps of fits and corrections, and the profile, which take longer than all else."""
    encode = stylecodec.encode

    def quick(video: str, output: str, options: EncodeOptions) -> EncodeReport:
        few = LandmarkCorrectionOptions(frames=1, side=32)
        less = replace(options, profile="raw", fit=FitOptions(steps=1, side=32), landmark_correction=few)
        return encode(video, output, less)

    monkeypatch.setattr(stylecodec, "encode", quick)
    with VideoWriter(tmp_path / "a.mp4", 320, 320, Fraction(25)) as writer:
        for _, frame in VideoReader(CLIPS[0]).frames(0.0, 0.2):
            writer.write(np.asarray(Image.fromarray(frame).resize((320, 320))))
    out = run("encode_clip.py", tmp_path / "a.mp4", tmp_path / "a.stc", tiny_pack.folder, "off")
    report = check(tmp_path / "a.stc")
    assert report.complete
    assert re.search(r"^[5-9] frames, 0\.[23]\d s, 0 without a face$", out, flags=re.M)
    for part in ("identity", "packets"):
        assert re.search(rf"^  {part} +[\d,]+ bytes +[\d,.]+ kbps$", out, flags=re.M)


def test_live_udp(run: Callable[..., str], stc: Path) -> None:
    out = run("live_udp.py", stc, 32)
    for word in ("sent 10 frames", "received ", "shown ", "rendered "):
        assert word in out


class Parsed(BaseException):
    """The command line made sense: what the program would do next."""


@pytest.mark.parametrize("arguments", TOUR, ids=" ".join)
def test_commands_of_the_tour_make_sense(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parsed(*given: Any, **more: Any) -> None:
        parse(*given, **more)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(Parsed):
        main(arguments)


def test_the_tour_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^    (\w[\w-]*)  ", capsys.readouterr().out, flags=re.M)
    assert {"encode", "decode", "train"} <= set(listed)
    assert set(listed) <= {arguments[0] for arguments in TOUR}


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    text = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"<!-- test-command -->\n```sh\n(.*?)\n```", text, flags=re.S)
    assert "\n" not in command
    torch, project = command.index("torch=="), command.index('-e ".[')
    assert command.startswith("python3 -m venv ")
    assert torch < project
    # A file to a process, so that its tests share what they made; slow files first (conftest.py).
    assert command.endswith("-m pytest -q -n 2 --dist loadfile --no-loadscope-reorder")


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    code = {line for block in blocks("README.md", "sh") for line in block.splitlines()}
    assert [line for line in lines if len(line) > 120 and line not in code and not line.startswith("|")] == []


def test_the_python_of_the_readme_runs(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    report = type("Report", (), {"bytes": {}})

    def encode(source: str, output: str) -> type:
        Path(output).write_bytes(streams.stream(tiny_pack, count=30))
        return report

    monkeypatch.setattr(stylecodec, "encode", encode)  # an encoder is run by other tests
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert tuple(names["frame"].shape) == tuple(names["later"].shape) == (1024, 1024, 3)
    assert names["packets"].shape == (10, 35)


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http", "#")):
            continue
        path, _, place = target.partition("#")
        found = (ROOT / name).parent / path
        assert found.exists(), target
        if place:
            titles = re.findall(r"^#+ (.*)$", found.read_text(), flags=re.M)
            assert place in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target
