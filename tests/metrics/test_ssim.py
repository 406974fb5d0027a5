"""The differentiable SSIM against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from stylecodec.metrics.ssim import STRIDE, WINDOW, ssim_map, windows


def test_ssim_agrees_with_the_reference() -> None:
    rng = torch.Generator().manual_seed(1)
    a = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1
    b = (a + 0.4 * torch.randn(a.shape, generator=rng)).clamp(-1, 1)
    found = ssim_map(a, b)
    assert found.shape == (1, 1, 15, 15) == windows(a[:, :1]).shape
    x, y = (t[0].permute(1, 2, 0).double().numpy() for t in (a, b))
    manner = {"channel_axis": 2, "data_range": 2.0, "win_size": WINDOW - 1, "use_sample_covariance": False}
    _, reference = structural_similarity(x, y, full=True, **manner)  # type: ignore[no-untyped-call]
    assert float(found.mean()) == pytest.approx(float(reference[4:-4:STRIDE, 4:-4:STRIDE].mean()), abs=0.02)


def test_ssim_is_one_for_equals_and_has_a_gradient() -> None:
    a = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert np.allclose(ssim_map(a, a), 1.0)
    b = (a * 0.5).requires_grad_()
    ssim_map(b, a).mean().backward()  # type: ignore[no-untyped-call]
    assert b.grad is not None
    better = b.detach() + 0.01 * b.grad.sign()
    assert float(ssim_map(better, a).mean()) > float(ssim_map(b.detach(), a).mean())
