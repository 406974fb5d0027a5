"""Encoding that reads the clip again: refined, personalised, with a card."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.bitstream import Identity, StreamFile
from stylecodec.bitstream.attached import personalizations
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.personal import TunedPack
from stylecodec.encoding.analysis import ANALYSING
from stylecodec.encoding.differentiable import CodeUnits
from stylecodec.encoding.frames import AlignedClip, AlignedFrame, Motion
from stylecodec.encoding.identity.cards import IdentityCard
from stylecodec.encoding.identity.fitting import FITTING
from stylecodec.encoding.motion.landmark_correction import CORRECTING
from stylecodec.encoding.motion.pixel_correction import CORRECTING as CORRECTING_BY_PIXELS
from stylecodec.encoding.motion.refinement import REFINING
from stylecodec.encoding.options import (
    EncodeOptions,
    FitOptions,
    LandmarkCorrectionOptions,
    PixelCorrectionOptions,
    RefineOptions,
    TuneOptions,
)
from stylecodec.encoding.personalization.clip import TunedClip, personalize_clip, resolved_side, tuned_rows
from stylecodec.encoding.personalization.tuning import PERSONALISING
from stylecodec.encoding.pipeline import compacted, encode_frames
from stylecodec.encoding.write import EncodedClip, stream_bytes
from stylecodec.errors import OptionError, PackMismatch
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.geometry import CropTransform
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

pytestmark = pytest.mark.usefixtures("quick_rounding")
RATE = Fraction(25)
FIT = FitOptions(steps=2, side=32)
REFINE = RefineOptions(steps=2, side=32)
TUNE = TuneOptions(steps=12, side=32, batch=4, frames=8, precision="float32", look_steps=4, delta_bytes=60_000)
FAST = EncodeOptions(
    device="cpu",
    identity_candidates=4,
    identity_average=1,
    profile="raw",
    likeness="off",
    fit=FIT,
    landmark_correction=LandmarkCorrectionOptions(frames=1, side=32),
    refine=REFINE,
    refine_tuned=REFINE,
    tune=TUNE,
)

FULL = replace(FAST, likeness="full")
PLAIN = replace(FAST, landmark_correction=LandmarkCorrectionOptions(enabled=False))


class Clip:
    """Twelve frames of coloured stripes, the face lost in the third; can be read again and again."""

    def __init__(self) -> None:
        self.readings = 0

    def __iter__(self) -> Iterator[AlignedFrame]:
        self.readings += 1
        x = np.linspace(0, 6, 256)
        for k in range(12):
            stripes = np.stack([127 + 90 * np.sin(x * (c + 1) + k / 3) for c in range(3)], axis=1)
            crop = np.broadcast_to(stripes, (256, 256, 3)).astype(np.uint8)
            square = CropTransform((300.0, 200.0), 250.0, roll_deg=k / 4)
            yield AlignedFrame(k / 25, None if k == 2 else crop, None if k == 2 else square)


def stream(clip: EncodedClip, options: EncodeOptions) -> bytes:
    return b"".join(stream_bytes(compacted(clip, options) if options.profile == "compact" else clip, options))


@dataclass(frozen=True)
class Made:
    """A clip with a likeness in full, before its profile matters, and what was told while it was made."""

    clip: EncodedClip
    told: list[Progress]


@pytest.fixture(scope="module")
def personalised(tiny_pack: ModelPack) -> Made:
    told: list[Progress] = []
    return Made(encode_frames(Clip(), tiny_pack, FULL, RATE, progress=told.append), told)


@pytest.fixture(scope="module")
def card(personalised: Made) -> IdentityCard:
    clip = personalised.clip
    assert clip.delta is not None
    return IdentityCard(clip.identity, clip.delta)


def test_fast_reads_once_and_balanced_twice(tiny_pack: ModelPack) -> None:
    clip, again = Clip(), Clip()
    fast = encode_frames(clip, tiny_pack, PLAIN, RATE)
    told: list[Progress] = []
    balanced = encode_frames(again, tiny_pack, replace(PLAIN, preset="balanced"), RATE, progress=told.append)
    assert (clip.readings, again.readings) == (1, 2)
    assert told[-1] == Progress(REFINING, 12, 12)
    assert fast.packets.shape == balanced.packets.shape == (12, 35)
    assert np.array_equal(fast.packets[:, 2], balanced.packets[:, 2])
    assert not np.array_equal(fast.packets[:, 3:], balanced.packets[:, 3:])
    assert np.array_equal(balanced.packets[2], balanced.packets[1])
    assert balanced.held == 1
    assert balanced.pack is tiny_pack


def test_a_personalised_stream_carries_its_generator(tiny_pack: ModelPack, personalised: Made) -> None:
    clip = personalised.clip
    assert clip.tuned is not None
    assert clip.tuned.rows.tolist() == sorted(set(clip.tuned.rows.tolist()))
    assert 2 not in clip.tuned.rows
    assert len(clip.tuned.rows) == 8
    assert {event.stage for event in personalised.told} == {ANALYSING, FITTING, PERSONALISING, REFINING}
    data = stream(clip, FULL)
    with StreamFile.open(io.BytesIO(data)) as file:
        found = personalizations(file)
        assert list(found) == [file.identity_for(0).digest]
        assert found[file.identity_for(0).digest].delta == clip.delta
    with Decoder.open(io.BytesIO(data), device="cpu", pack=tiny_pack, size=32) as decoder:
        assert len(list(decoder)) == 12


def test_the_compact_profile_binds_to_the_identity_that_it_sends(personalised: Made) -> None:
    data = stream(personalised.clip, replace(FULL, profile="compact", quality=30.0))
    with StreamFile.open(io.BytesIO(data)) as file:
        assert list(personalizations(file)) == [file.identity_for(0).digest]


def test_work_is_known_by_the_pixels_of_the_source(tiny_pack: ModelPack, tmp_path: Path) -> None:
    """Squares, crops and latents may come out otherwise on another machine; another clip is refused."""

    def clip(seed: int, shift: float) -> AlignedClip:
        pictures = np.random.default_rng(seed).integers(0, 256, (8, 96, 96, 3), np.uint8)
        squares = np.tile([48.0 + shift, 48.0, 80.0, 0.0], (8, 1))
        track = AlignedTrack(squares, np.ones(8, bool), AlignReport(8, 0, 0, 1, 0, 1))
        return AlignedClip(lambda: ((k / 25, picture) for k, picture in enumerate(pictures)), track)

    def tuned(seed: int, shift: float) -> TunedClip:
        options, packets = replace(FAST, checkpoint=tmp_path / "work"), np.full((8, 35), shift, np.float16)
        latent = np.full((18, 512), shift, np.float16)
        return personalize_clip(clip(seed, shift), Motion(packets), latent, tiny_pack, torch.device("cpu"), options)

    before, after = tuned(0, 0.0).result, tuned(0, 0.01).result
    assert after.history == before.history  # not tuned again
    with pytest.raises(OptionError, match="another clip"):
        tuned(1, 0.0)


@pytest.mark.parametrize(
    ("sides", "most", "side"),
    [
        ((300.0,), 256, 256),
        ((256.0,), 256, 256),
        ((182.0,), 256, 256),
        ((180.0,), 256, 128),
        ((140.0, 140.0, 900.0), 256, 128),
        ((140.0,), 64, 64),
        ((80.0,), 256, 64),
        ((9.0,), 256, 32),
        ((), 256, 256),
    ],
)
def test_nobody_is_tuned_finer_than_the_source_shows(sides: tuple[float, ...], most: int, side: int) -> None:
    frames = [AlignedFrame(0.0, None, CropTransform((0.0, 0.0), value)) for value in sides]
    assert resolved_side([*frames, AlignedFrame(1.0, None)], most) == side


def test_some_frames_are_spread_and_some_differ_most(tiny_pack: ModelPack) -> None:
    packets = np.zeros((40, 35), np.float16)
    packets[:, 3] = np.linspace(0, 0.01, 40)
    packets[[7, 23], 4] = 9.0, -9.0
    packets[5] = np.nan
    packets[31, 0] = 30.0
    motion, units = Motion(packets), CodeUnits(tiny_pack, torch.device("cpu"))
    assert tuned_rows(motion, units, replace(TUNE, frames=8)).tolist() == [0, 6, 12, 17, 23, 28, 34, 39]
    chosen = tuned_rows(motion, units, replace(TUNE, frames=8, keyframes=0.5)).tolist()
    assert {7, 23, 31, 0, 39} <= set(chosen)
    assert len(chosen) == 8
    assert 5 not in chosen
    assert len(tuned_rows(motion, units, replace(TUNE, frames=100, keyframes=0.5))) == 39
    assert len(tuned_rows(motion, units, replace(TUNE, frames=8, keyframes=1.0))) == 8


@pytest.mark.parametrize("corrects", [True, False])
def test_a_quick_likeness_corrects_by_pixels_and_refines_nothing(tiny_pack: ModelPack, corrects: bool) -> None:
    told: list[Progress] = []
    pixels = PixelCorrectionOptions(corrects, keyframes=1, side=32, compared=32)
    clip, options = Clip(), replace(FAST if corrects else PLAIN, likeness="quick", pixel_correction=pixels)
    encoded = encode_frames(clip, tiny_pack, options, RATE, progress=told.append)
    assert clip.readings == 2 + corrects
    usual = {ANALYSING, FITTING, CORRECTING, PERSONALISING}
    assert {event.stage for event in told} - usual == ({CORRECTING_BY_PIXELS} if corrects else set())
    assert encoded.tuned is not None
    assert encoded.delta is not None
    assert encoded.tuned.report()["delta_bytes"] == len(encoded.delta) <= TUNE.delta_bytes
    with StreamFile.open(io.BytesIO(stream(encoded, options))) as file:
        assert file.byte_account()["personalization"] > len(encoded.delta)


def test_a_card_spares_the_generator(tiny_pack: ModelPack, card: IdentityCard) -> None:
    clip = encode_frames(Clip(), tiny_pack, PLAIN, RATE, card=card)
    assert isinstance(clip.pack, TunedPack)
    assert clip.identity == card.identity
    for delta, carried in (("auto", False), ("name", False), ("carry", True)):
        data = stream(clip, replace(PLAIN, delta=delta))
        with StreamFile.open(io.BytesIO(data), recall={card.identity.digest: card.identity}.get) as file:
            found = personalizations(file)[card.identity.digest]
            assert file.identity_for(0).digest == card.identity.digest
            spent = file.byte_account()
        assert found.digest == card.delta.digest  # type: ignore[union-attr]
        assert (found.delta is not None) == carried
        assert (spent["identity"] + spent["personalization"] < 200) != carried


def test_a_card_keeps_its_digest_in_the_compact_profile(tiny_pack: ModelPack, card: IdentityCard) -> None:
    options = replace(PLAIN, profile="compact", quality=30.0)
    clip = encode_frames(Clip(), tiny_pack, options, RATE, card=card)
    data = stream(clip, options)
    with StreamFile.open(io.BytesIO(data), recall={card.identity.digest: card.identity}.get) as file:
        assert file.identity_for(0).digest == card.identity.digest


def test_a_latent_fitted_anew_travels_and_its_generator_is_named(tiny_pack: ModelPack, card: IdentityCard) -> None:
    options = replace(PLAIN, profile="compact", quality=30.0)
    clip = encode_frames(Clip(), tiny_pack, options, RATE, card=replace(card, fresh=True))
    data = stream(clip, options)
    with StreamFile.open(io.BytesIO(data)) as file:
        identity = file.identity_for(0)
        found = personalizations(file)[identity.digest]
        assert file.byte_account()["identity"] > 100
    assert identity.digest != card.identity.digest  # rounded as every latent of the compact profile
    assert found.digest == card.delta.digest  # type: ignore[union-attr]
    assert found.delta is None


def test_a_card_without_a_generator(tiny_pack: ModelPack) -> None:
    latent = np.random.default_rng(0).standard_normal((18, 512)).astype(np.float16)
    clip = encode_frames(Clip(), tiny_pack, PLAIN, RATE, card=IdentityCard(Identity(latent)))
    assert clip.pack is tiny_pack
    assert clip.delta is None
    assert np.array_equal(clip.identity.latent, latent)


def test_a_card_of_another_pack(other_pack: ModelPack, card: IdentityCard) -> None:
    with pytest.raises(PackMismatch):
        encode_frames(Clip(), other_pack, FAST, RATE, card=card)
