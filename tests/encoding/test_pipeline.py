"""Aligned frames -> packets, identity and stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from stylecodec.bitstream import AudioChunk, AudioConfig, CropGeometry, Profile, StreamFile, check
from stylecodec.encoding.motion.feedforward import analyse, smooth
from stylecodec.encoding.options import FOLLOWING, EncodeOptions, FitOptions, FollowOptions
from stylecodec.encoding.pipeline import AlignedFrame, EncodedClip, encode_frames, group_frames, hold, stream_bytes
from stylecodec.errors import FaceNotFound, MediaError
from stylecodec.geometry import CropTransform
from stylecodec.packs.store import ModelPack

RATE = Fraction(25)
FIT = FitOptions(steps=2, side=32)
NOT_FOLLOWED = FollowOptions(frames=0)
OPTIONS = EncodeOptions(device="cpu", identity_candidates=4, identity_average=2, fit=FIT, follow=NOT_FOLLOWED)


def crop(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(32, axis=0).repeat(32, axis=1)


def frames(count: int, lost: tuple[int, ...] = ()) -> Iterator[AlignedFrame]:
    for k in range(count):
        transform = CropTransform((300.0 + k, 200.0), 250.0, roll_deg=k / 4)
        yield AlignedFrame(k / 25, None if k in lost else crop(k), None if k in lost else transform)


@pytest.fixture(scope="module")
def clip(tiny_pack: ModelPack) -> EncodedClip:
    return encode_frames(frames(20, lost=(0, 7, 8)), tiny_pack, OPTIONS, RATE, (640, 480))


def test_packets_are_the_networks_codes(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    assert clip.packets.shape == (20, 35)
    assert clip.packets.dtype == np.float16
    codes = analyse([crop(5)], tiny_pack, torch.device("cpu"))
    np.testing.assert_allclose(clip.packets[5, :2], codes.pose[0], atol=0.02)
    assert clip.packets[5, 2] == 1.25
    np.testing.assert_allclose(clip.packets[5, 3:], codes.alpha[0], atol=2e-3, rtol=2e-3)


def test_following_moves_pose_and_expression(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    told: list[str] = []
    options = replace(OPTIONS, follow=FollowOptions(frames=1, side=32))
    followed = encode_frames(
        frames(20, lost=(0, 7, 8)), tiny_pack, options, RATE, (640, 480), tell=lambda name, *_: told.append(name)
    )
    assert FOLLOWING in told
    assert np.array_equal(followed.packets[:, 2], clip.packets[:, 2])  # the roll is the alignment's
    assert not np.allclose(followed.packets[:, 3:], clip.packets[:, 3:], atol=0.02)
    assert np.array_equal(followed.packets[0], followed.packets[1])
    assert followed.held == 3


def test_frames_without_a_face_repeat_their_neighbour(clip: EncodedClip) -> None:
    assert clip.held == 3
    assert np.array_equal(clip.packets[7], clip.packets[6])
    assert np.array_equal(clip.packets[8], clip.packets[6])
    assert np.array_equal(clip.packets[0], clip.packets[1])
    assert not np.array_equal(clip.packets[9], clip.packets[6])


def test_the_batch_does_not_matter(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    options = replace(OPTIONS, batch=3)
    again = encode_frames(frames(20, lost=(0, 7, 8)), tiny_pack, options, RATE, (640, 480))
    np.testing.assert_allclose(again.packets, clip.packets, atol=0.02)
    assert again.choice.frame == clip.choice.frame


def test_the_stream_holds_the_clip(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    data = b"".join(stream_bytes(clip, tiny_pack, replace(OPTIONS, profile="raw"), RATE))
    assert check(io.BytesIO(data)).complete
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert stream.frame_count == 20
        assert not stream.header.variable_rate
        assert stream.header.pack_digest == tiny_pack.digest
        assert stream.header.indices == tiny_pack.indices
        assert stream.header.crop == CropGeometry(640, 480, 300 + 175 / 17, 200.0, 250.0)
        assert np.array_equal(stream.packets(0, 20), clip.packets)
        assert np.array_equal(stream.identity_for(3).latent, clip.choice.latent)


def test_the_compact_stream_is_smaller_and_nearly_the_same(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    raw = b"".join(stream_bytes(clip, tiny_pack, replace(OPTIONS, profile="raw"), RATE))
    fine, coarse = (
        b"".join(stream_bytes(clip, tiny_pack, replace(OPTIONS, quality=quality), RATE)) for quality in (60, 40)
    )
    assert len(coarse) < len(fine) < len(raw) / 2
    errors = []
    for data in (fine, coarse):
        assert check(io.BytesIO(data)).complete
        with StreamFile.open(io.BytesIO(data)) as stream:
            assert stream.header.profile == Profile.COMPACT
            errors.append(np.abs(stream.packets(0, 20) - clip.packets)[:, :3].mean())
            assert stream.identities[0].step_code is not None
            np.testing.assert_allclose(stream.identities[0].latent, clip.choice.latent, atol=0.5)
    assert errors[0] < errors[1]


def test_group_lengths() -> None:
    assert group_frames(RATE, EncodeOptions()) == 50
    assert group_frames(RATE, EncodeOptions(profile="raw")) == 25
    assert group_frames(RATE, EncodeOptions(group_seconds=0.4)) == 10
    assert group_frames(Fraction(1000), EncodeOptions(group_seconds=9)) == 1024


def test_groups_and_sound(tiny_pack: ModelPack) -> None:
    options = EncodeOptions(device="cpu", group_seconds=0.4, identity_average=1, fit=FIT)
    clip = encode_frames(frames(25), tiny_pack, options, RATE)
    assert clip.crop is None
    chunks = [AudioChunk(k * 960 - 312, (b"\xf8\xff\xfe",)) for k in range(5)]
    data = b"".join(stream_bytes(clip, tiny_pack, options, RATE, AudioConfig(), iter(chunks)))
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert [len(group) for group in stream.groups()] == [10, 10, 5]
        assert list(stream.audio_chunks()) == chunks


def test_irregular_times_are_written(tiny_pack: ModelPack) -> None:
    times = [0.0, 0.04, 0.2, 0.2, 0.24]  # a gap, and two frames at one time
    clip = encode_frames([AlignedFrame(5 + t, crop(1)) for t in times], tiny_pack, OPTIONS, RATE)
    with StreamFile.open(io.BytesIO(b"".join(stream_bytes(clip, tiny_pack, OPTIONS, RATE)))) as stream:
        np.testing.assert_allclose(stream.pts(0, 5), times, atol=2e-5)


def test_jitter_below_a_frame_is_no_variable_rate(tiny_pack: ModelPack) -> None:
    times = [0.0, 0.045, 0.078, 0.12]
    clip = encode_frames([AlignedFrame(t, crop(1)) for t in times], tiny_pack, OPTIONS, RATE)
    with StreamFile.open(io.BytesIO(b"".join(stream_bytes(clip, tiny_pack, OPTIONS, RATE)))) as stream:
        assert not stream.header.variable_rate


def test_no_face_and_no_frame(tiny_pack: ModelPack) -> None:
    with pytest.raises(FaceNotFound, match="no face was found in the 3 frames"):
        encode_frames(frames(3, lost=(0, 1, 2)), tiny_pack, OPTIONS, RATE)
    with pytest.raises(MediaError, match="no frames"):
        encode_frames([], tiny_pack, OPTIONS, RATE)


def test_progress(tiny_pack: ModelPack) -> None:
    seen: list[int] = []
    encode_frames(frames(10), tiny_pack, OPTIONS, RATE, progress=seen.append)
    assert seen == [8, 10]


def test_poses_stay_within_the_packs_range(tiny_pack: ModelPack) -> None:
    codes = analyse([crop(k) for k in range(4)], tiny_pack, torch.device("cpu"))
    assert (np.abs(codes.pose) <= (40, 22)).all()


def test_hold_counts() -> None:
    rows = np.arange(5, dtype=np.float16)[:, None].repeat(35, axis=1)
    rows[[0, 3]] = np.nan
    held, count = hold(rows)
    assert count == 2
    assert held[:, 0].tolist() == [1, 1, 2, 2, 4]


def test_smoothing_over_time(tiny_pack: ModelPack) -> None:
    alpha = np.zeros((21, 32), np.float32)
    alpha[10] = 1.0
    assert smooth(alpha, 0.0) is alpha
    soft = smooth(alpha, 2.0)
    assert soft[:, 0].sum() == pytest.approx(1.0, rel=1e-3)
    assert soft[10, 0] == pytest.approx(1 / (2 * np.sqrt(2 * np.pi)), rel=0.05)
    assert np.allclose(smooth(np.ones((5, 32), np.float32), 3.0), 1.0)

    def encoded(smoothing: float) -> EncodedClip:
        options = replace(OPTIONS, identity_candidates=16, identity_average=1, smoothing=smoothing)
        return encode_frames(frames(20, lost=(6,)), tiny_pack, options, RATE)

    rough, fine = encoded(0.0), encoded(0.1)
    jumps = [np.abs(np.diff(clip.packets.astype(np.float32), axis=0)).mean(axis=0) for clip in (rough, fine)]
    assert (np.delete(jumps[1], 2) < 0.7 * np.delete(jumps[0], 2)).all()
    assert np.array_equal(fine.packets[:, 2], rough.packets[:, 2])  # the roll is the alignment's
    assert fine.held == rough.held == 1
