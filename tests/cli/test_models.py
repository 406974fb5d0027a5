"""`stylecodec models`: what it prints, its exit codes, where it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stylecodec.cli.main import main
from stylecodec.packs import store
from stylecodec.packs.upstream.published import PUBLISHED
from tests.nets import seeded_weights as seeded
from tests.packs.upstream.foreign_files import narrow_port

UPSTREAM = Path(store.__file__).parent / "upstream" / "README.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's packs."""
    monkeypatch.setenv(store.PACKS_VARIABLE, str(tmp_path / "packs"))
    return tmp_path / "packs"


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A narrow generator's file."""
    mean = seeded.draw("latent_avg", (16,))
    torch.save({"g_ema": narrow_port(16), "latent_avg": mean}, tmp_path / "g.pt")
    return tmp_path / "g.pt"


def test_import_list_show_verify_remove(folder: Path, generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", str(generator), "--pack", "mine"]) == 0
    printed = capsys.readouterr().out
    assert "StyleGAN2 generator, PyTorch port (torch zip archive), as generator" in printed
    assert "missing: flow, feedforward" in printed
    assert [p.name for p in folder.iterdir()] == ["mine"]
    assert main(["models", "list"]) == 0
    printed = capsys.readouterr().out
    assert "mine" in printed
    assert "avatar-1024" in printed
    assert main(["models", "show", "mine"]) == 0
    printed = capsys.readouterr().out
    assert "from g.pt, sha256" in printed
    assert "face_mesh: that of nobody-1024, which comes with stylecodec" in printed
    assert main(["models", "verify", "mine"]) == 0
    assert "every digest fits" in capsys.readouterr().out
    weights = next((folder / "mine").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert main(["models", "verify", "mine", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["whole"]
    assert "does not match" in report["packs"][0]["wrong"][0]
    assert main(["models", "remove", "mine"]) == 0
    assert list(folder.iterdir()) == []


def test_json(folder: Path, generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", str(generator), "--pack", "mine", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["digest"], facts["files"][0]["roles"]) == ("mine", None, ["generator"])
    assert {a["what"]: a["works"] for a in facts["abilities"]}["encode --preset fast"] is False
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["import_folder"] == str(folder)
    assert [pack["name"] for pack in listed["packs"]][:1] == ["mine"]
    assert main(["models", "show", "avatar-1024", "--json"]) == 0
    assert all(a["works"] for a in json.loads(capsys.readouterr().out)["abilities"][:4])


def test_what_fails_says_why(
    folder: Path, generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.pkl").write_text("<!DOCTYPE html><html>Google Drive - Virus scan warning</html>")
    assert main(["models", "import", str(tmp_path / "page.pkl")]) == 1
    assert "it is a web page" in capsys.readouterr().err
    assert main(["models", "import", str(generator), "--pack", "../up"]) == 2
    assert main(["models", "import", str(generator), "--pack", "mine"]) == 0
    capsys.readouterr()
    clip = tmp_path / "clip.mp4"
    clip.touch()
    assert main(["models", "show", "nobody"]) == 1
    assert "no model pack 'nobody'" in capsys.readouterr().err
    assert main(["models", "remove", "avatar-1024"]) == 1
    assert "no pack 'avatar-1024' in" in capsys.readouterr().err
    assert main(["models"]) == 2
    (folder / "mine" / "pack.toml").write_text("name = ")
    assert main(["models", "verify"]) == 1
    assert "not valid TOML" in capsys.readouterr().out


def test_encoding_with_a_partial_pack_names_what_is_missing(
    folder: Path, generator: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "import", str(generator), "--pack", "mine"]) == 0
    assert main(["encode", str(clip), str(tmp_path / "out.stc"), "--pack", "mine"]) == 1
    error = capsys.readouterr().err
    assert "pack mine has no flow and no feedforward network, which encode --preset fast needs" in error
    assert not (tmp_path / "out.stc").exists()



def test_the_page_on_upstream_files_says_what_the_program_knows() -> None:
    text = UPSTREAM.read_text(encoding="utf-8")
    for published in PUBLISHED.values():
        for known in (*published.digests, *published.blobs):
            assert known in text, known
        for place in published.source.split("; "):
            if place.startswith("http"):
                assert place.split(",")[0] in text, place


def test_importing_reaches_for_no_network(generator: Path, tmp_path: Path) -> None:
    """In a process in which every socket fails."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from stylecodec.cli.main import main\n"
        f"sys.exit(main(['models', 'import', {str(generator)!r}, '--pack', 'mine']))"
    )
    environment = {"STYLECODEC_PACKS": str(tmp_path / "packs"), "PATH": "", "HOME": str(tmp_path / "home")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "home").exists()
