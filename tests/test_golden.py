"""The example clip through encoder and decoder gives the golden figures. `python -m benchmarks.golden --write` makes
them anew when the pack changes."""

from __future__ import annotations

import pytest

from benchmarks import golden
from benchmarks.provenance import networks
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack


@pytest.mark.slow
def test_the_example_clip_gives_the_golden_figures() -> None:
    known = golden.read()
    assert known["provenance"]["networks"] == networks(open_pack(DEFAULT_PACK)), (
        "the pack changed: python -m benchmarks.golden --write, and look at what it prints"
    )
    assert golden.differences(golden.measure(), known["figures"]) == []


def test_a_loss_of_half_a_decibel_is_seen() -> None:
    figures = golden.read()["figures"]
    assert golden.differences(figures, figures) == []
    for name, lost in (("psnr", 0.5), ("mouth_open", 0.05), ("eyes_open", 0.05), ("ssim", 0.01)):
        assert golden.differences({**figures, name: figures[name] - lost}, figures), name
    for name in ("identity_bytes", "packets_bytes"):
        assert golden.differences({**figures, name: 1.03 * figures[name]}, figures), name
    assert golden.differences({**figures, "eyes_open": float("nan")}, figures)


def test_the_golden_clip_speaks_and_blinks() -> None:
    figures = golden.read()["figures"]
    assert figures["frames"] == 12
    assert min(figures[track] for track in golden.TRACKS) > 0.8
