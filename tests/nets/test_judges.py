"""The networks that FID, FVD and DISTS are defined by, against the published code on weights drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecodec.nets.dists import Dists, DistsHeads
from stylecodec.nets.i3d import FRAMES, SIDE, I3d
from stylecodec.nets.inception import FidInception
from stylecodec.nets.lpips import Lpips
from tests.nets.seeded_weights import draw, fill, picture

VECTORS = np.load(Path(__file__).parent / "vectors" / "judges_seed1.npz")


def close(found: Tensor, wanted: np.ndarray, bound: float) -> None:
    """Within a relative L2 distance."""
    assert found.shape == wanted.shape
    assert float(np.linalg.norm(found.numpy() - wanted) / np.linalg.norm(wanted)) < bound


@torch.no_grad()
def test_inception_is_that_of_the_fid() -> None:
    net = FidInception().eval()
    fill(net)
    close(net(picture("input.image", (2, 3, 128, 128)))[:, ::16], VECTORS["inception"], 1e-5)


@torch.no_grad()
def test_i3d_is_the_published_one() -> None:
    net = I3d().eval()
    fill(net)
    frames = [picture(f"input.frame{k}", (1, 3, SIDE, SIDE))[0] for k in range(FRAMES)]
    close(net(torch.stack(frames, dim=1)[None])[0, ::4], VECTORS["i3d"], 1e-5)


def dists() -> Dists:
    """Seeded."""
    trunk, heads = Lpips("vgg").eval(), DistsHeads()
    fill(trunk, "lpips.")
    with torch.no_grad():
        heads.alpha.copy_(draw("alpha", (1475,)).abs())
        heads.beta.copy_(draw("beta", (1475,)).abs())
    return Dists(trunk, heads)


@torch.no_grad()
def test_dists_is_the_published_one() -> None:
    a, b = picture("input.a", (2, 3, 96, 96)), picture("input.b", (2, 3, 96, 96))
    net = dists()
    close(net(a, b), VECTORS["dists"], 1e-5)
    assert net(a, a).abs().max() < 1e-6


def test_dists_wants_vgg() -> None:
    with pytest.raises(ValueError, match="VGG-16"):
        Dists(Lpips("alex"), DistsHeads())
