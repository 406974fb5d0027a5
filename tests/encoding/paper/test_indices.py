"""The choice of indices by Eq. 5: thresholds, the card of the copy, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.cli.main import main
from stylecodec.encoding.paper.indices import REACH, IndexOptions, find_indices, reach_of, scored
from stylecodec.encoding.paper.masks import FEATURES, FaceReader
from stylecodec.encoding.paper.sensitivity import Sensitivities
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack, open_pack

CPU = torch.device("cpu")
QUICK = IndexOptions(people=1, side=64, screened=34, deltas=(-0.5, 0.0, 0.5), screening=(0.0, 1.0))


def test_sensitive_and_local_indices_come_first() -> None:
    """Four indices: of the mouth alone; of the whole picture, and strong; of the brows alone, and weak; of nothing."""
    areas = np.array([0.05, 0.05, 0.02, 0.02, 0.06, 0.2])
    inside = np.zeros((6, 4))
    inside[0] = [1.0, 5.0, 0.0, 0.0]
    inside[4] = [0.0, 5.0, 0.2, 0.0]
    inside[5] = [0.25, 5.0, 0.06, 0.0]
    whole = np.array([0.25 * 0.2, 5.0, 0.06 * 0.2, 1e-9])
    scores, share = scored(Sensitivities(((2, 0), (2, 1), (3, 0), (3, 1)), inside, whole), areas, 0.5)
    assert share[:3] == pytest.approx([1.0, 0.2, 1.0])
    assert list(np.argsort(-scores)) == [0, 2, 1, 3]


def test_features_of_a_face_do_not_overlap(paper_pack: ModelPack) -> None:
    masks = FaceReader(paper_pack, CPU).features(torch.zeros(1, 3, 256, 256))
    assert masks.shape == (1, len(FEATURES), 256, 256)
    named = dict(zip(FEATURES, masks[0], strict=True))
    assert float((named["mouth"] * named["jaw"]).max()) == 0
    assert float((named["lids"] * named["gaze"]).max()) == 0


def test_thirty_two_indices_are_found(paper_pack: ModelPack) -> None:
    told = []
    table = find_indices(paper_pack, CPU, QUICK, progress=told.append)
    assert len(set(table.indices)) == 32
    layout = paper_pack.generator("cpu").layout.layers
    assert all(layout[layer].kind != "rgb" and channel < layout[layer].channels for layer, channel in table.indices)
    assert all(layout[layer].resolution <= 64 for layer, _ in table.indices)
    assert (table.reach > 0).all()
    assert set(table.features) <= set(FEATURES)
    assert table.pictures == table.channels + 34 * 2
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
