"""Styles -> 8-bit pictures: size, roll, quantisation."""

from __future__ import annotations

import pytest
import torch

from stylecodec.decoding import render
from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.render import (
    Renderer,
    cpu_multiplies_bfloat16,
    pick_dtype,
    restore_roll,
    rotated_grid,
    to_uint8,
)
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack


def some_styles(pack: ModelPack, count: int = 2) -> list[torch.Tensor]:
    decoder = LatentDecoder(pack, "cpu")
    anchor = decoder.anchor(torch.randn(1, 18, 512, generator=torch.Generator().manual_seed(3)))
    pose = torch.linspace(-20, 20, 2 * count).reshape(count, 2)
    return decoder.styles(anchor, pose, torch.zeros(count, 32))


@pytest.mark.parametrize(("size", "level"), [(1024, 1024), (512, 512), (500, 512), (256, 256), (100, 128), (16, 16)])
def test_sizes(tiny_pack: ModelPack, size: int, level: int) -> None:
    renderer = Renderer(tiny_pack, "cpu", size=size)
    assert renderer.level == level
    with torch.inference_mode():
        pictures = renderer.render(some_styles(tiny_pack))
    assert pictures.shape == (2, size, size, 3)
    assert pictures.dtype == torch.uint8
    assert pictures.is_contiguous()


def test_the_default_size_is_the_generators(tiny_pack: ModelPack) -> None:
    assert Renderer(tiny_pack, "cpu").size == 1024


@pytest.mark.parametrize("size", [0, 15, 1025, -1])
def test_sizes_out_of_range(tiny_pack: ModelPack, size: int) -> None:
    with pytest.raises(OptionError, match="16 to 1024"):
        Renderer(tiny_pack, "cpu", size=size)


def test_unknown_precision(tiny_pack: ModelPack) -> None:
    with pytest.raises(OptionError, match="precision must be one of auto, float32"):
        Renderer(tiny_pack, "cpu", precision="float8")  # type: ignore[arg-type]


def test_small_pictures_are_averages_of_the_next_level(tiny_pack: ModelPack) -> None:
    styles = some_styles(tiny_pack, 1)
    level = Renderer(tiny_pack, "cpu", size=64).pictures(styles)
    small = Renderer(tiny_pack, "cpu", size=48).pictures(styles)
    # 64 to 48: each output pixel is the mean of the 2x2 boxes of four thirds of a pixel that it touches.
    torch.testing.assert_close(small[0, :, 0, 0], level[0, :, :2, :2].mean(dim=(1, 2)))


def test_quantisation() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0, float("nan"), float("inf"), 2 / 255 - 1])
    picture = values.reshape(1, 1, 1, 8).expand(1, 3, 1, 8)
    assert to_uint8(picture)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 0, 0, 1]


def test_roll_is_clockwise_and_exact_at_a_right_angle() -> None:
    picture = torch.randn(1, 3, 8, 8)
    turned = restore_roll(picture, torch.tensor([90.0]))
    # Clockwise by 90 degrees: the top row becomes the right column.
    torch.testing.assert_close(turned[0, :, :, -1], picture[0, :, 0, :], rtol=0, atol=1e-5)


def test_roll_follows_the_angle() -> None:
    """A dot above the centre moves to the right when the picture is turned clockwise."""
    picture = -torch.ones(1, 3, 101, 101)
    picture[:, :, 10, 50] = 1.0
    turned = restore_roll(picture, torch.tensor([30.0]))[0, 0] + 1.0
    rows, columns = torch.meshgrid(torch.arange(101.0), torch.arange(101.0), indexing="ij")
    weight = turned / turned.sum()
    x, y = float((weight * columns).sum()) - 50, float((weight * rows).sum()) - 50
    assert x == pytest.approx(40 * 0.5, abs=0.5)  # 40 pixels from the centre, sin 30 degrees
    assert y == pytest.approx(-40 * 0.8660, abs=0.5)


def test_every_picture_has_its_own_roll_and_no_corner_is_empty() -> None:
    pictures = torch.ones(3, 3, 32, 32)
    turned = restore_roll(pictures, torch.tensor([0.0, 45.0, -170.0]))
    torch.testing.assert_close(turned, pictures)
    assert restore_roll(pictures, torch.zeros(3)) is pictures
    assert restore_roll(pictures, torch.tensor([0.009, -0.005, 0.0])) is pictures
    assert restore_roll(pictures, torch.tensor([0.0, 0.02, 0.0])) is not pictures


def test_the_rotated_grid_is_torchs_affine_grid() -> None:
    angle = torch.tensor([0.3, -2.0])
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(2)
    matrix = torch.stack([torch.stack([cos, sin, zero], dim=1), torch.stack([-sin, cos, zero], dim=1)], dim=1)
    expected = torch.nn.functional.affine_grid(matrix, [2, 3, 9, 9], align_corners=False)
    torch.testing.assert_close(rotated_grid(angle, 9), expected)


def test_the_pictures_that_are_quantised_stay_as_they_are() -> None:
    pictures = torch.rand(1, 3, 4, 4)
    before = pictures.clone()
    to_uint8(pictures)
    assert torch.equal(pictures, before)


@pytest.mark.parametrize(("there", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_for_cpus_that_multiply_it(
    monkeypatch: pytest.MonkeyPatch, there: bool, wanted: torch.dtype
) -> None:
    names = {"avx512_bf16": there, "avx512_fp16": True, "cpu_name": "bfloat"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    cpu_multiplies_bfloat16.cache_clear()
    assert pick_dtype("bfloat16", torch.device("cpu")) is wanted
    assert pick_dtype("bfloat16", torch.device("cuda")) is torch.bfloat16
    assert pick_dtype("auto", torch.device("cpu")) is wanted
    assert pick_dtype("auto", torch.device("mps")) is torch.float32
    cpu_multiplies_bfloat16.cache_clear()


def test_bfloat16_is_close_to_float32(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    styles = some_styles(tiny_pack, 1)
    exact = Renderer(tiny_pack, "cpu", size=64).pictures(styles)
    monkeypatch.setattr(render, "cpu_multiplies_bfloat16", lambda: True)
    renderer = Renderer(tiny_pack, "cpu", size=64, precision="bfloat16")
    assert renderer.dtype is torch.bfloat16
    fast = renderer.pictures(styles)
    assert fast.dtype == torch.float32
    assert float((exact - fast).abs().mean()) < 0.05 * float(exact.std())
