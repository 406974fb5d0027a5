"""The public names, pinned: a change here is a change for users."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import stylecodec
from stylecodec import errors
from stylecodec.errors import FormatError

NAMES = [
    "BadMagic",
    "ChecksumMismatch",
    "CorruptChunk",
    "DecodeOptions",
    "DecodeReport",
    "Decoder",
    "DeltaNotFound",
    "EncodeOptions",
    "EncodeReport",
    "EvaluateOptions",
    "EvaluateReport",
    "FaceNotFound",
    "FitOptions",
    "FormatError",
    "ImportRefused",
    "LandmarkCorrectionOptions",
    "LimitExceeded",
    "MediaError",
    "MissingDependency",
    "ModelPack",
    "OptionError",
    "OutputError",
    "PackCorrupt",
    "PackError",
    "PackMismatch",
    "PackNotFound",
    "PixelCorrectionOptions",
    "Progress",
    "RdOptions",
    "RdReport",
    "RefineOptions",
    "StreamFile",
    "StreamMismatch",
    "StreamReader",
    "StreamReport",
    "StreamWriter",
    "StylecodecError",
    "Truncated",
    "TuneOptions",
    "UnsupportedVersion",
    "__version__",
    "datasets",
    "decode",
    "encode",
    "evaluate",
    "open_pack",
    "probe",
    "probe_source",
    "puppet",
    "rate_distortion",
    "verify",
]


def test_the_names() -> None:
    assert stylecodec.__all__ == NAMES
    assert sorted({*stylecodec._HOME, *stylecodec._ROOMS, "__version__"}) == NAMES
    assert dir(stylecodec) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_stays(name: str) -> None:
    first = getattr(stylecodec, name)
    assert getattr(stylecodec, name) is first
    assert callable(first) or name in ("__version__", *stylecodec._ROOMS)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transcode'"):
        stylecodec.transcode  # type: ignore[attr-defined]  # noqa: B018


def test_every_exception_is_public_drawn_and_explained() -> None:
    tree = (errors.__doc__ or "").split("    StylecodecError")[1]
    drawn = {line.split("─ ")[1].split()[0] for line in tree.splitlines() if "─ " in line} | {"StylecodecError"}
    raised = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn == set(raised)
    for name, value in raised.items():
        assert issubclass(value, stylecodec.StylecodecError)
        assert getattr(stylecodec, name) is value
        assert value.__doc__


def test_the_tree_is_drawn_as_it_is() -> None:
    """Each line's indentation says whose subclass it is."""
    parents: dict[int, type] = {}
    for line in (errors.__doc__ or "").splitlines():
        if line.startswith("    StylecodecError"):
            parents[4] = stylecodec.StylecodecError
        elif "─ " in line:
            depth, name = line.index("─ "), line.split("─ ")[1].split()[0]
            parents[depth] = getattr(errors, name)
            above = max(other for other in parents if other < depth)
            assert parents[depth].__bases__[0] is parents[above]
            assert ("(ValueError)" in line) == (ValueError in parents[depth].__bases__)
            parents = {other: value for other, value in parents.items() if other <= depth}
    assert FormatError("no", 3).offset == 3


def test_the_version_is_the_projects() -> None:
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == stylecodec.__version__
