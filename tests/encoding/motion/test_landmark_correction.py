"""Codes corrected by the face mesh: features that are known to be off come nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import Motion
from stylecodec.encoding.motion.landmark_correction import (
    CORRECTING,
    RenderedFeatures,
    above_noise,
    between,
    correct_by_landmarks,
    half_open,
    rendered_rows,
    solved,
)
from stylecodec.encoding.options import LandmarkCorrectionOptions
from stylecodec.metrics.landmark_features import NAMES, POSE, noise_floor
from stylecodec.packs.store import ModelPack, embedded_pack
from stylecodec.progress import Progress, ProgressCallback, silent
from tests.encoding.conftest import nodding

CPU = torch.device("cpu")
OPTIONS = LandmarkCorrectionOptions(precision="float32", side=64)
ROUGH = replace(OPTIONS, frames=1)  # where it does not matter how well the Jacobian is measured


def seen(avatar: ModelPack, average: np.ndarray, rows: np.ndarray, side: int = OPTIONS.side) -> np.ndarray:
    """The features [n, 17] of renderings."""
    renderer = DifferentiableRenderer(avatar, CPU)
    codes = Motion(rows).codes(range(len(rows)))
    units = renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    return RenderedFeatures(renderer, torch.from_numpy(average.astype(np.float32)), side)(units).numpy()


def corrected(
    rows: np.ndarray,
    features: np.ndarray,
    average: np.ndarray,
    avatar: ModelPack,
    options: LandmarkCorrectionOptions = OPTIONS,
    sigma: float = 0.0,
    progress: ProgressCallback = silent,
) -> np.ndarray:
    return correct_by_landmarks(Motion(rows), features, average, avatar, CPU, options, sigma, progress).packets


def apart(avatar: ModelPack, average: np.ndarray, wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How far the features of `rows` are from those wanted, [17], constants aside."""
    difference = wanted - seen(avatar, average, rows)
    return np.asarray((difference - np.median(difference, axis=0)).std(axis=0))


def test_a_face_that_moves_is_corrected(avatar: ModelPack, average: np.ndarray) -> None:
    """The person is the avatar with other α, and the first codes have none of that."""
    rng = np.random.default_rng(0)
    scale = DifferentiableRenderer(avatar, CPU).units.scale[-32:].numpy()
    truth = nodding(10)
    truth[:, 3:] = (1.0 * rng.standard_normal((10, 32)) * scale).astype(np.float16)
    wanted, before = seen(avatar, average, truth), nodding(10)
    after = corrected(before, wanted + 0.05, average, avatar)  # built otherwise: a constant
    assert np.array_equal(after[:, 2], before[:, 2])
    was, left = apart(avatar, average, wanted, before), apart(avatar, average, wanted, after)
    clear = (was > 1.5 * np.array(noise_floor(embedded_pack()))) & (np.arange(len(NAMES)) < len(NAMES) - POSE)
    assert clear.sum() >= 5
    assert np.median((left / was)[clear]) < 0.75


def test_a_head_that_turns_is_corrected(avatar: ModelPack, average: np.ndarray) -> None:
    truth, before = nodding(7), nodding(7)
    truth[:, 0], before[:, 0] = np.linspace(-12, 12, 7), np.linspace(-6, 6, 7)
    fine = replace(ROUGH, side=128)
    after = corrected(before, seen(avatar, average, truth, fine.side), average, avatar, fine)
    gone = (after - before)[:, 0] / np.where(truth[:, 0] == 0, 1, (truth - before)[:, 0])
    assert (gone[[0, -1]] > 0.4).all()  # far from where the jacobian was measured, a nose does not go in proportion
    assert (gone[[0, -1]] < 1.0).all()
    assert np.abs((after - before)[:, 1]).max() < 1.5


def test_who_is_as_the_codes_say_is_left_alone(avatar: ModelPack, average: np.ndarray) -> None:
    before = nodding(6)
    after = corrected(before, seen(avatar, average, before) + 0.02, average, avatar, ROUGH)
    scale = DifferentiableRenderer(avatar, CPU).units.scale.numpy()
    assert np.abs((after - before)[:, [0, 1, *range(3, 35)]] / scale).max() < 0.02


def test_what_is_within_the_noise_floor_is_left() -> None:
    floor = torch.tensor(noise_floor(embedded_pack()))
    often = torch.tensor([[1.0], [-1.0]]) * floor.where(floor.isfinite(), torch.tensor(0.1))
    assert above_noise(0.9 * often, floor.tolist()).abs().max() == 0
    much = above_noise(10 * often, floor.tolist())
    assert torch.allclose(much[:, floor.isfinite()], 9.9 * often[:, floor.isfinite()], rtol=1e-4)
    assert much[:, ~floor.isfinite()].abs().max() == 0
    assert above_noise(torch.zeros(3, len(NAMES)), floor.tolist()).abs().max() == 0


def test_the_jacobian_is_measured_where_mouths_are_open() -> None:
    assert half_open(torch.tensor([0.0, 0.05, 0.0, 0.21, 0.3, 0.0, 0.4]), 2) == [1, 4]
    assert half_open(torch.zeros(3), 2) == [0, 0]


def test_frames_without_a_face_stay_empty(avatar: ModelPack, average: np.ndarray) -> None:
    rows, told = nodding(20), []
    rows[[2, 19]] = np.nan
    features = np.full((20, len(NAMES)), np.nan, np.float32)
    there = [k for k in range(19) if k != 2]
    features[there] = seen(avatar, average, rows[there])
    features[there[:9], NAMES.index("mouth_width")] += 0.3
    after = corrected(rows, features, average, avatar, replace(ROUGH, every=1), 1.0, told.append)
    assert np.isnan(after[[2, 19]]).all()
    assert np.isfinite(after[there]).all()
    assert not np.array_equal(after[there], rows[there])
    # Frames of the clip, those without a face included.
    assert told == [Progress(CORRECTING, 17, 20), Progress(CORRECTING, 20, 20)]


def test_a_single_face_has_no_median_to_compare_with(avatar: ModelPack, average: np.ndarray) -> None:
    rows = nodding(3)
    rows[[0, 2]] = np.nan
    features = np.full((3, len(NAMES)), 0.5, np.float32)
    after = correct_by_landmarks(Motion(rows), features, average, avatar, CPU, OPTIONS, 0.0)
    assert np.array_equal(after.packets, rows, equal_nan=True)


def test_two_frames_are_corrected_as_far_as_a_median_of_two_allows(avatar: ModelPack, average: np.ndarray) -> None:
    rows = nodding(2)
    features = seen(avatar, average, rows)
    features[1, NAMES.index("mouth_width")] += 0.3
    after = corrected(rows, features, average, avatar, ROUGH)
    assert np.isfinite(after).all()
    assert np.abs(after - rows)[1].max() > 0.05


def test_frames_between_are_what_their_neighbours_lead_to() -> None:
    draw = torch.Generator().manual_seed(0)
    jacobian, codes = torch.randn(17, 34, generator=draw), torch.randn(8, 34, generator=draw)
    straight = codes @ jacobian.T
    shown = rendered_rows(8, 3)
    assert shown.tolist() == [0, 3, 6, 7]
    assert torch.allclose(between(shown, straight[shown], codes, jacobian), straight, atol=1e-4)
    bent = straight + 0.1 * codes.square().sum(dim=1, keepdim=True)
    found = between(shown, bent[shown], codes, jacobian)
    assert torch.equal(found[shown], bent[shown])
    codes[4] = codes[3]  # a frame like one neighbour is as that one, wherever the other is, beyond a cut for one
    codes[6:] += 100
    assert torch.allclose(between(shown, bent[shown], codes, jacobian)[4], bent[3], atol=1e-4)


def test_one_frame_of_two_is_rendered_and_both_are_corrected_alike(avatar: ModelPack, average: np.ndarray) -> None:
    scale = DifferentiableRenderer(avatar, CPU).units.scale[-32:].numpy()
    rows, person = nodding(7), nodding(7)
    person[:, 3:] = np.random.default_rng(0).standard_normal((7, 32)) * scale
    features = seen(avatar, average, person)
    some = corrected(rows, features, average, avatar, replace(ROUGH, every=2)) - rows
    every = corrected(rows, features, average, avatar, replace(ROUGH, every=1)) - rows
    assert np.abs(every[1::2]).max() > 0.1
    assert 0 < np.abs(some - every).max() < 0.1 * np.abs(every).max()


def test_features_that_do_not_answer_are_not_run_after() -> None:
    jacobian = torch.zeros(len(NAMES), 34)
    jacobian[1, 2], jacobian[3, 3] = 0.05, 1e-5
    missing = torch.zeros(1, len(NAMES))
    missing[0, [1, 3]] = 0.05
    change = solved(jacobian, missing, missing, OPTIONS)[0]
    assert change[2] == pytest.approx(1 / (1 + OPTIONS.damping), rel=0.05)
    assert change[3].abs() < 0.02
    assert change[:2].abs().max() == change[4:].abs().max() == 0


def test_what_the_pose_does_is_not_asked_of_the_face() -> None:
    jacobian = torch.zeros(len(NAMES), 34)
    jacobian[-2, 0] = jacobian[-1, 1] = jacobian[3, 0] = 0.1
    jacobian[3, 5] = 0.05
    missing, wanted = torch.zeros(1, len(NAMES)), torch.zeros(1, len(NAMES))
    missing[0, [-2, 3]] = torch.tensor([0.1, 0.1 * OPTIONS.pose])
    wanted[0, -2] = 10.0  # a head that turns a lot
    change = solved(jacobian, missing, wanted, OPTIONS)[0]
    assert change[0] == pytest.approx(OPTIONS.pose, rel=0.02)
    assert change[2:].abs().max() < 0.02


def test_a_head_that_hardly_turns_keeps_its_pose() -> None:
    jacobian = torch.zeros(len(NAMES), 34)
    jacobian[-2, 0] = jacobian[-1, 1] = 0.1
    wanted = torch.zeros(2, len(NAMES))
    wanted[:, -2] = torch.tensor([-0.1, 0.1]) * OPTIONS.calm / 10  # a unit of yaw is ten degrees
    change = solved(jacobian, wanted / 2, wanted, OPTIONS)
    assert change[1, 0] == pytest.approx(OPTIONS.pose / 2 * OPTIONS.calm / 10 / 2, rel=0.05)
    assert solved(jacobian, wanted / 2, wanted / 10, OPTIONS)[1, 0] < change[1, 0] / 20
