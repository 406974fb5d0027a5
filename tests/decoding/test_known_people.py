"""Who is known here: kept by hash in a private folder, found, listed, forgotten."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stylecodec.bitstream import Identity
from stylecodec.bitstream.delta import Personalization
from stylecodec.decoding import known_people
from stylecodec.decoding.known_people import KnownPeople, resolve
from stylecodec.errors import DeltaNotFound, OptionError, OutputError
from stylecodec.packs.store import ModelPack
from tests.decoding.test_personal import delta_of


def test_known_deltas(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(known_people.IDENTITIES_VARIABLE, str(tmp_path / "kept"))
    known, delta = KnownPeople(), delta_of(tiny_pack)
    chunk = Personalization.carried(bytes(32), delta)
    assert resolve(chunk) is delta
    with pytest.raises(DeltaNotFound, match="identity import"):
        resolve(chunk.named)
    known.add(delta)
    known.add(delta)
    assert resolve(chunk.named) == delta
    assert [(item.kind, item.digest) for item in known.items()] == [("generator", delta.digest)]
    (tmp_path / "kept" / f"{delta.digest.hex()}.delta").write_bytes(bytes(delta_of(tiny_pack, 1)))
    with pytest.raises(DeltaNotFound):
        known.find(delta.digest)
    known.add(delta)  # in place of the damaged one
    assert known.find(delta.digest) == delta


def test_latents_are_known_too(tmp_path: Path) -> None:
    known, identity = KnownPeople(tmp_path), Identity(np.random.default_rng(0).normal(size=(18, 512)))
    assert known.recall(identity.digest) is None
    known.add_identity(identity)
    found = known.recall(identity.digest)
    assert found is not None
    assert found.digest == identity.digest
    path = tmp_path / f"{identity.digest.hex()}.latent"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    assert known.recall(identity.digest) is None
    known.add_identity(identity)
    assert known.recall(identity.digest) is not None


def test_the_folder_does_not_grow_without_end(
    tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_people, "MAX_KNOWN", 2)
    known = KnownPeople(tmp_path)
    for seed in range(4):
        known.add(delta_of(tiny_pack, seed))
    assert len(known.items()) == 2


def test_a_folder_that_cannot_be_written(tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="people cannot be kept in"):
        KnownPeople(tmp_path / "file").add(delta_of(tiny_pack))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are of another kind there")
def test_the_folder_is_private(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(known_people.IDENTITIES_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))  # where a Mac's lies
    known = KnownPeople()
    known.folder.mkdir(parents=True)
    known.folder.chmod(0o755)  # as versions before left it
    before = os.umask(0)
    try:
        known.add(delta_of(tiny_pack))
    finally:
        os.umask(before)
    assert tmp_path in known.folder.parents
    assert stat.S_IMODE(known.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in known.folder.iterdir()] == [0o600]


def test_what_is_kept_is_forgotten_by_hash(tiny_pack: ModelPack, tmp_path: Path) -> None:
    known, delta = KnownPeople(tmp_path), delta_of(tiny_pack)
    identity = Identity(np.random.default_rng(0).normal(size=(18, 512)))
    assert known.items() == []
    known.add(delta)
    known.add_identity(identity)
    (tmp_path / "notes.txt").write_text("not ours")
    found = known.items()
    assert [(item.kind, item.digest) for item in found] == [("generator", delta.digest), ("latent", identity.digest)]
    assert [item.bytes for item in found] == [len(bytes(delta)), 18_432]
    for wrong in ("", "12", "../../etc", delta.digest.hex() + "0", "0" * 64):
        with pytest.raises(OptionError, match="hash"):
            known.remove(wrong)
    assert known.remove(delta.digest.hex()[:12].upper()) == found[0]
    with pytest.raises(DeltaNotFound):
        known.find(delta.digest)
    assert known.clear() == [found[1]]
    assert known.items() == []
    assert (tmp_path / "notes.txt").exists()


def test_no_torch_is_needed() -> None:
    code = "import sys\nfor m in ('torch', 'av', 'dlib', 'scipy', 'PIL'): sys.modules[m] = None\n"
    code += "from stylecodec.decoding.known_people import KnownPeople\nassert KnownPeople().recall(bytes(32)) is None"
    subprocess.run([sys.executable, "-c", code], check=True)
