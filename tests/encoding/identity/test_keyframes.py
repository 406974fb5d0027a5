"""The frames that differ most, of a clip of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.encoding.differentiable import CodeUnits
from stylecodec.encoding.frames import FrameCodes
from stylecodec.encoding.identity.keyframes import Keyframes
from stylecodec.packs.store import ModelPack

CPU = torch.device("cpu")
CROP = np.zeros((256, 256, 3), np.uint8)


@pytest.fixture(scope="module")
def units(tiny_pack: ModelPack) -> CodeUnits:
    return CodeUnits(tiny_pack, CPU)


def kept(units: CodeUnits, places: np.ndarray, count: int, batch: int = 7) -> list[int]:
    """Numbers of the frames kept of codes [n, 34] in units."""
    keyframes = Keyframes(units, count)
    pose, alpha = (value.numpy() for value in units.split(torch.from_numpy(places.astype(np.float32))))
    for start in range(0, len(places), batch):
        part = slice(start, start + batch)
        n = len(pose[part])
        codes = FrameCodes(np.zeros((n, 18, 512), np.float16), pose[part], alpha[part])
        keyframes.offer(range(start, start + n), [CROP] * n, codes)
    return [one.frame for one in keyframes.kept()]


def calm(count: int) -> np.ndarray:
    return 0.05 * np.random.default_rng(0).standard_normal((count, 34))


def test_what_happens_once_is_kept(units: CodeUnits) -> None:
    places = calm(400)
    for k, frame in enumerate((5, 123, 399)):
        places[frame, 4 + k] += 2.0
    assert set(kept(units, places, 5)) >= {5, 123, 399}


def test_of_two_alike_one_is_kept(units: CodeUnits) -> None:
    places = calm(60)
    places[[10, 11, 40], 3] += 3.0
    places[20, 7] += 3.0
    found = kept(units, places, 3)
    assert 20 in found
    assert len(set(found) & {10, 11, 40}) == 1


def test_the_batch_does_not_matter(units: CodeUnits) -> None:
    places = np.random.default_rng(1).standard_normal((90, 34))
    assert kept(units, places, 6, batch=1) == kept(units, places, 6, batch=64)


@pytest.mark.parametrize(("frames", "count", "held"), [(4, 12, 4), (30, 1, 1), (30, 30, 30)])
def test_no_more_than_asked_for(units: CodeUnits, frames: int, count: int, held: int) -> None:
    assert len(kept(units, calm(frames), count)) == held


def test_crops_outlive_their_batch(units: CodeUnits) -> None:
    keyframes, crop = Keyframes(units, 2), CROP.copy()
    codes = FrameCodes(np.zeros((1, 18, 512), np.float16), np.zeros((1, 2), np.float32), np.zeros((1, 32), np.float32))
    keyframes.offer([3], [crop], codes)
    crop += 9
    codes.alpha[:] = 1.0
    (one,) = keyframes.kept()
    assert one.crop.max() == 0
    assert one.alpha.max() == 0
