"""The choice of indices by Eq. 5: thresholds, the card of the copy, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.cli.main import main
from stylecodec.encoding.paper.indices import REACH, IndexOptions, find_indices, moving_score, reach_of, screening_score
from stylecodec.encoding.paper.masks import FEATURES, FaceReader
from stylecodec.encoding.paper.perceptual import Perceptual
from stylecodec.encoding.paper.rendering import Perturbed, Rendering
from stylecodec.encoding.paper.sensitivity import Movement, Sensitivities, measure
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.progress import Progress

CPU = torch.device("cpu")
QUICK = IndexOptions(people=1, side=64, screened=34, deltas=(-0.5, 0.0, 0.5), screening=(0.0, 1.0))


FOUR = ((2, 0), (2, 1), (3, 0), (3, 1))  # of the mouth alone; of all, strong; of the brows, weak; it paints the lips


def four(moved: list[list[float]]) -> Sensitivities:
    regions = np.zeros((6, 4))
    regions[0], regions[4], regions[5] = [1.0, 1.5, 0.0, 1.4], [0.0, 1.5, 0.2, 0.0], [0.3, 1.5, 0.06, 0.4]
    return Sensitivities(FOUR, regions, np.ones(4), np.array([1.0, 0.2, 1.0, 0.9]), np.array(moved))


def test_sensitive_and_local_indices_are_screened() -> None:
    """Γ beside what else changes: the strong one that changes all comes last; paint passes."""
    assert list(np.argsort(-screening_score(four([[0.0] * 4])))) == [3, 0, 1, 2]


def test_indices_that_move_landmarks_come_first() -> None:
    """Each feature in what is usual of it, whichever way; what only paints comes last."""
    moved = [[0.5, -0.9, 0.0, 0.02], [0.0, 0.01, -0.02, 0.0]]
    assert list(np.argsort(-moving_score(four(moved)))) == [2, 0, 1, 3]
    assert np.isfinite(moving_score(four([[0.0] * 4]))).all()


def test_what_indices_do_is_measured_signed_and_by_place(paper_pack: ModelPack) -> None:
    rendering, perceptual = Rendering(paper_pack, CPU, 64, torch.float32), Perceptual(paper_pack, CPU)
    with torch.no_grad():
        styles = rendering.posed(rendering.anchor(torch.zeros(18, 512)), torch.zeros(1, 2))
        perturbed = Perturbed(rendering, styles)
        masks = torch.ones(2, 64, 64)
        masks[1, :, 32:] = 0  # the left half is what counts
        movement = Movement(paper_pack, CPU)
        seen = measure(perturbed, [(3, 1), (8, 0)], (-1.0, 0.0, 3.0), masks, perceptual, movement)
        ends = [perturbed.pictures(8, torch.tensor([0]), torch.tensor([d])).clamp(-1, 1) for d in (-1.0, 3.0)]
        changes = torch.cat([one - perturbed.base.clamp(-1, 1) for one in ends]).square()
        low, high = (movement(one)[0] for one in ends)
    assert seen.inside[1] == pytest.approx(float(changes[..., :32].sum() / changes.sum()), rel=1e-4)
    assert seen.moved.shape == (15, 2)
    np.testing.assert_allclose(seen.moved[:, 1], ((high - low) / 4).numpy(), atol=1e-5)
    assert measure(perturbed, [(3, 1)], (0.0, 1.0), masks, perceptual).moved.shape == (0, 1)


def test_features_of_a_face_do_not_overlap(paper_pack: ModelPack) -> None:
    masks = FaceReader(paper_pack, CPU).features(torch.zeros(1, 3, 256, 256))
    assert masks.shape == (1, len(FEATURES), 256, 256)
    named = dict(zip(FEATURES, masks[0], strict=True))
    assert float((named["mouth"] * named["jaw"]).max()) == 0
    assert float((named["lids"] * named["gaze"]).max()) == 0


def test_thirty_two_indices_are_found(paper_pack: ModelPack) -> None:
    told: list[Progress] = []
    table = find_indices(paper_pack, CPU, QUICK, progress=told.append)
    assert len(set(table.indices)) == 32
    layout = paper_pack.generator("cpu").layout.layers
    assert all(layout[layer].kind != "rgb" and channel < layout[layer].channels for layer, channel in table.indices)
    assert all(layout[layer].resolution <= 64 for layer, _ in table.indices)
    assert (table.reach > 0).all()
    assert set(table.features) <= set(FEATURES)
    assert table.pictures == table.channels + 34 * 2
    assert len(table.screened) == 34
    assert set(table.indices) <= set(table.screened)
    assert told[-1].done == told[-1].total == 1
    assert find_indices(paper_pack, CPU, replace(QUICK, seed=0)).indices == table.indices


def test_too_few_channels_are_said(paper_pack: ModelPack) -> None:
    with pytest.raises(OptionError, match="28 channels up to 32 pixels"):
        find_indices(paper_pack, CPU, replace(QUICK, side=32))


def test_a_copy_of_the_pack_gets_them(
    paper_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = find_indices(paper_pack, CPU, QUICK)
    monkeypatch.setattr("stylecodec.encoding.paper.indices.find_indices", lambda *_: table)
    out = tmp_path / "mine"
    assert main(["models", "indices", str(paper_pack.folder), "--out", str(out), "--name", "mine", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["index"] for row in facts["indices"]] == [f"{a}_{b}" for a, b in table.indices]
    copy = open_pack(out)
    assert copy.name == "mine"
    assert copy.indices == table.indices
    assert copy.digest != paper_pack.digest
    copy.verify()
    assert copy.card.calibration[REACH].values[facts["indices"][0]["index"]] == pytest.approx(table.reach[0])
    torch.testing.assert_close(reach_of(copy, CPU), torch.from_numpy(table.reach).float())
    assert main(["models", "indices", str(paper_pack.folder), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["models", "indices", str(paper_pack.folder), "--people", "0"]) == 2
    assert "1 to 64 random faces" in capsys.readouterr().err
