"""The torch generator against a literal float64 implementation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.nets.ops import conv_up, upsample_rgb
from stylecodec.nets.stylegan2 import Generator
from tests.nets import numpy_stylegan2 as reference

CHANNELS = {4: 8, 8: 6, 16: 5}


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|."""
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A tiny generator with every parameter random, so that no term vanishes."""
    torch.manual_seed(3)
    net = Generator(16, CHANNELS, w_dim=7, z_dim=9, mapping_layers=3)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return net.eval()


def numpy_state(net: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its tensors as float64 arrays."""
    return {name: tensor.double().numpy() for name, tensor in net.state_dict().items()}


def test_mapping(generator: Generator) -> None:
    z = torch.randn(4, 9)
    ours = generator.mapping(z).detach().numpy()
    theirs = np.stack([reference.mapping(numpy_state(generator), v, 3, 0.01) for v in z.double().numpy()])
    assert relative(ours, theirs) < 1e-6


@pytest.mark.parametrize("scatter", [True, False], ids=["scatter", "zero-insert"])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_every_skip_sum(generator: Generator, scatter: bool, noise: bool, clamp: float | None) -> None:
    wplus = torch.randn(2, generator.rows, 7)
    generator.conv_clamp = clamp
    with torch.no_grad():
        ours = generator.synthesis(generator.styles(wplus), noise=noise, pyramid=True)
    generator.conv_clamp = None
    for sample in range(2):
        code = wplus[sample].double().numpy()
        theirs = reference.generate(numpy_state(generator), code, 3, noise, clamp, scatter)
        assert [level.shape for level in theirs] == [(3, 4, 4), (3, 8, 8), (3, 16, 16)]
        for a, b in zip(ours, theirs, strict=True):
            assert relative(a[sample].numpy(), b) < 2e-6


def test_up_convolution() -> None:
    weight, x = torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.randn(2, 4, 6, 7, dtype=torch.float64)
    expected = reference.up_conv_zeros(x[0].numpy(), weight.numpy())
    np.testing.assert_allclose(conv_up(x, weight)[0].numpy(), expected, atol=1e-12)


def test_rgb_upsampling() -> None:
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    np.testing.assert_allclose(upsample_rgb(x)[1].numpy(), reference.upsample_rgb(x[1].numpy()), atol=1e-12)
