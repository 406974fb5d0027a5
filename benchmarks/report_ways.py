"""The tables of results/presets.json: what each way of encoding takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.clips import group, label
from benchmarks.markdown import TRACK_WORDS, Cells, Json, follows, markdown, mean, number
from stylecodec.encoding.options import FAST, FULL, LIKENESS, OFF, PRESETS

GROUPS = ("the example clip", "validation", "developed on", "other")


def ways(rows: Sequence[Json]) -> list[Json]:
    """Rows of presets.json as means of a group of clips and a way of encoding, in the order of GROUPS."""
    out: list[Json] = []
    for name in GROUPS:
        chosen = [row for row in rows if group(row["clip"]) == name]
        for way in sorted({row["way"] for row in chosen}, key=_place):
            same = [row for row in chosen if row["way"] == way]
            for minutes in dict.fromkeys(row.get("minutes") for row in same):
                out.append(_mean_row(name, way, minutes, [row for row in same if row.get("minutes") == minutes]))
    return out


def _place(way: str) -> tuple[int, str]:
    """The default first, then the presets, then the others."""
    order = (LIKENESS, *PRESETS)
    return (order.index(way) if way in order else len(order)), way


def _mean_row(name: str, way: str, minutes: float | None, rows: Sequence[Json]) -> Json:
    keys = ("clip_seconds", "cpu_seconds", "once", "psnr", "ssim", "identity", "decode_ms")
    values: dict[str, Any] = {key: mean(row.get(key) for row in rows) for key in keys}
    values["kbps"] = mean(row["stream"] * 8 / 1000 / row["clip_seconds"] for row in rows)
    values["psnr_worst"] = min(row["psnr_worst"] for row in rows)
    words = "as it comes" if way == LIKENESS else f"`--likeness {OFF}`"
    if way in PRESETS and way != FAST:
        words += f" `--preset {way}`"
    if minutes is not None:
        words = f"`--likeness {FULL} --minutes {minutes:g}`"
    return {"group": name, "way": words, "minutes": minutes, "clips": len(rows), **values}


WAYS_HEADER: Cells = (
    "clips",
    "way",
    "CPU time to encode",
    "bytes, once",
    "kbit/s with sound",
    "PSNR, mean (worst)",
    "SSIM",
    "identity distance",
)


def ways_table(content: Json) -> str:
    """The table of README and RESULTS."""
    rows = ways(content["rows"])
    cells = [
        (
            row["group"] if row["clips"] == 1 else f"{row['group']}, {row['clips']}",
            row["way"],
            f"{number(row['cpu_seconds'], 0)} s of {number(row['clip_seconds'], 1)} s",
            number(row["once"], 0),
            number(row["kbps"], 1),
            f"{number(row['psnr'], 1)} dB ({number(row['psnr_worst'], 1)})",
            number(row["ssim"]),
            number(row["identity"]),
        )
        for row in rows
    ]
    return markdown(WAYS_HEADER, cells)


def presets(content: Json) -> list[str]:
    rows = content["rows"]
    tracks = [
        (label(row["clip"]), row["way"], *(follows(row.get("tracks", {}).get(name)) for name in TRACK_WORDS))
        for row in sorted(rows, key=lambda row: (label(row["clip"]), row["way"]))
    ]
    parts = ("header", "identity", "personalization", "packets", "audio", "index", "total")
    sizes = [
        (label(row["clip"]), row["way"], number(row["frames"]), *(number(row["bytes"][part]) for part in parts))
        for row in sorted(rows, key=lambda row: (label(row["clip"]), row["way"]))
    ]
    times = [row for row in ways(rows) if row["decode_ms"] is not None]
    decode = "; ".join(f"{row['group']}: {number(row['decode_ms'], 0)} ms" for row in times)
    return [
        ways_table(content),
        f"CPU time per frame of `decode` to 1024² with H.264 and sound: {decode}." if decode else "",
        "What the output follows of the input, by dlib's 68 points: correlation, and the gain in brackets.",
        markdown(("clip", "way", *TRACK_WORDS.values()), tracks),
        "Bytes by part:",
        markdown(("clip", "way", "frames", "header", "identity", "generator", *parts[3:]), sizes),
    ]
