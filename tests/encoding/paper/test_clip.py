"""The `paper` preset from aligned frames to packets, on a tiny pack without a feed-forward encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.encoding.frames import AlignedFrame
from stylecodec.encoding.options import EncodeOptions, FitOptions
from stylecodec.encoding.paper import analysis, pose
from stylecodec.encoding.paper.analysis import Chunk, ChunkSearch
from stylecodec.encoding.paper.attributes import AttributeSearch, Last
from stylecodec.encoding.paper.clip import ENCODING, encode_paper
from stylecodec.encoding.paper.inversion import Inverter
from stylecodec.encoding.paper.losses import Target
from stylecodec.encoding.paper.pose import PoseSearch, PoseTarget
from stylecodec.encoding.paper.rendering import Styles
from stylecodec.encoding.paper.selection import choose
from stylecodec.encoding.paper.settings import PaperOptions
from stylecodec.encoding.paper.survey import survey
from stylecodec.encoding.pipeline import encode_frames
from stylecodec.encoding.write import EncodedClip
from stylecodec.errors import FaceNotFound, OptionError
from stylecodec.geometry import CropTransform
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
RATE = Fraction(25)
PAPER = PaperOptions(target="inversion", side=64, steps=2, pose_steps=1, epochs=2, worst_inversion=2.0)
OPTIONS = EncodeOptions(
    preset="paper", device="cpu", identity_candidates=3, identity_average=1, batch=3, paper=PAPER,
    fit=FitOptions(steps=1, side=32),
)
LOST = (0, 4)


def crop(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(32, axis=0).repeat(32, axis=1)


class Clip:
    """Seven frames, two of them without a face, that can be read again."""

    def __iter__(self) -> Iterator[AlignedFrame]:
        for k in range(7):
            transform = CropTransform((300.0 + k, 200.0), 250.0, roll_deg=k / 4)
            yield AlignedFrame(k / 25, None if k in LOST else crop(k // 2), None if k in LOST else transform)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Fewer poses in the grid, fewer steps of the reference from frame to frame."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose, "GRID", (2, 2))
        patch.setattr(pose.PoseSearch.reference, "__defaults__", (3,))
        yield


@pytest.fixture(scope="module")
def encoded(paper_pack: ModelPack) -> EncodedClip:
    return encode_frames(Clip(), paper_pack, OPTIONS, RATE, (640, 480))


def test_packets_hold_every_frame(encoded: EncodedClip) -> None:
    assert encoded.packets.shape == (7, 35)
    assert encoded.held == 2
    assert np.isfinite(encoded.packets).all()
    assert np.array_equal(encoded.packets[4], encoded.packets[3])
    assert encoded.packets[5, 2] == 1.25
    assert float(np.abs(encoded.packets[:, 3:]).max()) > 0
    assert encoded.crop is not None
    assert encoded.choice.averaged == 1


def test_the_report_says_what_did_the_work(encoded: EncodedClip) -> None:
    assert encoded.paper is not None
    assert encoded.paper.perceptual == "features of the pack's face parser"
    assert (encoded.paper.inversion, encoded.paper.target, encoded.paper.failed) == ("e4e", "inversion", 0)
    assert "compared by features of the pack's face parser" in encoded.notes[0]


def test_the_identity_is_the_frame_most_like_its_inversion(paper_pack: ModelPack) -> None:
    found = survey(Clip(), paper_pack, CPU, OPTIONS)
    inverter = Inverter(paper_pack, CPU, 64)
    choice = choose(found.frontal, inverter)
    same = [found.similarity[one.frame] for one in found.frontal]
    assert choice.similarity == pytest.approx(max(same), abs=1e-4)
    assert np.array_equal(choice.latent, found.latents[choice.frame])
    assert np.isnan(found.similarity[list(LOST)]).all()


def test_line_by_line_as_well(paper_pack: ModelPack, encoded: EncodedClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is searched otherwise, and a chunk begins where the one before it ended."""
    poses, attributes = [], []
    pose_of, alpha_of = PoseSearch.reference, AttributeSearch.reference

    def pose_found(self: PoseSearch, target: PoseTarget, start: torch.Tensor) -> torch.Tensor:
        poses.append((start, found := pose_of(self, target, start)))
        return found

    def alpha_found(
        self: AttributeSearch, styles: Styles, target: Target, last: Last | None
    ) -> tuple[torch.Tensor, Last]:
        alpha, end = alpha_of(self, styles, target, last)
        attributes.append((last, end))
        return alpha, end

    def fail(*_: object) -> None:
        raise AssertionError("many frames at once")

    for search, found, fast in ((PoseSearch, pose_found, "search"), (AttributeSearch, alpha_found, "solve")):
        monkeypatch.setattr(search, "reference", found)
        monkeypatch.setattr(search, fast, fail)
    slow = replace(OPTIONS, paper=replace(PAPER, method="reference"), fit=FitOptions(enabled=False))
    clip = encode_paper(Clip(), paper_pack, slow, RATE)
    assert clip.paper is not None
    assert clip.paper.method == "reference"
    assert clip.fit_steps == 0
    (first, begun), (second, ended) = poses
    assert torch.equal(first, torch.zeros(2))
    assert torch.equal(second, begun[-1])
    np.testing.assert_allclose(clip.packets[[1, 2, 3, 5, 6], :2], torch.cat([begun, ended]), rtol=1e-3)
    assert attributes[0][0] is None
    assert attributes[1][0] is attributes[0][1]
    assert np.array_equal(clip.packets[:, 2], encoded.packets[:, 2])
    assert np.abs(clip.packets[:, 3:]).max(axis=1).min() > 0


def test_a_large_generator_is_asked_for_few_frames_at_a_time(
    paper_pack: ModelPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "LARGE_CHUNK", 2)
    usual = replace(OPTIONS, batch=None, fit=FitOptions(enabled=False))
    sizes = searched(monkeypatch)
    for channels, chunks in ((paper_pack.generator(CPU).layout.size, [5]), (0, [2, 2, 1])):
        monkeypatch.setattr(analysis, "LARGE", channels)
        encode_paper(Clip(), paper_pack, usual, RATE)
        assert sizes == chunks
        sizes.clear()


def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each search is of, from now on."""
    sizes: list[int] = []
    search = ChunkSearch.__call__

    def counted(self: ChunkSearch, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(chunk.pictures))
        return search(self, chunk)

    monkeypatch.setattr(ChunkSearch, "__call__", counted)
    return sizes


class Stopped(Exception):
    pass


def test_an_interrupted_encoding_goes_on(
    paper_pack: ModelPack, encoded: EncodedClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, checkpoint=tmp_path / "work.safetensors")

    def stop(event: Progress) -> None:
        if event.stage == ENCODING and event.done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        encode_paper(Clip(), paper_pack, options, RATE, (640, 480), progress=stop)
    assert (tmp_path / "work.safetensors").is_file()
    sizes = searched(monkeypatch)
    found = encode_paper(Clip(), paper_pack, options, RATE, (640, 480))
    assert sizes == [5, 2]  # those that the latent is fitted to, and what the first three of five have left
    np.testing.assert_allclose(found.packets, encoded.packets, atol=0.02)
    other = replace(options, paper=replace(PAPER, steps=5))
    with pytest.raises(OptionError, match="checkpoint of another clip"):
        encode_paper(Clip(), paper_pack, other, RATE)


def test_inversions_that_fail_are_held_and_counted(paper_pack: ModelPack) -> None:
    found = survey(Clip(), paper_pack, CPU, OPTIONS)
    distances = 1 - found.similarity[found.faces]
    apart = np.sort(np.unique(distances.round(5)))  # equal pictures have equal distances
    bound = float(apart[-2:].mean())
    failed = int((distances > bound).sum())
    assert 0 < failed < len(distances)
    strict = replace(OPTIONS, paper=replace(PAPER, worst_inversion=bound), fit=FitOptions(enabled=False))
    clip = encode_paper(Clip(), paper_pack, strict, RATE)
    assert clip.paper is not None
    assert clip.paper.failed == failed
    assert clip.held == 2 + failed
    assert any(f"{failed} frames were held" in note for note in clip.notes)


def test_nothing_but_failed_inversions_is_said_so(paper_pack: ModelPack) -> None:
    strict = replace(OPTIONS, paper=replace(PAPER, worst_inversion=1e-9), fit=FitOptions(enabled=False))
    with pytest.raises(FaceNotFound, match=r"e4e inverts no frame .*--target frame"):
        encode_paper(Clip(), paper_pack, strict, RATE)


def test_the_generator_is_tuned_to_the_inversions_first(paper_pack: ModelPack) -> None:
    paper = replace(PAPER, tuning_steps=2, tuning_frames=2, tuning_rate=1e-2)
    options = replace(OPTIONS, paper=paper, likeness="full", fit=FitOptions(enabled=False))
    clip = encode_paper(Clip(), paper_pack, options, RATE)
    assert clip.tuned is not None
    assert clip.delta is not None
    assert clip.tuned.report()["steps"] == 2
    assert np.array_equal(clip.tuned.result.latent, clip.choice.latent)


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(OptionError, match="chooses an identity of the clip's own"):
        EncodeOptions(preset="paper", identity="me.stc")
    with pytest.raises(OptionError, match="in full"):
        EncodeOptions(preset="paper", likeness="quick")
    with pytest.raises(OptionError, match="target must be"):
        PaperOptions(target="face")
