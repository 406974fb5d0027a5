"""A clip in the compact profile: measured through the renderer, and as exact as it was asked to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.bitstream import Identity
from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.personal import TunedPack
from stylecodec.decoding.render import Renderer
from stylecodec.encoding.rate.compaction import compact_clip, compact_identity, identity_quality
from stylecodec.encoding.rate.sensitivity import picture_metrics, pictures, probed_frames
from stylecodec.packs.store import ModelPack
from tests.decoding import streams

CPU = torch.device("cpu")


def test_probed_frames() -> None:
    assert probed_frames(1).tolist() == [0]
    assert probed_frames(100).tolist() == [33, 66]


def test_the_metric_foretells_small_changes(tiny_pack: ModelPack) -> None:
    packets, identity = streams.packets(1).astype(np.float32), streams.identity(3)
    metrics = picture_metrics(tiny_pack, CPU, identity, packets)
    for found in metrics:
        assert found.shape == (35, 35)
        assert np.array_equal(found, found.T) or np.allclose(found, found.T)
        assert (np.linalg.eigvalsh(found) > -1e-6 * np.abs(found).max()).all()
    metric = metrics.pixels
    assert not np.allclose(metrics.perceptual, metric)
    change = np.zeros(35, np.float32)
    change[[0, 4, 20]] = 0.05
    latents, renderer = LatentDecoder(tiny_pack, CPU), Renderer(tiny_pack, CPU, 256)
    pair = pictures(latents, renderer, identity, torch.from_numpy(np.stack([packets[0], packets[0] + change])))
    real = float((127.5 * (pair[1] - pair[0])).square().mean())
    assert change @ metric @ change == pytest.approx(real, rel=0.5)


def test_the_pictures_agree_as_asked(tiny_pack: ModelPack) -> None:
    packets, identity = streams.packets(12).astype(np.float32), streams.identity(3)
    sizes = []
    for quality in (40.0, 56.0):
        made = compact_clip(packets, identity, tiny_pack, CPU, quality, 12)
        latents, renderer = LatentDecoder(tiny_pack, CPU), Renderer(tiny_pack, CPU, 256)
        before = pictures(latents, renderer, identity, torch.from_numpy(packets)).clamp(-1, 1)
        after = pictures(latents, renderer, identity, torch.from_numpy(made.packets)).clamp(-1, 1)
        psnr = 10 * np.log10(4 / float((before - after).square().mean()))
        assert psnr > quality - 8  # a random generator is far from linear
        after = pictures(latents, renderer, made.identity, torch.from_numpy(packets)).clamp(-1, 1)
        psnr = 10 * np.log10(4 / float((before - after).square().mean()))
        assert psnr > identity_quality(quality) - 3  # of all frames; two of them were looked at
        assert Identity.parse(bytes(made.identity)) == made.identity
        sizes.append(len(bytes(made.identity)))
    assert sizes[0] < sizes[1] <= 18_466


def test_a_personalised_generator_has_a_finer_identity(tiny_pack: ModelPack) -> None:
    packets, identity = streams.packets(2), streams.identity(3)
    tuned = TunedPack(tiny_pack, generator=tiny_pack.generator(CPU))
    usual, personal = (compact_identity(identity, packets, pack, CPU, 62.0) for pack in (tiny_pack, tuned))
    assert usual.step_code is not None
    assert personal.step_code is not None
    assert usual.step_code > personal.step_code
    assert identity_quality(62.0, True) > identity_quality(62.0) > identity_quality(50.0)


def test_an_identity_no_step_serves_stays_raw(tiny_pack: ModelPack) -> None:
    identity = streams.identity(3)
    kept = compact_identity(identity, streams.packets(2), tiny_pack, CPU, 600.0)
    assert kept is identity
    assert isinstance(kept, Identity)
