"""Codes corrected by the face mesh: marks that are known to be off come nearer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylecodec.encoding.motion.landmark_correction import Shown, believed, follow, half_open, solved
from stylecodec.encoding.motion.landmark_features import NAMES, POSE, noise_floor
from stylecodec.encoding.motion.refinement import Scene
from stylecodec.encoding.options import FollowOptions
from stylecodec.encoding.personalization.clip_passes import codes_of
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack

CPU = torch.device("cpu")
OPTIONS = FollowOptions(precision="float32")


@pytest.fixture(scope="module")
def pack() -> ModelPack:
    return open_pack("avatar-1024")


@pytest.fixture(scope="module")
def latent(pack: ModelPack) -> np.ndarray:
    return pack.generator(CPU).mapping.w_avg.expand(18, -1).numpy().astype(np.float16)


def packets(count: int) -> np.ndarray:
    """[count, 35]: a face that nods and does nothing else."""
    values = np.zeros((count, 35), np.float16)
    values[:, 1] = np.linspace(-3, 3, count)
    return values


def seen(pack: ModelPack, latent: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The marks [n, 17] of renderings."""
    scene = Scene(pack, CPU)
    codes = codes_of(rows)
    units = scene.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    return Shown(scene, torch.from_numpy(latent.astype(np.float32)), OPTIONS.side)(units).numpy()


def apart(pack: ModelPack, latent: np.ndarray, wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How far the marks of `rows` are from those wanted, [17], constants aside."""
    difference = wanted - seen(pack, latent, rows)
    return np.asarray((difference - np.median(difference, axis=0)).std(axis=0))


def test_a_face_that_moves_is_followed(pack: ModelPack, latent: np.ndarray) -> None:
    """The person is the avatar with other α, and the first codes have none of that."""
    rng = np.random.default_rng(0)
    scale = Scene(pack, CPU).units.scale[-32:].numpy()
    truth = packets(10)
    truth[:, 3:] = (1.0 * rng.standard_normal((10, 32)) * scale).astype(np.float16)
    wanted, before = seen(pack, latent, truth), packets(10)
    after = follow(before, wanted + 0.05, latent, pack, CPU, OPTIONS, 0.0)  # built otherwise: a constant
    assert np.array_equal(after[:, 2], before[:, 2])
    was, left = apart(pack, latent, wanted, before), apart(pack, latent, wanted, after)
    clear = (was > 1.5 * np.array(noise_floor(embedded_pack()))) & (np.arange(len(NAMES)) < len(NAMES) - POSE)
    assert clear.sum() >= 5
    assert np.median((left / was)[clear]) < 0.75


def test_a_head_that_turns_is_followed(pack: ModelPack, latent: np.ndarray) -> None:
    truth, before = packets(7), packets(7)
    truth[:, 0], before[:, 0] = np.linspace(-12, 12, 7), np.linspace(-6, 6, 7)
    after = follow(before, seen(pack, latent, truth), latent, pack, CPU, OPTIONS, 0.0)
    gone = (after - before)[:, 0] / np.where(truth[:, 0] == 0, 1, (truth - before)[:, 0])
    assert (gone[[0, -1]] > 0.4).all()  # far from where the answer was measured, a nose does not go in proportion
    assert (gone[[0, -1]] < 1.0).all()
    assert np.abs((after - before)[:, 1]).max() < 1.5


def test_who_is_as_the_codes_say_is_left_alone(pack: ModelPack, latent: np.ndarray) -> None:
    before = packets(6)
    after = follow(before, seen(pack, latent, before) + 0.02, latent, pack, CPU, OPTIONS, 0.0)
    scale = Scene(pack, CPU).units.scale.numpy()
    assert np.abs((after - before)[:, [0, 1, *range(3, 35)]] / scale).max() < 0.02


def test_little_is_not_believed_and_much_is() -> None:
    doubt = torch.tensor(noise_floor(embedded_pack()))
    often = torch.tensor([[1.0], [-1.0]]) * doubt.where(doubt.isfinite(), torch.tensor(0.1))
    assert believed(0.9 * often, tuple(doubt.tolist())).abs().max() == 0
    much = believed(10 * often, tuple(doubt.tolist()))
    assert torch.allclose(much[:, doubt.isfinite()], 9.9 * often[:, doubt.isfinite()], rtol=1e-4)
    assert much[:, ~doubt.isfinite()].abs().max() == 0
    assert believed(torch.zeros(3, len(NAMES)), tuple(doubt.tolist())).abs().max() == 0


def test_the_answer_is_measured_where_mouths_are_open() -> None:
    assert half_open(torch.tensor([0.0, 0.05, 0.0, 0.21, 0.3, 0.0, 0.4]), 2) == [1, 4]
    assert half_open(torch.zeros(3), 2) == [0, 0]


def test_frames_without_a_face_stay_empty(pack: ModelPack, latent: np.ndarray) -> None:
    rows, told = packets(20), []
    rows[[2, 19]] = np.nan
    marks = np.full((20, len(NAMES)), np.nan, np.float32)
    there = [k for k in range(19) if k != 2]
    marks[there] = seen(pack, latent, rows[there])
    marks[there[:9], NAMES.index("mouth_width")] += 0.3
    after = follow(rows, marks, latent, pack, CPU, OPTIONS, 1.0, told.append)
    assert np.isnan(after[[2, 19]]).all()
    assert np.isfinite(after[there]).all()
    assert not np.array_equal(after[there], rows[there])
    assert told == [17, 20]  # frames of the clip, those without a face included


def test_turned_off_or_alone_nothing_happens(pack: ModelPack, latent: np.ndarray) -> None:
    rows = packets(3)
    nothing = np.full((3, len(NAMES)), np.nan, np.float32)
    assert follow(rows, nothing, latent, pack, CPU, replace(OPTIONS, frames=0), 0.0) is rows
    assert follow(rows[:1], nothing[:1], latent, pack, CPU, OPTIONS, 0.0) is not None


def test_marks_that_do_not_answer_are_not_run_after() -> None:
    answer = torch.zeros(len(NAMES), 34)
    answer[1, 2], answer[3, 3] = 0.05, 1e-5
    missing = torch.zeros(1, len(NAMES))
    missing[0, [1, 3]] = 0.05
    change = solved(answer, missing, missing, OPTIONS)[0]
    assert change[2] == pytest.approx(1 / (1 + OPTIONS.hold), rel=0.05)
    assert change[3].abs() < 0.02
    assert change[:2].abs().max() == change[4:].abs().max() == 0


def test_what_the_pose_does_is_not_asked_of_the_face() -> None:
    answer = torch.zeros(len(NAMES), 34)
    answer[-2, 0] = answer[-1, 1] = answer[3, 0] = 0.1
    answer[3, 5] = 0.05
    missing, wanted = torch.zeros(1, len(NAMES)), torch.zeros(1, len(NAMES))
    missing[0, [-2, 3]] = torch.tensor([0.1, 0.1 * OPTIONS.pose])
    wanted[0, -2] = 10.0  # a head that turns a lot
    change = solved(answer, missing, wanted, OPTIONS)[0]
    assert change[0] == pytest.approx(OPTIONS.pose, rel=0.02)
    assert change[2:].abs().max() < 0.02


def test_a_head_that_hardly_turns_keeps_its_pose() -> None:
    answer = torch.zeros(len(NAMES), 34)
    answer[-2, 0] = answer[-1, 1] = 0.1
    wanted = torch.zeros(2, len(NAMES))
    wanted[:, -2] = torch.tensor([-0.1, 0.1]) * OPTIONS.calm / 10  # a unit of yaw is ten degrees
    change = solved(answer, wanted / 2, wanted, OPTIONS)
    assert change[1, 0] == pytest.approx(OPTIONS.pose / 2 * OPTIONS.calm / 10 / 2, rel=0.05)
    assert solved(answer, wanted / 2, wanted / 10, OPTIONS)[1, 0] < change[1, 0] / 20
