"""`encode --likeness`: what the command line makes of it."""

from __future__ import annotations

import argparse

import pytest

from stylecodec.cli import encode
from stylecodec.cli.arguments import CommandParser
from stylecodec.cli.main import main
from stylecodec.encoding.options import TUNING, EncodeOptions


def options(words: str) -> EncodeOptions:
    parser = CommandParser(prog="encode", formatter_class=argparse.RawDescriptionHelpFormatter)
    encode._arguments(parser)
    return encode.clip_options(parser.parse_args(["a.mp4", "b.stc", *words.split()]))


def test_personalize_is_another_word_for_full() -> None:
    assert options("--personalize") == options("--likeness full")
    assert options("--likeness full").tuning.minutes == TUNING["full"].minutes
    assert options("--likeness full").tuning.processes >= 1


def test_the_budget_goes_with_the_likeness() -> None:
    assert options("--likeness quick").tuning == TUNING["quick"]
    changed = options("--likeness quick --minutes 0.5 --delta-bytes 90000").tuning
    assert (changed.minutes, changed.delta_bytes, changed.side) == (0.5, 90_000, TUNING["quick"].side)
    assert options("--likeness full --minutes 3 --processes 1").tuning.minutes == 3


def test_off_tunes_nothing() -> None:
    assert not options("--likeness off").tunes
    assert options("").wanted_likeness == EncodeOptions().wanted_likeness
    assert not options("--identity me.stid").tunes


def test_another_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "a.mp4", "b.stc", "--likeness", "good"]) == 2
    assert "off" in capsys.readouterr().err
    assert main(["encode", "a.mp4", "b.stc", "--likeness", "quick", "--identity", "me.stid"]) == 2
    assert "makes an identity" in capsys.readouterr().err
