"""A hybrid encoder taught by a pack's own samples: the loop runs and the pack gets it. No quality is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecodec.cli.main import main
from stylecodec.encoding.paper.indices import REACH
from stylecodec.packs.abilities import abilities
from stylecodec.packs.card import Calibration
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.packs.writing import update_card
from stylecodec.training.loop import Run
from stylecodec.training.pack_encoder import PackTraining, Sampler, evaluate, train
from tests.encoding.paper.conftest import write_paper_pack
from tests.tiny import FEEDFORWARD_PARAMS

CPU = torch.device("cpu")


@pytest.fixture
def own_pack(tmp_path: Path) -> ModelPack:
    pack = write_paper_pack(tmp_path / "paper-1024")
    reach = {f"{layer}_{channel}": 0.5 + k / 10 for k, (layer, channel) in enumerate(pack.indices)}
    return update_card(pack.folder, calibration={REACH: Calibration(reach, "a test")})


def test_samples_keep_within_what_was_measured(own_pack: ModelPack) -> None:
    sampler = Sampler(own_pack, CPU)
    samples = sampler(6, torch.Generator().manual_seed(0))
    again = sampler(6, torch.Generator().manual_seed(0))
    assert samples.pictures.shape == (6, 3, 256, 256)
    torch.testing.assert_close(samples.pictures, again.pictures)
    assert sampler.reach[3].item() == pytest.approx(0.8)
    many = sampler.alpha(4000, torch.Generator().manual_seed(1))
    assert (many.abs() <= sampler.reach + 1e-6).all()
    torch.testing.assert_close(many.std(0), sampler.alpha_deviation, rtol=0.1, atol=0)
    assert (samples.pose.abs() <= torch.tensor([45.0, 25.0])).all()


def test_the_pack_gets_its_encoder(own_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "steps", lambda self: iter(range(1)))
    options = PackTraining(own_pack.folder, tmp_path / "work", 0.01, batch_scale=0.125, settings=FEEDFORWARD_PARAMS)
    monkeypatch.setattr("stylecodec.training.pack_encoder.HELD_OUT", 4)
    assert not {a.what: a.works for a in abilities(own_pack.card)}["encode --preset fast"]
    figures = train(options)
    assert set(figures) >= {"alpha_correlation", "yaw_error"}
    pack = open_pack(own_pack.folder)
    assert {a.what: a.works for a in abilities(pack.card)}["encode --preset fast"]
    assert pack.feedforward("cpu").alpha_scale[3].item() == pytest.approx(
        float(Sampler(pack, CPU).alpha_deviation[3]), rel=1e-2
    )
    assert evaluate(pack.feedforward("cpu"), Sampler(pack, CPU), 4).keys() == figures.keys()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--pack", "avatar-1024"], "comes with stylecodec"),
        (["--pack", "avatar-1024", "--data", "heads"], "leave --data"),
        ([], "needs --data"),
        (["--pack", "nowhere"], "no model pack"),
    ],
)
def test_what_cannot_be_trained_is_said(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", "encoder", "--work", str(tmp_path / "work"), "--minutes", "1", *arguments])
    assert code != 0
    assert sentence in capsys.readouterr().err
