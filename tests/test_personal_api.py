"""From file to file: personalised, with a card, before a plate, as a puppet; by the api and by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.bitstream.attached import personalizations
from stylecodec.cli.main import main
from stylecodec.decoding.known_people import IDENTITIES_VARIABLE, KnownPeople
from stylecodec.decoding.options import DecodeOptions
from stylecodec.encoding.options import (
    EncodeOptions,
    FitOptions,
    LandmarkCorrectionOptions,
    RefineOptions,
    TuneOptions,
)
from stylecodec.encoding.personalization import crop_registration
from stylecodec.errors import DeltaNotFound, FormatError, OutputError, PackMismatch
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress
from tests.tiny import FixedFace

pytestmark = pytest.mark.usefixtures("quick_rounding")
Made = tuple[Path, api.EncodeReport]
REFINE = RefineOptions(steps=1, side=32)
FIT = FitOptions(steps=2, side=32)
TUNE = TuneOptions(steps=10, side=32, batch=4, frames=8, precision="float32", look_steps=4, delta_bytes=60_000)


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the squares of somebody known are looked for in few steps."""
    monkeypatch.setenv(IDENTITIES_VARIABLE, str(tmp_path / "identities"))
    monkeypatch.setattr(crop_registration, "STEPS", 4)


PLAIN = {"profile": "raw", "landmark_correction": LandmarkCorrectionOptions(enabled=False)}
"""Changes of `options` where it does not matter how the motion is found and coded."""


def options(pack: ModelPack, **changes: object) -> EncodeOptions:
    plain = {"pack": pack.folder, "device": "cpu", "duration": 0.4, "identity_candidates": 2, "identity_average": 1}
    few = {"fit": FIT, "landmark_correction": LandmarkCorrectionOptions(frames=1, side=32)}
    few |= {"refine": REFINE, "refine_tuned": REFINE, "tune": TUNE, "likeness": "off"}
    return EncodeOptions(**(plain | few | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def personal(clip: Path, tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("personal") / "me.stc"
    told: list[Progress] = []
    chosen = options(tiny_pack, likeness="full", background="plate")
    report = api.encode(clip, path, chosen, told.append, FixedFace(lost=[3]))
    assert {("personalising", "%"), ("refining", "frames")} <= {(event.stage, event.unit) for event in told}
    facts = api.probe(path)
    for name in ("frames", "fps", "duration_seconds", "bytes", "kbps", "pack"):
        assert getattr(report, name) == facts[name]
    return path, report


def size_of(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames[0].shape[1], frames[0].shape[0], len(frames)


def test_every_byte_is_counted(personal: Made) -> None:
    path, report = personal
    parts = report.bytes
    assert parts["total"] == path.stat().st_size == sum(n for part, n in parts.items() if part != "total")
    assert report.personalization is not None
    assert parts["personalization"] == report.personalization["delta_bytes"] + 66 + 16
    assert parts["background"] > 300
    facts = api.probe(path)
    assert facts["background"] == "plate"
    assert facts["personalized"][0]["carried"]
    assert facts["personalized"][0]["delta"] == report.personalization["delta"]
    assert json.dumps(report.as_dict())


def test_decoded_in_the_sources_framing(personal: Made, tiny_pack: ModelPack, tmp_path: Path) -> None:
    scene = api.decode(personal[0], tmp_path / "scene.mp4", size=32, device="cpu", pack=tiny_pack)
    assert (scene.width, scene.height, scene.frames) == size_of(tmp_path / "scene.mp4") == (96, 96, 10)
    assert KnownPeople().items() == []  # nothing is kept of anybody unless it is asked for
    options = DecodeOptions(size=32, device="cpu", pack=tiny_pack, background="blur", avatar=True)
    square = api.decode(personal[0], tmp_path / "b.mp4", options)
    assert (square.width, square.height) == (32, 32)


def test_a_person_is_kept_where_it_is_asked_for(personal: Made, tiny_pack: ModelPack, tmp_path: Path) -> None:
    """As files and by the command line, and forgotten again."""
    api.decode(personal[0], tmp_path / "a.mp4", size=32, device="cpu", pack=tiny_pack, remember=True)
    assert [item.kind for item in KnownPeople().items()] == ["generator", "latent"]
    assert main(["identity", "clear"]) == 0
    assert KnownPeople().items() == []
    arguments = [str(personal[0]), str(tmp_path / "b.mp4"), "--size", "32", "--device", "cpu", "--no-audio"]
    assert main(["decode", *arguments, "--pack", str(tiny_pack.folder), "--remember"]) == 0
    latent = KnownPeople().items()[1]
    assert main(["identity", "remove", latent.digest.hex()[:16]]) == 0
    assert [item.kind for item in KnownPeople().items()] == ["generator"]


def test_a_card_and_a_second_call(
    personal: Made,
    clip: Path,
    tiny_pack: ModelPack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card, second = tmp_path / "me.stid", tmp_path / "second.stc"
    assert main(["identity", "export", str(personal[0]), str(card), "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["delta"] == personal[1].personalization["delta"]  # type: ignore[index]
    with StreamFile.open(card) as stream:
        assert stream.complete
        assert stream.frame_count == 0
    report = api.encode(clip, second, options(tiny_pack, identity=card, **PLAIN), None, FixedFace())
    assert report.bytes["personalization"] == 66 + 16
    assert report.personalization is None
    assert not api.probe(second)["personalized"][0]["carried"]
    with pytest.raises(FormatError, match="identity import"):
        api.decode(second, tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack)
    with StreamFile.open(card) as stream:
        KnownPeople().add_identity(stream.identities[0])
    with pytest.raises(DeltaNotFound, match="identity import"):
        api.decode(second, tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack)
    assert main(["identity", "import", str(card)]) == 0
    assert "kept the personalised generator" in capsys.readouterr().out
    assert main(["identity", "list"]) == 0
    assert exported["delta"] in capsys.readouterr().out
    assert api.decode(second, tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack).frames == 10
    with StreamFile.open(personal[0]) as one, StreamFile.open(second, recall=KnownPeople().recall) as two:
        assert one.identity_for(0).digest == two.identity_for(0).digest


def test_a_second_call_is_a_source_where_the_person_is_known(
    personal: Made, clip: Path, tiny_pack: ModelPack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, third = tmp_path / "second.stc", tmp_path / "third.stc"
    card, puppet = tmp_path / "again.stid", tmp_path / "puppet.stc"
    api.encode(clip, second, options(tiny_pack, identity=personal[0], **PLAIN), None, FixedFace())
    with pytest.raises(FormatError, match=r"second\.stc: this file only names its identity .*identity import"):
        api.encode(clip, third, options(tiny_pack, identity=second, **PLAIN), None, FixedFace())
    with pytest.raises(FormatError, match="identity import"):
        api.puppet(second, personal[0], puppet)
    for action in (["export", str(second), str(card)], ["import", str(second)]):
        assert main(["identity", *action]) == 1
        assert "stylecodec identity import" in capsys.readouterr().err
    assert not card.exists()
    assert main(["identity", "import", str(personal[0])]) == 0
    api.encode(clip, third, options(tiny_pack, identity=second, **PLAIN), None, FixedFace())
    assert main(["identity", "export", str(second), str(card)]) == 0
    assert "with a personalised generator" in capsys.readouterr().out
    api.puppet(second, personal[0], puppet)
    with StreamFile.open(personal[0]) as first:
        mine = first.identity_for(0).digest
    for path in (third, card, puppet):
        with StreamFile.open(path, recall=KnownPeople().recall) as stream:
            assert list(personalizations(stream)) == [mine]
            assert path == third or stream.identities[0].digest == mine


def test_a_folder_that_cannot_be_written(
    personal: Made, tiny_pack: ModelPack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "identities").write_bytes(b"")
    assert main(["identity", "import", str(personal[0])]) == 1
    assert "people cannot be kept in" in capsys.readouterr().err
    with pytest.raises(OutputError, match="people cannot be kept in"):
        api.decode(personal[0], tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack, remember=True)
    assert not (tmp_path / "out.mp4").exists()
    assert api.decode(personal[0], tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack).frames == 10


def test_a_second_call_with_its_own_latent(
    personal: Made, clip: Path, tiny_pack: ModelPack, tmp_path: Path
) -> None:
    told: list[Progress] = []
    plain = {"landmark_correction": PLAIN["landmark_correction"]}
    chosen, second = options(tiny_pack, identity=personal[0], refit=True, **plain), tmp_path / "second.stc"
    report = api.encode(clip, second, chosen, told.append, FixedFace())
    assert "placing the face" in {event.stage for event in told}
    assert report.bytes["personalization"] == 66 + 16
    assert report.bytes["identity"] > 100
    assert main(["identity", "import", str(personal[0])]) == 0
    assert api.decode(second, tmp_path / "out.mp4", size=32, device="cpu", pack=tiny_pack).frames == 10
    with StreamFile.open(personal[0]) as one, StreamFile.open(second) as two:
        assert one.identity_for(0).digest != two.identity_for(0).digest


def test_a_card_of_another_pack(
    personal: Made, clip: Path, other_pack: ModelPack, tmp_path: Path
) -> None:
    with pytest.raises(PackMismatch, match=r"me\.stc was made with pack"):
        api.encode(clip, tmp_path / "out.stc", options(other_pack, identity=personal[0]), None, FixedFace())


def test_puppets_both_ways(
    personal: Made, clip: Path, tiny_pack: ModelPack, tmp_path: Path
) -> None:
    avatar = tmp_path / "avatar.stc"
    api.encode(clip, avatar, options(tiny_pack, **PLAIN), None, FixedFace())
    driven = api.puppet(personal[0], avatar, tmp_path / "driven.stc")
    assert driven["personalized"][0]["carried"]
    assert driven["background"] == "render"
    given = api.puppet(avatar, personal[0], tmp_path / "given.stc")
    assert given["personalized"] == []
    assert given["background"] == "plate"
    moved = tmp_path / "moved.stc"
    api.puppet(personal[0], avatar, moved, relative=True)
    with StreamFile.open(moved) as after, StreamFile.open(avatar) as before, StreamFile.open(personal[0]) as own:
        packets, driving = after.packets(0, 10), before.packets(0, 10)
        step = np.median(packets - driving, axis=0)
        assert np.abs(packets - driving - step).max() < 0.1  # one shift for all frames
        assert not np.allclose(step, 0, atol=1e-3)
        assert personalizations(after).keys() == personalizations(own).keys()
    assert main(["puppet", str(avatar), str(personal[0]), str(tmp_path / "cli.stc"), "--relative"]) == 0


def test_the_command_line_knows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("encode", "decode", "puppet", "identity"):
        assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    person = ("--personalize", "--minutes", "--steps", "--background", "--identity", "--refit")
    for word in (*person, "--avatar", "--relative"):
        assert word in text
    assert main(["encode", "a.mp4", "b.stc", "--personalize", "--minutes", "0"]) == 2
    assert "more than 0 minutes" in capsys.readouterr().err
