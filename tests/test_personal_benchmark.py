"""The arithmetic of benchmarks.personal. Nothing is tuned here."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks import personal, video_codecs
from benchmarks import personal_figures as figures
from stylecodec.decoding.personal import TunedPack
from stylecodec.encoding.options import EncodeOptions
from stylecodec.packs.store import ModelPack

PARTS = {"total": 600_000, "header": 200, "identity": 5_000, "packets": 4_000, "audio": 15_000, "index": 300}
PARTS |= {"personalization": 575_500, "background": 0, "other": 0}


def test_the_mask_says_what_is_compared() -> None:
    a = np.zeros((32, 32, 3), np.uint8)
    b, mask = a.copy(), np.zeros((32, 32))
    mask[:, :16] = 1
    b[:, 16:] = 255
    assert figures.masked_psnr(a, b, mask) > 90
    assert figures.masked_ssim(a, b, mask) > 0.7
    b[:, :16] = 51
    assert figures.masked_psnr(a, b, mask) == pytest.approx(13.98, abs=0.01)
    found = figures.likeness([a, a], [a, b], np.stack([mask, mask]))
    assert found["psnr_worst"] == pytest.approx(13.98, abs=0.01)
    assert found["frames"] == 2


def test_longer_calls_cost_less_a_second() -> None:
    rows = figures.call_rates(PARTS, 10.0, (10.0, 600.0))
    assert rows[0]["total"] == pytest.approx(480.0)
    assert rows[1]["packets"] == rows[0]["packets"] == pytest.approx(3.2)
    assert rows[1]["personalization"] == pytest.approx(rows[0]["personalization"] / 60)
    assert figures.break_even(PARTS, 10.0, 3.0) is None
    seconds = figures.break_even(PARTS, 10.0, 103.2)
    assert seconds == pytest.approx(581_000 * 8 / 1000 / 100)


@pytest.mark.parametrize("border", [0, 1, 7, 51, 60])
def test_search(border: int) -> None:
    lowest = figures.search(0, 51, lambda c: c >= border, want_low=True)
    assert lowest == (border if border <= 51 else None)
    highest = figures.search(0, 51, lambda c: c < border, want_low=False)
    assert highest == (min(border - 1, 51) if border else None)


def test_a_codec_at_equal_terms() -> None:
    y, x = np.mgrid[:64, :64]
    frames = [np.stack([(x * 3 + 5 * k) % 256, (y * 3) % 256, (x + y) % 256], 2).astype(np.uint8) for k in range(5)]
    masks, codec = np.ones((5, 64, 64)), video_codecs.available()[0]
    best = figures.codec_at(codec, frames, masks, Fraction(25), most=None, psnr=30.0)
    assert best["psnr"] >= 30
    size = int(best["kbps"] * 1000 / 8 * 5 / 25)
    # Twice the bytes: a threaded codec need not spend the same ones each time.
    again = figures.codec_at(codec, frames, masks, Fraction(25), most=2 * size, psnr=None)
    assert again["crf"] <= best["crf"]
    assert again["psnr"] >= best["psnr"] - 0.01
    assert figures.codec_at(codec, frames, masks, Fraction(25), most=10, psnr=None)["crf"] is None


def test_an_untuned_generator_changes_nobody(tiny_pack: ModelPack) -> None:
    assert figures.locality(tiny_pack, TunedPack(tiny_pack))["psnr_worst"] > 90


def test_the_verdicts(tmp_path: Path, tiny_pack: ModelPack, capsys: pytest.CaptureFixture[str]) -> None:
    head = {"psnr": 31.0, "psnr_worst": 24.0, "ssim": 0.95}
    track = {"correlation": 0.97, "gain": 0.9}
    tracks = dict.fromkeys(personal.TRACKS, track)
    whole = {"head": head, "tracks": tracks, "delta_loss": 0.2, "locality": {"psnr": 33.0}, "identity": {"mean": 0.4}}
    held_out = {"rest_loss": 1.0, "refitted_loss": 0.5}
    rows = {"a": personal.summary({"whole": whole, "held_out": held_out}), "b": personal.summary({})}
    found = {row["figure"]: row for row in personal.verdicts(rows)}
    assert {name for name, row in found.items() if row["reached"] == "NO"} == {"psnr_worst", "identity"}
    assert all(row["clips"] == 1 for row in found.values())
    work = personal.Work(tmp_path / "a.mp4", tmp_path / "work" / "a", tiny_pack, EncodeOptions())
    work.folder.mkdir(parents=True)
    assert work.done("whole") is None
    work.write("whole", whole)
    assert work.done("whole") == whole
    personal.report(tmp_path / "work", tmp_path / "out.json", tiny_pack)
    assert "psnr_worst" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["clips"]["a"]["whole"] == whole
