"""Words of the command line to options, the common test conditions, and what is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import stylecodec.evaluation.rd.rate_distortion as home
from stylecodec.cli.main import main
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import OptionError
from stylecodec.evaluation.rd import published, store
from stylecodec.evaluation.rd.comparing import comparisons
from stylecodec.evaluation.rd.figures import figures, inline
from stylecodec.evaluation.rd.options import CTC_METRICS, QUALITIES, RdOptions, codec_of, gfvc, usual_ways, way_of
from stylecodec.evaluation.rd.page import as_html, duration
from stylecodec.evaluation.rd.points import Point
from stylecodec.evaluation.rd.report import RdReport
from stylecodec.evaluation.rd.sequences import _at_rate, there_and_back
from tests.evaluation.rd.made import ordinary, ours


def test_ways_of_ours() -> None:
    way = way_of("balanced+quick@40,62.5", EncodeOptions(pack="mine"))
    assert (way.name, way.qualities) == ("balanced+quick", (40.0, 62.5))
    assert (way.options.preset, way.options.likeness, way.options.pack) == ("balanced", "quick", "mine")
    plain = way_of("fast", EncodeOptions())
    assert (plain.name, plain.options.likeness, plain.qualities) == ("fast+off", "off", QUALITIES)
    assert [way.name for way in usual_ways(EncodeOptions())] == ["fast+off", "fast+quick"]


@pytest.mark.parametrize("words", ["slow", "fast+much", "fast@", "fast@a", "fast@62,62", "fast@10", "fast@4;5", "+off"])
def test_ways_that_make_no_sense(words: str) -> None:
    with pytest.raises(OptionError):
        way_of(words, EncodeOptions())


def test_codecs() -> None:
    assert codec_of("x264") == ("x264", None)
    assert codec_of("x264@23,51") == ("x264", (23, 51))
    for words in ("x264@", "x264@a", "x264@2.5"):
        with pytest.raises(OptionError):
            codec_of(words)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": ()},
        {"sizes": (100,)},
        {"metrics": ()},
        {"metrics": ("FID",)},
        {"start": -1.0},
        {"duration": 0.0},
        {"fps": 0},
        {"long": 0.0},
        {"long": float("nan")},
        {"constant": "bitrate"},
        {"ways": usual_ways(EncodeOptions()) * 2},
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        RdOptions(**wrong)  # type: ignore[arg-type]


def test_the_conditions_of_gfvc() -> None:
    found = gfvc(RdOptions(), ["x264", "svtav1"])
    assert (found.sizes, found.fps, found.frame_counts) == ((256,), 25, (250, 125))
    assert found.codecs == {"x264": (32, 35, 38, 42, 45, 51), "svtav1": (32, 38, 44, 50, 56, 63)}
    assert (found.constant, found.low_delay, found.published) == ("qp", True, True)
    assert found.metrics == CTC_METRICS == ("DISTS", "LPIPS-vgg", "PSNR", "SSIM")
    assert "not the VoxCeleb sequences" in found.conditions
    assert gfvc(RdOptions(codecs={"x264": (40,)}), []).codecs == {"x264": (40,)}
    assert gfvc(RdOptions(metrics=("PSNR",)), []).metrics == ("PSNR",)


def report(points: list[Point], with_published: bool, metric: str = "LPIPS-vgg") -> RdReport:
    return RdReport(tuple(points), (), (), (), (), (metric,), {}, "", with_published)


def as_lpips(points: list[Point]) -> list[Point]:
    return [replace(p, scores={"LPIPS-vgg": replace(p.scores["PSNR"], metric="LPIPS-vgg")}) for p in points]


def test_published_curves_have_a_panel_of_their_own_and_their_source() -> None:
    points = as_lpips([*ours(), *ordinary()])
    (with_them,) = figures(points, ["LPIPS-vgg"], True)
    (without,) = figures(points, ["LPIPS-vgg"], False)
    assert "published, of other clips: not measured here" in with_them.svg
    assert "DAC, published" in with_them.svg
    assert "published" not in without.svg
    assert inline(with_them).count('id="axes_') == inline(without).count('id="axes_') + 1
    page, facts = as_html(report(points, True), [with_them]), report(points, True).as_dict()
    assert "read off the plots of github.com/Goluck-Konuko/GFVC" in page
    assert facts["published"]["source"] == published.SOURCE
    assert {one["system"] for one in facts["points"]}.isdisjoint({one.system for one in published.CURVES})
    psnr, alone = figures([*ours(), *ordinary()], ["PSNR", "LPIPS-vgg"], True)
    assert "published" not in psnr.svg
    assert (alone.name, "x264" in alone.svg) == ("published", False)
    assert "nothing of it measured here" in alone.title


def test_a_metric_that_nobody_has_is_told_once() -> None:
    points = [replace(p, left_out={"DISTS": "no weights"}) for p in (*ours(), *ordinary())]
    compared = tuple(comparisons(points, ["PSNR", "DISTS"], ["video"]))
    found = RdReport(tuple(points), compared, (), (), (), ("PSNR", "DISTS"), {})
    assert found.found == ("PSNR",)
    page = as_html(found, [])
    assert page.count("DISTS") == page.count("no weights") == 1
    assert [one["left_out"] for one in found.as_dict()["bd_rates"] if one["metric"] == "DISTS"] == [
        "DISTS of x264 is left out: no weights"
    ]


def test_published_figures_are_those_of_the_source() -> None:
    curves = {one.system: {quality: rate for rate, quality in one.points} for one in published.CURVES}
    assert curves["DAC"][0.76] == 2.5
    assert curves["VVC (VTM 22.2)"][0.76] == 15.2
    assert curves["HDAC"][0.83] == 26.0
    for one in published.CURVES:
        assert list(one.points) == sorted(one.points)
        assert one.limit is None or max(quality for _, quality in one.points) <= one.limit


def test_frames_of_another_rate_are_the_nearest() -> None:
    times = np.arange(30) / 30
    assert _at_rate(times, Fraction(30)).tolist() == list(range(30))
    picked = _at_rate(times, Fraction(25))
    assert len(picked) == 25
    assert np.abs(times[picked] - np.arange(25) / 25).max() <= 0.5 / 30 + 1e-9
    assert _at_rate(np.array([0.0]), Fraction(25)).tolist() == [0]


def test_forth_and_back() -> None:
    assert there_and_back(4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert there_and_back(1, 3).tolist() == [0, 0, 0]
    assert there_and_back(2, 5).tolist() == [0, 1, 0, 1, 0]


def test_durations_for_people() -> None:
    assert [duration(s) for s in (4.26, 300, 7200, 10**6)] == ["4.3 s", "5.0 min", "2.0 h", "12 days"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the command asks of `rate_distortion`, which gives a report of made-up points."""
    seen = SimpleNamespace()

    def answer(clips: object, folder: object, options: RdOptions, progress: Callable[..., None]) -> RdReport:
        seen.clips, seen.folder, seen.options = clips, folder, options
        return report([*ours(), *ordinary()], options.published, "PSNR")

    monkeypatch.setattr(home, "rate_distortion", answer)
    return seen


def test_the_command(asked: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rd", "a.mp4", "--out", "x", "--points", "fast+full@40", "--steps", "7", "--sizes", "256,512"]
    assert main([*words, "--codecs", "x265,vp9", "--codecs", "x264@30,40", "--long", "60"]) == 0
    options = asked.options
    assert options.codecs == {"x265": None, "vp9": None, "x264": (30, 40)}
    assert (options.sizes, options.long) == ((256, 512), 60.0)
    assert options.ways[0].options.tuning.steps == 7
    assert options.ways[0].options.tuning.delta_bytes == EncodeOptions(likeness="full").tuning.delta_bytes
    out = capsys.readouterr().out
    assert "a 256²: x264 crf 51: 10.00 video" in out
    assert main(["rd", "a.mp4", "--out", "x", "--codecs", "none", "--json"]) == 0
    assert asked.options.codecs == {}
    assert '"bd_rates": []' in capsys.readouterr().out
    assert main(["rd", "a.mp4", "--out", "x", "--ctc", "gfvc", "--points", "none"]) == 0
    assert asked.options.ways == ()
    assert asked.options.fps == 25


@pytest.mark.parametrize(
    "words",
    [
        ["--sizes", "big"],
        ["--sizes", "100"],
        ["--points", "quick"],
        ["--metrics", "VMAF"],
        ["--codecs", "x264@a"],
        ["--ctc", "vtm"],
        ["--long", "0"],
        ["--ctc", "gfvc", "--sizes", "512"],
        ["--ctc", "gfvc", "--fps", "30"],
    ],
)
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rd", "a.mp4", "--out", "x", *words]) == 2
    assert "error: " in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rd", "--help"]) == 0
    out = capsys.readouterr().out
    assert "stylecodec rd clips/*.mp4 --out gfvc/ --ctc gfvc" in out
    assert "exit codes" in out


def test_what_is_kept_depends_on_all_code_that_encodes() -> None:
    names = {path.relative_to(store.PACKAGE).as_posix() for path in store.coding_files()}
    assert {"api.py", "clip_source.py", "opus_chunks.py", "encoding/pipeline.py", "media/codecs.py"} <= names
    assert not {name for name in names if name.startswith(("cli/", "training/", "corpus/"))}
