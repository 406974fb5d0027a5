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
from stylecodec.encoding.analysis import ANALYSING
from stylecodec.encoding.frames import AlignedFrame
from stylecodec.encoding.motion.feedforward import analyse
from stylecodec.encoding.motion.landmark_correction import CORRECTING
from stylecodec.encoding.options import EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.encoding.pipeline import compacted, encode_frames
from stylecodec.encoding.rate.compaction import ROUNDING
from stylecodec.encoding.rate.trellis import QUANTISING
from stylecodec.encoding.write import ClipWriter, EncodedClip, group_frames, stream_bytes
from stylecodec.errors import FaceNotFound, MediaError
from stylecodec.geometry import CropTransform
from stylecodec.packs.card import Pose
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

pytestmark = pytest.mark.usefixtures("quick_rounding")
RATE = Fraction(25)
FIT = FitOptions(steps=2, side=32)
UNCORRECTED = LandmarkCorrectionOptions(enabled=False)
OPTIONS = EncodeOptions(
    device="cpu",
    identity_candidates=4,
    identity_average=2,
    likeness="off",
    fit=FIT,
    landmark_correction=UNCORRECTED,
)


def crop(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(32, axis=0).repeat(32, axis=1)


def frames(count: int, lost: tuple[int, ...] = ()) -> Iterator[AlignedFrame]:
    for k in range(count):
        transform = CropTransform((300.0 + k, 200.0), 250.0, roll_deg=k / 4)
        yield AlignedFrame(k / 25, None if k in lost else crop(k), None if k in lost else transform)


def stream(clip: EncodedClip, options: EncodeOptions) -> bytes:
    return b"".join(stream_bytes(compacted(clip, options) if options.profile == "compact" else clip, options))


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


def test_landmarks_correct_pose_and_expression(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    told: list[Progress] = []
    options = replace(OPTIONS, landmark_correction=LandmarkCorrectionOptions(frames=1, side=32))
    corrected = encode_frames(
        frames(20, lost=(0, 7, 8)), tiny_pack, options, RATE, (640, 480), progress=told.append
    )
    assert told[-1] == Progress(CORRECTING, 20, 20)
    assert np.array_equal(corrected.packets[:, 2], clip.packets[:, 2])  # the roll is the alignment's
    assert not np.allclose(corrected.packets[:, 3:], clip.packets[:, 3:], atol=0.02)
    assert np.array_equal(corrected.packets[0], corrected.packets[1])
    assert corrected.held == 3


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
    data = stream(clip, replace(OPTIONS, profile="raw"))
    assert check(io.BytesIO(data)).complete
    with StreamFile.open(io.BytesIO(data)) as file:
        assert file.frame_count == 20
        assert not file.header.variable_rate
        assert file.header.pack_digest == tiny_pack.digest
        assert file.header.indices == tiny_pack.indices
        assert file.header.crop == CropGeometry(640, 480, 300 + 175 / 17, 200.0, 250.0)
        assert np.array_equal(file.packets(0, 20), clip.packets)
        assert np.array_equal(file.identity_for(3).latent, clip.choice.latent)


def test_the_compact_stream_is_smaller_and_nearly_the_same(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    raw = stream(clip, replace(OPTIONS, profile="raw"))
    fine, coarse = (stream(clip, replace(OPTIONS, quality=quality)) for quality in (60, 40))
    assert len(coarse) < len(fine) < len(raw) / 2
    errors = []
    for data in (fine, coarse):
        assert check(io.BytesIO(data)).complete
        with StreamFile.open(io.BytesIO(data)) as file:
            assert file.header.profile == Profile.COMPACT
            errors.append(np.abs(file.packets(0, 20) - clip.packets)[:, :3].mean())
            assert file.identities[0].step_code is not None
            wrong = file.identities[0].latent.astype(np.float64) - clip.choice.latent
            assert np.abs(wrong).mean() < 0.5  # its pictures are what it is held to, in rate/test_compaction.py
    assert errors[0] < errors[1]


def test_group_lengths() -> None:
    assert group_frames(RATE, EncodeOptions()) == 50
    assert group_frames(RATE, EncodeOptions(profile="raw")) == 25
    assert group_frames(RATE, EncodeOptions(group_seconds=0.4)) == 10
    assert group_frames(Fraction(1000), EncodeOptions(group_seconds=9)) == 1024


def test_groups_and_sound(tiny_pack: ModelPack) -> None:
    options = replace(OPTIONS, group_seconds=0.4, identity_average=1)
    clip = encode_frames(frames(25), tiny_pack, options, RATE)
    assert clip.crop is None
    chunks = [AudioChunk(k * 960 - 312, (b"\xf8\xff\xfe",)) for k in range(5)]
    data = b"".join(stream_bytes(compacted(clip, options), options, AudioConfig(), iter(chunks)))
    with StreamFile.open(io.BytesIO(data)) as file:
        assert [len(group) for group in file.groups()] == [10, 10, 5]
        assert list(file.audio_chunks()) == chunks


def test_irregular_times_are_written(tiny_pack: ModelPack) -> None:
    times = [0.0, 0.04, 0.2, 0.2, 0.24]  # a gap, and two frames at one time
    clip = encode_frames([AlignedFrame(5 + t, crop(1)) for t in times], tiny_pack, OPTIONS, RATE)
    made = compacted(clip, OPTIONS)
    writer = ClipWriter(made, OPTIONS)
    with StreamFile.open(io.BytesIO(b"".join(writer.portions()))) as file:
        np.testing.assert_allclose(file.pts(0, 5), times, atol=2e-5)
        assert writer.written.duration_seconds == file.duration_seconds


def test_jitter_below_a_frame_is_no_variable_rate(tiny_pack: ModelPack) -> None:
    times = [0.0, 0.045, 0.078, 0.12]
    clip = encode_frames([AlignedFrame(t, crop(1)) for t in times], tiny_pack, OPTIONS, RATE)
    with StreamFile.open(io.BytesIO(stream(clip, OPTIONS))) as file:
        assert not file.header.variable_rate


def test_no_face_and_no_frame(tiny_pack: ModelPack) -> None:
    with pytest.raises(FaceNotFound, match="no face was found in the 3 frames"):
        encode_frames(frames(3, lost=(0, 1, 2)), tiny_pack, OPTIONS, RATE)
    with pytest.raises(MediaError, match="no frames"):
        encode_frames([], tiny_pack, OPTIONS, RATE)


def test_progress(tiny_pack: ModelPack) -> None:
    seen: list[Progress] = []
    encode_frames(frames(10), tiny_pack, OPTIONS, RATE, total=10, progress=seen.append)
    assert seen[:2] == [Progress(ANALYSING, 8, 10), Progress(ANALYSING, 10, 10)]
    assert {event.unit for event in seen[2:]} == {"steps"}


def test_compaction_tells_how_far_it_is(clip: EncodedClip) -> None:
    seen: list[Progress] = []
    made = compacted(clip, OPTIONS, seen.append)
    assert made.quantiser is not None
    steps = [event for event in seen if event.stage == QUANTISING]
    assert [event.done for event in steps] == list(range(1, 4 * 35 + 1))
    assert steps[-1].total == 4 * 35
    assert seen[-1].stage == ROUNDING


def test_the_writer_knows_what_it_wrote(clip: EncodedClip) -> None:
    for options in (OPTIONS, replace(OPTIONS, profile="raw")):
        made = compacted(clip, options) if options.profile == "compact" else clip
        chunks = [AudioChunk(k * 960 - 312, (b"\xf8\xff\xfe",)) for k in range(5)]
        writer = ClipWriter(made, options, AudioConfig(), iter(chunks))
        data = b"".join(writer.portions())
        with StreamFile.open(io.BytesIO(data)) as file:
            assert writer.written.bytes == file.byte_account()
            assert writer.written.bytes["total"] == len(data)
            assert writer.written.duration_seconds == file.duration_seconds == 0.8
            assert writer.written.header == file.header


def test_a_clip_is_compacted_for_the_compact_profile_alone(clip: EncodedClip) -> None:
    with pytest.raises(ValueError, match="compacted"):
        ClipWriter(clip, OPTIONS)
    with pytest.raises(ValueError, match="compacted"):
        ClipWriter(compacted(clip, OPTIONS), replace(OPTIONS, profile="raw"))


def test_poses_stay_within_the_packs_range(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = [crop(k) for k in range(4)]
    pose = analyse(crops, tiny_pack, torch.device("cpu")).pose
    middle, most = pose.mean(axis=0), pose.max(axis=0)
    reach = [(-60.0, float(a)) for a in middle]
    narrow = replace(tiny_pack.card, pose=Pose(rows=9, yaw=reach[0], pitch=reach[1]))
    monkeypatch.setattr(tiny_pack, "card", narrow)
    found = analyse(crops, tiny_pack, torch.device("cpu")).pose
    assert (most > middle).all()
    np.testing.assert_array_equal(found, np.minimum(pose, middle))


def test_smoothing_over_time(tiny_pack: ModelPack) -> None:
    def encoded(smooth: bool) -> EncodedClip:
        options = replace(OPTIONS, identity_candidates=16, identity_average=1, smooth=smooth, smoothing=0.1)
        return encode_frames(frames(20, lost=(6,)), tiny_pack, options, RATE)

    rough, fine = encoded(False), encoded(True)
    jumps = [np.abs(np.diff(clip.packets.astype(np.float32), axis=0)).mean(axis=0) for clip in (rough, fine)]
    assert (np.delete(jumps[1], 2) < 0.7 * np.delete(jumps[0], 2)).all()
    assert np.array_equal(fine.packets[:, 2], rough.packets[:, 2])  # the roll is the alignment's
    assert fine.held == rough.held == 1
