"""Identity, encoder, parser and landmark nets at narrow widths: shapes, gradients, bf16, determinism."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stylecodec.nets.e4e import E4eEncoder
from stylecodec.nets.feedforward import HybridEncoder
from stylecodec.nets.identity import IdentityNet
from stylecodec.nets.landmarks import LandmarkNet
from stylecodec.nets.parsing import BiSeNet
from stylecodec.packs.upstream import names as upstream_names

Case = tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]


def identity() -> nn.Module:
    return IdentityNet([4, 6, 8], [1, 2, 1], embedding=5, input_size=36, crop=None, reduction=2)


def identity_fast() -> nn.Module:
    return IdentityNet([4, 6], [1, 1], embedding=5, input_size=32, stem_stride=2)


def encoder() -> nn.Module:
    return E4eEncoder([4, 4, 6, 8], [1, 1, 2, 1], style_dim=7, rows=9, head_width=5, input_size=64)


def encoder_fast() -> nn.Module:
    return E4eEncoder([4, 4, 6, 8], [1, 1, 1, 1], style_dim=7, rows=18, head_width=5, stem_stride=2, input_size=64)


def parser() -> nn.Module:
    return BiSeNet([4, 6, 8, 10], [1, 2, 1, 1], context=6, fusion=7, classes=19)


def landmarks() -> nn.Module:
    return LandmarkNet(points=11, widths=[4, 6, 8, 10], blocks=[1, 0, 2], head=9, input_size=64)


CASES: dict[str, Case] = {
    "identity": (identity, (3, 3, 36, 36), (3, 5)),
    "identity-fast": (identity_fast, (3, 3, 32, 32), (3, 5)),
    "e4e": (encoder, (3, 3, 64, 64), (3, 9, 7)),
    "e4e-fast": (encoder_fast, (3, 3, 64, 64), (3, 18, 7)),
    "parsing": (parser, (3, 3, 64, 96), (3, 19, 64, 96)),
    "landmarks": (landmarks, (3, 3, 64, 64), (3, 11, 2)),
    "landmarks-other-size": (landmarks, (3, 3, 96, 96), (3, 11, 2)),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, tuple[int, ...]]:
    build, shape, wanted = request.param
    torch.manual_seed(1)
    return build(), torch.rand(shape) * 2 - 1, wanted


def test_shapes_and_gradients(case: tuple[nn.Module, Tensor, tuple[int, ...]]) -> None:
    net, x, wanted = case
    y = net.train()(x.requires_grad_())
    assert tuple(y.shape) == wanted
    (y * torch.randn_like(y)).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.abs().sum() > 0)
    auxiliary = ("conv_out16", "conv_out32")
    for name, parameter in net.named_parameters():
        if not name.startswith(auxiliary):
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name


def test_bf16_autocast_and_pure_evaluation(case: tuple[nn.Module, Tensor, tuple[int, ...]]) -> None:
    net, x, wanted = case
    for _ in range(3):
        net.train()(x)  # settle the running statistics
    net.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        whole, single = net(x), net(x[1:2])
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(x)
    assert tuple(rough.shape) == wanted
    torch.testing.assert_close(whole[1:2], single, rtol=1e-4, atol=1e-5)
    assert bool((rough.float() - whole).norm() < 0.1 * whole.norm())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        net(x).float().sum().backward()


def test_identity_vectors_are_unit_and_sizes_are_checked() -> None:
    net = identity().eval()
    assert isinstance(net, IdentityNet)
    with torch.no_grad():
        vectors = net.embed_aligned(torch.rand(2, 3, 256, 256))
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
        with pytest.raises(ValueError, match="36x36"):
            net(torch.rand(1, 3, 40, 40))


def test_identity_crop_follows_the_size_of_the_picture() -> None:
    net = IdentityNet([4], [1], embedding=3, input_size=112)
    x = torch.zeros(1, 3, 256, 256)
    x[:, :, 35:223, 32:220] = 1
    assert net.prepare(x).shape == (1, 3, 112, 112)
    assert bool((net.prepare(x) == 1).all())
    large = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert bool((net.prepare(large) == 1).all())


def test_encoder_rows_are_the_first_vector_plus_deltas() -> None:
    net = encoder().eval()
    assert isinstance(net, E4eEncoder)
    net.latent_avg.normal_()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        deltas, rows = net.deltas(x), net(x)
    torch.testing.assert_close(rows[:, 0], deltas[:, 0] + net.latent_avg[0])
    torch.testing.assert_close(rows[:, 4], deltas[:, 0] + deltas[:, 4] + net.latent_avg[4])
    with pytest.raises(ValueError, match="64x64"):
        net(torch.rand(1, 3, 32, 32))


def test_encoder_loads_a_published_layout() -> None:
    net = encoder()
    state = {f"encoder.{k}": v for k, v in net.state_dict().items() if k != "latent_avg"}
    other = encoder()
    other.load_state_dict(upstream_names.encoder_from_e4e(state, torch.arange(7.0)))
    torch.testing.assert_close(other.get_buffer("latent_avg"), torch.arange(7.0).expand(9, 7))


def test_parser_main_is_the_first_of_all_logits() -> None:
    net = parser().eval()
    assert isinstance(net, BiSeNet)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        maps = net.all_logits(x)
        assert [tuple(m.shape) for m in maps] == [(1, 19, 64, 64)] * 3
        torch.testing.assert_close(maps[0], net(x))


def test_landmarks_read_the_heatmap_in_crop_units() -> None:
    """A heatmap with all its weight in one cell puts the point at that cell's centre, with no spread."""
    net = landmarks().eval()
    assert isinstance(net, LandmarkNet)
    features = torch.zeros(1, 9, 16, 16)
    features[0, 0, 3, 12] = 1000.0
    nn.init.zeros_(net.heatmap.weight)
    with torch.no_grad():
        net.heatmap.weight[:, 0] = 1.0
        net.features = lambda x: features  # type: ignore[method-assign]
        points, spread = net.locate(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(points, torch.tensor([12.5 / 16, 3.5 / 16]).expand(1, 11, 2))
    assert bool((spread < 1e-3).all())


def test_landmarks_learn_a_dot() -> None:
    """Sixty steps on a bright dot: the mean error falls below a third of that of the best constant."""
    torch.manual_seed(0)
    net = LandmarkNet(points=1, widths=[6, 8, 10, 12], blocks=[1, 1, 1], head=8, input_size=32)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    grid = (torch.arange(32) + 0.5) / 32
    for _ in range(60):
        target = torch.rand(16, 1, 2) * 0.8 + 0.1
        apart = (grid[None, :] - target[:, 0, 0, None]).square()[:, None, :]
        down = (grid[None, :] - target[:, 0, 1, None]).square()[:, :, None]
        x = (torch.exp(-(apart + down) / 0.01) * 2 - 1)[:, None].expand(-1, 3, -1, -1)
        error = (net(x) - target).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert float(error.detach()) < 0.2 / 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: IdentityNet([4, 6], [1]),
        lambda: E4eEncoder([4, 6, 8], [1, 1, 1]),
        lambda: E4eEncoder(input_size=100),
        lambda: LandmarkNet(widths=[4, 6], blocks=[1, 1]),
    ],
)
def test_impossible_settings_are_refused(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"stages|block counts|multiple"):
        build()


def test_a_window_sees_its_own_part_of_the_crop_alone() -> None:
    torch.manual_seed(3)
    encoder = HybridEncoder(widths=[8, 8, 8, 8], features=16, rank=4, shrink=2, windows=[[80, 64, 64, 128]]).eval()
    x = torch.rand(1, 3, 256, 256)
    outside, inside = x.clone(), x.clone()
    outside[:, :, :80] = 0
    inside[:, :, 100, 100] = 0
    (window,) = encoder.windows
    with torch.no_grad():
        seen = window(x)
        assert torch.equal(window(outside), seen)
        assert not torch.equal(window(inside), seen)
        code = encoder(x)
    assert (code.pose.shape, code.alpha.shape) == ((1, 2), (1, 32))
    assert encoder.motion_size == 16 + 192
