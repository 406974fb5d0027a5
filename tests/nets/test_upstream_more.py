"""Equality with published modules, continued: ReStyle on e4e, LPIPS, the flow under a packet's two angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylecodec.nets.lpips import Lpips
from stylecodec.nets.restyle import RestyleEncoder
from stylecodec.nets.styleflow import NEUTRAL_ATTRIBUTES, PUBLISHED_POSE, PUBLISHED_ROWS, PUBLISHED_SIGNS, HeadPoseFlow
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.store import embedded_pack
from stylecodec.packs.upstream import names as upstream_names
from tests.nets import seeded_weights as seeded
from tests.nets.test_upstream import ATTRIBUTES

VECTORS = np.load(Path(__file__).parent / "vectors" / "upstream_more_seed1.npz")


def close(ours: Tensor, name: str, limit: float) -> None:
    """The relative L2 distance from a stored array is below the limit."""
    theirs = VECTORS[name].astype(np.float64)
    assert tuple(ours.shape) == theirs.shape
    distance = np.linalg.norm(ours.double().numpy() - theirs) / np.linalg.norm(theirs)
    assert distance < limit, f"{name}: {distance:.2e}"


@torch.no_grad()
def test_restyle() -> None:
    """Two of upstream's iterations: average picture, codes, generator, codes."""
    with torch.device("meta"):
        net = RestyleEncoder().eval()
    net = net.to_empty(device="cpu")
    mean = seeded.draw("latent_avg", (512,))
    seeded.fill(net, prefix="encoder.")
    net.latent_avg.copy_(mean.expand(18, -1))
    shapes = {f"decoder.{name}": shape for name, shape in seeded.port_generator_shapes(1024).items()}
    state = upstream_names.under_prefix(seeded.state(shapes), "decoder.")
    ours = upstream_names.generator_from_port(state, mean)
    with torch.device("meta"):
        generator = Generator(**upstream_names.generator_settings(ours))
    generator.load_state_dict(ours, assign=True)
    x = seeded.picture("input.image", (1, 3, 256, 256))
    average = net.guess(net.latent_avg[None], generator)
    close(torch.nn.functional.avg_pool2d(average, 4)[0, :, ::4, ::4], "restyle_average_area64_q4", 2e-5)
    first = net.latent_avg + net(torch.cat([x, average], dim=1))
    close(first[0, :, ::16], "restyle_codes_1", 1e-4)
    second = first + net(torch.cat([x, net.guess(first, generator)], dim=1))
    close(second[0, :, ::16], "restyle_codes_2", 1e-3)


@pytest.mark.parametrize("iterations", [1, 3])
@torch.no_grad()
def test_restyle_goes_on_from_its_own_picture(iterations: int) -> None:
    net = RestyleEncoder((4, 4, 4, 8), (1, 1, 1, 1), 8, 6, 4, 4, input_size=32).eval()
    generator = Generator(16, {4: 4, 8: 4, 16: 4}, w_dim=8, z_dim=8, mapping_layers=1)
    seeded.fill(net, prefix="encoder.")
    x = seeded.picture("input.image", (2, 3, 32, 32))
    codes = net.latent_avg.expand(2, -1, -1)
    for _ in range(iterations):
        codes = codes + net(torch.cat([x, net.guess(codes, generator)], dim=1))
    torch.testing.assert_close(net.invert(x, generator, iterations), codes)


def pictures() -> tuple[Tensor, Tensor]:
    """Two pictures [2, 3, 256, 256] that differ by noise."""
    a, b = (seeded.picture(f"input.{name}", (2, 3, 256, 256)) for name in "ab")
    return a, (a + 0.25 * b).clamp(-1, 1)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips(trunk: str) -> None:
    net = Lpips(trunk).eval().requires_grad_(False)
    for name, parameter in net.features.named_parameters():
        parameter.copy_(seeded.draw(f"features.{name}", parameter.shape))
    for head, published in zip(net.heads, embedded_pack().lpips_heads().of(trunk), strict=True):
        head.copy_(published)
    a, b = pictures()
    shares = net.per_layer(a, b)
    close(shares, f"lpips_{trunk}_real_per_layer", 1e-5)
    close(shares.sum(dim=0), f"lpips_{trunk}_real_dist", 1e-5)
    if trunk == "alex":
        distance = net(a.requires_grad_(), b)
        (gradient,) = torch.autograd.grad(distance[0], a)
        close(gradient[0, :, ::8, ::8], "lpips_alex_real_grad_a_q8", 1e-3)
        close(net.spatial(a.detach(), b)[0, 0, ::8, ::8], "lpips_alex_real_spatial_q8", 1e-5)
        for k, head in enumerate(net.heads):
            head.copy_(seeded.draw(f"lin{k}.model.1.weight", (1, len(head), 1, 1)).reshape(-1))
        close(net(a.detach(), b), "lpips_alex_seeded_dist", 1e-5)
        assert float(net(b, b).abs().max()) == 0.0


def test_lpips_has_two_trunks() -> None:
    with pytest.raises(ValueError, match="alex, vgg"):
        Lpips("squeeze")


@pytest.fixture(scope="module")
def flow() -> HeadPoseFlow:
    """The published flow's form with seeded weights, under a packet's two angles."""
    net = HeadPoseFlow(neutral=NEUTRAL_ATTRIBUTES, pose=PUBLISHED_POSE, signs=PUBLISHED_SIGNS)
    net.load_state_dict(upstream_names.flow_from_styleflow(seeded.state(seeded.flow_shapes())))
    return net


@torch.no_grad()
def test_flow_there_and_back(flow: HeadPoseFlow) -> None:
    w, source = seeded.draw("input.wplus", (1, 18, 512)), torch.tensor([ATTRIBUTES])
    back = flow.reverse(flow(w, source), source)
    close(back[0, :, ::8], "flow_roundtrip", 1e-4)
    torch.testing.assert_close(back, w, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_neutral_attributes_stand_in_for_the_fifteen_that_a_packet_lacks(flow: HeadPoseFlow) -> None:
    """Yaw and pitch go to their places with upstream's signs; unmoved heads come back whatever the rest is."""
    pose = torch.tensor([[20.0, -10.0], [0.0, 0.0]])
    attributes = flow.attributes_at(pose)
    assert attributes[:, 11].tolist() == [-20.0, 0.0]
    assert attributes[:, 12].tolist() == [10.0, 0.0]
    others = [k for k in range(17) if k not in PUBLISHED_POSE]
    assert torch.equal(attributes[0, others], torch.tensor(NEUTRAL_ATTRIBUTES)[others])
    w = seeded.draw("input.wplus", (1, 18, 512))[:, :PUBLISHED_ROWS]
    z = flow(w, attributes[1:])
    torch.testing.assert_close(flow.reverse(z, attributes[1:]), w, rtol=1e-3, atol=1e-4)
    assert float((flow.reverse(z, attributes[:1]) - w).norm()) > 0.1


def test_a_flow_of_many_attributes_needs_neutral_ones() -> None:
    flow = HeadPoseFlow(8, [4], 17)
    with pytest.raises(ValueError, match="no neutral values"):
        flow.attributes_at(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="3 neutral values for 17"):
        HeadPoseFlow(8, [4], 17, neutral=[0.0] * 3)
    with pytest.raises(ValueError, match=r"stand at \[11, 17\]"):
        HeadPoseFlow(8, [4], 17, pose=(11, 17))
