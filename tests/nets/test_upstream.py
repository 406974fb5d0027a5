"""Equality with the published modules, on random weights (vectors/README.md says what the vectors are)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stylecodec.nets.e4e import E4eEncoder
from stylecodec.nets.identity import IdentityNet
from stylecodec.nets.parsing import BiSeNet
from stylecodec.nets.styleflow import HeadPoseFlow
from stylecodec.nets.stylegan2 import Generator
from stylecodec.nets.stylespace import apply_offsets
from stylecodec.packs.upstream import names as upstream_names
from tests.nets import seeded_weights as seeded

VECTORS = np.load(Path(__file__).parent / "vectors" / "upstream_seed1.npz")
EDIT = ((6, 501), (9, 409), (4, 17))
PATCH = slice(112, 136)
ATTRIBUTES = [0.85, -0.15, 0.28, -0.04, -0.02, -0.01, -0.16, -0.005, 0.12, 1, 0, 2.7, 6.5, 0.03, 0.4, 34, 0.347]


def close(ours: Tensor, name: str, limit: float) -> None:
    """The relative L2 distance from a stored array is below the limit."""
    theirs = VECTORS[name].astype(np.float64)
    assert tuple(ours.shape) == theirs.shape
    distance = np.linalg.norm(ours.double().numpy() - theirs) / np.linalg.norm(theirs)
    assert distance < limit, f"{name}: {distance:.2e}"


def load_generator(state: dict[str, Tensor]) -> Generator:
    net = Generator(**upstream_names.generator_settings(state))
    net.load_state_dict(state)
    return net.eval()


def codes() -> tuple[Tensor, Tensor]:
    """z [2, 512] and the first sample of W+ [1, 14, 512]."""
    return seeded.draw("input.z", (2, 512)), seeded.draw("input.wplus", (2, 14, 512))[:1]


@pytest.fixture(scope="module")
def port() -> Generator:
    """The 256x256 generator in the naming of the PyTorch port."""
    state = seeded.state(seeded.port_generator_shapes(256))
    return load_generator(upstream_names.generator_from_port(state, seeded.draw("latent_avg", (512,))))


@torch.no_grad()
def test_generator_in_the_naming_of_the_port(port: Generator) -> None:
    assert port.layout.size == 8704
    z, wplus = codes()
    close(port.mapping(z)[0], "port_w", 1e-5)
    styles = port.styles(wplus)
    close(torch.cat(styles, dim=1)[0, ::16], "port_styles", 1e-5)
    image = port.synthesis(styles)
    close(image[0, :, PATCH, PATCH], "port_const", 1e-5)
    close(F.avg_pool2d(image, 16)[0], "port_const_area16", 1e-5)


@torch.no_grad()
def test_generator_with_edited_styles(port: Generator) -> None:
    edited = apply_offsets(port.styles(codes()[1]), EDIT, torch.tensor([[10.0, -4.0, 3.0]]))
    close(F.avg_pool2d(port.synthesis(edited), 16)[0], "port_edit_area16", 1e-5)


@torch.no_grad()
def test_generator_in_nvidias_naming() -> None:
    state = seeded.state(seeded.nvidia_generator_shapes(256))
    net = load_generator(upstream_names.generator_from_nvidia(state))
    z, wplus = codes()
    close(net.mapping(z)[0], "nvidia_w", 1e-5)
    styles = net.styles(wplus)
    close(torch.cat(styles, dim=1)[0, ::16], "nvidia_styles", 1e-5)
    net.conv_clamp = 0.5
    close(net.synthesis(styles)[0, :, PATCH, PATCH], "nvidia_clamp", 1e-5)


@torch.no_grad()
def test_identity() -> None:
    net = IdentityNet().eval()
    seeded.fill(net)
    close(net(seeded.picture("input.image", (2, 3, 112, 112))), "identity_112", 2e-5)
    close(net.embed_aligned(seeded.picture("input.image", (2, 3, 256, 256))), "identity_crop", 2e-5)


@torch.no_grad()
def test_parsing() -> None:
    net = BiSeNet().eval()
    seeded.fill(net)
    main, aux16, aux32 = net.all_logits(seeded.picture("input.image", (2, 3, 512, 512))[:1])
    close(main[0, :, ::32, ::32], "parsing_main", 1e-5)
    close(aux16[0, :, ::64, ::64], "parsing_16", 1e-5)
    close(aux32[0, :, ::64, ::64], "parsing_32", 1e-5)


@torch.no_grad()
def test_e4e() -> None:
    with torch.device("meta"):
        net = E4eEncoder().eval()
    net = net.to_empty(device="cpu")
    seeded.fill(net, prefix="encoder.")
    codes = net.deltas(seeded.picture("input.image", (2, 3, 256, 256))[:1])
    net.latent_avg.zero_()
    close(net.compose(codes)[0, :, ::16], "e4e_codes", 1e-5)


@torch.no_grad()
def test_flow() -> None:
    net = HeadPoseFlow()
    net.load_state_dict(upstream_names.flow_from_styleflow(seeded.state(seeded.flow_shapes())))
    w, source = seeded.draw("input.wplus", (1, 18, 512)), torch.tensor([ATTRIBUTES])
    target = source.clone()
    target[0, 11] = 20.0  # yaw in degrees
    close(net.field(0.37, net.norm_in(w), source)[0, :, ::8], "flow_field", 1e-5)
    z = net(w, source)
    close(z[0, :, ::8], "flow_z", 1e-4)
    close(net.reverse(z, target)[0, :, ::8], "flow_edit", 1e-4)
