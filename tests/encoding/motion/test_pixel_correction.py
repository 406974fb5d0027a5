"""Pixel correction, a avatar's mean face in the place of a personalised one: pictures of known codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylecodec.decoding.render import to_uint8
from stylecodec.encoding.differentiable import DifferentiableRenderer, at_side
from stylecodec.encoding.frames import AlignedFrame, FrameCodes, Motion
from stylecodec.encoding.motion.pixel_correction import (
    CORRECTING,
    FARTHEST,
    PixelAnswers,
    correct_by_pixels,
    pixel_features,
)
from stylecodec.encoding.options import PixelCorrectionOptions
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
OPTIONS = PixelCorrectionOptions(keyframes=1, side=64)


@pytest.fixture(scope="module")
def renderer(avatar: ModelPack) -> DifferentiableRenderer:
    return DifferentiableRenderer(avatar, CPU)


@torch.no_grad()
def drawn(renderer: DifferentiableRenderer, codes: torch.Tensor, average: np.ndarray) -> torch.Tensor:
    anchor = renderer.anchor(torch.from_numpy(average.astype(np.float32)))
    return renderer.render(anchor, codes, OPTIONS.side).clamp(-1, 1)


def motion_of(renderer: DifferentiableRenderer, codes: torch.Tensor) -> Motion:
    pose, alpha = renderer.units.split(codes)
    packets = np.zeros((len(codes), 35), np.float16)
    return Motion(packets).with_codes(
        np.arange(len(codes)), FrameCodes(np.zeros((len(codes), 0, 0), np.float16), pose.numpy(), alpha.numpy())
    )


def units_of(renderer: DifferentiableRenderer, motion: Motion, rows: np.ndarray | None = None) -> torch.Tensor:
    codes = motion.codes(np.arange(len(motion)) if rows is None else rows)
    return renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))


def frames_of(pictures: torch.Tensor) -> list[AlignedFrame]:
    large = pictures.repeat_interleave(256 // OPTIONS.side, 2).repeat_interleave(256 // OPTIONS.side, 3)
    return [AlignedFrame(k / 25, crop.numpy()) for k, crop in enumerate(to_uint8(large))]


def test_pictures_of_known_codes_come_nearer(
    renderer: DifferentiableRenderer, avatar: ModelPack, average: np.ndarray
) -> None:
    torch.manual_seed(0)
    true = 0.3 * torch.randn(11, 34)  # more than go through at once
    before = motion_of(renderer, true + 0.3 * torch.randn(11, 34))
    pictures, told = drawn(renderer, true, average), list[Progress]()
    after = correct_by_pixels(frames_of(pictures), before, average, avatar, CPU, OPTIONS, told.append)
    left, was = (
        (drawn(renderer, units_of(renderer, motion), average) - pictures).square().mean(dim=(1, 2, 3))
        for motion in (after, before)
    )
    assert (left < was).all()
    assert float((left / was).mean()) < 0.3
    assert np.array_equal(after.packets[:, 2], before.packets[:, 2])
    assert told[-1] == Progress(CORRECTING, 11, 11)


def test_what_is_right_is_left(renderer: DifferentiableRenderer, avatar: ModelPack, average: np.ndarray) -> None:
    torch.manual_seed(1)
    motion = motion_of(renderer, 0.3 * torch.randn(3, 34))
    pictures = drawn(renderer, units_of(renderer, motion), average)
    after = correct_by_pixels(frames_of(pictures), motion, average, avatar, CPU, OPTIONS)
    assert (units_of(renderer, after) - units_of(renderer, motion)).abs().max() < 0.02


def test_frames_without_a_face_stay_empty(
    renderer: DifferentiableRenderer, avatar: ModelPack, average: np.ndarray
) -> None:
    torch.manual_seed(2)
    true = 0.3 * torch.randn(10, 34)
    frames, packets = frames_of(drawn(renderer, true, average)), motion_of(renderer, true + 0.3).packets
    packets[[0, 4]] = np.nan
    frames[0], frames[4] = (AlignedFrame(k / 25, None) for k in (0, 4))
    after = correct_by_pixels(frames, Motion(packets), average, avatar, CPU, OPTIONS).packets
    assert np.isnan(after[[0, 4]]).all()
    there = [1, 2, 3, 5, 6, 7, 8, 9]
    near = units_of(renderer, Motion(after), np.array(there)) - true[there]
    assert near[:, :2].abs().mean() < 0.15  # the pose shows most
    nobody = Motion(np.full((2, 35), np.nan, np.float16))
    assert correct_by_pixels(frames[:2], nobody, average, avatar, CPU, OPTIONS) is nobody


def test_another_picture_moves_no_code_farther_than_allowed(
    renderer: DifferentiableRenderer, avatar: ModelPack, average: np.ndarray
) -> None:
    before = motion_of(renderer, torch.zeros(2, 34))
    noise = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    after = correct_by_pixels(frames_of(noise), before, average, avatar, CPU, replace(OPTIONS, damping=1e-9))
    moved = (units_of(renderer, after) - units_of(renderer, before)).abs()
    assert 0.2 < moved.max() <= FARTHEST + 1e-2


def test_the_nearest_keyframe_answers(renderer: DifferentiableRenderer, average: np.ndarray) -> None:
    keyframes = torch.stack([torch.zeros(34), torch.full((34,), 1.0)])
    answers = PixelAnswers(renderer, average, keyframes, OPTIONS)
    assert answers.jacobians.shape == (2, 34, 3, OPTIONS.compared, OPTIONS.compared)
    codes, weights = torch.full((1, 34), 0.9), torch.ones(1, 1, 256, 256)
    pictures = at_side(drawn(renderer, codes + 0.1, average), 256)
    both = answers.corrected(codes, pictures, weights)
    answers.keyframes, answers.jacobians = answers.keyframes[1:], answers.jacobians[1:]
    assert torch.equal(both, answers.corrected(codes, pictures, weights))
    assert not torch.equal(both, codes)


def test_features_are_pixels_and_their_differences() -> None:
    picture = torch.arange(12.0).reshape(1, 3, 2, 2)
    features = pixel_features(picture, torch.full((1, 2, 2), 2.0))
    assert features.shape == (1, 12 + 6 + 6)
    assert torch.equal(features[0, :12], 2 * picture.flatten())
    assert torch.equal(features[0, 12:18], torch.full((6,), 2.0))
    assert torch.equal(features[0, 18:], torch.full((6,), 4.0))
