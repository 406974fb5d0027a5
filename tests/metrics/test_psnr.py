"""PSNR, of tensors and of 8-bit pictures, weighted and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.metrics.psnr import picture_psnr, psnr


def test_it_looks_only_where_the_weights_are() -> None:
    a, b, weight = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    weight[..., :4] = 1
    b[..., 4:] = 1
    assert float(psnr(a, b, weight)) == pytest.approx(100)
    b[..., :4] = 0.2
    assert float(psnr(a, b, weight)) == pytest.approx(20.0, abs=0.01)


def test_without_weights_all_pixels_count() -> None:
    a = torch.zeros(2, 3, 8, 8)
    b = a.clone()
    b[1] = 0.2
    assert psnr(a, b).tolist() == pytest.approx([100.0, 20.0], abs=0.01)
    assert float(psnr(a[:1] + 3, torch.ones(1, 3, 8, 8))) == pytest.approx(100)  # the output is clamped


def test_pictures_of_8_bits_agree_with_tensors() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    weight = rng.random((16, 16))
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (a, b))
    assert picture_psnr(a, b) == pytest.approx(float(psnr(x, y)), abs=1e-3)
    weighted = float(psnr(x, y, torch.from_numpy(weight)[None, None]))
    assert picture_psnr(a, b, weight) == pytest.approx(weighted, abs=1e-3)
