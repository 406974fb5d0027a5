"""`progressive`: a clip begins with a coarse identity, its refinement follows with the second group."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec import EncodeOptions, FitOptions, LandmarkCorrectionOptions, encode
from stylecodec.bitstream import FrameGroup, Identity, StreamFile, StreamReader
from stylecodec.bitstream.layout import IdentityForm
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.options import DecodeOptions
from stylecodec.decoding.packets import PacketRenderer
from stylecodec.decoding.render import Renderer
from stylecodec.encoding.identity.people_in_clip import PeopleInClip, Stretch
from stylecodec.encoding.pipeline import compacted, encode_frames
from stylecodec.encoding.rate.compaction import COARSE_SHARE, compact_identity
from stylecodec.encoding.rate.sensitivity import PROBE_SIZE, pictures, probed_frames
from stylecodec.encoding.write import ClipWriter, EncodedClip, ShownPerson
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack
from tests.decoding import streams
from tests.encoding.test_pipeline import OPTIONS, RATE, frames

CPU = torch.device("cpu")
TALK = Path(__file__).resolve().parents[2] / "examples" / "talk.mp4"
PROGRESSIVE = replace(OPTIONS, progressive=True, group_seconds=0.2)

quick = pytest.mark.usefixtures("quick_rounding")


@pytest.fixture(scope="module")
def clip(tiny_pack: ModelPack) -> EncodedClip:
    return encode_frames(frames(12), tiny_pack, OPTIONS, RATE, (640, 480))


def written(clip: EncodedClip, options: EncodeOptions) -> tuple[bytes, tuple[str, ...]]:
    writer = ClipWriter(compacted(clip, options), options)
    return b"".join(writer.portions()), writer.written.notes


def order(data: bytes) -> list[tuple[str, int]]:
    """Kind and slot of the identities and groups, in the order of the stream."""
    reader = StreamReader()
    events = reader.feed(data)
    assert reader.close().complete
    found = [event for event in events if isinstance(event, Identity | FrameGroup)]
    return [("identity", one.slot) if isinstance(one, Identity) else ("group", one.identity) for one in found]


@quick
def test_the_refinement_comes_with_the_second_group(clip: EncodedClip) -> None:
    data, notes = written(clip, PROGRESSIVE)
    assert order(data) == [("identity", 0), ("group", 0), ("identity", 1), ("group", 1), ("group", 1)]
    assert not notes
    with StreamFile.open(io.BytesIO(data)) as stream:
        coarse, fine = stream.identities
        assert [coarse.form, fine.form] == [IdentityForm.COMPACT, IdentityForm.PREDICTED]
        assert fine.base == coarse
        errors = [np.abs(one.latent.astype(np.float64) - clip.choice.latent).mean() for one in (coarse, fine)]
        assert errors[0] > errors[1]
        assert len(bytes(coarse)) < len(bytes(fine))


@quick
def test_a_clip_of_one_group_sends_the_identity_at_once(clip: EncodedClip) -> None:
    options = replace(PROGRESSIVE, group_seconds=2)
    data, notes = written(clip, options)
    assert data == written(clip, replace(options, progressive=False))[0]
    assert data[9] == 0
    assert len(notes) == 1
    assert "at once" in notes[0]


@quick
def test_it_is_off_unless_asked_for(clip: EncodedClip) -> None:
    data, notes = written(clip, replace(PROGRESSIVE, progressive=False))
    assert data[8:10] == bytes([1, 0])
    assert order(data)[:2] == [("identity", 0), ("group", 0)]
    assert not notes


@quick
def test_each_of_several_people_begins_coarse(clip: EncodedClip) -> None:
    people = PeopleInClip((Stretch(0, 7, 0), Stretch(7, 10, 1), Stretch(10, 12, 0)))
    other = replace(clip.choice, latent=streams.identity(4).latent)
    shown = replace(clip, people=people, persons=(ShownPerson(clip.choice, 0), ShownPerson(other, 0)))
    data, _ = written(shown, PROGRESSIVE)
    assert order(data) == [
        *[("identity", 0), ("group", 0), ("identity", 1), ("group", 1)],  # the second person has one group
        *[("identity", 2), ("group", 2), ("group", 1)],
    ]
    with StreamFile.open(io.BytesIO(data)) as stream:
        assert [one.base is None for one in stream.identities] == [True, False, True]


def test_the_coarse_one_is_small_and_the_refined_one_the_same_as_ever(tiny_pack: ModelPack) -> None:
    packets, identity = streams.packets(2).astype(np.float32), streams.identity(3)
    fine = compact_identity(identity, packets, tiny_pack, CPU, 62.0, progressive=True)
    whole = compact_identity(identity, packets, tiny_pack, CPU, 62.0)
    assert fine.base is not None
    assert len(bytes(fine.base)) <= COARSE_SHARE * len(bytes(whole))
    assert fine.digest == whole.digest
    assert len(bytes(fine)) < len(bytes(whole))
    latents, renderer = LatentDecoder(tiny_pack, CPU), Renderer(tiny_pack, CPU, PROBE_SIZE, "float32")
    shown = torch.from_numpy(packets[probed_frames(len(packets))])
    given, coarse, refined = (
        pictures(latents, renderer, one, shown).clamp(-1, 1) for one in (identity, fine.base, fine)
    )
    psnr = [10 * np.log10(4 / float((given - one).square().mean())) for one in (coarse, refined)]
    assert psnr[0] < psnr[1] - 4


def test_an_identity_no_step_serves_goes_alone(tiny_pack: ModelPack) -> None:
    identity = streams.identity(3)
    assert compact_identity(identity, streams.packets(2), tiny_pack, CPU, 600.0, progressive=True) is identity


@quick
def test_a_seek_shows_the_refined_identity(clip: EncodedClip, tiny_pack: ModelPack) -> None:
    data, _ = written(clip, PROGRESSIVE)
    renderer = PacketRenderer(tiny_pack, DecodeOptions(size=64, device="cpu"))
    for frame, slot in ((7, 1), (2, 0)):
        with Decoder.open(io.BytesIO(data), pack=tiny_pack, size=64, device="cpu") as decoder:
            shown, packets = decoder[frame], decoder.stream.packets(frame, frame + 1)
            wanted = [next(renderer.render(one, packets))[0] for one in decoder.stream.identities]
        assert [torch.equal(torch.as_tensor(shown), one) for one in wanted] == [slot == 0, slot == 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "raw", "likeness": "off"}, "--profile compact"),
        ({"likeness": "quick"}, "--likeness off"),
        ({}, "--likeness off"),  # the default is a personal generator
        ({"identity": "me.stid"}, "give it no identity"),
    ],
)
def test_what_it_does_not_go_with(changes: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        EncodeOptions(progressive=True, **changes)  # type: ignore[arg-type]


def test_a_real_clip(tmp_path: Path) -> None:
    """Bytes of both identities of a part of examples/talk.mp4, beside one that is sent at once."""
    options = EncodeOptions(
        device="cpu",
        duration=0.5,
        group_seconds=0.2,
        audio=False,
        likeness="off",
        fit=FitOptions(False),
        landmark_correction=LandmarkCorrectionOptions(enabled=False),
    )
    usual, steps = tmp_path / "usual.stc", tmp_path / "steps.stc"
    encode(TALK, usual, options)
    encode(TALK, steps, replace(options, progressive=True))
    with StreamFile.open(usual) as one, StreamFile.open(steps) as two:
        ((_, whole),) = one.identity_sizes()
        (_, coarse), (_, refinement) = two.identity_sizes()
        assert two.byte_account()["identity"] == coarse + refinement
        assert np.array_equal(one.packets(0, 12), two.packets(0, 12))
        assert one.identity_for(11).digest == two.identity_for(11).digest
    assert coarse < 0.53 * whole  # a chunk has 16 bytes around it
    assert coarse + refinement < 1.4 * whole
