"""What is found in folders, lists, tables and tars, and under which names."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from stylecodec.corpus.clips import find_clips
from stylecodec.corpus.parquet import write_rows
from stylecodec.errors import OptionError


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_folder_with_all_below_it(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/x.MOV", "a/notes.txt", ".hidden/y.mp4", "a/.z.mp4"):
        touch(tmp_path / name)
    found = find_clips([tmp_path])
    assert [(clip.name, Path(clip.path).name) for clip in found.clips] == [("a/x", "x.MOV"), ("b", "b.mp4")]
    assert found.problems == ()


def test_loops_and_dead_links_are_problems(tmp_path: Path) -> None:
    touch(tmp_path / "a/x.mp4")
    (tmp_path / "a/again").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = find_clips([tmp_path])
    assert [clip.name for clip in found.clips] == ["a/x"]
    said = {problem.name: problem.error for problem in found.problems}
    assert set(said) == {"a/again", "b", "gone.mp4", "pipe.mp4"}
    assert "leads back to" in said["a/again"]
    assert "is the same folder as" in said["b"]
    assert "leads nowhere" in said["gone.mp4"]
    assert "is no file" in said["pipe.mp4"]


def test_clips_that_differ_in_their_ending_alone(tmp_path: Path) -> None:
    touch(tmp_path / "a.mov")
    touch(tmp_path / "a.mp4")
    assert [clip.name for clip in find_clips([tmp_path]).clips] == ["a", "a.mp4"]


def test_a_list(tmp_path: Path) -> None:
    source = touch(tmp_path / "list.txt", "# clips\nx.mp4\n\nsub/ü.mp4\n/abs/z.mp4\n../../up.mp4\n".encode())
    found = find_clips([source])
    assert [clip.name for clip in found.clips] == ["abs/z", "sub/ü", "up", "x"]
    assert found.clips[-1].path == str(tmp_path / "x.mp4")
    assert find_clips([source, source]).problems == ()  # given twice: the same clips


def test_a_table_keeps_its_other_columns(tmp_path: Path) -> None:
    table = "name,path,start,duration,speaker\none,x.mp4,1.5,2,Ann\n,x.mp4,3,,Bob\n,,,,\n,y.mp4,soon,,\n,y.mp4,,0,\n"
    found = find_clips([touch(tmp_path / "t.csv", table.encode())])
    assert [(clip.name, clip.start, clip.duration) for clip in found.clips] == [("one", 1.5, 2), ("x@3", 3, None)]
    assert [dict(clip.columns) for clip in found.clips] == [{"speaker": "Ann"}, {"speaker": "Bob"}]
    assert sorted(problem.error.split(" of ")[0] for problem in found.problems) == ["row 3", "row 4", "row 5"]


def test_a_table_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="PyArrow is not installed")
    write_rows(tmp_path / "t.parquet", [{"path": "x.mp4", "start": None, "age": 4}, {"path": "y.mp4", "start": 1.0}])
    found = find_clips([tmp_path / "t.parquet"])
    assert [(clip.name, clip.start, dict(clip.columns)) for clip in found.clips] == [
        ("x", None, {"age": "4"}),
        ("y@1", 1.0, {}),
    ]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(OptionError, match=r"bad\.parquet cannot be read as Parquet"):
        find_clips([tmp_path / "bad.parquet"])


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_tar(tmp_path: Path) -> None:
    facts = json.dumps({"speaker": "Ann", "list": [1]}).encode()
    files = {"1.mp4": b"one", "1.json": facts, "d/2.left.mp4": b"two", "2.txt": b"", "../3.mp4": b"x", "4.json": b"["}
    source = tar_of(tmp_path / "s.tar", files)
    clips = {clip.name: clip for clip in find_clips([source]).clips}
    assert set(clips) == {"s/1", "s/d/2", "s/3"}
    offset, size = clips["s/d/2"].member or (0, 0)
    assert source.read_bytes()[offset : offset + size] == b"two"
    assert dict(clips["s/1"].columns) == {"speaker": "Ann"}


def test_tars_that_are_damaged_or_compressed_are_problems(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "s.tar", {"1.mp4": b"one" * 400, "2.mp4": b"two" * 400}).read_bytes()
    cut = touch(tmp_path / "cut.tar", whole[:2500])
    found = find_clips([cut])
    assert [clip.name for clip in found.clips] == ["cut/1"]
    assert len(found.problems) == 1
    for name, data in (("no.tar", b"no" * 600), ("zipped.tar", b"\x1f\x8b\x08" + bytes(600))):
        (problem,) = find_clips([touch(tmp_path / name, data)]).problems
        assert "is no uncompressed tar" in problem.error


@pytest.mark.parametrize("name", ["none.mp4", "a.doc", "cards.csv"])
def test_sources_that_are_none(name: str, tmp_path: Path) -> None:
    touch(tmp_path / "a.doc")
    touch(tmp_path / "cards.csv", b"who,where\na,b\n")
    with pytest.raises(OptionError, match=name):
        find_clips([tmp_path / name])


def test_two_clips_of_one_name(tmp_path: Path) -> None:
    for folder in ("1", "2"):
        touch(tmp_path / folder / "a.mp4")
        touch(tmp_path / folder / "a.mov")
    found = find_clips([tmp_path / "1", tmp_path / "2"])
    assert [clip.name for clip in found.clips] == ["a", "a.mov", "a.mp4"]
    (problem,) = found.problems
    assert "give names in a table" in problem.error
