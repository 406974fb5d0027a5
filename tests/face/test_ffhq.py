"""The FFHQ crop, pixel for pixel (vectors/README.md says what the vectors are)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL
import pytest

from stylecodec.errors import OptionError
from stylecodec.face.ffhq import ffhq_picture, prepare
from stylecodec.face.warp import Frame
from stylecodec.geometry import ffhq_quad
from tests.nets import seeded_weights as seeded

VECTORS = np.load(Path(__file__).parent / "vectors" / "ffhq_crop_seed1.npz")
CASES = {"rotated20": (900, 1200), "pad_corner": (700, 800), "shrink": (1500, 1700)}
SAME_PILLOW = int(PIL.__version__.split(".")[0]) == 13  # other versions may round differently


def source(case: str) -> Frame:
    pixels = seeded.picture(f"input.align.{case}", (1, 3, *CASES[case]))[0].double()
    return ((pixels + 1) * 127.5).floor().byte().permute(1, 2, 0).contiguous().numpy()


def agree(ours: Frame, theirs: Frame) -> None:
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= (0 if SAME_PILLOW else 1)


@pytest.mark.parametrize("case", CASES)
def test_geometry_and_e4es_picture(case: str) -> None:
    image, landmarks = source(case), VECTORS[f"{case}_landmarks"]
    np.testing.assert_allclose(ffhq_quad(landmarks), VECTORS[f"{case}_quad"], rtol=0, atol=1e-9)
    for name, size in (("ffhq", 1024), ("e4e256", 256)) if case != "shrink" else (("e4e256", 256),):
        quad = VECTORS[f"{case}_{name}_transform_quad"].reshape(-1)
        np.testing.assert_allclose(prepare(image, landmarks, size).quad, quad, rtol=0, atol=1e-9)
    agree(ffhq_picture(image, landmarks, 256)[::8, ::8], VECTORS[f"{case}_e4e256"])


def test_the_data_sets_and_ptis_pictures() -> None:
    case = "pad_corner"
    image, landmarks = source(case), VECTORS[f"{case}_landmarks"]
    agree(ffhq_picture(image, landmarks, 1024, 1024)[::32, ::32], VECTORS[f"{case}_pti1024"])
    agree(ffhq_picture(image, landmarks)[::32, ::32], VECTORS[f"{case}_ffhq1024"])


def test_sizes_that_make_no_sense() -> None:
    image, landmarks = np.zeros((64, 64, 3), np.uint8), VECTORS["shrink_landmarks"]
    for size, through in ((8, 8), (256, 128), (1024, 1 << 20)):
        with pytest.raises(OptionError, match="sides must be"):
            ffhq_picture(image, landmarks, size, through)
