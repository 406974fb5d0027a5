"""Squares of a known person: moved to where the personalised generator draws the face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylecodec.bitstream import Identity
from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta
from stylecodec.decoding.render import to_uint8
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import AlignedClip, FrameCodes
from stylecodec.encoding.identity.cards import IdentityCard
from stylecodec.encoding.options import EncodeOptions, RefineOptions
from stylecodec.encoding.personalization import crop_registration as registration
from stylecodec.encoding.personalization.crop_registration import REGISTERING, Registration, register_crops
from stylecodec.errors import PackMismatch
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
OPTIONS = EncodeOptions(device="cpu", identity="me.stid", refine_tuned=RefineOptions(side=64, features=0.0, rate=0.02))
COUNT, SIDE, AWAY = 6, 200.0, (0.03, -0.015, 0.015)  # frames; of the true square; by which the given ones are off


def latent() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((18, 512)).astype(np.float16)


@pytest.fixture
def card(tiny_pack: ModelPack) -> IdentityCard:
    change = DeltaTensor.quantised("blocks.8.to_rgb.bias", np.zeros(3), 0.01)
    return IdentityCard(Identity(latent()), GeneratorDelta.of(tiny_pack.digest, [change]))


@pytest.fixture
def clip(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> AlignedClip:
    """Frames in which the generator's own picture of some codes lies in one square, and squares that are off."""
    renderer = DifferentiableRenderer(tiny_pack, CPU)
    codes = 0.3 * torch.randn(COUNT, 34, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        anchor = renderer.anchor(torch.from_numpy(latent().astype(np.float32)))
        pictures = to_uint8(renderer.render(anchor, codes, 64))
    frames = []
    for picture in pictures:
        frame = np.full((320, 320, 3), 127, np.uint8)
        large = torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None].float(), size=200, mode="bicubic")
        frame[60:260, 60:260] = large[0].clamp(0, 255).byte().permute(1, 2, 0).numpy()
        frames.append((len(frames) / 25, frame))
    found = np.ones(COUNT + 1, bool)
    found[2] = False
    frames.insert(2, (0.07, np.zeros((320, 320, 3), np.uint8)))
    track = AlignedTrack(np.tile([160.0, 160.0, SIDE, 0.0], (COUNT + 1, 1)), found, AlignReport(7, 1, 0, 1, 0, 1))
    pose, alpha = (value.numpy() for value in renderer.units.split(codes))
    given = iter(range(0, COUNT, registration.BATCH))

    def known(crops: list[np.ndarray], *_: object) -> FrameCodes:
        rows = slice(first := next(given), first + len(crops))
        return FrameCodes(np.zeros((len(crops), 18, 512), np.float16), pose[rows], alpha[rows])

    monkeypatch.setattr(registration, "analyse", known)
    return AlignedClip(lambda: iter(frames), track.moved(np.tile(AWAY, (COUNT + 1, 1))))


def test_squares_are_brought_back(clip: AlignedClip, card: IdentityCard, tiny_pack: ModelPack) -> None:
    told: list[Progress] = []
    found = register_crops(clip, card, tiny_pack, OPTIONS, told.append)
    moved = found.clip
    assert found.card is card
    assert told[-1] == Progress(REGISTERING, registration.STEPS, registration.STEPS, "steps")
    assert found.moves is not None
    assert np.array_equal(moved.track.squares, clip.track.moved(found.moves).squares)
    before, after = (np.abs(c.track.squares - [160.0, 160.0, SIDE, 0.0]).max(axis=0) for c in (clip, moved))
    assert (after[:3] < 0.4 * before[:3]).all()
    assert after[3] == 0
    assert moved.track.found.tolist() == clip.track.found.tolist()


def test_a_latent_fitted_anew(clip: AlignedClip, card: IdentityCard, tiny_pack: ModelPack) -> None:
    other = register_crops(clip, card, tiny_pack, replace(OPTIONS, refit=True)).card
    assert other.fresh
    assert other.delta is card.delta
    distance = np.abs(other.identity.latent.astype(np.float32) - latent().astype(np.float32))
    assert 0 < distance.mean() < 0.5


def test_a_card_without_a_generator(clip: AlignedClip, card: IdentityCard, tiny_pack: ModelPack) -> None:
    plain = IdentityCard(card.identity)
    assert register_crops(clip, plain, tiny_pack, OPTIONS) == Registration(clip, plain, None)


def test_a_generator_of_another_pack(clip: AlignedClip, card: IdentityCard, other_pack: ModelPack) -> None:
    with pytest.raises(PackMismatch):
        register_crops(clip, card, other_pack, OPTIONS)
