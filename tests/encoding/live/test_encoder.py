"""Frames one at a time to the packets that the clip encoder gives, and to a live stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecodec.bitstream import FrameGroup, Identity, Profile, StreamHeader, StreamReader, StreamWriter
from stylecodec.bitstream.chunks import Prologue
from stylecodec.encoding.analysis import analyse_clip
from stylecodec.encoding.frames import AlignedFrame, smooth
from stylecodec.encoding.identity.cards import IdentityCard, read_card
from stylecodec.encoding.live.encoder import LiveBurst, LiveEncoder
from stylecodec.encoding.live.motion import CausalMotion
from stylecodec.encoding.live.options import LiveOptions
from stylecodec.encoding.live.quantising import pack_quantiser
from stylecodec.encoding.options import EncodeOptions, FitOptions
from stylecodec.errors import OptionError
from stylecodec.face.warp import warp
from stylecodec.geometry import CropTransform
from stylecodec.packs.store import ModelPack
from tests.decoding import streams

RATE = 25
OPTIONS = LiveOptions(device="cpu", guess_seconds=0.2, group_seconds=0, profile="raw", fit_seconds=None)
CPU = torch.device("cpu")


def picture(number: int) -> np.ndarray:
    small = np.random.default_rng(number // 3).integers(0, 256, (6, 8, 3), np.uint8)
    return np.roll(small.repeat(16, axis=0).repeat(16, axis=1), number, axis=1)


class Middle:
    """A face in the middle of every frame but the `lost` ones; roll grows by half a degree."""

    def __init__(self, lost: Iterable[int] = ()) -> None:
        self.lost, self.number = set(lost), -1

    def __call__(self, seconds: float, frame: np.ndarray) -> CropTransform | None:
        self.number += 1
        if self.number in self.lost:
            return None
        return CropTransform((64.0, 48.0), 86.0, self.number / 2)


def encoded(encoder: LiveEncoder, count: int, times: Sequence[float] | None = None) -> list[LiveBurst]:
    bursts = []
    for k in range(count):
        bursts += encoder.frame(k / RATE if times is None else times[k], picture(k))
    return [*bursts, *encoder.close()]


def stream_of(bursts: Iterable[LiveBurst]) -> list[Any]:
    """The events of a reader that misses nothing."""
    reader = StreamReader()
    data = bytes(Prologue()) + b"".join(chunk for one in bursts for chunk in one.burst.chunks)
    events = reader.feed(data)
    assert reader.close().complete
    return events


def card(seed: int = 0) -> IdentityCard:
    latent = np.random.default_rng(seed).normal(0, 0.5, (18, 512)).astype(np.float16)
    return IdentityCard(Identity(latent))


def packets_of(pack: ModelPack, options: LiveOptions, count: int) -> np.ndarray:
    """Float32 [count, 35] as the live encoder has them, before they are rounded."""
    frames = [frame for one in encoded(LiveEncoder(pack, options, Middle(), card()), count) for frame in one.frames]
    assert [frame.number for frame in frames] == list(range(count))
    return np.stack([frame.packet for frame in frames])


def test_codes_are_those_of_the_clip_encoder(tiny_pack: ModelPack) -> None:
    see = Middle()

    def frames() -> Iterable[AlignedFrame]:
        for k in range(30):
            square = see(k / RATE, picture(k))
            yield AlignedFrame(k / RATE, None if square is None else warp(picture(k), square, 256), square)

    options = EncodeOptions(device="cpu", likeness="off")
    wanted = analyse_clip(frames(), tiny_pack, CPU, options, False, False).motion.packets
    found = packets_of(tiny_pack, replace(OPTIONS, smoothing=0.0), 30)
    assert np.abs(np.diff(found, axis=0))[:, 3:].max() > 1e-4
    assert np.allclose(found, wanted.astype(np.float32), rtol=1e-3, atol=1e-4)


def test_smoothing_is_that_of_a_clip(tiny_pack: ModelPack) -> None:
    raw = packets_of(tiny_pack, replace(OPTIONS, smoothing=0.0), 30)
    found, wanted = packets_of(tiny_pack, OPTIONS, 30), smooth(raw, OPTIONS.smoothing * RATE)
    for part in (slice(0, 2), slice(3, None)):  # pose, α
        changed = np.abs(raw - wanted)[:, part].max()
        assert changed > 1e-4
        assert np.abs(found - wanted)[1:-1, part].max() < 0.1 * changed  # the first frame waits for none
    assert np.array_equal(found[:, 2], raw[:, 2])  # the roll


def test_the_delay_is_one_frame(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle(), card())
    for k in range(10):
        out = [frame.number for one in encoder.frame(k / RATE, picture(k)) for frame in one.frames]
        assert out == ([] if k == 1 else [max(k - 1, 0)])  # the first has no neighbour near enough to wait for


def test_without_look_ahead_there_is_no_delay(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, replace(OPTIONS, look_ahead=0), Middle(), card())
    for k in range(5):
        assert [frame.number for one in encoder.frame(k / RATE, picture(k)) for frame in one.frames] == [k]


def test_no_face_holds_the_last_pose(tiny_pack: ModelPack) -> None:
    lost = range(10, 20)
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle(lost), card())
    frames = [frame for one in encoded(encoder, 30) for frame in one.frames]
    assert [frame.number for frame in frames if frame.held] == list(lost)
    assert encoder.counts.held == 10
    assert all(np.array_equal(frames[k].packet, frames[9].packet) for k in lost)
    assert not np.array_equal(frames[20].packet, frames[9].packet)


def test_nothing_is_sent_before_a_face(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle(range(8)), card())
    frames = [frame for one in encoded(encoder, 12) for frame in one.frames]
    assert [frame.number for frame in frames] == [8, 9, 10, 11]
    assert encoder.origin == 8 / RATE


@pytest.mark.parametrize(("seconds", "sizes"), [(0.0, {1}), (0.2, {5}), (0.4, {10})])
def test_groups(seconds: float, sizes: set[int], tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, replace(OPTIONS, group_seconds=seconds), Middle(), card())
    events = stream_of(encoded(encoder, 20))
    assert {len(event) for event in events if isinstance(event, FrameGroup)} == sizes


def test_frames_that_come_seldom_do_not_wait_for_a_group(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, replace(OPTIONS, group_seconds=0.2), Middle(), card())
    out = [sum(len(one.frames) for one in encoder.frame(k * 0.25, picture(k))) for k in range(6)]
    assert out == [0, 2, 1, 1, 1, 1]


def test_the_stream_has_the_times_of_the_camera(tiny_pack: ModelPack) -> None:
    times = [5.0, 5.04, 5.081, 5.2, 5.2, 5.3]  # one twice: times must increase
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle(), card())
    groups = [event for event in stream_of(encoded(encoder, 6, times)) if isinstance(event, FrameGroup)]
    ticks = [int(group.pts[0]) for group in groups]
    assert ticks == [0, 3600, 7290, 18_000, 18_001, 27_000]


def test_compact_by_the_steps_of_the_pack_or_of_the_card(tiny_pack: ModelPack) -> None:
    compact = replace(OPTIONS, profile="compact")
    quantiser = pack_quantiser(tiny_pack, CPU, compact.quality)
    known = replace(card(), quantiser=pack_quantiser(tiny_pack, CPU, 40.0))
    for given, wanted in ((card(), quantiser), (known, known.quantiser)):
        bursts = encoded(LiveEncoder(tiny_pack, compact, Middle(), given), 10)
        header, *events = stream_of(bursts)
        assert isinstance(header, StreamHeader)
        assert header.quantiser == wanted
        groups = [event for event in events if isinstance(event, FrameGroup)]
        packets = np.concatenate([group.packets for group in groups])
        exact = np.stack([frame.packet for one in bursts for frame in one.frames])
        assert (np.abs(packets - exact) <= wanted.steps / 2 + 1e-6).all()


def test_a_stream_as_a_card_brings_its_quantiser(tiny_pack: ModelPack, tmp_path: Path) -> None:
    quantiser = pack_quantiser(tiny_pack, CPU, 45.0)
    for name, changes in (("raw", {}), ("compact", {"profile": Profile.COMPACT, "quantiser": quantiser})):
        writer = StreamWriter(streams.header(tiny_pack, **changes))
        data = writer.start() + writer.identity(card().identity) + writer.group(np.zeros((3, 35))) + writer.finish()
        (tmp_path / f"{name}.stc").write_bytes(data)
        found = read_card(tmp_path / f"{name}.stc", tiny_pack)
        assert found.quantiser == (quantiser if changes else None)


# --- who is seen ----------------------------------------------------------------------------------------------


def test_a_first_guess_goes_out_after_a_moment(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle())
    bursts = encoded(encoder, 15)
    frames = [frame.number for one in bursts for frame in one.frames]
    assert frames[0] in (4, 5)
    assert frames[-1] == 14
    assert encoder.counts.identities == 1
    assert sum(isinstance(event, Identity) for event in stream_of(bursts)) == 1


class Later(Executor):
    """Runs what it is given when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, call, arguments))
        return future

    def run(self) -> None:
        for future, call, arguments in self.waiting:
            try:
                future.set_result(call(*arguments))
            except Exception as error:
                future.set_exception(error)
        self.waiting = []


RAW_IDENTITY = 18 * 512 * 2  # bytes of the latent in fp16
FITTED = replace(OPTIONS, fit_seconds=0.4, fit=FitOptions(steps=2, side=32, identity=0, parts=0, response=0))


@pytest.mark.parametrize("profile", ["raw", "compact"])
def test_a_fitted_identity_follows(tiny_pack: ModelPack, profile: str) -> None:
    background = Later()
    encoder = LiveEncoder(tiny_pack, replace(FITTED, profile=profile), Middle(), None, background)
    bursts: list[LiveBurst] = []
    for k in range(30):
        bursts += encoder.frame(k / RATE, picture(k))
        if k == 20:
            assert len(background.waiting) == 1
            background.run()
    bursts += encoder.close()
    assert encoder.counts.identities == 2
    assert encoder.counts.fitted
    events = stream_of(bursts)
    found = [event for event in events if isinstance(event, Identity)]
    assert [identity.slot for identity in found] == [0, 1]
    slots = [event.identity for event in events if isinstance(event, FrameGroup)]
    assert set(slots[:10]) == {0}
    assert slots[-1] == 1
    assert {identity.step_code is None for identity in found} == {profile == "raw"}
    assert all((len(bytes(identity)) < RAW_IDENTITY / 2) == (profile == "compact") for identity in found)


def test_a_fit_that_fails_leaves_the_first_guess(tiny_pack: ModelPack) -> None:
    background = Later()
    encoder = LiveEncoder(tiny_pack, FITTED, Middle(), None, background)
    for k in range(15):
        list(encoder.frame(k / RATE, picture(k)))
    future, _, _ = background.waiting.pop()
    future.set_exception(MemoryError("too large"))
    assert sum(len(one.frames) for one in encoder.frame(15 / RATE, picture(15))) == 1
    assert encoder.failure == "MemoryError: too large"
    assert encoder.counts.identities == 1


def test_a_fit_ends_when_the_call_does(tiny_pack: ModelPack) -> None:
    background = Later()
    encoder = LiveEncoder(tiny_pack, FITTED, Middle(), None, background)
    encoded(encoder, 15)
    (future, _, _), *_ = background.waiting
    background.run()
    assert "Cancelled" in type(future.exception()).__name__


# --- options, and memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": Fraction(0)},
        {"profile": "zip"},
        {"quality": 10.0},
        {"group_seconds": 2.0},
        {"look_ahead": 2},
        {"smoothing": -1.0},
        {"guess_seconds": 99.0},
        {"fit_seconds": 0.5},
        {"landmarks": "none"},
    ],
)
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        LiveOptions(**wrong)


def test_motion_keeps_no_past() -> None:
    motion = CausalMotion(0.024, 1)
    for k in range(5000):
        motion.frame(k / RATE, np.full(35, k, np.float32))
    assert motion.waiting == 1
    assert len(motion._past) <= 32
