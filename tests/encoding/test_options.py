"""Encoder options: defaults that pass, values that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stylecodec.encoding import options
from stylecodec.encoding.options import (
    TUNING,
    EncodeOptions,
    FitOptions,
    LandmarkCorrectionOptions,
    PixelCorrectionOptions,
    RefineOptions,
    TuneOptions,
)
from stylecodec.errors import OptionError


def test_the_defaults_are_valid() -> None:
    options = EncodeOptions()
    assert options.preset == "fast"
    assert options.pack == "nobody-1024"
    assert options.audio_bitrate == 12_000
    assert options.smoothing == 0.024
    assert (options.profile, options.quality, options.group_seconds) == ("compact", 46.0, None)


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
        ("landmarks", "mine", "landmarks must be auto, pack, predictor, dlib5, dlib68 or a .dat file, not 'mine'"),
        ("group_seconds", 0.0, "group"),
        ("identity_average", 0, "identity_average"),
        ("identity_average", 17, "identity_average"),
        ("identity_candidates", 1000, "256"),
        ("frontal_yaw", 0.0, "near-frontal"),
        ("smoothing", 0.0, "turned off"),
        ("likeness", "good", "the likeness must be off, quick, full, not 'good'"),
        ("background", "beach", "background must be render, plate, blur, key"),
        ("delta", "send", "delta must be"),
        ("profile", "tiny", "profile must be compact or raw"),
        ("quality", 29.0, "30 to 70"),
        ("quality", float("nan"), "30 to 70"),
    ],
)
def test_values_out_of_range(name: str, value: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        EncodeOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (LandmarkCorrectionOptions, "frames", 0),
        (LandmarkCorrectionOptions, "side", 100),
        (LandmarkCorrectionOptions, "step", 0.0),
        (LandmarkCorrectionOptions, "damping", 0.0),
        (LandmarkCorrectionOptions, "pose", 1.5),
        (LandmarkCorrectionOptions, "calm", 0.0),
        (LandmarkCorrectionOptions, "floor", -1.0),
        (PixelCorrectionOptions, "keyframes", 0),
        (PixelCorrectionOptions, "side", 100),
        (PixelCorrectionOptions, "compared", 16),
        (PixelCorrectionOptions, "step", 0.0),
        (PixelCorrectionOptions, "damping", 0.0),
        (FitOptions, "steps", 0),
        (FitOptions, "keyframe_count", 0),
        (FitOptions, "side", 100),
        (FitOptions, "rows", 0),
        (FitOptions, "batch", 0),
        (FitOptions, "rate", 0.0),
        (FitOptions, "prior", -1.0),
        (FitOptions, "response", -1.0),
        (FitOptions, "response_share", 0.0),
        (FitOptions, "response_share", 1.5),
        (FitOptions, "parts_every", 0),
        (RefineOptions, "steps", 0),
        (RefineOptions, "side", 100),
        (RefineOptions, "coarse", 1.5),
        (RefineOptions, "target", "mirror"),
        (RefineOptions, "rate", 0.0),
        (RefineOptions, "prior", -1.0),
        (TuneOptions, "minutes", 0.0),
        (TuneOptions, "steps", 0),
        (TuneOptions, "frames", 3),
        (TuneOptions, "keyframes", 1.5),
        (TuneOptions, "batch", 1000),
        (TuneOptions, "side", 1024),
        (TuneOptions, "codes_share", 1.0),
        (TuneOptions, "settle_share", 0.9),
        (TuneOptions, "weight_rate", 0.0),
        (TuneOptions, "look_steps", 0),
        (TuneOptions, "most_steps", 0),
        (TuneOptions, "plateau_looks", 0),
        (TuneOptions, "locality_every", 0),
        (TuneOptions, "upper_every", 0),
        (TuneOptions, "features", -1.0),
        (TuneOptions, "structure", -1.0),
        (TuneOptions, "codes_prior", -1.0),
        (TuneOptions, "identity_prior", float("nan")),
        (TuneOptions, "locality", -1.0),
        (TuneOptions, "upper", -1.0),
        (TuneOptions, "decay", -1.0),
        (TuneOptions, "delta_bytes", 100),
    ],
)
def test_refinement_and_personalisation_out_of_range(kind: type, name: str, value: object) -> None:
    with pytest.raises(OptionError):
        kind(**{name: value})


def test_an_identity_is_given_or_made() -> None:
    with pytest.raises(OptionError, match="give it none"):
        EncodeOptions(likeness="full", identity="me.stid")
    with pytest.raises(OptionError, match="give it an identity"):
        EncodeOptions(refit=True)
    with pytest.raises(OptionError, match="known nowhere else, so it cannot only be named"):
        EncodeOptions(likeness="full", delta="name")
    assert EncodeOptions(likeness="full").refines
    assert not EncodeOptions(likeness="quick").refines
    assert EncodeOptions(likeness="quick", preset="balanced").refines
    assert EncodeOptions(preset="balanced").refines
    assert not EncodeOptions().refines


def test_a_likeness_has_its_tuning() -> None:
    quick, full = EncodeOptions(likeness="quick"), EncodeOptions(likeness="full")
    assert (quick.tuning, full.tuning) == (TUNING["quick"], TUNING["full"])
    assert quick.tuning.minutes <= 1
    assert quick.tuning.delta_bytes <= 150_000
    assert replace(quick, tune=full.tuning).tuning == TUNING["full"]
    assert full.tuning == TuneOptions()


def test_the_default_likeness_leaves_known_people_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the default is, a person who is given is not made anew, unless it is asked for: that is an error."""
    assert EncodeOptions().wanted_likeness == "quick"
    assert EncodeOptions(preset="paper").wanted_likeness == "off"
    assert EncodeOptions(delta="name").wanted_likeness == "off"
    monkeypatch.setattr(options, "LIKENESS", "full")
    assert EncodeOptions().wanted_likeness == "full"
    assert not EncodeOptions(likeness="off").tunes
    known = replace(EncodeOptions(), identity="me.stid")
    assert (known.wanted_likeness, known.tunes) == ("off", False)
    with pytest.raises(OptionError, match="likeness 'quick' makes an identity"):
        EncodeOptions(likeness="quick", identity="me.stid")
