"""The arithmetic of benchmarks.paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.paper import Measure, ablations_of, arguments_of, key_of, summary, ways_of
from stylecodec.encoding.options import FULL


def arguments(*more: str) -> argparse.Namespace:
    return arguments_of(["clip.mp4", *more])


def test_every_way_sees_the_same_squares() -> None:
    ways = ways_of(arguments("--personalized", "--seconds", "2"))
    plain = ["fast", "balanced", "paper"]
    assert list(ways) == [*plain, *(f"{way}, personalised" for way in plain)]
    assert {one.align for one in ways.values()} == {"landmarks"}
    assert ways["paper, personalised"].likeness == FULL
    assert ways["paper"].duration == 2


def test_ablations_change_one_thing_each() -> None:
    found = ablations_of(arguments("--restyle", "other"))
    assert found["without inter-frame terms"].paper.weights.between == 0
    assert found["without Eq. 8"].paper.even_rates
    assert not found["to the letter"].paper.fit
    assert found["ReStyle for e4e"].pack == Path("other")
    assert "with PTI" not in found
    assert "with PTI" in ablations_of(arguments("--personalized"))


def test_worst_is_beside_the_mean() -> None:
    rows = [
        {"question": "ways", "way": "paper", "clip": name, "psnr": psnr, "identity": apart}
        for name, psnr, apart in (("a", 20.0, 0.2), ("b", 30.0, 0.5))
    ]
    (line,) = summary(rows)
    assert (line["psnr"], line["psnr_worst"]) == (25.0, 20.0)
    assert (line["identity_worst"], line["clips"]) == (0.5, 2)
    assert len({key_of(row) for row in rows}) == 2
    pose = [{"question": "pose", "clip": "a", "of_direct": 0.4}, {"question": "pose", "clip": "b", "of_direct": 0.6}]
    assert summary(pose)[0]["of_direct_worst"] == 0.6


def test_a_row_of_the_same_code_is_not_measured_again() -> None:
    origin = {"code": {"nets": "1"}, "pack": None, "options": {"seconds": 2}, "inputs": {}, "date": "today"}
    measure = Measure("ways", "paper", Path("a.mp4"), origin, lambda: {"psnr": 20.0})
    row = measure.row()
    assert key_of(row) == measure.key
    assert row["psnr"] == 20.0
    assert not measure.known(None)
    assert measure.known({**row, "provenance": {**origin, "date": "before"}})
    for name, other in (("code", {"nets": "2"}), ("options", {"seconds": 3})):
        assert not measure.known({**row, "provenance": {**origin, name: other}})
