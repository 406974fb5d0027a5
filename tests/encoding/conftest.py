"""What tests of corrections stand on: the avatar, its average face, codes that are known to lack what a face does."""

from __future__ import annotations

import numpy as np
import pytest

from stylecodec.packs.store import ModelPack, open_pack


@pytest.fixture(scope="session")
def avatar() -> ModelPack:
    """The embedded pack; treat it as read-only."""
    return open_pack("avatar-1024")


@pytest.fixture(scope="session")
def average(avatar: ModelPack) -> np.ndarray:
    """Its average face's latent, fp16 [18, 512]."""
    return avatar.generator("cpu").mapping.w_avg.expand(18, -1).numpy().astype(np.float16)


def nodding(count: int) -> np.ndarray:
    """Packets fp16 [count, 35]: a face that nods and does nothing else."""
    rows = np.zeros((count, 35), np.float16)
    rows[:, 1] = np.linspace(-3, 3, count)
    return rows
