"""The tables of RESULTS.md: one function per kind of results file, which turns its JSON into Markdown.

No figure is written here by hand: every number of a table comes out of the JSON, and prose names none that was
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.clips import SHOWS, group, label, ordered
from benchmarks.personal_bars import BARS, HIGHEST, TRACKS, summary, verdicts

Json = Mapping[str, Any]
Cells = Sequence[str]

TRACK_WORDS = {
    "mouth_open": "mouth opening",
    "mouth_width": "mouth width",
    "mouth_sideways": "sideways mouth",
    "eyes_open": "eye opening",
    "brows": "brows",
    "yaw": "yaw",
    "pitch": "pitch",
}


def markdown(header: Cells, rows: Iterable[Cells]) -> str:
    """A table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: Any, digits: int = 2, unit: str = "") -> str:
    """A figure rounded to so many decimals, a dash where there is none; whole numbers with commas."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int) or digits == 0:
        return f"{round(value):,}{unit}"
    return f"{value:.{digits}f}{unit}".replace("-", "−")


def follows(track: Json | None) -> str:
    """Correlation, and the gain in brackets."""
    if not track or track.get("gain") is None:
        return "–"
    return f"{number(track['correlation'] or 0.0)} ({number(track['gain'])})"


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    known = [value for value in values if value is not None and value == value]
    return sum(known) / len(known) if known else None


# --- what each way of encoding gives ---------------------------------------------------------------------------

GROUPS = ("the example clip", "validation", "developed on", "other")


def ways(rows: Sequence[Json]) -> list[Json]:
    """Rows of presets.json as means of a group of clips and a way of encoding, in the order of GROUPS."""
    out: list[Json] = []
    for name in GROUPS:
        chosen = [row for row in rows if group(row["clip"]) == name]
        for way in dict.fromkeys(row["way"] for row in chosen):
            same = [row for row in chosen if row["way"] == way]
            for minutes in dict.fromkeys(row.get("minutes") for row in same):
                out.append(_mean_row(name, way, minutes, [row for row in same if row.get("minutes") == minutes]))
    return out


def _mean_row(name: str, way: str, minutes: float | None, rows: Sequence[Json]) -> Json:
    keys = ("clip_seconds", "cpu_seconds", "once", "psnr", "ssim", "identity", "decode_ms")
    values: dict[str, Any] = {key: mean(row.get(key) for row in rows) for key in keys}
    values["kbps"] = mean(row["stream"] * 8 / 1000 / row["clip_seconds"] for row in rows)
    values["psnr_worst"] = min(row["psnr_worst"] for row in rows)
    words = f"`--personalize --minutes {minutes:g}`" if minutes is not None else f"`--preset {way}`"
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


# --- people ----------------------------------------------------------------------------------------------------


def real_clips(content: Json) -> list[str]:
    clips = content["clips"]
    rows = [
        (
            ", ".join(word for word in (label(name), SHOWS.get(label(name))) if word),
            *(follows(clips[name]["avatar"].get(track)) for track in TRACK_WORDS),
        )
        for name in ordered(clips)
    ]
    words = {"avatar": "mean", "mesh": "mean, read by the face mesh, which steers the encoder"}
    words["puppet"] = "mean of another identity driven by them"
    for who, name in words.items():
        if who in content["mean"]:
            rows.append((f"**{name}**", *(follows(content["mean"][who].get(track)) for track in TRACK_WORDS)))
    sets = ", ".join(dict.fromkeys(group(name) for name in ordered(clips)))
    return [
        f"Preset `{content['preset']}`; clips: {sets}. Correlation, and the gain in brackets (1: moves as much as the "
        "person). A dash: the input hardly moves.",
        markdown(("clip", *TRACK_WORDS.values()), rows),
    ]


def landmarks(content: Json) -> list[str]:
    parts = ("all", "inner", "jaw", "brows", "nose", "eyes", "mouth")
    rows = [
        (label(row["file"]), number(row["frames"]), *(number(row[part], 3) for part in parts))
        for row in sorted(content["landmarks"], key=lambda row: label(row["file"]))
    ]
    return [markdown(("file", "frames", *parts), rows)]


def personal(content: Json) -> list[str]:
    clips = content["clips"]
    return [
        *_tuned_on(clips),
        *_held_out_frames(clips),
        *(text for name in ordered(clips) for text in (*_deltas(name, clips[name]), *_codecs(name, clips[name]))),
    ]


def _tuned_on(clips: Mapping[str, Json]) -> list[str]:
    rows = []
    for name in ordered(clips):
        one = clips[name].get("whole")
        if one is None:
            continue
        head, tuned = one["head"], one["tuned"]
        rows.append(
            (
                label(name),
                number(head["frames"]),
                number(tuned["minutes"], 1),
                number(tuned["steps"]),
                f"{number(head['psnr'], 1)} dB ({number(head['psnr_worst'], 1)})",
                number(head["ssim"], 3),
                *(number((one["tracks"].get(track) or {}).get("correlation")) for track in TRACKS),
                number(one["identity"]["mean"]),
                number(one["delta_loss"], 2, " dB"),
                number(one["locality"]["psnr"], 1, " dB"),
                number(tuned["delta_bytes"]),
            )
        )
    header = ("clip", "frames", "minutes", "steps", "PSNR, mean (worst)", "SSIM", *(TRACK_WORDS[t] for t in TRACKS))
    header += ("identity distance", "rounding cost", "other people", "generator, bytes")
    summaries = {name: summary(parts) for name, parts in clips.items()}
    signs = {name: "at most" if name in HIGHEST else "at least" for name in BARS}
    bars = [
        (name, number(row["value"]), f"{signs[name]} {row['bar']:g}", row["reached"], number(row["clips"]))
        for row in verdicts(summaries)
        for name in [row["figure"]]
    ]
    return [
        "**On the frames that were tuned on.** This says what the generator can be made to show, not what later frames "
        "look like.",
        markdown(header, rows),
        "Means over the clips (`psnr_worst`: the worst frame of all) against their bars:",
        markdown(("figure", "value", "bar", "reached", "clips"), bars),
    ]


def _held_out_frames(clips: Mapping[str, Json]) -> list[str]:
    held = {name: parts["held_out"] for name, parts in clips.items() if "held_out" in parts}
    kinds = ("first", "rest", "refitted")

    def cell(part: Json) -> str:
        return f"{number(part['psnr'], 1)} dB ({number(part['psnr_worst'], 1)}), {number(part['ssim'], 3)}"

    rows = [
        (label(name), *(cell(held[name][kind]) for kind in kinds), number(held[name]["rest"]["frames"]))
        for name in ordered(held)
    ]
    averages = [mean(parts[kind]["psnr"] for parts in held.values()) for kind in kinds]
    rows.append(("**mean**", *(number(value, 1, " dB") for value in averages), ""))
    return [
        "**On frames that were not tuned on.** Tuned on the first part of each clip; the rest is encoded with the "
        "frozen generator. PSNR of the head (worst frame), SSIM:",
        markdown(("clip", "tuned part", "rest, no new latent", "rest, latent fitted anew", "frames"), rows),
    ]


def _deltas(name: str, parts: Json) -> list[str]:
    if "deltas" not in parts:
        return []
    rows = [
        (row["manner"], number(row["limit"]), number(row["bytes"]), number(row["psnr"], 1, " dB"))
        for row in parts["deltas"]["rows"]
    ]
    chosen = parts["deltas"]["chosen"]
    return [
        f"Bytes of the generator of {label(name)} against PSNR, on frames tuned on; by default "
        f"{number(chosen['bytes'])} bytes, {number(chosen['psnr'], 1)} dB.",
        markdown(("coded", "limit", "bytes", "PSNR"), rows),
    ]


def _codecs(name: str, parts: Json) -> list[str]:
    if "rates" not in parts:
        return []
    rates = parts["rates"]
    rows = [
        (row["codec"], f"the same {row['same']}", number(row["kbps"], 1), number(row["psnr"], 1, " dB"))
        for row in rates["codecs"]
    ]
    total = rates.get("bytes", {}).get("total")
    ours = "" if total is None else f", {number(total * 8 / 1000 / rates['seconds'], 0)} kbit/s with all it carries"
    return [
        f"Ordinary codecs on the same squares of {label(name)} ({number(rates['seconds'], 1)} s, no sound). Ours: "
        f"{number(rates['ours']['psnr'], 1)} dB on frames that were tuned on{ours}.",
        markdown(("codec", "at", "kbit/s", "PSNR"), rows),
    ]


# --- rendered people -------------------------------------------------------------------------------------------


def held_out(content: Json) -> list[str]:
    found = content["summary"]
    rows = [
        (name, number(value["mean"], 3), number(value["worst"], 3), number(value.get("clips", found["clips"])))
        for name, value in found.items()
        if isinstance(value, Mapping)
    ]
    return [
        f"{found['clips']} clips, of which {found['long_clips']} are long enough for a correlation; those in which the "
        "quantity does not move are left out.",
        markdown(("figure", "mean", "worst clip", "clips"), rows),
    ]


def yardstick(content: Json) -> list[str]:
    def row(name: str, tracks: Json) -> Cells:
        return (name, *(number((tracks.get(track) or {}).get("correlation")) for track in TRACK_WORDS))

    people = content["people"]
    agreement = [row(label(name), people[name]) for name in ordered(people)]
    return [
        f"Tracks of {content['clips']} rendered clips against the renderer's truth, by the box that the reader starts "
        "from, and by the face mesh:",
        markdown(("reader", *TRACK_WORDS.values()), [row(*item) for item in content["boxes"].items()]),
        "A rendered person against another one who does exactly the same, which is what a perfect re-enactment with "
        "another face would reach:",
        markdown(("reader", *TRACK_WORDS.values()), [row(*item) for item in content["doubles"]["mean"].items()]),
        "The face mesh against dlib on the input alone:",
        markdown(("clip", *TRACK_WORDS.values()), agreement),
    ]


def shapes(content: Json) -> list[str]:
    rows = [(row["shape"], number(row["generator"]), number(row["loop"])) for row in content["shapes"]]
    rows.append(("**mean**", number(content["mean"]["generator"]), number(content["mean"]["loop"])))
    return [
        f"{content['people']} rendered people, each blendshape at {content['far']:g}. How far the picture goes, 1 "
        "being as far as the renderer: with α as the expression net gives it (*generator*), and as the encoder reads "
        "it (*loop*).",
        markdown(("shape", "generator", "loop"), rows),
    ]


def doubt(content: Json) -> list[str]:
    rows = [(name, number(value, 3)) for name, value in content["doubt"].items()]
    return [f"On {len(content['clips'])} rendered clips, in eye distances.", markdown(("length", "noise floor"), rows)]


def flicker(content: Json) -> list[str]:
    names = [name for name in content["rows"][0] if name not in ("face", "noise")]
    rows = [
        (label(row["face"]), number(row["noise"], 0), *(number(row[name], 3) for name in names))
        for row in content["rows"]
    ]
    return [f"{content['frames']} frames of one picture.", markdown(("face", "noise", *names), rows)]


# --- bytes, time, memory, damage -------------------------------------------------------------------------------


def plain(rows: Sequence[Json], digits: Mapping[str, int] | None = None) -> str:
    """Rows of a results file as they are; clips by their letters."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def text(name: str, value: Any) -> str:
        if name == "clip":
            return label(value)
        return value if isinstance(value, str) else number(value, (digits or {}).get(name, 2))

    return markdown(names, [[text(name, row.get(name)) for name in names] for row in rows])


def compact(content: Json) -> list[str]:
    return [
        f"Every {content['every']}th frame rendered at 256². Means over the clips, by quality:",
        plain(content["means"], {"identity": 0, "header": 0, "quality": 0}),
        f"Bytes per frame at quality {content['default_quality']:g}; all but ours see the whole clip and have no "
        "framing:",
        plain(content["sizes"], {}),
        "What the bytes per frame are spent on:",
        plain(content["where"]),
    ]


def rate(content: Json) -> list[str]:
    return ["Bytes by part:", plain(content["bytes"]), "kbit/s by length, from real streams:", plain(content["kbps"])]


def memory(content: Json) -> list[str]:
    return [plain(content["runs"], {"peak_mib": 0, "fps": 1, "seconds": 0}), plain(content["growth"])]


def speed(content: Json) -> list[str]:
    names = {"commands": "whole commands", "decode": "packets to pictures", "encode_stages": "encoding by stage"}
    return [text for key, title in names.items() if key in content for text in (f"{title}:", plain(content[key]))]


def bitstream_speed(content: Json) -> list[str]:
    return [plain(content["speed"], {"packets/s": 0})]


def live_wire(content: Json) -> list[str]:
    return [text for name, rows in content["kbps"].items() for text in (f"{name}, kbit/s:", plain(rows))]


def faults(content: Json) -> list[str]:
    rows = content["tallies"]
    total = {name: sum(row[name] for row in rows) for name in ("tried", "refused", "intact part", "other values")}
    total["faults"] = len(content["faults"])
    return [markdown(tuple(total), [[number(value) for value in total.values()]])]


Section = tuple[str, str, str, Callable[[Json], list[str]]]

SECTIONS: tuple[Section, ...] = (
    ("presets", "What each way of encoding gives", "`benchmarks.presets`", presets),
    ("real_clips", "What follows the person", "`benchmarks.real_clips`", real_clips),
    ("real_clips_balanced", "What follows the person: preset balanced", "`benchmarks.real_clips`", real_clips),
    ("personal", "People on their own generator", "`benchmarks.personal`", personal),
    ("held_out", "Rendered people that no network was trained on", "`benchmarks.held_out`", held_out),
    ("real_landmarks", "The pack's landmarks against dlib's 68 points", "`benchmarks.real_clips`", landmarks),
    ("yardstick", "How far dlib's tracks can be trusted", "`benchmarks.yardstick`", yardstick),
    ("shapes", "How far faces go, shape by shape", "`benchmarks.shapes`", shapes),
    ("doubt", "Noise floor of the face mesh's lengths", "`benchmarks.doubt`", doubt),
    ("flicker", "A still face", "`benchmarks.flicker`", flicker),
    ("rate", "Bytes by part", "`benchmarks.rate`", rate),
    ("compact", "The compact profile", "`benchmarks.compact`", compact),
    ("memory", "Memory", "`benchmarks.memory`", memory),
    ("speed", "Speed", "`benchmarks.speed`", speed),
    ("bitstream_speed", "Speed of the bitstream alone", "`benchmarks.bitstream_speed`", bitstream_speed),
    ("live_wire", "A live stream on the wire", "`benchmarks.live_wire`", live_wire),
    ("faults", "Damaged streams", "`benchmarks.faults`", faults),
)
"""Start of the file name (the longest that fits counts), title, script, and what makes the tables."""
