"""The identity latent, fitted to pictures of a tiny pack whose latent is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from stylecodec.decoding.regions import MOUTH_INSIDE, PARTS, Regions
from stylecodec.decoding.render import to_uint8
from stylecodec.encoding.differentiable import DifferentiableRenderer, at_side
from stylecodec.encoding.frames import Crop, FrameCodes, to_input
from stylecodec.encoding.identity.fitting import FITTING, fit_identity, fit_weights
from stylecodec.encoding.losses import MotionLoss, PartPlacementLoss
from stylecodec.encoding.options import FitOptions
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
# Random features and random parts of a face would lead nowhere.
FEW = FitOptions(steps=40, side=32, features=0.0, parts=0.0, response=0.0, mouth=0.0, batch=2, precision="float32")
FRAMES = 5

Latent = np.ndarray


@pytest.fixture(scope="module")
def clip(tiny_pack: ModelPack) -> tuple[Latent, list[Crop], FrameCodes]:
    """A latent, and pictures of it in several poses and expressions."""
    torch.manual_seed(2)
    spread = tiny_pack.feedforward(CPU).latent_std.numpy()
    true = (np.random.default_rng(1).standard_normal((18, 512)) * spread).astype(np.float16)
    return true, *pictures(tiny_pack, true, 0.3 * torch.randn(FRAMES, 34))


@torch.no_grad()
def pictures(pack: ModelPack, latent: Latent, codes: torch.Tensor) -> tuple[list[Crop], FrameCodes]:
    renderer = DifferentiableRenderer(pack, CPU)
    rendered = to_uint8(renderer.render(renderer.anchor(torch.from_numpy(latent.astype(np.float32))), codes, 256))
    pose, alpha = renderer.units.split(codes)
    w_id = np.zeros((len(codes), 18, 512), np.float16)
    return [picture.numpy() for picture in rendered], FrameCodes(w_id, pose.numpy(), alpha.numpy())


def wandered(latent: Latent, pack: ModelPack) -> Latent:
    spread = pack.feedforward(CPU).latent_std.numpy()
    return (latent + 0.5 * spread * np.random.default_rng(7).standard_normal((18, 512))).astype(np.float16)


@torch.no_grad()
def error(pack: ModelPack, latent: Latent, crops: list[Crop], codes: FrameCodes) -> float:
    """Mean squared error at the size that was fitted at: random layers above it draw anything."""
    renderer = DifferentiableRenderer(pack, CPU)
    placed = renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    found = renderer.render(renderer.anchor(torch.from_numpy(latent.astype(np.float32))), placed, FEW.side)
    return float((found - at_side(to_input(crops, CPU), FEW.side)).square().mean())


def test_renderings_come_nearer_in_other_poses_too(
    tiny_pack: ModelPack, clip: tuple[Latent, list[Crop], FrameCodes]
) -> None:
    true, crops, codes = clip
    start = wandered(true, tiny_pack)
    told: list[Progress] = []
    found = fit_identity(start, crops, codes, tiny_pack, CPU, FEW, told.append).latent
    assert (found.shape, found.dtype) == ((18, 512), np.float16)
    assert told == [Progress(FITTING, k + 1, FEW.steps, "steps") for k in range(FEW.steps)]
    assert error(tiny_pack, found, crops, codes) < 0.8 * error(tiny_pack, start, crops, codes)
    others = pictures(tiny_pack, true, 0.3 * torch.randn(4, 34, generator=torch.Generator().manual_seed(5)))
    assert error(tiny_pack, found, *others) < 0.9 * error(tiny_pack, start, *others)


def test_it_is_repeatable_and_leaves_its_input_alone(
    tiny_pack: ModelPack, clip: tuple[Latent, list[Crop], FrameCodes]
) -> None:
    true, crops, codes = clip
    start, few = wandered(true, tiny_pack), dataclasses.replace(FEW, steps=3)
    before = start.copy()
    one, two = (fit_identity(start, crops, codes, tiny_pack, CPU, few).latent for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(start, before)


def test_rows_above_stay(tiny_pack: ModelPack, clip: tuple[Latent, list[Crop], FrameCodes]) -> None:
    true, crops, codes = clip
    start = wandered(true, tiny_pack)
    found = fit_identity(start, crops, codes, tiny_pack, CPU, dataclasses.replace(FEW, steps=2, rows=4)).latent
    np.testing.assert_array_equal(found[4:], start[4:])
    assert not np.array_equal(found[:4], start[:4])


def test_one_picture_is_enough_and_no_steps_change_nothing(
    tiny_pack: ModelPack, clip: tuple[Latent, list[Crop], FrameCodes]
) -> None:
    true, crops, codes = clip
    start = wandered(true, tiny_pack)
    one = FrameCodes(codes.w_id[:1], codes.pose[:1], codes.alpha[:1])
    found = fit_identity(start, crops[:1], one, tiny_pack, CPU, FEW).latent
    assert error(tiny_pack, found, crops[:1], one) < 0.8 * error(tiny_pack, start, crops[:1], one)
    off = fit_identity(start, crops, codes, tiny_pack, CPU, dataclasses.replace(FEW, enabled=False))
    assert off.latent is start
    assert off.steps == 0


@pytest.fixture(scope="module")
def moving() -> tuple[ModelPack, torch.Tensor]:
    """The embedded pack, whose parser knows faces, and renderings of a calm face and one that shouts with shut eyes."""
    pack = open_pack(DEFAULT_PACK)
    names = list(pack.card.training["expression_inputs"])
    faces = torch.zeros(2, len(names))
    faces[1, [names.index(name) for name in ("eyeBlink_L", "eyeBlink_R", "jawOpen")]] = 1.0
    renderer = DifferentiableRenderer(pack, CPU)
    with torch.no_grad():
        alpha = pack.network("expression", "cpu")(faces)
        anchor = renderer.anchor(pack.generator(CPU).mapping.w_avg.expand(18, -1))
        return pack, renderer.render(anchor, renderer.units.units(torch.zeros(2, 2), alpha), 128).clamp(-1, 1)


def test_parts_of_the_face_tell_movement_from_colour(moving: tuple[ModelPack, torch.Tensor]) -> None:
    """A closed eye and an open mouth count, a cast of colour hardly."""
    pack, (calm, moved) = moving[0], moving[1].split(1)
    with torch.no_grad():
        regions, row = Regions(pack, CPU), torch.tensor([0])
        parts = regions.parts(calm)
        assert parts.shape == (1, len(PARTS), 128, 128)
        placement = PartPlacementLoss(regions, parts, torch.float32)
        assert float(placement(calm, row)) == 0
        cast = float(placement((calm * 0.9 + torch.tensor([0.1, 0.0, -0.1])[:, None, None]).clamp(-1, 1), row))
        assert float(placement(moved, row)) > 4 * cast


def test_parts_are_looked_at_every_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = open_pack(DEFAULT_PACK)
    latent = pack.generator(CPU).mapping.w_avg.expand(18, -1).numpy().astype(np.float16)
    crops, codes = pictures(pack, latent, torch.zeros(2, 34))
    looks: list[int] = []
    judge = PartPlacementLoss.__call__

    def counted(self: PartPlacementLoss, output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        looks.append(len(output))
        return judge(self, output, rows)

    monkeypatch.setattr(PartPlacementLoss, "__call__", counted)
    options = dataclasses.replace(FEW, steps=5, parts=1.0, parts_every=2)
    fit_identity(latent, crops, codes, pack, CPU, options)
    assert looks == [2, 2, 2]


def test_a_face_that_stays_still_costs_and_one_that_moves_more_does_not(moving: tuple[ModelPack, torch.Tensor]) -> None:
    pack, faces = moving
    calm, moved = faces.split(1)
    first, second = torch.tensor([0]), torch.tensor([1])
    motion_loss = MotionLoss(Regions(pack, CPU), faces)

    def cost(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(motion_loss(one, first, other, second))

    assert cost(calm, moved) == 0
    assert cost(calm, calm + 1.5 * (moved - calm)) < 1e-6
    assert cost(calm - 0.2, moved - 0.2) < 1e-6  # somebody darker
    dead = cost(calm, calm)
    assert dead > 0.05
    assert cost(calm, calm + 0.5 * (moved - calm)) == pytest.approx(dead / 2, rel=1e-3)
    assert float(motion_loss(moved, second, calm, first)) == 0  # the other way round


def test_the_fit_keeps_a_face_moving(moving: tuple[ModelPack, torch.Tensor]) -> None:
    """Pictures of a face that never moves, codes that do: with the response the likeness still moves with them."""
    pack = moving[0]
    calm = to_uint8(torch.nn.functional.interpolate(moving[1][:1], size=256, mode="bilinear"))[0].numpy()
    names = list(pack.card.training["expression_inputs"])
    faces = torch.zeros(6, len(names))
    faces[::2, names.index("jawOpen")] = 0.8
    with torch.no_grad():
        alpha = pack.network("expression", "cpu")(faces).numpy()
    codes = FrameCodes(np.zeros((6, 18, 512), np.float16), np.zeros((6, 2), np.float32), alpha)
    start = pack.generator(CPU).mapping.w_avg.expand(18, -1).numpy().astype(np.float16)
    renderer = DifferentiableRenderer(pack, CPU)

    def opening(response: float) -> float:
        options = FitOptions(steps=16, side=64, parts=0.0, features=0.0, response=response, response_share=1.0)
        found = fit_identity(start, [calm] * 6, codes, pack, CPU, options).latent
        units = renderer.units.units(torch.from_numpy(codes.pose[:2]), torch.from_numpy(alpha[:2]))
        with torch.no_grad():
            one, other = renderer.render(renderer.anchor(torch.from_numpy(found.astype(np.float32))), units, 64)
        return float((one - other)[:, 32:52, 20:44].abs().mean())

    assert opening(2.0) > 1.3 * opening(0.0)


def test_the_inside_of_the_mouth_counts_more(moving: tuple[ModelPack, torch.Tensor]) -> None:
    pack, faces = moving
    regions = Regions(pack, CPU)
    plain, more = (fit_weights(regions, faces, dataclasses.replace(FEW, mouth=m))[0] for m in (0.0, 3.0))
    parts = fit_weights(regions, faces, FEW)[1]
    assert parts is not None
    assert torch.equal(parts, regions.parts(faces))
    inside = parts[:, MOUTH_INSIDE]
    assert float(inside[1].max()) > 0.3
    assert torch.allclose(more, plain * (1 + 3 * inside[:, None]))


def test_a_pack_without_a_parser_has_no_mouth_to_weigh(
    tiny_pack: ModelPack, clip: tuple[Latent, list[Crop], FrameCodes]
) -> None:
    true, crops, codes = clip
    start, few = wandered(true, tiny_pack), dataclasses.replace(FEW, steps=2)
    plain = fit_identity(start, crops, codes, tiny_pack, CPU, few).latent
    asked = dataclasses.replace(few, mouth=6.0, parts=1.0, response=1.0)
    np.testing.assert_array_equal(fit_identity(start, crops, codes, tiny_pack, CPU, asked).latent, plain)
    assert not np.array_equal(plain, start)
    weights, parts = fit_weights(Regions(tiny_pack, CPU), to_input(crops, CPU), asked)
    assert parts is None
    assert torch.equal(weights, fit_weights(Regions(tiny_pack, CPU), to_input(crops, CPU), few)[0])
