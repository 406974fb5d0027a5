"""BD-rates and break-even lengths of curves that are known, and the reasons where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stylecodec.evaluation.rd.comparing import ALL, BEST, Comparison, break_evens, comparisons, length, systems
from stylecodec.evaluation.rd.points import Point
from tests.evaluation.rd.made import FRAMES, ordinary, ours, point


def as_ours(points: list[Point], factor: float = 1.0) -> list[Point]:
    """An ordinary codec's curve under our name, at other rates."""
    return [
        replace(p, system="stylecodec x", origin="ours", rates={n: factor * r for n, r in p.rates.items()})
        for p in points
    ]


def only(points: list[Point], metric: str = "PSNR", rate: str = "video") -> list[Comparison]:
    return comparisons(points, [metric], [rate])


def test_a_curve_at_half_the_rate_takes_half() -> None:
    (one,) = only([*as_ours(ordinary(), 0.5), *ordinary()])
    assert (one.system, one.anchor, one.clip) == ("stylecodec x", "x264", "a")
    assert one.percent == pytest.approx(-50)
    assert one.interval == pytest.approx((-50, -50))  # the same frames are drawn for both: only the rates differ
    assert one.share == 1.0


def test_the_interval_knows_of_the_frames() -> None:
    noisy = [
        point("stylecodec x", p.setting, p.parts or {}, {"PSNR": p.scores["PSNR"].mean}, spread=4.0)
        for p in ordinary(0.5)
    ]
    (one,) = only([*noisy, *ordinary()])
    assert one.percent == pytest.approx(-50, abs=0.1)
    assert one.interval is not None
    low, high = one.interval
    assert low < -50 < high
    assert high - low > 1


def test_over_several_clips_is_the_mean() -> None:
    clips = {"a": 0.5, "b": 0.7}
    points = [p for c, f in clips.items() for p in (*as_ours(ordinary(clip=c), f), *ordinary(clip=c))]
    first, second, every = only(points)
    assert [one.percent for one in (first, second)] == pytest.approx([-50, -30])
    assert (every.clip, every.clips) == (ALL, (2, 2))
    assert every.percent == pytest.approx(-40)
    assert every.interval is not None
    assert every.interval == pytest.approx((-50, -30))  # which clips are drawn, too


def test_sound_and_container_count_in_the_total_alone() -> None:
    a = ordinary()[0]
    assert a.rates["video"] == pytest.approx(10)
    assert a.rates["total"] == pytest.approx(10 + 3500 * 8 / 2 / 1000)
    one = ours()[0]
    assert one.rates["video"] == pytest.approx(5400 * 8 / 2 / 1000)
    assert (one.once, one.running) == (5000, pytest.approx(400 * 8 / 2 / 1000))
    assert a.once is None


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([*ours()[:3], *ordinary()], "stylecodec fast.off has 3 points for a curve; it takes 4"),
        ([*ours(psnr=20.0), *ordinary()], "the curves share no quality: stylecodec fast.off has 20 to 20.9, x264 28"),
        (
            [*as_ours(ordinary()), *(replace(p, scores={}, left_out={"PSNR": "no weights"}) for p in ordinary())],
            "PSNR of x264 is left out: no weights",
        ),
        (
            [*as_ours(ordinary()), *ordinary(), point("x264", "crf 0", {"picture": 9}, {"PSNR": math.inf}, spread=0)],
            "x264 has a lossless point",
        ),
    ],
)
def test_there_is_no_silent_number(points: list[Point], reason: str) -> None:
    (one,) = only(points)
    assert one.percent is None
    assert reason.replace(".", "") in one.left_out.replace("+", "").replace(".", "")
    assert "bd_rate_percent" not in one.as_dict()
    assert one.as_dict()["left_out"] == one.left_out


def test_our_ways_are_one_curve_too() -> None:
    points = [*ours(), *ours(name="stylecodec fast+quick", once=20_000, psnr=31.0), *ordinary()]
    assert list(systems(points)) == ["stylecodec fast+off", "stylecodec fast+quick", BEST, "x264"]
    assert len(systems(points)[BEST]) == 8
    assert list(systems(ours())) == ["stylecodec fast+off"]


def test_a_metric_of_which_less_is_better() -> None:
    def turned(points: list[Point]) -> list[Point]:
        shares = [replace(p.scores["PSNR"], metric="DISTS", values=1 - p.scores["PSNR"].values / 100) for p in points]
        return [replace(p, scores={"DISTS": values}) for p, values in zip(points, shares, strict=True)]

    (one,) = only([*turned(as_ours(ordinary(), 0.5)), *turned(ordinary())], "DISTS")
    assert one.percent == pytest.approx(-50)
    assert one.as_dict()["overlap"] == pytest.approx([0.66, 0.72])


def test_the_length_from_which_on_a_call_pays() -> None:
    """At 29.9 dB x264 takes 10 * 2^0.95 kbit/s or so; ours pays 40 kbit once and 2.8 kbit/s."""
    best = break_evens([*ours(), *ordinary()], ["PSNR"])[-1]
    assert (best.setting, best.codec) == ("62 dB", "x264")
    assert best.codec_kbps == pytest.approx(10 * 2**0.95, rel=1e-3)
    assert best.seconds == pytest.approx(40 / (10 * 2**0.95 - 2.8), rel=1e-3)
    assert best.interval is not None
    assert best.interval[0] <= best.seconds <= best.interval[1]
    assert not best.measured  # 2.4 s, and the clip has 2
    assert break_evens([*ours(once=1000), *ordinary()], ["PSNR"])[-1].measured


@pytest.mark.parametrize(
    ("own", "factor", "words"),
    [
        (ours(psnr=29.0), 0.1, "never: ours takes"),
        (ours(psnr=20.0), 1.0, "shows more already at its end of 10.0 kbit/s; 6 s or more"),
        (ours(psnr=20.0), 0.1, "never: even at its end"),
        (ours(psnr=40.0), 1.0, "not measured at so high a quality (up to 80.0 kbit/s); 1 s or less"),
    ],
)
def test_what_can_be_said_where_there_is_no_length(own: list[Point], factor: float, words: str) -> None:
    one = break_evens([*own, *ordinary(factor)], ["PSNR"])[-1]
    assert one.seconds is None
    assert words in one.says
    assert one.as_dict()["seconds"] is None


def test_lengths() -> None:
    assert length(40.0, 10.0, 2.0) == 5.0
    assert length(40.0, 2.0, 2.0) is None
    assert length(0.0, 3.0, 2.0) == 0.0


def test_frames_that_were_not_tuned_on_are_apart() -> None:
    tuned = point("stylecodec x", "62 dB", {"packets": 9}, {"PSNR": 30.0}, tuned=range(0, FRAMES, 2))
    (apart,) = tuned.untuned().values()
    assert apart.frames.tolist() == list(range(1, FRAMES, 2))
    assert apart.mean == pytest.approx(float(np.mean(tuned.scores["PSNR"].values[1::2])))
    assert point("stylecodec x", "62 dB", {"packets": 9}, {"PSNR": 30.0}).untuned() == {}
    assert point("stylecodec x", "62 dB", {"packets": 9}, {"PSNR": 30.0}, tuned=range(FRAMES)).untuned() == {}
