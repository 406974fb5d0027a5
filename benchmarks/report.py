"""RESULTS.md and the table of README.md, made of the files in results/.

    python -m benchmarks.report             write both
    python -m benchmarks.report --check     write nothing, say what is not up to date and what is stale: exit code 1

Nothing is measured here, and no provenance is renewed. Figures of other code or networks than today's are stale: the
report names their files and leaves them out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import DEVELOPED_ON, VALIDATION, label, ordered
from benchmarks.measuring import RESULTS
from benchmarks.provenance import ROOT, Today, as_comment, origin, reasons, today
from benchmarks.report_rd import SHOWN, short_table
from benchmarks.report_tables import SECTIONS, Section
from benchmarks.report_ways import ways_table
from stylecodec.encoding.options import DEFAULT_QUALITY

REPORT = RESULTS.parent / "RESULTS.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: python -m benchmarks.report -->", "<!-- /figures -->"

Results = Mapping[str, Mapping[str, Any]]

INTRODUCTION = f"""# Results

Made by `python -m benchmarks.report` from the files in [results/](results); do not edit. What each figure means, and
how it is measured, is in [README.md](README.md).

Clips {", ".join(DEVELOPED_ON.values())} were **developed on**: constants of the codec and the tables of its entropy
coder were settled on them, so figures on them flatter it. {", ".join(VALIDATION.values())} are for **validation**:
measured at the end of a stage, never chosen by. The rendered people of `held_out` were in no network's training.

A part is **stale** when it came from other code or other networks than those that this report was held against. Its
figures are left out here; the file still has them, of the commit that it names."""
LEFT_OUT = "Its figures are left out, as they are not of today's code and networks."


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """{file stem: content} of the results files in a folder."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def section_of(stem: str) -> Section | None:
    """The section that a results file belongs to."""
    fitting = [section for section in SECTIONS if stem.startswith(section[0])]
    return max(fitting, key=lambda section: len(section[0]), default=None)


def _measured_by(content: Mapping[str, Any]) -> str:
    """What a results file is measured by, part by part: "rows" or "clips"; "" as a whole."""
    return next((parts for parts in ("rows", "clips") if parts in content and "provenance" not in content), "")


def provenances(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any] | None]:
    """{name of the part, "" for the whole file: its provenance}."""
    if _measured_by(content) == "rows":
        return {f"{label(row['clip'])} {row['way']}": row.get("provenance") for row in content["rows"]}
    if _measured_by(content) == "clips":
        parts = [(clip, name, part) for clip, all_of in content["clips"].items() for name, part in all_of.items()]
        return {f"{label(clip)} {name}": part.get("provenance") for clip, name, part in parts}
    return {"": content.get("provenance")}


def fresh(content: Mapping[str, Any], now: Today) -> Mapping[str, Any] | None:
    """A results file without its parts that are stale; None where nothing is left."""
    if not _measured_by(content):
        return None if reasons(content.get("provenance"), now) else content
    if _measured_by(content) == "rows":
        rows = [row for row in content["rows"] if not reasons(row.get("provenance"), now)]
        return {**content, "rows": rows} if rows else None
    parts = {
        clip: {name: part for name, part in all_of.items() if not reasons(part.get("provenance"), now)}
        for clip, all_of in content["clips"].items()
    }
    kept = {clip: all_of for clip, all_of in parts.items() if all_of}
    return {**content, "clips": kept} if kept else None


def sources(content: Mapping[str, Any], now: Today) -> str:
    """Where the figures of a file come from and what of them is stale, in words; parts of one origin together."""
    told: dict[str, list[str]] = {}
    for name, found in provenances(content).items():
        told.setdefault(_words(found, now), []).append(name)
    if len(told) == 1:
        return next(iter(told))
    return "\n".join(f"- {', '.join(names)}: {words}" for words, names in told.items())


def _words(found: Mapping[str, Any] | None, now: Today) -> str:
    machine, pack = ((found or {}).get(name) or {} for name in ("machine", "pack"))
    words = [origin(found)]
    words += [f"pack {pack['name']} {pack['digest'][:8]}"] if pack.get("digest") else []
    words += [date] if (date := (found or {}).get("date")) else []
    words += [f"{machine['device']}, {machine['cores']} cores"] if machine else ["machine not recorded"]
    why = reasons(found, now)
    return "; ".join(words) + ("." if not why else f". **Stale**: {'; '.join(why)}.")


def render(results: Results, now: Today) -> str:
    """RESULTS.md."""
    blocks = [INTRODUCTION, as_comment(now)]
    for section in SECTIONS:
        for stem, content in results.items():
            if section_of(stem) is section:
                _, title, script, tables = section
                blocks += [f"## {title}", f"{script}, [{stem}.json](results/{stem}.json): {_first(content, now)}"]
                kept = fresh(content, now)
                blocks += [LEFT_OUT] if kept is None else [block for block in tables(kept) if block]
    return "\n\n".join(blocks) + "\n"


def _first(content: Mapping[str, Any], now: Today) -> str:
    words = sources(content, now)
    return words if not words.startswith("- ") else f"\n\n{words}"


def readme_block(results: Results, now: Today) -> str:
    """What stands between BEGIN and END in README.md."""
    found = {stem: kept for stem in ("presets", "rd") if stem in results and (kept := fresh(results[stem], now))}
    if "presets" not in found:
        return f"{BEGIN}\nNot measured with today's code yet.\n{END}"
    beside = ["", *_beside_codecs(found["rd"])] if "rd" in found else []
    return "\n".join([BEGIN, ways_table(found["presets"]), "", _of(found["presets"]), *beside, END])


def _beside_codecs(content: Mapping[str, Any]) -> list[str]:
    clips = ", ".join(label(clip) for clip in ordered({point["clip"] for point in content["rd"]["points"]}))
    return [
        f"Beside ordinary codecs, real people on the same aligned squares of {SHOWN}² without sound (clips {clips});",
        "a codec's figures are of the clips on which it can be so coarse, a dash: of none.",
        "",
        short_table(content, f"{DEFAULT_QUALITY:g} dB"),
        "",
        _of(content),
    ]


def _of(content: Mapping[str, Any]) -> str:
    """Of which commits a table is."""
    return f"Of {', '.join(sorted({origin(found) for found in provenances(content).values()}))}."


def replaced(text: str, block: str) -> str:
    """README.md with the block in place of what stands between its markers; ValueError where they are missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md must hold {BEGIN} and {END} once, in this order")
    before, rest = text.split(BEGIN)
    return before + block + rest.split(END)[1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args(argv)
    results, now = load(RESULTS), today()
    wanted = {REPORT: render(results, now), README: replaced(README.read_text(), readme_block(results, now))}
    differ = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if not arguments.check:
        for path in differ:
            path.write_text(wanted[path])
        print("\n".join(f"written: {path.relative_to(ROOT)}" for path in differ) or "all was up to date")
        return 0
    for path in differ:
        print(f"not up to date: {path.relative_to(ROOT)}")
    stale = 0
    for stem, content in results.items():
        for name, found in provenances(content).items():
            if why := reasons(found, now):
                stale += 1
                print(f"stale: {stem} {name}: {origin(found)}; {'; '.join(why)}".replace(" :", ":"))
    return 1 if differ or stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
