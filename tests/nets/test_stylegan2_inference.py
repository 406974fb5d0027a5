"""The generator's fast form (factors folded into the weights, maps changed in place) against the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from stylecodec.nets import stylegan2
from stylecodec.nets.ops import conv_up, upsample_rgb
from stylecodec.nets.picture_conv import interleaved, up_phases
from stylecodec.nets.stylegan2 import Generator
from stylecodec.nets.stylespace import apply_offsets

CHANNELS = {4: 8, 8: 8, 16: 6, 32: 6, 64: 5}


def build(clamp: float | None = None) -> Generator:
    """Every parameter random, so that no term vanishes."""
    torch.manual_seed(5)
    net = Generator(64, CHANNELS, w_dim=7, z_dim=9, mapping_layers=1, conv_clamp=clamp)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(False)
        if name.endswith(("bias", "noise_strength")):
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return net.eval()


def random_styles(net: Generator, count: int) -> list[Tensor]:
    return net.styles(torch.randn(count, net.rows, 7))


def relative(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_every_skip_sum_is_that_of_the_plain_form(count: int, noise: bool, clamp: float | None) -> None:
    net = build(clamp)
    styles = random_styles(net, count)
    plain = net.synthesis(styles, noise=noise, pyramid=True)
    kept = [style.clone() for style in styles]
    quick = net.synthesis(styles, noise=noise, pyramid=True, reference=False)
    with torch.inference_mode():
        again = net.synthesis(styles, noise=noise, pyramid=True, reference=False)
    for a, b, c in zip(plain, quick, again, strict=True):
        assert relative(b, a) < 1e-5
        assert torch.equal(b, c)
    assert all(torch.equal(a, b) for a, b in zip(styles, kept, strict=True))


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strips_join_without_seams(
    monkeypatch: pytest.MonkeyPatch, noise: bool, clamp: float | None, dtype: torch.dtype
) -> None:
    net = build(clamp)
    styles = random_styles(net, 1)
    plain = net.synthesis(styles, noise=noise)
    with torch.no_grad():
        whole = net.synthesis(styles, noise=noise, dtype=dtype, reference=False)
        monkeypatch.setattr(stylegan2, "STRIP_BYTES", 1)
        monkeypatch.setattr(Generator, "grow", only_below(64, Generator.grow))
        strips = net.synthesis(styles, noise=noise, dtype=dtype, reference=False)
    assert relative(strips, whole) < (1e-5 if dtype == torch.float32 else 1e-2)
    assert relative(strips, plain) < (1e-5 if dtype == torch.float32 else 5e-2)


def only_below(limit: int, grow):  # type: ignore[no-untyped-def]
    """`grow` that refuses the blocks which strips should have taken."""

    def checked(self: Generator, size: int, *rest: object) -> object:
        assert size < limit
        return grow(self, size, *rest)

    return checked


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_no_worse_than_the_plain_form(dtype: torch.dtype) -> None:
    net = build()
    styles = random_styles(net, 1)
    exact, plain = net.synthesis(styles), net.synthesis(styles, dtype=dtype)
    quick = net.synthesis(styles, dtype=dtype, reference=False)
    assert quick.dtype == torch.float32
    assert relative(quick, exact) < 1.5 * relative(plain, exact)


def test_the_maps_given_to_grow_stay_as_they_are() -> None:
    net = build()
    for count in (1, 2):
        styles = random_styles(net, count)
        with torch.no_grad():
            x, image = net.seed(count), None
            for size in net.resolutions:
                before = x.clone(), None if image is None else image.clone()
                after = net.grow(size, x, image, styles, noise=True, reference=False)
                assert torch.equal(x, before[0])
                assert image is None or torch.equal(image, before[1])
                x, image = after


@pytest.mark.parametrize("reference", [True, False])
def test_windows_of_one_picture(reference: bool) -> None:
    """A window of the maps gives that window of the result, away from its edges."""
    net = build()
    styles = random_styles(net, 1)
    with torch.no_grad():
        x, image = net.seed(1), None
        for size in (4, 8, 16, 32):
            x, image = net.grow(size, x, image, styles, False, reference)
        assert image is not None
        whole = net.grow(64, x, image, styles, False, reference)[1]
        part = net.grow(64, x[:, :, 4:20, 8:28], image[:, :, 4:20, 8:28], styles, False, reference)[1]
    torch.testing.assert_close(part[:, :, 4:-4, 4:-4], whole[:, :, 12:36, 20:52], rtol=1e-4, atol=1e-5)


def test_rgb_upsampling_has_one_result() -> None:
    image = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    plain = upsample_rgb(image)
    torch.testing.assert_close(upsample_rgb(image, reference=False), plain, rtol=0, atol=1e-14)
    windowed = image.contiguous(memory_format=torch.channels_last)[:, :, 1:4]
    torch.testing.assert_close(
        upsample_rgb(windowed, reference=False), upsample_rgb(windowed.contiguous(), reference=False)
    )


def test_what_inference_keeps_serves_gradients() -> None:
    """Constants first built under inference mode must not be inference tensors."""
    net = build()
    indices = [(1, 2), (3, 0), (1, 4)]
    with torch.inference_mode():
        net.synthesis(apply_offsets(random_styles(net, 2), indices, torch.zeros(2, 3)), dtype=torch.float64)
        upsample_rgb(torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    net.double()
    styles = net.styles(torch.randn(2, net.rows, 7, dtype=torch.float64))
    alpha = torch.zeros(2, 3, requires_grad=True)
    net.synthesis(apply_offsets(styles, indices, alpha)).square().mean().backward()
    assert alpha.grad is not None
    assert float(alpha.grad.abs().min()) > 0


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("reference", [True, False])
def test_the_caller_chooses_the_form_and_not_the_grad_mode(count: int, reference: bool) -> None:
    net = build()
    styles = random_styles(net, count)
    with torch.enable_grad():
        on = net.synthesis(styles, reference=reference)
    with torch.no_grad():
        off = net.synthesis(styles, reference=reference)
    assert torch.equal(on, off)


def test_gradients_pass_through_the_reference_alone() -> None:
    net = build()
    styles = [style.requires_grad_(True) for style in random_styles(net, 2)]
    net.synthesis(styles).square().mean().backward()
    assert all(style.grad is not None and bool(style.grad.any()) for style in styles)
    with pytest.raises(RuntimeError):
        net.synthesis(styles, reference=False)


def test_rgb_per_pixel_gives_the_same_pictures_and_gradients() -> None:
    plain, products = build(), build()
    products.train_rgb_per_pixel()
    styles = random_styles(plain, 2)
    found = []
    for net in (plain, products):
        leaves = [style.clone().requires_grad_(True) for style in styles]
        picture = net.synthesis(leaves)
        found.append((picture.detach(), torch.autograd.grad(picture.square().mean(), leaves)))
    assert relative(found[1][0], found[0][0]) < 1e-5
    for a, b in zip(found[1][1], found[0][1], strict=True):
        assert relative(a, b) < 1e-4


@pytest.mark.parametrize("count", [1, 3])
def test_phases_are_the_transposed_convolution_and_its_fir(count: int) -> None:
    torch.manual_seed(2)
    x, weight = torch.randn(count, 5, 6, 7, dtype=torch.float64), torch.randn(4, 5, 3, 3, dtype=torch.float64)
    maps = torch.nn.functional.conv2d(x, up_phases(weight), padding=1)
    torch.testing.assert_close(interleaved(maps), conv_up(x, weight), rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_bfloat16_with_phases_is_close(count: int, noise: bool, clamp: float | None) -> None:
    net = build(clamp)
    styles = random_styles(net, count)
    plain = net.synthesis(styles, noise=noise)
    quick = net.synthesis(styles, noise=noise, dtype=torch.bfloat16, reference=False)
    assert net.blocks[4].convs[0]._kept.phases  # type: ignore[index, union-attr]
    assert relative(quick, plain) < 0.03


def test_what_is_kept_follows_the_weights() -> None:
    net = build()
    styles = random_styles(net, 1)
    before = net.synthesis(styles, reference=False)
    net.blocks[2].convs[1].weight[:, 0].mul_(3.0)  # type: ignore[index, union-attr]
    after = net.synthesis(styles, reference=False)
    assert relative(after, before) > 1e-3
    assert relative(after, net.synthesis(styles)) < 1e-5
    other = copy.deepcopy(net)
    other.blocks[2].convs[1].weight.add_(0.3)  # type: ignore[index, operator, union-attr]
    assert relative(other.synthesis(styles, reference=False), other.synthesis(styles)) < 1e-5
    assert relative(net.synthesis(styles, reference=False), after) < 1e-6


def test_pictures_of_a_batch_are_those_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylegan2, "TOGETHER", 16)
    net = build()
    styles = random_styles(net, 3)
    together = net.synthesis(styles, reference=False)
    alone = [net.synthesis([s[n : n + 1] for s in styles], reference=False) for n in range(3)]
    assert relative(together, torch.cat(alone)) < 1e-5
    assert relative(together, net.synthesis(styles)) < 1e-5
