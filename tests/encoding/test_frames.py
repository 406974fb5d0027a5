"""Aligned frames, codes and packets over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylecodec.encoding.frames import AlignedClip, FrameCodes, Motion, evenly_spaced, smooth, to_input
from stylecodec.face.align import AlignedTrack, AlignReport


def motion(count: int, lost: tuple[int, ...] = ()) -> Motion:
    packets = np.arange(count, dtype=np.float16)[:, None].repeat(35, axis=1)
    packets[list(lost)] = np.nan
    return Motion(packets)


def test_frames_without_a_face_repeat_their_neighbour() -> None:
    moved = motion(5, lost=(0, 3))
    assert moved.faces.tolist() == [1, 2, 4]
    assert moved.filled().packets[:, 0].tolist() == [1, 1, 2, 2, 4]
    assert np.isnan(moved.packets[0]).all()  # the motion itself stays


def test_codes_go_in_and_out_of_packets() -> None:
    moved = motion(5)
    codes = moved.codes([1, 3])
    assert codes.pose.tolist() == [[1, 1], [3, 3]]
    assert codes.alpha.shape == (2, 32)
    other = moved.with_codes([1, 3], FrameCodes(codes.w_id, codes.pose + 10, codes.alpha + 20))
    assert other.packets[1].tolist() == [11, 11, 1, *([21] * 32)]
    assert np.array_equal(other.packets[[0, 2, 4]], moved.packets[[0, 2, 4]])


def test_smoothing_over_time() -> None:
    alpha = np.zeros((21, 32), np.float32)
    alpha[10] = 1.0
    assert smooth(alpha, 0.0) is alpha
    soft = smooth(alpha, 2.0)
    assert soft[:, 0].sum() == pytest.approx(1.0, rel=1e-3)
    assert soft[10, 0] == pytest.approx(1 / (2 * np.sqrt(2 * np.pi)), rel=0.05)
    assert np.allclose(smooth(np.ones((5, 32), np.float32), 3.0), 1.0)


def test_the_roll_and_empty_frames_are_not_smoothed() -> None:
    packets = np.random.default_rng(0).normal(0, 1, (12, 35)).astype(np.float16)
    packets[[0, 5]] = np.nan
    calm = Motion(packets).smoothed(1.5).packets
    assert np.array_equal(calm[:, 2], packets[:, 2], equal_nan=True)
    assert np.isnan(calm[[0, 5]]).all()
    there = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert np.diff(calm[there, 7]).std() < 0.5 * np.diff(packets[there, 7]).std()
    assert np.array_equal(Motion(packets).smoothed(0.0).packets, packets, equal_nan=True)


def test_evenly_spaced() -> None:
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(100, 3) == [0, 50, 99]  # 49.5 is rounded to the even number
    assert len(evenly_spaced(1000, 16)) == 16


def test_a_clip_is_read_again_and_again() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 96, 96, 3), np.uint8)
    found = np.array([True, True, False, True, True, True])
    track = AlignedTrack(np.tile([48.0, 48.0, 80.0, 0.0], (6, 1)), found, AlignReport(6, 1, 0, 1, 0, 1))
    clip = AlignedClip(lambda: ((k / 25, picture) for k, picture in enumerate(pictures)), track)
    for _ in range(2):
        frames = list(clip)
        assert [frame.crop is None for frame in frames] == [False, False, True, False, False, False]
        assert frames[3].seconds == 0.12
        assert frames[3].trace == pictures[3, ::16, ::16].tobytes()
    assert clip.sampled(3) == [0, 3, 5]
    assert np.array_equal(np.stack([frame for frame, _ in clip.sampled_frames(3)]), pictures[[0, 3, 5]])


def test_network_input() -> None:
    crop = np.full((256, 256, 3), 255, np.uint8)
    crop[0, 0] = (0, 255, 0)
    x = to_input([crop], torch.device("cpu"))
    assert x.shape == (1, 3, 256, 256)
    assert x[0, :, 0, 0].tolist() == [-1, 1, -1]
    assert float(x.max()) == 1
