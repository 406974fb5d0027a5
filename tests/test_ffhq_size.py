"""A pack of FFHQ's size, weights drawn from a seed, through encode and decode at 1024²: the plumbing at full size.

What renders has the published networks' sizes; what only looks (inversion, parser, identity) is small.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec import api
from stylecodec.encoding.options import EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.encoding.paper import pose
from stylecodec.encoding.paper.analysis import LARGE
from stylecodec.encoding.paper.settings import PaperOptions
from stylecodec.media.video import VideoReader
from stylecodec.nets.feedforward import HybridEncoder
from stylecodec.packs.store import ModelPack
from stylecodec.packs.upstream.importer import import_files, verify_pack
from stylecodec.packs.writing import NetworkSource, StoredNetwork, put_networks
from tests.encoding.paper.conftest import paper_networks
from tests.nets import seeded_weights as seeded
from tests.tiny import FEEDFORWARD_PARAMS, FixedFace, write_clip

FRAMES = 2  # the fewest that landmarks correct
PAPER_FRAMES = 3


@pytest.fixture(scope="module")
def ffhq_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """A generator of FFHQ's widths and a flow of StyleFlow's, imported; small networks for the rest."""
    tmp_path = tmp_path_factory.mktemp("ffhq")
    generator = seeded.state(seeded.port_generator_shapes(1024))
    files = [tmp_path / "generator.pt", tmp_path / "flow.pt"]
    torch.save({"g_ema": generator, "latent_avg": seeded.draw("latent_avg", (512,))}, files[0])
    torch.save(seeded.state(seeded.flow_shapes()), files[1])
    pack = import_files(files, "ffhq-1024", tmp_path / "packs").pack
    for file in files:
        file.unlink()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = HybridEncoder(**FEEDFORWARD_PARAMS)  # type: ignore[arg-type]
    small = {"feedforward": NetworkSource(encoder, FEEDFORWARD_PARAMS), **paper_networks()}
    added = {role: StoredNetwork.of(role, network) for role, network in small.items()}
    return put_networks(pack.folder, added, pack.card)


def test_a_pack_of_ffhqs_size_encodes_and_decodes(ffhq_pack: ModelPack, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=FRAMES, rate=Fraction(25), sound=False)
    # Every stage once, at 32² where it only looks: what the size of the networks changes is their loading and the
    # decoder's 1024². One candidate and the raw profile, as selection and compact coding render a hundred pictures.
    options = EncodeOptions(
        pack=ffhq_pack.folder,
        device="cpu",
        audio=False,
        identity_candidates=1,
        identity_average=1,
        profile="raw",
        likeness="off",
        fit=FitOptions(steps=1, side=32),
        landmark_correction=LandmarkCorrectionOptions(frames=1, side=32),
    )
    encoded = api.encode(clip, tmp_path / "clip.stc", options, front_end=FixedFace())
    assert encoded.frames == FRAMES
    assert encoded.pack["name"] == "ffhq-1024"
    decoded = api.decode(tmp_path / "clip.stc", tmp_path / "out.mp4", device="cpu", pack=ffhq_pack.folder)
    assert (decoded.frames, decoded.size) == (FRAMES, 1024)
    pictures = [frame for _, frame in VideoReader(tmp_path / "out.mp4").frames()]
    assert [picture.shape for picture in pictures] == [(1024, 1024, 3)] * FRAMES
    assert min(float(np.std(picture)) for picture in pictures) > 5
    assert ffhq_pack.generator("cpu").layout.size == 9088 > LARGE  # so the paper preset searches few frames at a time
    assert ffhq_pack.flow("cpu").attributes == 17
    assert verify_pack(ffhq_pack) == []


def test_a_pack_of_ffhqs_size_encodes_as_in_the_paper(
    ffhq_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pose, "GRID", (2, 2))
    clip = write_clip(tmp_path / "clip.mp4", frames=PAPER_FRAMES, rate=Fraction(25), sound=False)
    paper = PaperOptions(target="inversion", side=64, steps=1, pose_steps=1, fit=False, worst_inversion=2.0)
    options = EncodeOptions(
        preset="paper", pack=ffhq_pack.folder, device="cpu", audio=False, profile="raw", paper=paper
    )
    encoded = api.encode(clip, tmp_path / "clip.stc", options, front_end=FixedFace())
    assert (encoded.frames, encoded.held) == (PAPER_FRAMES, 0)
    assert encoded.paper is not None
    assert encoded.paper["perceptual"] == "features of the pack's face parser"
    decoded = api.decode(tmp_path / "clip.stc", tmp_path / "out.mp4", device="cpu", pack=ffhq_pack.folder, size=64)
    assert (decoded.frames, decoded.size) == (PAPER_FRAMES, 64)
