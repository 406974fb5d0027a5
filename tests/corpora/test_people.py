"""One identity for all clips of a person, which their streams name; people told apart by the identity network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylecodec import datasets
from stylecodec.bitstream import StreamFile
from stylecodec.corpus.clips import Clip
from stylecodec.corpus.export import export_tars
from stylecodec.corpus.manifest import read_records
from stylecodec.corpus.people import Described, Person, clustered, describe_clip
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.known_people import IDENTITIES_VARIABLE, KnownPeople, remember
from stylecodec.encoding.identity.people_in_clip import CropDescriptor
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import FormatError, OptionError
from stylecodec.face.align import Aligner
from stylecodec.face.landmarks import Dlib5
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import FRAMES, TALK, Run, cheap, streams


@pytest.fixture(autouse=True)
def _nobody_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(IDENTITIES_VARIABLE, str(tmp_path / "known"))


@pytest.fixture(scope="module")
def by_speaker(talk: Path, tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table, and the corpus made of it."""
    folder = tmp_path_factory.mktemp("people")
    table = folder / "clips.csv"
    rows = [("a", "Ann"), ("b", "Bo/b"), ("deep/c", "Ann")]
    table.write_text("path,speaker\n" + "".join(f"{talk / name}.mp4,{who}\n" for name, who in rows))
    run = Run([table], folder / "out", cheap(tiny_pack, identity_by="speaker", score=True))
    assert (run.summary.encoded, run.summary.failed, run.summary.people) == (3, 0, 2)
    assert run.did[:2] == ["Ann", "Bo/b"]
    return table, folder / "out"


def test_streams_name_the_identity_of_their_person(by_speaker: tuple[Path, Path]) -> None:
    _, out = by_speaker
    records = {Path(name).name: record for name, record in read_records(out).items()}
    assert [records[name].person for name in ("a", "b", "c")] == ["Ann", "Bo/b", "Ann"]
    assert records["a"].identity == records["c"].identity != records["b"].identity
    assert all(record.named and record.scores for record in records.values())
    assert all(len(data) < 18_432 for data in streams(out).values())
    cards = sorted((out / "identities").glob("*.stid"))
    assert len(cards) == 2
    assert cards[0].name.startswith("Ann-")
    with StreamFile.open(str(cards[0])) as card:
        assert card.identities[0].digest.hex() == records["a"].identity


def test_an_identity_is_fitted_once(by_speaker: tuple[Path, Path], tiny_pack: ModelPack) -> None:
    table, out = by_speaker
    before = streams(out)
    assert Run([table], out, cheap(tiny_pack, identity_by="speaker", score=True)).did == []
    next((out / "identities").glob("Ann-*.stid")).unlink()
    assert Run([table], out, cheap(tiny_pack, identity_by="speaker", score=True)).did == ["Ann"]  # the same again
    assert streams(out) == before


def test_whoever_imports_the_card_can_decode(by_speaker: tuple[Path, Path], tiny_pack: ModelPack) -> None:
    _, out = by_speaker
    stream = next((out / "clips").rglob("a.stc"))
    with pytest.raises(FormatError, match="only names its identity"), Decoder.open(stream, pack=tiny_pack) as decoder:
        decoder[0]
    with StreamFile.open(str(next((out / "identities").glob("Ann-*.stid")))) as card:
        assert remember(card) == []  # no generator
    assert len(KnownPeople().items()) == 1
    with Decoder.open(stream, pack=tiny_pack, size=32, device="cpu") as decoder:
        assert decoder[0].shape == (32, 32, 3)


def test_datasets_find_the_cards(by_speaker: tuple[Path, Path], tiny_pack: ModelPack, tmp_path: Path) -> None:
    _, out = by_speaker
    tars = [tar for tar, _ in export_tars(out, read_records(out).values(), tmp_path / "tars", tar_bytes=1)]
    assert len(tars) == 3
    for source in (out, tmp_path / "tars"):
        clips = datasets.StreamDataset(source, size=32, device="cpu", pack=tiny_pack)
        assert len(clips) == 3
        assert all(sample.motion.shape == (35, FRAMES) and sample.identity.shape == (18, 512) for sample in clips)
        assert clips[0].frames[1].shape == (32, 32, 3)


def test_shards_keep_people_together(by_speaker: tuple[Path, Path], tiny_pack: ModelPack, tmp_path: Path) -> None:
    table, out = by_speaker
    for k in range(2):
        Run([table], tmp_path / "parts", cheap(tiny_pack, identity_by="speaker"), (k, 2))
    assert streams(tmp_path / "parts") == streams(out)


def test_nobody_in_that_column(talk: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no clip has a column 'who'"):
        Run([talk], tmp_path / "out", cheap(tiny_pack, identity_by="who"))


def test_people_told_apart(
    talk: Path, tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of clips a and c alike, b another; the table of who is who gives the same corpus."""

    def described(name: str, *others: object) -> Described:
        return Described(name, np.array([1, 0] if name != "b" else [0, 1], np.float32))

    monkeypatch.setattr("stylecodec.corpus.work.describe_clip", described)
    Run([talk], tmp_path / "out", cheap(tiny_pack, cluster=True))
    people = {name: record.person for name, record in read_records(tmp_path / "out").items()}
    assert people == {"a": "person-00000", "b": "person-00001", "deep/c": "person-00000"}
    table = tmp_path / "out" / "people.csv"
    Run([table], tmp_path / "again", cheap(tiny_pack, identity_by="person"))
    assert streams(tmp_path / "again") == streams(tmp_path / "out")


def test_clusters() -> None:
    def one(name: str, *values: float) -> Described:
        return Described(name, np.array(values, np.float32))

    found = [one("d", 0.1, 1), one("a", 1, 0), one("b", 0.9, 0.2), one("c", 0, 1), Described("e", None, "no face")]
    people = clustered(found, 0.6)
    assert people == {"a": "person-00000", "b": "person-00000", "c": "person-00001", "d": "person-00001"}
    assert len(set(clustered(found, 0.05).values())) == 4
    assert len(set(clustered(found, 9).values())) == 1


def test_clips_of_one_person_are_alike_and_another_persons_are_not(talk: Path) -> None:
    """The example's face twice, and the portrait's, by dlib's network."""
    options, describe = EncodeOptions(), CropDescriptor()
    front_end = Aligner(Dlib5())
    portrait = TALK.with_name("portrait.png")
    paths = {"a": talk / "a.mp4", "b": talk / "b.mp4", "portrait": portrait}
    found = [describe_clip(name, path, options, front_end, describe) for name, path in paths.items()]
    people = clustered(found, 0.45)  # drawn people are nearer to each other than photographed ones
    assert people["a"] == people["b"] != people["portrait"]


def test_a_persons_key_changes_with_what_the_identity_is_fitted_to(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    clip = Clip("a", str(tmp_path / "a.mp4"))
    person = Person("Ann", (clip,))
    assert person.key("1") == Person("Ann", (clip,)).key("1") != person.key("2")
    before = person.key("1")
    (tmp_path / "a.mp4").write_bytes(b"aa")
    assert person.key("1") != before
    assert Person("Ann/").slug != Person("Ann").slug
