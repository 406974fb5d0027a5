"""Without the libraries of the extras: streams are decoded, inspected and edited; the rest says what to install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stylecodec.extras import EXTRAS
from stylecodec.packs.store import ModelPack
from tests.decoding import streams

ROOT = Path(__file__).resolve().parents[1]
MISSING = "av dlib face_recognition_models scipy moderngl lpips matplotlib bjontegaard pyarrow ray"
WITHOUT = f"import sys\nfor name in {MISSING.split()!r}: sys.modules[name] = None\n"


def without(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )


@pytest.fixture(scope="module")
def stream(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extras") / "a.stc"
    path.write_bytes(streams.stream(tiny_pack, sound=True))
    return path


def test_frames_are_decoded_and_streams_edited(stream: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    code = """
import stylecodec
from stylecodec.cli.main import main
stream, pack, folder = sys.argv[1:]
with stylecodec.Decoder.open(stream, pack=pack, device="cpu", size=32, background="blur") as decoder:
    assert decoder[7].shape == (32, 32, 3) and len(decoder) == 12
assert stylecodec.probe(stream)["frames"] == 12 and stylecodec.verify(stream).complete
assert stylecodec.open_pack().face_mesh("cpu") is not None
for words in (
    ["info", stream], ["verify", stream], ["dump", stream], ["models", "list"], ["identity", "list"],
    ["cut", stream, f"{folder}/cut.stc", "--start", "0.5"], ["concat", stream, stream, f"{folder}/two.stc"],
    ["puppet", stream, f"{folder}/cut.stc", f"{folder}/puppet.stc"],
):
    assert main(words) == 0, words
"""
    done = without(code, stream, tiny_pack.folder, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["encode", "IN", "out.stc"], "encoding needs PyAV, dlib, .*: pip install 'stylecodec.encode.'"),
        (["decode", "IN", "out.mp4"], "needs PyAV, which is not installed: pip install 'stylecodec.video.'"),
        (["evaluate", "IN", "out.stc"], "evaluating videos needs PyAV, dlib, .*: pip install 'stylecodec.encode.'"),
        (["rd", "IN", "--out", "out"], "measuring curves needs PyAV, dlib, .*: pip install 'stylecodec.rd.'"),
        (["puppet", str(ROOT / "examples" / "portrait.png"), "IN", "out.stc"], "pip install 'stylecodec.encode.'"),
    ],
)
def test_what_lacks_is_named(words: list[str], sentence: str, stream: Path, tmp_path: Path) -> None:
    code = "from stylecodec.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    out = tmp_path / words[-1]
    done = without(code, *(str(stream) if word == "IN" else word for word in words[:-1]), out)
    assert done.returncode == 1, done.stderr
    line = done.stderr.strip()
    assert "\n" not in line
    assert re.search(sentence, line), line
    assert not out.exists()


def test_the_extras_are_the_projects() -> None:
    """Each library of an extra here is one that the extra installs, and none that everybody gets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distributions = {"av": "av", "dlib": "dlib-bin", "scipy": "scipy", "pyarrow": "pyarrow", "ray": "ray"}
    distributions |= {name: name for name in ("face_recognition_models", "matplotlib", "bjontegaard")}

    def names(requirements: list[str]) -> set[str]:
        return {requirement.split(">=")[0] for requirement in requirements}

    for extra, modules in EXTRAS.items():
        assert names(project["optional-dependencies"][extra]) == {distributions[module] for module in modules}
        assert not names(project["optional-dependencies"][extra]) & names(project["dependencies"])
