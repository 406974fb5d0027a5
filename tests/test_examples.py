"""Every script in examples/ runs as its docstring says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecodec.bitstream import check
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.decoding import streams

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLIPS = sorted(EXAMPLES.glob("*.mp4"))


@pytest.fixture(scope="module")
def stc(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "talk.stc"
    path.write_bytes(streams.stream(tiny_pack, count=10, sound=True))
    return path


def run(script: str, *arguments: object, packs: Path | None = None) -> str:
    environment = dict(os.environ) | ({PACKS_VARIABLE: str(packs)} if packs else {})
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": str(EXAMPLES.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_script_is_tried() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {"encode_clip.py", "decode_frames.py", "puppeteer.py", "inspect_stream.py", "live_udp.py"}


def test_decode_frames(stc: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    out = run("decode_frames.py", stc, tmp_path / "strip.png", packs=tiny_pack.folder.parent)
    assert "10 frames at 10 per second" in out
    assert "(8, 256, 256, 3) uint8" in out
    assert np.asarray(Image.open(tmp_path / "strip.png")).shape == (256, 768, 3)


def test_puppeteer(stc: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "who.stc").write_bytes(streams.stream(tiny_pack, identities=(8,)))
    out = run("puppeteer.py", tmp_path / "who.stc", stc, tmp_path / "a.mp4", 32, packs=tiny_pack.folder.parent)
    assert "10 frames" in out
    assert (tmp_path / "a.mp4").stat().st_size > 0


def test_encode_clip(tiny_pack: ModelPack, tmp_path: Path) -> None:
    out = run("encode_clip.py", CLIPS[0], tmp_path / "a.stc", tiny_pack.folder)
    assert "identity" in out
    assert "packets" in out
    assert check(tmp_path / "a.stc").complete


def test_inspect_stream(stc: Path) -> None:
    assert "10" in run("inspect_stream.py", stc)


def test_live_udp(stc: Path, tiny_pack: ModelPack) -> None:
    out = run("live_udp.py", stc, 32, packs=tiny_pack.folder.parent)
    for word in ("sent 10 frames", "received ", "shown ", "rendered "):
        assert word in out
