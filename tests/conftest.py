"""Shared fixtures: a tiny random model pack that keeps every size the stream fixes (18 rows, 512, 1024²)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecodec.geometry import Alignment
from stylecodec.nets.feedforward import HybridEncoder
from stylecodec.nets.styleflow import HeadPoseFlow
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.card import Pose
from stylecodec.packs.store import ModelPack
from stylecodec.packs.writing import NetworkSource, write_pack

TINY_CHANNELS = {"4": 4, "8": 4, "16": 4, "32": 4, "64": 4, "128": 2, "256": 2, "512": 1, "1024": 1}
TINY_INDICES = tuple((layer, channel) for layer in (2, 3, 5, 6, 8, 9, 11, 12) for channel in range(4))
GENERATOR_PARAMS = {"resolution": 1024, "channels": TINY_CHANNELS, "mapping_layers": 1, "normalize_z": False}
FLOW_PARAMS = {"hidden": [8], "attributes": 2, "attribute_scale": [30.0, 20.0], "steps": 2}
FEEDFORWARD_PARAMS = {"widths": [4, 4, 4, 4, 4], "features": 16}


def tiny_networks(seed: int = 0) -> dict[str, NetworkSource]:
    """Random networks of the smallest useful widths; the feed-forward heads differ from frame to frame."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(**GENERATOR_PARAMS)  # type: ignore[arg-type]
        flow = HeadPoseFlow(**FLOW_PARAMS)  # type: ignore[arg-type]
        feedforward = HybridEncoder(**FEEDFORWARD_PARAMS)  # type: ignore[arg-type]
    return {
        "generator": NetworkSource(generator, GENERATOR_PARAMS, licence="MIT"),
        "flow": NetworkSource(flow, FLOW_PARAMS),
        "feedforward": NetworkSource(feedforward, FEEDFORWARD_PARAMS),
    }


def write_tiny_pack(folder: Path, seed: int = 0, name: str = "tiny-1024") -> ModelPack:
    return write_pack(
        folder,
        tiny_networks(seed),
        name=name,
        version="0.0",
        licence="MIT",
        resolution=1024,
        indices=TINY_INDICES,
        alignment=Alignment(1.08, 0.035),
        pose=Pose(rows=9, yaw=(-40.0, 40.0), pitch=(-22.0, 22.0)),
        training={"made_by": "tests/conftest.py", "seed": seed},
    )


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """A pack "tiny-1024" of random weights; treat it as read-only."""
    return write_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny-1024")


@pytest.fixture(scope="session")
def other_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """Another pack of the same name and other weights."""
    return write_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny-1024", seed=1)
