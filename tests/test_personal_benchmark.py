"""The arithmetic of benchmarks.personal. Nothing is tuned here."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import personal, personal_bars, video_codecs
from benchmarks import personal_figures as figures
from stylecodec.decoding.personal import TunedPack
from stylecodec.encoding.options import EncodeOptions
from stylecodec.packs.store import ModelPack


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


def whole_and_held_out() -> dict[str, dict[str, Any]]:
    head = {"psnr": 31.0, "psnr_worst": 24.0, "ssim": 0.95}
    tracks = {name: {"correlation": 0.97, "gain": 0.9} for name in personal_bars.TRACKS}
    whole = {"head": head, "tracks": tracks, "delta_loss": 0.2, "locality": {"psnr": 33.0}, "identity": {"mean": 0.4}}
    return {"whole": whole, "held_out": {"rest": {"psnr": 28.4}, "refitted": {"psnr": 28.6}}}


def test_the_verdicts() -> None:
    rows = {"a": personal_bars.summary(whole_and_held_out()), "b": personal_bars.summary({})}
    found = {row["figure"]: row for row in personal_bars.verdicts(rows)}
    missed = {name for name, row in found.items() if row["reached"] == "NO"}
    assert missed == {"psnr_worst", "identity", "refitted_psnr"}
    assert all(row["clips"] == 1 for row in found.values())
    assert found.keys() == personal_bars.BARS.keys()
    still = whole_and_held_out()
    still["whole"]["tracks"]["yaw"] = {"correlation": None, "gain": None}
    assert "yaw" not in {row["figure"] for row in personal_bars.verdicts({"a": personal_bars.summary(still)})}


def test_more_tuning_does_not_miss_a_bar_on_later_frames() -> None:
    parts = whole_and_held_out()
    before = personal_bars.summary(parts)
    parts["held_out"]["first"] = {"psnr": 40.0}
    assert personal_bars.summary(parts) == before


def test_parts_of_other_networks_are_refused_or_stay_what_they_were(
    tmp_path: Path, tiny_pack: ModelPack, other_pack: ModelPack, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    parts, folder, out = whole_and_held_out(), tmp_path / "work", tmp_path / "out.json"
    for pack, part in ((tiny_pack, "whole"), (other_pack, "held_out")):
        work = personal.Work(tmp_path / "a.mp4", folder / "a", pack, EncodeOptions())
        work.folder.mkdir(parents=True, exist_ok=True)
        assert work.done(part) is None
        written = work.write(part, parts[part])
        assert work.done(part) == written
        assert written["provenance"]["networks"].items() >= {r: e.sha256 for r, e in pack.card.networks.items()}.items()
    personal.report(folder, out, tiny_pack)
    printed = capsys.readouterr().out
    assert "left out: a/held_out: other networks than today's" in printed
    assert "psnr_worst" in printed
    assert json.loads(out.read_text())["clips"]["a"].keys() == {"whole"}
    personal.report(folder, out, tiny_pack, stale=True)
    assert "stale: a/held_out" in capsys.readouterr().out
    kept = json.loads(out.read_text())["clips"]["a"]
    assert kept["held_out"]["provenance"]["pack"]["digest"] == other_pack.digest.hex()
    assert kept["whole"]["head"] == parts["whole"]["head"]
