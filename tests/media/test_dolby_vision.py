"""Dolby Vision that cannot be shown is refused; what has a common picture beneath is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylecodec.errors import MediaError
from stylecodec.media import VideoReader
from stylecodec.media.dolby_vision import DolbyVision, dolby_vision
from tests.media.made import flat, write_tracks

PATH_TO_ENTRY = [(b"moov", 8), (b"trak", 8), (b"mdia", 8), (b"minf", 8), (b"stbl", 8), (b"stsd", 16), (b"avc1", 86)]


def record(profile: int, compatibility: int) -> bytes:
    """A configuration of 24 bytes, level 6, with picture and metadata."""
    word = profile << 9 | 6 << 3 | 0b101
    return bytes([1, 0, word >> 8, word & 255, compatibility << 4]) + bytes(19)


def write_mp4(path: Path, profile: int, compatibility: int, name: bytes = b"dvcC") -> Path:
    """An MP4 file with a Dolby Vision box at the end of its picture's description."""
    write_tracks(path, [{"frames": [flat(90)] * 5}])
    data, box = bytearray(path.read_bytes()), (32).to_bytes(4, "big") + name + record(profile, compatibility)
    at, end, inside = 0, len(data), 0
    for kind, head in PATH_TO_ENTRY:
        at += inside
        while bytes(data[at + 4 : at + 8]) != kind:
            at += int.from_bytes(data[at : at + 4], "big")
            assert at < end
        size = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = (size + len(box)).to_bytes(4, "big")
        end, inside = at + size, head
    data[end:end] = box  # the index lies behind the pictures, whose places stay
    path.write_bytes(data)
    return path


def test_profile_5_is_refused(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "five.mp4", 5, 0)
    assert dolby_vision(path) == DolbyVision(5, 0)
    with pytest.raises(MediaError, match=r"five\.mp4 is Dolby Vision of profile 5.*convert it to HDR10 or SDR first"):
        VideoReader(path)


@pytest.mark.parametrize(("profile", "compatibility", "name"), [(8, 1, b"dvvC"), (8, 4, b"dvvC"), (7, 6, b"dvcC")])
def test_what_has_a_picture_beneath_is_read(tmp_path: Path, profile: int, compatibility: int, name: bytes) -> None:
    path = write_mp4(tmp_path / "eight.mp4", profile, compatibility, name)
    assert dolby_vision(path) == DolbyVision(profile, compatibility)
    assert len(list(VideoReader(path).frames())) == 5


def test_matroska(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mkv", [{"frames": [flat(90)] * 5}])
    assert dolby_vision(path) is None
    mapping = b"\x41\xe7\x84dvcC" + b"\x41\xed\x98" + record(5, 0)  # BlockAddIDType, BlockAddIDExtraData
    at = path.read_bytes().index(b"\x15\x49\xa9\x66")  # Info
    path.write_bytes(path.read_bytes()[:at] + b"\xec\xa4" + mapping[:36] + path.read_bytes()[at:])  # in a Void element
    assert dolby_vision(path) == DolbyVision(5, 0)


OTHER = [b"", b"\0" * 8, b"\0\0\0\x08free" * 3, b"\0\0\0\0moov", b"\0\0\0\x01moov" + b"\xff" * 8]


@pytest.mark.parametrize("data", OTHER)
def test_other_bytes_hold_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert dolby_vision(tmp_path / "a") is None
