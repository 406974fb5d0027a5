"""The report's page opens offline, shows nobody unless asked, and its data are JSON."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from stylecodec.errors import OutputError
from stylecodec.evaluation.page import as_html, curve, write_report
from stylecodec.evaluation.report import EvaluateReport, OutputScores
from stylecodec.evaluation.scores import Score, left_out, of_frames
from tests.evaluation.markup import Tags

SECONDS = tuple(n / 25 for n in range(5))
VIDEO = {"file": "a<b>&.mp4", "kind": "video", "fps": 25.0, "width": 64, "height": 64}
VIDEO |= {"frames": 5, "frames_with_a_face": 5}


def scored(name: str, values: list[float]) -> Score:
    return of_frames(name, np.array(values), np.arange(5), np.array(SECONDS), 1, 7.5)


@pytest.fixture
def report() -> EvaluateReport:
    scores = (
        scored("PSNR", [30, math.inf, 31, 29, 30]),
        scored("L1", [1, 0, 1, 2, 1]),
        left_out("FID", "no <weights>"),
    )
    square = np.full((32, 32, 3), 90, np.uint8)
    worst = {"PSNR": (square, square), "L1": (square, square)}
    output = OutputScores(VIDEO, {"pairs": 5}, ("a note & more",), scores, worst)
    judges = {"imported": {"lpips_alex": {"what": "AlexNet", "file": "alex.pth", "sha256": "7be5"}}}
    return EvaluateReport(VIDEO, 256, False, (output,), SECONDS, judges)


@pytest.mark.parametrize("pictures", [False, True])
def test_the_page_needs_nothing_else(report: EvaluateReport, pictures: bool) -> None:
    page, tags = as_html(report, pictures), Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.addresses) == (2 if pictures else 0)  # one frame is worst by both metrics
    assert all(address.startswith("data:image/jpeg;base64,") for address in tags.addresses)
    assert not re.search(r"https?:|@import|url\(|<script|<link", page)


def test_what_the_page_says(report: EvaluateReport) -> None:
    page = as_html(report)
    for words in (
        "a&lt;b&gt;&amp;.mp4",
        "a note &amp; more",
        "no &lt;weights&gt;",
        "frame 3, 0.12 s",
        "7.500",
        "alex.pth, sha256 7be5",
    ):
        assert words in page
    assert "a<b>" not in page
    assert page.count("<svg") == 2


def test_curves_leave_out_what_is_infinite() -> None:
    line = curve(scored("PSNR", [30, math.inf, 31, 29, 30]), SECONDS)
    points = re.findall(r"([\d.]+),([\d.]+)", line.split('points="')[1].split('"')[0])
    assert len(points) == 4
    assert [float(y) for _, y in points] == [28.0, 4.0, 52.0, 28.0]
    assert curve(scored("PSNR", [math.inf] * 5), SECONDS) == ""


def test_the_files(report: EvaluateReport, tmp_path: Path) -> None:
    page, data = write_report(report, tmp_path / "new" / "scores")
    assert page.read_text().startswith("<!doctype html>")
    facts = json.loads(data.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = facts["outputs"][0]["metrics"]
    assert [one["name"] for one in found] == ["PSNR", "L1", "FID"]
    assert found[0]["per_frame"][1] == [1, "inf"]
    assert found[2]["left_out"] == "no <weights>"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "report.json"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        write_report(report, tmp_path / "file")
