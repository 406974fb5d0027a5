"""Both forms of SSIM against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from stylecodec.metrics.ssim import STRIDE, WINDOW, mean_ssim, picture_ssim, ssim_map, windows


def test_ssim_agrees_with_the_reference() -> None:
    rng = torch.Generator().manual_seed(1)
    a = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1
    b = (a + 0.4 * torch.randn(a.shape, generator=rng)).clamp(-1, 1)
    found = ssim_map(a, b)
    assert found.shape == (1, 1, 15, 15) == windows(a[:, :1]).shape
    x, y = (t[0].permute(1, 2, 0).double().numpy() for t in (a, b))
    options = {"channel_axis": 2, "data_range": 2.0, "win_size": WINDOW - 1, "use_sample_covariance": False}
    _, reference = structural_similarity(x, y, full=True, **options)  # type: ignore[no-untyped-call]
    assert float(found.mean()) == pytest.approx(float(reference[4:-4:STRIDE, 4:-4:STRIDE].mean()), abs=0.02)


def test_ssim_is_one_for_equals_and_has_a_gradient() -> None:
    a = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert np.allclose(ssim_map(a, a), 1.0)
    b = (a * 0.5).requires_grad_()
    ssim_map(b, a).mean().backward()  # type: ignore[no-untyped-call]
    assert b.grad is not None
    better = b.detach() + 0.01 * b.grad.sign()
    assert float(ssim_map(better, a).mean()) > float(ssim_map(b.detach(), a).mean())


def test_the_papers_window_agrees_with_the_reference() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (40, 48, 3), np.uint8)
    b = np.clip(a + rng.normal(0, 40, a.shape), 0, 255).astype(np.uint8)
    options = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "full": True}
    value, reference = structural_similarity(a, b, use_sample_covariance=False, **options)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(picture_ssim(a, b), reference.mean(axis=2), atol=1e-9)
    assert mean_ssim(a, b) == pytest.approx(value, abs=1e-9)


def test_it_tells_where_pictures_differ() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    assert mean_ssim(picture, picture) == pytest.approx(1.0)
    other, upper = picture.copy(), np.zeros((32, 32))
    other[:8], upper[:4] = 0, 1
    assert mean_ssim(picture, other) < 0.9
    assert mean_ssim(picture, other, upper) < 0.1
    assert picture_ssim(picture, other)[20:].min() > 0.99
