"""Encoder options: defaults that pass, values that do not."""

from __future__ import annotations

import pytest

from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import OptionError


def test_the_defaults_are_valid() -> None:
    options = EncodeOptions()
    assert options.preset == "fast"
    assert options.pack == "avatar-1024"
    assert options.audio_bitrate == 12_000
    assert options.alpha_smoothing == 0.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("preset", "paper2", "no preset 'paper2'; the presets are: fast"),
        ("start", -1.0, "start"),
        ("start", float("nan"), "start"),
        ("duration", 0.0, "duration"),
        ("duration", float("inf"), "duration"),
        ("audio_bitrate", 100, "bit rate"),
        ("batch", 0, "batch"),
        ("landmarks", "mine", "landmarks must be auto, pack, dlib5, dlib68 or a .dat file, not 'mine'"),
        ("group_seconds", 0.0, "group"),
        ("identity_average", 0, "identity_average"),
        ("identity_average", 17, "identity_average"),
        ("identity_candidates", 1000, "256"),
        ("frontal_yaw", 0.0, "near-frontal"),
        ("alpha_smoothing", -0.1, "alpha_smoothing"),
    ],
)
def test_values_out_of_range(name: str, value: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        EncodeOptions(**{name: value})  # type: ignore[arg-type]
