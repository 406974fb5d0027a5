"""Shared fixtures. Heavy imports wait until a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stylecodec.packs.store import ModelPack


HERE = Path(__file__).parent
# What takes longest, the longest first: `pytest --durations=0` of a file says how long that is.
LONGEST = (
    "evaluation/test_evaluate.py",
    "test_ffhq_size.py",
    "evaluation/rd/test_run.py",
    "encoding/personalization/test_tuning.py",
    "encoding/test_host_settings.py",
    "corpora/test_ray.py",
    "test_embedded_pack.py",
    "corpora/test_interruptions.py",
    "encoding/motion/test_landmark_correction.py",
    "training/test_training.py",
    "test_faults.py",
    "nets/test_upstream_more.py",
    "encoding/paper/test_clip.py",
    "test_distributed.py",
    "corpora/test_benchmark.py",
    "corpora/test_local.py",
    "encoding/personalization/test_clip.py",
    "packs/upstream/test_importer.py",
    "encoding/identity/test_fitting.py",
    "encoding/test_people.py",
    "training/test_photos.py",
    "nets/test_upstream.py",
    "test_personal_api.py",
    "corpora/test_people.py",
    "corpora/test_run.py",
    "cli/test_pipes.py",
    "decoding/test_host.py",
    "test_vectors.py",
    "test_layers.py",
    "nets/test_judges.py",
    "test_benchmarks.py",
    "test_api.py",
    "training/test_heads.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With a file to a process (--dist loadfile), given out in this order, no long one begins when all else is done."""
    place = {HERE / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 alone do batches of any size give the same pictures to a level: for tests of which frames they are."""
    from stylecodec.decoding import render

    monkeypatch.setattr(render, "cpu_multiplies_bfloat16", lambda: False)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """A pack "tiny-1024" of random weights; treat it as read-only."""
    from tests.tiny import write_tiny_pack

    return write_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny-1024")


@pytest.fixture(scope="session")
def other_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """Another pack of the same name and other weights."""
    from tests.tiny import write_tiny_pack

    return write_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny-1024", seed=1)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 20 frames at 25 per second, 96x96, with a tone; no face in it."""
    from tests.tiny import write_clip

    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="module")
def one_detector() -> Iterator[None]:
    """dlib's face detector is built once for a module's tests and not for every aligner and judge, as it takes long."""
    from stylecodec.face import detect

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect.dlib, "get_frontal_face_detector", cache(detect.dlib.get_frontal_face_detector))
        yield


@pytest.fixture(scope="module")
def quick_rounding() -> Iterator[None]:
    """Streams are rounded by a coarse look at what shows, for tests of all else."""
    from tests.tiny import coarse_probes

    with coarse_probes():
        yield


@pytest.fixture
def quick_portraits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puppets of pictures whose latent is fitted in 4 steps in place of 80: for tests of the way there."""
    from stylecodec.encoding.identity import portrait

    monkeypatch.setattr(portrait, "PORTRAIT", replace(portrait.PORTRAIT, steps=4))
