"""Outputs: what is replaced, what is followed, what is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stylecodec.errors import OutputError
from stylecodec.files import atomic_write, check_output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pipes among files, links need a privilege")


def write(path: Path, data: bytes = b"new") -> None:
    check_output(path)
    with atomic_write(path) as file:
        file.write(data)


def test_pipes_and_devices_stay(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OutputError, match=f"{path.name} is a pipe or a device"):
            check_output(path)
        with pytest.raises(OutputError, match="is a pipe or a device"), atomic_write(path):
            pass
    assert pipe.is_fifo()
    with pytest.raises(OutputError, match="/dev/null is a pipe or a device"):
        check_output("/dev/null")


def test_links_are_followed(tmp_path: Path) -> None:
    folder, link = tmp_path / "there", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(Path("there") / "file")
    for data in (b"first", b"second"):  # the link leads nowhere yet, and then to a file
        write(link, data)
        assert link.is_symlink()
        assert (folder / "file").read_bytes() == data
        assert (os.listdir(folder), sorted(os.listdir(tmp_path))) == (["file"], ["link", "there"])
    link.unlink()
    link.symlink_to(tmp_path / "none" / "file")
    with pytest.raises(OutputError, match=r"link cannot be written: there is no folder .*none"):
        check_output(link)
