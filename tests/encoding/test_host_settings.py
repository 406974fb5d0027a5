"""encode in programs that use torch in their own way: the same bytes, and nothing of theirs is changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec import api
from stylecodec.encoding.options import (
    EncodeOptions,
    FitOptions,
    LandmarkCorrectionOptions,
    RefineOptions,
    TuneOptions,
)
from stylecodec.packs.store import ModelPack
from tests.decoding import streams
from tests.tiny import FixedFace, coarse_probes, write_clip

REFINE = RefineOptions(steps=1, side=32)
TUNE = TuneOptions(
    steps=5, side=32, batch=4, frames=8, precision="float32", look_steps=3, locality_every=2, upper_every=2,
    delta_bytes=60_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("host") / "clip.mp4", frames=6)


def options(pack: ModelPack, **changes: object) -> EncodeOptions:
    small = {"identity_candidates": 2, "identity_average": 2, "fit": FitOptions(steps=2, side=32), "refine": REFINE}
    small |= {"landmark_correction": LandmarkCorrectionOptions(frames=1, side=32), "quality": 40.0}
    small |= {"likeness": "off", "preset": "balanced", "background": "plate", "refine_tuned": REFINE, "tune": TUNE}
    return EncodeOptions(**(small | {"pack": pack.folder, "device": "cpu"} | changes))  # type: ignore[arg-type]


def encoded(source: Path, folder: Path, chosen: EncodeOptions) -> bytes:
    with coarse_probes():  # in the other process too
        api.encode(source, folder / "a.stc", chosen, front_end=FixedFace(lost=[3]))
    return (folder / "a.stc").read_bytes()


@pytest.fixture(scope="module")
def plain(source: Path, tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encoded(source, tmp_path_factory.mktemp("plain"), options(tiny_pack))


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
        assert torch.get_default_device().type == name
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def used_generators() -> Iterator[None]:
    """The host has drawn from the global generators before, and goes on where it was."""
    torch.manual_seed(77)
    np.random.seed(77)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


HOSTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "global generators": used_generators,
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "meta device": lambda: default_device("meta"),
}


@pytest.mark.parametrize(
    "hosts",
    [
        ["global generators", "autocast", "float64", "meta device"],  # no two of them set the same thing
        ["inference mode", "float16"],
    ],  # no gradients, bfloat16: in another process, below
    ids=", ".join,
)
def test_the_same_bytes_in_every_host(
    hosts: list[str], source: Path, tiny_pack: ModelPack, plain: bytes, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        for host in hosts:
            stack.enter_context(HOSTS[host]())
        assert encoded(source, tmp_path, options(tiny_pack)) == plain


def test_personalising_in_another_host(source: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    alone = {"landmark_correction": LandmarkCorrectionOptions(enabled=False)}  # `plain` is corrected
    chosen = options(tiny_pack, preset="fast", likeness="full", background="render", profile="raw", **alone)
    plain = encoded(source, tmp_path, chosen)
    with used_generators(), default_dtype(torch.float64), default_device("meta"), torch.inference_mode():
        assert encoded(source, tmp_path, chosen) == plain


@pytest.mark.usefixtures("quick_portraits")
def test_a_portrait_in_another_host(tiny_pack: ModelPack, tmp_path: Path) -> None:
    from PIL import Image

    stream, picture = tmp_path / "a.stc", tmp_path / "face.png"
    stream.write_bytes(streams.stream(tiny_pack))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)).save(picture)

    def puppet() -> bytes:
        out = tmp_path / "puppet.stc"
        api.puppet(picture, stream, out, tiny_pack, "cpu", FixedFace())
        return out.read_bytes()

    plain = puppet()
    with used_generators(), default_dtype(torch.float64), torch.inference_mode():
        assert puppet() == plain


CHILD = """
import hashlib, sys
from pathlib import Path
import torch
from stylecodec.packs.store import open_pack
from tests.encoding.test_host_settings import HOSTS, encoded, options
torch.set_num_threads({threads})
with HOSTS["no gradients"](), HOSTS["bfloat16"]():
    print(hashlib.sha256(encoded(Path({source!r}), Path({folder!r}), options(open_pack({pack!r})))).hexdigest())
"""


def test_hash_seed_and_working_folder_do_not_matter(
    source: Path, tiny_pack: ModelPack, plain: bytes, tmp_path: Path
) -> None:
    """Another process, with another hash seed, in another folder, that has set torch otherwise."""
    root = Path(__file__).resolve().parents[2]
    given = {"source": str(source), "folder": str(tmp_path), "pack": str(tiny_pack.folder)}
    code = CHILD.format(threads=torch.get_num_threads(), **given)
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(plain).hexdigest()
