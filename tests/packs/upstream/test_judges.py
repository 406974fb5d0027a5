"""The files that `evaluate` measures by: DISTS, FID and FVD recognised by content, look-alikes refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylecodec.errors import ImportRefused
from stylecodec.nets.i3d import I3d
from stylecodec.nets.inception import FidInception
from stylecodec.nets.lpips import Lpips
from stylecodec.packs.upstream.containers import open_container
from stylecodec.packs.upstream.importer import import_files
from stylecodec.packs.upstream.recognition import recognise
from tests.nets.seeded_weights import draw

HEADS = {name: draw(name, (1, 1475, 1, 1)).abs() for name in ("alpha", "beta")}


def saved(path: Path, state: dict[str, Tensor], safe: bool = False) -> Path:
    """As published, or as safetensors."""
    save_file(state, path) if safe else torch.save(state, path)
    return path


def inception(classes: int = 1008) -> dict[str, Tensor]:
    return {**FidInception().state_dict(), "fc.weight": torch.zeros(classes, 2048), "fc.bias": torch.zeros(classes)}


@pytest.mark.parametrize("safe", [False, True], ids=["torch", "safetensors"])
def test_dists(tmp_path: Path, safe: bool) -> None:
    trunk = {name: value for name, value in Lpips("vgg").state_dict().items() if name.startswith("features.")}
    files = [saved(tmp_path / "weights", HEADS, safe), saved(tmp_path / "vgg", trunk, safe)]
    report = import_files(files, "judges", tmp_path)
    assert [file.roles for file in report.files] == [("dists_heads",), ("lpips_vgg",)]
    assert report.files[0].form == ("safetensors" if safe else "torch zip archive")
    net = report.pack.dists("cpu")
    assert torch.equal(net.heads.alpha, HEADS["alpha"].reshape(-1))
    assert {one.what: one.works for one in report.abilities}["perceptual distance DISTS (evaluate)"]
    picture = torch.zeros(1, 3, 32, 32)
    assert float(net(picture, picture)) == pytest.approx(0, abs=1e-6)


def test_inception(tmp_path: Path) -> None:
    state = inception()
    (part,) = recognise(open_container(saved(tmp_path / "a", state)))
    assert part.role == "inception"
    assert torch.equal(part.state["Mixed_7c.branch1x1.conv.weight"], state["Mixed_7c.branch1x1.conv.weight"])
    with pytest.raises(ImportRefused, match="torchvision's Inception"):
        recognise(open_container(saved(tmp_path / "b", inception(1000))))


def test_i3d(tmp_path: Path) -> None:
    state = I3d().state_dict()
    (part,) = recognise(open_container(saved(tmp_path / "a", {f"module.{name}": v for name, v in state.items()})))
    assert part.role == "i3d"
    assert torch.equal(part.state["logits.conv3d.bias"], state["logits.conv3d.bias"])
    flow = saved(tmp_path / "b", {**state, "Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 2, 7, 7, 7)})
    with pytest.raises(ImportRefused, match="optical flow"):
        recognise(open_container(flow))
    charades = saved(tmp_path / "c", {**state, "logits.conv3d.weight": torch.zeros(157, 1024, 1, 1, 1)})
    with pytest.raises(ImportRefused, match="157 classes"):
        recognise(open_container(charades))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_not_run(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "i3d_torchscript.pt"))
    with pytest.raises(ImportRefused, match="only be read by running it: bring the network's weights as a state dict"):
        open_container(tmp_path / "i3d_torchscript.pt")


def test_damaged_safetensors(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a", HEADS, safe=True).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-9])
    with pytest.raises(ImportRefused, match="damaged safetensors"):
        open_container(tmp_path / "cut")
