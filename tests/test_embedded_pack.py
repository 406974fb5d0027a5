"""The pack in the wheel: small, sound, and the example clip through the whole codec gives the golden figures.

`python -m benchmarks.golden --write` makes the golden figures anew when the pack changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks import golden
from benchmarks.provenance import networks
from stylecodec.bitstream import StreamFile
from stylecodec.decoding.decoder import Decoder
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.packs.card import ROLES, SHIPPED_ROLES
from stylecodec.packs.store import ModelPack, open_pack


@pytest.fixture(scope="module")
def pack() -> ModelPack:
    return open_pack()


@dataclass(frozen=True)
class Made:
    """The golden stretch of the example clip through encoder and decoder, and its stream."""

    stream: Path
    coded: golden.Coded


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    stream = tmp_path_factory.mktemp("embedded") / "talk.stc"
    return Made(stream, golden.coded(stream))


def test_size_and_digests(pack: ModelPack) -> None:
    assert pack.name == "nobody-1024"
    assert set(pack.card.networks) == {*ROLES, *SHIPPED_ROLES}
    assert sum(file.stat().st_size for file in pack.folder.iterdir()) <= 41_000_000
    pack.verify()


def test_card_tells_how_it_was_made_and_how_good_it_is(pack: ModelPack) -> None:
    assert "runs" in pack.card.training
    held_out = pack.card.figures["held_out"]
    assert {"clips", "psnr", "ssim", "yaw_error", "pitch_error"} <= set(held_out)


def test_the_example_clip_gives_the_golden_figures(made: Made, pack: ModelPack) -> None:
    known = golden.read()
    assert known["provenance"]["networks"] == networks(pack), (
        "the pack changed: python -m benchmarks.golden --write, and look at what it prints"
    )
    assert golden.differences(golden.measure(made.coded), known["figures"]) == []
    assert made.coded.report.held == 0


def test_a_loss_of_half_a_decibel_is_seen() -> None:
    figures = golden.read()["figures"]
    assert golden.differences(figures, figures) == []
    for name, lost in (("psnr", 0.5), ("psnr_worst", 0.5), ("mouth_open", 0.05), ("eyes_open", 0.05), ("ssim", 0.01)):
        assert golden.differences({**figures, name: figures[name] - lost}, figures), name
    for name, share in (("identity_bytes", 1.31), ("packets_bytes", 1.06)):
        assert golden.differences({**figures, name: share * figures[name]}, figures), name
    assert golden.differences({**figures, "eyes_open": float("nan")}, figures)


def test_the_golden_clip_speaks_and_blinks() -> None:
    figures = golden.read()["figures"]
    assert figures["frames"] == 12
    assert min(figures[track] for track in golden.TRACKS) > 0.8


def test_a_picture_aside_is_clearly_worse(made: Made) -> None:
    """So what the golden PSNR says of the picture, it says of its place too."""
    inputs, outputs = made.coded.inputs, made.coded.outputs
    here = [picture_psnr(a, b) for a, b in zip(inputs, outputs, strict=True)]
    aside = [picture_psnr(a, np.roll(b, 6, axis=1)) for a, b in zip(inputs, outputs, strict=True)]
    assert np.mean(here) > np.mean(aside) + 1.5


def test_the_bytes_are_accounted_for(made: Made) -> None:
    with StreamFile.open(made.stream) as file:
        account = file.byte_account()
        assert sum(v for k, v in account.items() if k != "total") == account["total"] == made.stream.stat().st_size
        assert account == made.coded.report.bytes


def test_full_size_frame(made: Made) -> None:
    with Decoder.open(made.stream, device="cpu", as_numpy=True) as decoder:
        frame = decoder[3]
    assert frame.shape == (1024, 1024, 3)
    assert frame.dtype == np.uint8
    small = frame.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert small.std() > 10
