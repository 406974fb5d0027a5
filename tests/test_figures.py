"""Every figure in README.md and RESULTS.md is the one in the results file that it comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import provenance as origins
from benchmarks import report
from benchmarks.measuring import RESULTS
from benchmarks.report_ways import ways

ROOT = Path(__file__).resolve().parents[1]
PROSE = ("README.md", "benchmarks/README.md", "examples/README.md")
UNITS = "dB|[kKMG]i?B|bytes?|fps|frames per second|ms|s|seconds?|minutes?|hours?|%|kbit/s|grey levels?"
FIGURE = re.compile(rf"(?<![\w.])[-−]?\d[\d.,]*\s?(?:{UNITS})(?!\w)")
"""A number with a unit in which something may have been measured."""

CONSTANTS = {
    "README.md": {"70 bytes", "148 kB"},
    "examples/README.md": {"70 bytes", "4 s", "148 kB"},
    "benchmarks/README.md": {"10 s", "60 s", "60 %", "48 MiB", "4 MiB", "2 grey levels"},
}
"""Numbers with a unit that are no measurements: sizes of the format, settings, bars."""


def prose(text: str) -> str:
    """Markdown without code blocks and without what `benchmarks.report` writes."""
    text = re.sub(f"{re.escape(report.BEGIN)}.*?{re.escape(report.END)}", "", text, flags=re.S)
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    return report.load(RESULTS)


def test_results_md_is_what_the_results_say(results: dict[str, dict[str, Any]]) -> None:
    text = report.REPORT.read_text()
    assert text == report.render(results, origins.from_comment(text)), "run python -m benchmarks.report"


def test_the_table_of_the_readme_is_what_the_results_say(results: dict[str, dict[str, Any]]) -> None:
    text, now = report.README.read_text(), origins.from_comment(report.REPORT.read_text())
    assert text == report.replaced(text, report.readme_block(results, now)), "run python -m benchmarks.report"


def test_figures_were_held_against_the_networks_of_today() -> None:
    held = origins.from_comment(report.REPORT.read_text())
    assert held.networks == origins.today().networks, "the pack changed: run python -m benchmarks.report"


@pytest.mark.parametrize("name", PROSE)
def test_no_figure_is_written_by_hand(name: str) -> None:
    found = {match.strip() for match in FIGURE.findall(prose((ROOT / name).read_text()))}
    assert found <= CONSTANTS[name], f"{name} holds figures that come from no results file"


def test_figures_written_by_hand_are_seen() -> None:
    text = f"It has 33.9 dB.\n{report.BEGIN}\n12 dB\n{report.END}\n```sh\nsleep 3 s\n```\nand takes 12,000 kB, 3 %"
    assert FIGURE.findall(prose(text)) == ["33.9 dB", "12,000 kB", "3 %"]


def test_the_prose_of_the_report_names_no_figure() -> None:
    text = report.render({}, origins.Today({}, {}))
    assert not FIGURE.findall(text)


def test_every_results_file_is_shown_and_says_where_it_comes_from(results: dict[str, dict[str, Any]]) -> None:
    assert results
    for stem, content in results.items():
        assert report.section_of(stem) is not None, stem
        for name, found in report.provenances(content).items():
            assert found is not None, (stem, name)
            assert found.get("commit") or found.get("committed_in"), (stem, name)
            names = {"code", "pack", "networks", "options", "inputs", "machine", "versions", "date", "command"}
            assert set(found) >= names, (stem, name)


def test_documented_minutes_were_measured(results: dict[str, dict[str, Any]]) -> None:
    text = "".join((ROOT / name).read_text() for name in PROSE if not name.startswith("benchmarks"))
    documented = {float(minutes) for minutes in re.findall(r"--likeness full --minutes (\d+)", text)}
    assert documented
    rows = ways(results["presets"]["rows"]) if "presets" in results else []
    tuned = [parts["whole"]["tuned"]["minutes"] for parts in results["personal"]["clips"].values() if "whole" in parts]
    assert documented <= {row["minutes"] for row in rows} | {round(minutes, 1) for minutes in tuned}
