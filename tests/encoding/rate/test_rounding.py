"""Levels of an identity: whole, of little error where the generator looks, and cheap where it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.bitstream import Identity, nearest_code
from stylecodec.bitstream.compact.quantiser import step_of
from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.render import Renderer
from stylecodec.encoding.rate.rounding import Floats, rounded_levels, row_metrics
from stylecodec.encoding.rate.sensitivity import style_weights
from stylecodec.packs.store import ModelPack
from tests.decoding import streams

CPU = torch.device("cpu")
STEP = step_of(nearest_code(0.25))


@pytest.fixture(scope="module")
def metrics(tiny_pack: ModelPack) -> Floats:
    latents, renderer = LatentDecoder(tiny_pack, CPU), Renderer(tiny_pack, CPU, 256, "float32")
    packet = torch.from_numpy(streams.packets(1)[0].astype(np.float32))
    return row_metrics(latents.generator, style_weights(latents, renderer, streams.identity(3), packet))


def error(metrics: Floats, wrong: Floats) -> float:
    return float(np.einsum("ri,rij,rj->", wrong, metrics, wrong))


def test_the_weights_foretell_what_a_style_shows(tiny_pack: ModelPack) -> None:
    latents, renderer = LatentDecoder(tiny_pack, CPU), Renderer(tiny_pack, CPU, 256, "float32")
    packet = torch.from_numpy(streams.packets(1)[0].astype(np.float32))
    identity = streams.identity(3)
    weights = style_weights(latents, renderer, identity, packet)
    layers = latents.generator.layout.layers
    assert [len(weight) for weight in weights] == [layer.channels for layer in layers]
    assert all((weight >= 0).all() for weight in weights)
    latent = torch.from_numpy(np.array(identity.latent, np.float32))[None]
    with torch.no_grad():
        styles = latents.styles(latents.anchor(latent), packet[None, :2], packet[None, 3:])
        before = renderer.pictures(styles)
        foretold, real = 0.0, 0.0
        for number, layer in enumerate(layers):
            if layer.resolution <= 256:
                nudge = 0.01 * (1 - 2 * (torch.arange(layer.channels) % 2))
                moved = [style + nudge if k == number else style for k, style in enumerate(styles)]
                real += float((renderer.pictures(moved) - before).square().mean())
                foretold += float(weights[number].sum()) * 0.01**2
    assert real / 4 < foretold < real * 4


def test_metrics_are_positive(metrics: Floats) -> None:
    assert metrics.shape == (18, 512, 512)
    assert np.allclose(metrics, metrics.transpose(0, 2, 1))
    assert (metrics.diagonal(axis1=1, axis2=2) > 0).all()


def test_levels_show_less_and_cost_less_than_the_nearest(metrics: Floats) -> None:
    latent = streams.identity(3).latent.astype(np.float64)
    levels = rounded_levels(latent, metrics, STEP)
    assert levels.dtype == np.int32
    nearest = np.rint(latent / STEP)
    chosen, plain = (Identity(each * STEP, step_code=nearest_code(STEP)) for each in (levels, nearest))
    assert len(bytes(chosen)) < len(bytes(plain))
    read = Identity.parse(bytes(chosen))
    assert read == chosen
    assert np.array_equal(np.rint(read.latent.astype(np.float64) / STEP), levels)  # the very levels that were chosen
    finer = rounded_levels(latent, metrics, STEP / 4)
    assert error(metrics, finer * STEP / 4 - latent) < error(metrics, levels * STEP - latent)


def test_a_latent_that_fits_the_steps_is_kept() -> None:
    latent = np.round(np.random.default_rng(0).standard_normal((18, 512)) * 3) * STEP
    same = np.broadcast_to(np.eye(512), (18, 512, 512))
    assert np.array_equal(rounded_levels(latent, same, STEP) * STEP, latent)


def test_a_generator_that_shows_nothing_has_levels_all_the_same(tiny_pack: ModelPack) -> None:
    generator = tiny_pack.generator(CPU)
    dark = row_metrics(generator, [np.zeros(layer.channels) for layer in generator.layout.layers])
    assert np.isfinite(rounded_levels(streams.identity(3).latent.astype(np.float64), dark, STEP)).all()
