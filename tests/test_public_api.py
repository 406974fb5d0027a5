"""The public names, pinned: a change here is a change for users."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import stylecodec

NAMES = [
    "DecodeOptions",
    "DecodeReport",
    "Decoder",
    "EncodeOptions",
    "EncodeReport",
    "FaceNotFound",
    "FormatError",
    "MediaError",
    "ModelPack",
    "OptionError",
    "OutputError",
    "PackError",
    "StreamFile",
    "StreamReader",
    "StreamWriter",
    "StylecodecError",
    "__version__",
    "decode",
    "encode",
    "open_pack",
    "probe",
    "puppet",
    "verify",
]


def test_the_names() -> None:
    assert stylecodec.__all__ == NAMES
    assert dir(stylecodec) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_stays(name: str) -> None:
    first = getattr(stylecodec, name)
    assert getattr(stylecodec, name) is first
    assert callable(first) or name == "__version__"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transcode'"):
        stylecodec.transcode  # type: ignore[attr-defined]  # noqa: B018


def test_errors_have_one_root() -> None:
    for name in NAMES:
        value = getattr(stylecodec, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, stylecodec.StylecodecError)


def test_the_version_is_the_projects() -> None:
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == stylecodec.__version__
