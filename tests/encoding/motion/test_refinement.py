"""Refinement on a tiny pack: pictures of known codes bring the codes back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from stylecodec.decoding.latents import Anchor
from stylecodec.decoding.personal import TunedPack
from stylecodec.decoding.regions import AVATAR_CLASSES, CELEBAMASK_CLASSES, Regions, face_ellipse
from stylecodec.decoding.render import to_uint8
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import AlignedFrame, FrameCodes, Motion
from stylecodec.encoding.losses import LossWeights, ReconstructionLoss
from stylecodec.encoding.motion.refinement import REFINING, Refiner, refine_clip
from stylecodec.encoding.options import EncodeOptions, RefineOptions
from stylecodec.errors import PackNotFound
from stylecodec.nets.pixel_loss import pixel_loss
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
QUICK = RefineOptions(steps=30, side=32, coarse=0.0, rate=0.1, prior=0.0, smoothness=0.0)


def latent(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((18, 512)).astype(np.float16)


@torch.no_grad()
def crops_of(pack: ModelPack, codes: torch.Tensor, size: int = 256) -> list[np.ndarray]:
    """Crops that the codes [n, 34] render."""
    renderer = DifferentiableRenderer(pack, CPU)
    anchor = renderer.anchor(torch.from_numpy(latent().astype(np.float32)))
    return [picture.numpy() for picture in to_uint8(renderer.render(anchor, codes, size))]


def frame_codes(codes: torch.Tensor, pack: ModelPack) -> FrameCodes:
    pose, alpha = DifferentiableRenderer(pack, CPU).units.split(codes)
    return FrameCodes(np.zeros((len(codes), 18, 512), np.float16), pose.numpy(), alpha.numpy())


def distance(found: FrameCodes, true: torch.Tensor, pack: ModelPack) -> float:
    units = DifferentiableRenderer(pack, CPU).units.units(torch.from_numpy(found.pose), torch.from_numpy(found.alpha))
    renderer = DifferentiableRenderer(pack, CPU)
    anchor = renderer.anchor(torch.from_numpy(latent().astype(np.float32)))
    with torch.no_grad():
        a, b = (renderer.render(anchor, codes, 32).clamp(-1, 1) for codes in (units, true))
        return float((a - b).square().mean())


def test_known_codes_are_found_again(tiny_pack: ModelPack) -> None:
    torch.manual_seed(0)
    true = torch.randn(5, 34) * 0.3
    crops, start = crops_of(tiny_pack, true), frame_codes(true + 0.3 * torch.randn(5, 34), tiny_pack)
    options = EncodeOptions(refine=QUICK)
    refined = Refiner(tiny_pack, CPU, latent(), options)(crops, start)
    assert refined.pose.shape == (5, 2)
    assert refined.alpha.dtype == np.float32
    assert distance(refined, true, tiny_pack) < 0.7 * distance(start, true, tiny_pack)


def test_a_correction_carries_over_to_the_next_batch(tiny_pack: ModelPack) -> None:
    torch.manual_seed(1)
    true = torch.randn(6, 34) * 0.5
    crops, start = crops_of(tiny_pack, true), frame_codes(true + 0.4, tiny_pack)
    refiner = Refiner(tiny_pack, CPU, latent(), EncodeOptions(refine=dataclasses.replace(QUICK, steps=20)))
    refiner(crops[:3], FrameCodes(start.w_id[:3], start.pose[:3], start.alpha[:3]))
    assert refiner.offset is not None
    assert refiner.offset.shape == (34,)
    assert float(refiner.offset.mean()) < 0
    carried = refiner.offset.clone()
    refiner.settings = dataclasses.replace(QUICK, steps=1, rate=1e-6)  # so that it ends where it begins
    later = FrameCodes(start.w_id[3:], start.pose[3:], start.alpha[3:])
    before, begun = (
        refiner.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        for codes in (later, refiner(crops[3:], later))
    )
    torch.testing.assert_close((begun - before)[:, 2:], carried[2:].expand(3, -1), atol=1e-3, rtol=0)


def test_an_inversion_is_what_the_pack_makes_of_the_crop(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    crops, start = crops_of(tiny_pack, torch.zeros(2, 34)), frame_codes(torch.zeros(2, 34), tiny_pack)
    options = EncodeOptions(refine=dataclasses.replace(QUICK, steps=2, target="inversion"))
    with pytest.raises(PackNotFound, match="inversion"):
        Refiner(tiny_pack, CPU, latent(), options)
    wplus = torch.from_numpy(latent(5).astype(np.float32))[None].expand(2, -1, -1)
    monkeypatch.setattr(ModelPack, "require", lambda self, roles, purpose: None)
    monkeypatch.setattr(ModelPack, "inversion", lambda self, device: lambda x: wplus)
    refiner = Refiner(tiny_pack, CPU, latent(), options)
    targets = refiner._targets(torch.zeros(2, 3, 256, 256))
    with torch.no_grad():
        pictures = tiny_pack.generator(CPU)(wplus, refiner.renderer.noise, stop_at=256)
    assert torch.allclose(targets, pictures.clamp(-1, 1), atol=1e-5)
    assert refiner(crops, start).pose.shape == (2, 2)


def test_a_strong_hold_keeps_the_codes(tiny_pack: ModelPack) -> None:
    crops, start = crops_of(tiny_pack, torch.zeros(2, 34)), frame_codes(torch.full((2, 34), 0.5), tiny_pack)

    def moved(prior: float) -> float:
        settings = dataclasses.replace(QUICK, steps=10, prior=prior)
        refined = Refiner(tiny_pack, CPU, latent(), EncodeOptions(refine=settings))(crops, start)
        return float(np.abs(refined.alpha - start.alpha).mean())

    assert moved(1e6) < 0.3 * moved(0.0)


def test_the_first_steps_are_coarse(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    crops, start = crops_of(tiny_pack, torch.zeros(1, 34)), frame_codes(torch.full((1, 34), 0.2), tiny_pack)
    settings, sides = RefineOptions(steps=4, side=64, coarse=0.5), []
    refiner = Refiner(tiny_pack, CPU, latent(), EncodeOptions(refine=settings))
    render = refiner.renderer.render

    def seen(anchor: Anchor, codes: torch.Tensor, side: int) -> torch.Tensor:
        sides.append(side)
        return render(anchor, codes, side)

    monkeypatch.setattr(refiner.renderer, "render", seen)
    refined = refiner(crops, start)
    assert sides == [32, 32, 64, 64]
    assert not np.array_equal(refined.alpha, start.alpha)
    assert not np.array_equal(refined.pose, start.pose)


def test_a_personalised_generator_has_its_own_options(tiny_pack: ModelPack) -> None:
    options = EncodeOptions(refine=QUICK)
    assert Refiner(tiny_pack, CPU, latent(), options).settings is QUICK
    tuned = TunedPack(tiny_pack, generator=tiny_pack.generator(CPU))
    assert Refiner(tuned, CPU, latent(), options).settings is options.refine_tuned


def test_steps_in_every_direction_show_alike(tiny_pack: ModelPack) -> None:
    """A step of one size along any of the directions that show changes the picture by about as much."""
    refiner = Refiner(tiny_pack, CPU, latent(), EncodeOptions(refine=QUICK))
    around = torch.zeros(1, 34)
    directions = refiner.even_directions(around)

    def changes(steps: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            shown = refiner.renderer.render(refiner.anchor, torch.cat([around, around + 0.05 * steps]), 256)
        weight = refiner.regions.weights(shown[:1].clamp(-1, 1))
        return ((shown[1:] - shown[:1]).square() * weight).mean(dim=(1, 2, 3))

    plain, even = changes(torch.eye(34)), changes(directions.T)
    assert float(even.std() / even.mean()) < 0.5 * float(plain.std() / plain.mean())


def test_the_loss_is_zero_for_equal_pictures(tiny_pack: ModelPack) -> None:
    loss = ReconstructionLoss(tiny_pack, CPU, LossWeights())
    x, weight = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 1, 32, 32)
    assert float(loss(x, x, weight)) == 0
    other = x + 0.1
    assert float(loss(other, x, weight)) == pytest.approx(float(loss(other, x, 7 * weight)), rel=1e-4)
    assert float(pixel_loss(other, x, torch.ones_like(weight), 0.0)) == pytest.approx(0.1, rel=1e-4)


def test_without_a_parser_an_ellipse_stands_for_the_face(tiny_pack: ModelPack) -> None:
    regions = Regions(tiny_pack, CPU)
    pictures = torch.zeros(2, 3, 64, 64)
    weights, head = regions.weights(pictures), regions.head(pictures)
    assert weights.shape == head.shape == (2, 1, 64, 64)
    assert float(head[0, 0, 34, 32]) == 1
    assert float(head[0, 0, 0, 0]) == 0
    assert float(weights.min()) > 0
    assert float(face_ellipse(64, CPU).max()) == 1


def test_the_label_maps_have_nineteen_classes() -> None:
    from stylecodec.training.heads.shaders import CLASS_NAMES

    assert AVATAR_CLASSES == CLASS_NAMES
    assert len(CELEBAMASK_CLASSES) == len(AVATAR_CLASSES) == 19


def test_a_clip_is_refined_in_chunks_but_for_what_is_known(tiny_pack: ModelPack) -> None:
    """Frames without a face and those known stay; the others are what the refiner makes of each chunk."""
    crops = crops_of(tiny_pack, 0.3 * torch.randn(6, 34, generator=torch.Generator().manual_seed(0)))
    frames = [AlignedFrame(k / 25, None if k == 1 else crop) for k, crop in enumerate(crops)]
    packets = np.zeros((6, 35), np.float16)
    packets[:, 2], packets[1] = np.arange(6), np.nan
    motion, told = Motion(packets), []
    options = EncodeOptions(batch=2, refine=dataclasses.replace(QUICK, steps=2))
    found = refine_clip(frames, motion, latent(), tiny_pack, CPU, options, {4}, told.append)
    refiner = Refiner(tiny_pack, CPU, latent(), options)
    wanted = motion
    for rows in ([0, 2], [3, 5]):
        wanted = wanted.with_codes(rows, refiner([crops[k] for k in rows], motion.codes(rows)))
    assert np.array_equal(found.packets, wanted.packets, equal_nan=True)
    assert np.array_equal(found.packets[4], packets[4])
    assert np.isnan(found.packets[1]).all()
    assert [event.done for event in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1] == Progress(REFINING, 6, 6)
