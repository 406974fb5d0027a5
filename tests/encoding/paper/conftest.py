"""The tiny pack with the networks that the paper preset asks for: inversion, face parser, identity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecodec.nets.e4e import E4eEncoder
from stylecodec.nets.identity import IdentityNet
from stylecodec.nets.parsing import BiSeNet
from stylecodec.packs.store import ModelPack
from stylecodec.packs.writing import NetworkSource, write_pack
from tests.tiny import TINY_INDICES, tiny_networks

E4E = {"widths": [4, 4, 4, 4], "units": [1, 1, 1, 1], "head_width": 4, "stem_stride": 4, "coarse": 18, "middle": 0}
IDENTITY = {"widths": [4, 4, 4, 4], "units": [1, 1, 1, 1], "embedding": 8, "crop": None, "stem_stride": 2}
PARSER = {"classes": 19, "widths": [4, 4, 4, 4], "blocks": [1, 1, 1, 1], "context": 4, "fusion": 4}


def paper_networks() -> dict[str, NetworkSource]:
    """Random inversion, identity and parser networks of small widths."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return {
            "inversion": NetworkSource(E4eEncoder(**E4E), E4E),  # type: ignore[arg-type]
            "identity": NetworkSource(IdentityNet(**IDENTITY), IDENTITY),  # type: ignore[arg-type]
            "parser": NetworkSource(BiSeNet(**PARSER), PARSER),  # type: ignore[arg-type]
        }


def write_paper_pack(folder: Path) -> ModelPack:
    networks = {**tiny_networks(3), **paper_networks()}
    del networks["feedforward"]  # nobody has one for published networks
    return write_pack(folder, networks, name="paper-1024", resolution=1024, indices=TINY_INDICES)


@pytest.fixture(scope="session")
def paper_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """Random weights; treat it as read-only."""
    return write_paper_pack(tmp_path_factory.mktemp("packs") / "paper-1024")
