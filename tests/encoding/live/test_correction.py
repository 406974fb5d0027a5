"""The landmark correction of one frame after another, held against that of a clip."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import FrameCodes, Motion, to_input
from stylecodec.encoding.live import correction
from stylecodec.encoding.live.correction import CausalCorrection
from stylecodec.encoding.motion.landmark_correction import correct_by_landmarks
from stylecodec.encoding.options import LandmarkCorrectionOptions
from stylecodec.metrics.landmark_features import FeatureReader
from stylecodec.packs.store import ModelPack
from tests.encoding.conftest import nodding

CPU = torch.device("cpu")
OPTIONS = LandmarkCorrectionOptions(precision="float32", frames=1, side=64)
COUNT = 6


@pytest.fixture(scope="module")
def crops(avatar: ModelPack, average: np.ndarray) -> list[np.ndarray]:
    """The avatar with other α than the codes have."""
    renderer = DifferentiableRenderer(avatar, CPU)
    units = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (COUNT, 34)).astype(np.float32))
    anchor = renderer.anchor(torch.from_numpy(average.astype(np.float32)))
    with torch.no_grad():
        pictures = renderer.render(anchor, units, 256).clamp(-1, 1)
    return list(((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())


def one(rows: np.ndarray, k: int) -> FrameCodes:
    return Motion(rows[k : k + 1]).codes([0])


def test_the_last_frame_is_corrected_as_in_a_clip(
    avatar: ModelPack, average: np.ndarray, crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correction, "LEARNT_FRAMES", COUNT)
    rows = nodding(COUNT)
    live = CausalCorrection(average, avatar, CPU, OPTIONS)
    found = [live(crop, one(rows, k)) for k, crop in enumerate(crops)]
    for k in range(COUNT - 1):  # nothing is known of the person yet
        assert np.array_equal(found[k].alpha, one(rows, k).alpha)
    features = FeatureReader(avatar, CPU)(to_input(crops, CPU)).numpy()
    wanted = correct_by_landmarks(Motion(rows), features, average, avatar, CPU, OPTIONS, 0.0).packets
    moved = np.abs(wanted[-1].astype(np.float32) - rows[-1].astype(np.float32))
    assert moved[3:].max() > 0.05
    assert np.allclose(found[-1].alpha[0], wanted[-1, 3:], atol=0.01 * moved[3:].max() + 1e-3)
    assert np.allclose(found[-1].pose[0], wanted[-1, :2], atol=0.01)


class Never:
    """An executor that has not come to it."""

    def submit(self, call: Any, *arguments: Any) -> Future[Any]:
        return Future()


def test_until_the_jacobian_is_there_codes_stay(
    avatar: ModelPack, average: np.ndarray, crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correction, "LEARNT_FRAMES", 2)
    live = CausalCorrection(average, avatar, CPU, OPTIONS, Never())  # type: ignore[arg-type]
    for k, crop in enumerate(crops[:4]):
        assert np.array_equal(live(crop, one(nodding(COUNT), k)).alpha, one(nodding(COUNT), k).alpha)
