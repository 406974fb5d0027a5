"""The tables of RESULTS.md: one function per kind of results file, which turns its JSON into Markdown.

No figure is written here by hand: every number of a table comes out of the JSON, and prose names none that was
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.clips import SHOWS, group, label, ordered
from benchmarks.markdown import TRACK_WORDS, Cells, Json, follows, markdown, mean, number
from benchmarks.personal_bars import BARS, HIGHEST, TRACKS, summary, verdicts
from benchmarks.report_corpus import corpus
from benchmarks.report_rd import rate_distortion
from benchmarks.report_ways import presets

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
        (row["configuration"], number(row["limit"]), number(row["bytes"]), number(row["psnr"], 1, " dB"))
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
    total = (rates.get("bytes") or parts.get("whole", {}).get("bytes") or {}).get("total")
    ours = "" if total is None else f", {number(total * 8 / 1000 / rates['seconds'], 0)} kbit/s with all it carries"
    return [
        f"Ordinary codecs on the same squares of {label(name)} ({number(rates['seconds'], 1)} s, no sound). Ours: "
        f"{number(rates['ours']['psnr'], 1)} dB on frames that were tuned on{ours}.",
        markdown(("codec", "at", "kbit/s", "PSNR"), rows),
    ]


def square(content: Json) -> list[str]:
    rows = sorted(content["clips"], key=lambda row: (label(row["clip"]), row["filter"]))
    names = {"still_px": "pixels of a square of 512²", "still_deg": "degrees", "roll": "degrees"}
    told = "; ".join(f"`{name}`: {unit}" for name, unit in names.items() if name in rows[0]) if rows else ""
    return [f"The first {content['seconds']:g} s of each clip. {told}.", plain(rows)] if rows else ["No clip was read."]


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


def photographs(content: Json) -> list[str]:
    rows = [
        (name, kind, *(number(value, 2) for value in pack[kind].values()))
        for name, pack in content["packs"].items()
        for kind in ("feed_forward", "fitted")
    ]
    names = next(iter(content["packs"].values()))["fitted"]
    return [
        f"{content['photographs']} photographs kept apart from training; the fit takes {content['steps']} steps.",
        markdown(("pack", "codes", *names), rows),
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


def noise_floor(content: Json) -> list[str]:
    rows = [(name, number(value, 3)) for name, value in content["noise_floor"].items()]
    return [f"On {len(content['clips'])} rendered clips, in eye distances.", markdown(("length", "noise floor"), rows)]


def flicker(content: Json) -> list[str]:
    names = [name for name in content["rows"][0] if name not in ("face", "noise")]
    rows = [
        (label(row["face"]), number(row["noise"], 0), *(number(row[name], 3) for name in names))
        for row in content["rows"]
    ]
    return [f"{content['frames']} frames of one picture.", markdown(("face", "noise", *names), rows)]


def paper(content: Json) -> list[str]:
    """Figures of every way and ablation over clips, mean and worst; then pose and speed clip by clip."""
    rows, blocks = content["rows"], []
    for question, title in (("ways", "Presets"), ("ablations", "Ablations of the paper preset")):
        own = [row for row in rows if row["question"] == question]
        if own:
            blocks += [f"{title}, mean over clips (worst):", markdown(PAPER_HEAD, _ways_of_the_paper(own))]
    for question, title, names in (
        ("pose", "Loss of Eq. 2 at its own angles and at angles read directly", PAPER_POSE),
        ("speed", "Algorithm 1 line by line and the fast path, CPU seconds per frame", PAPER_SPEED),
    ):
        own = [{name: row.get(name, "–") for name in ("clip", *names)} for row in rows if row["question"] == question]
        if own:
            blocks += [f"{title}:", plain(own, dict.fromkeys(names, 3))]
    return blocks


PAPER_FIGURES = (("psnr", 1, min), ("ssim", 3, min), ("identity", 2, max), ("cpu_seconds_per_frame", 1, max))
PAPER_HEAD = ("way", "clips", *(name for name, _, _ in PAPER_FIGURES), *TRACK_WORDS.values())
PAPER_POSE = (
    *("frames", "eq2_loss", "eq2_loss_worst", "mesh_loss", "feedforward_loss", "still_loss", "of_direct", "target"),
)
PAPER_SPEED = (
    *("frames", "fast_seconds", "reference_seconds", "times", "fast_loss", "reference_loss", "seconds_per_epoch"),
)


def _ways_of_the_paper(rows: Sequence[Json]) -> list[Cells]:
    lines: list[Cells] = []
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        cells = [way, str(len(own))]
        for name, digits, worst in PAPER_FIGURES:
            values = [row[name] for row in own]
            cells.append(f"{number(mean(values), digits)} ({number(worst(values), digits)})")
        for track in TRACK_WORDS:
            found = [row["tracks"][track]["correlation"] for row in own if "tracks" in row]
            known = [value for value in found if value is not None and value == value]
            cells.append(f"{number(mean(known), 2)} ({number(min(known), 2)})" if known else "–")
        lines.append(cells)
    return lines


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


def memory(content: Json) -> list[str]:
    return [plain(content["runs"], {"peak_mib": 0, "fps": 1, "seconds": 0}), plain(content["growth"])]


def speed(content: Json) -> list[str]:
    names = {"commands": "whole commands", "decode": "packets to pictures", "encode_stages": "encoding by stage"}
    return [text for key, title in names.items() if key in content for text in (f"{title}:", plain(content[key]))]


def bitstream_speed(content: Json) -> list[str]:
    return [plain(content["speed"], {"packets/s": 0})]


def live_wire(content: Json) -> list[str]:
    return [text for name, rows in content["kbps"].items() for text in (f"{name}, kbit/s:", plain(rows))]


def call(content: Json) -> list[str]:
    found = content["call"]
    fps, out = found["fps"], found["out"]
    sentence = (
        f"{found['seconds'] / 60:.1f} minutes: {fps['mean']:.1f} frames per second sent, "
        f"{fps['least in a second']:.1f} in the slowest second; of {out['frames']:,} frames {out['skipped']:,} "
        f"skipped, {out['late']:,} late."
    )
    return [sentence, plain(found["stages"]), plain(found["memory"])]


def faults(content: Json) -> list[str]:
    rows = content["tallies"]
    counts = ("tried", "refused", "intact part", "other values", "faults")
    if "surface" not in rows[0]:  # measured before there were several
        rows = [{**row, "surface": "stream", "slowest s": None} for row in rows]
    tables = []
    for surface in dict.fromkeys(row["surface"] for row in rows):
        own = [row for row in rows if row["surface"] == surface]
        largest = {name: max((row[name] for row in own if row[name] is not None), default=None) for name in MEASURED}
        tables.append({"surface": surface, **{name: sum(row[name] for row in own) for name in counts}, **largest})
    tables.append({"surface": "all", **{name: sum(table[name] for table in tables) for name in counts}})
    names = ("surface", *counts, *MEASURED)
    return [markdown(names, [[_cell(table.get(name)) for name in names] for table in tables])]


MEASURED = ("slowest s", "peak KiB")


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else number(value)


Section = tuple[str, str, str, Callable[[Json], list[str]]]

SECTIONS: tuple[Section, ...] = (
    ("presets", "What each way of encoding gives", "`benchmarks.presets`", presets),
    ("paper", "The first paper's encoder, part by part", "`benchmarks.paper`", paper),
    ("real_clips", "What follows the person", "`benchmarks.real_clips`", real_clips),
    ("real_clips_balanced", "What follows the person: preset balanced", "`benchmarks.real_clips`", real_clips),
    ("personal", "People on their own generator", "`benchmarks.personal`", personal),
    ("square", "Does the square follow the head", "`benchmarks.square`", square),
    ("held_out", "Rendered people that no network was trained on", "`benchmarks.held_out`", held_out),
    ("photographs", "Photographs of people who do not exist", "`benchmarks.photographs`", photographs),
    ("real_landmarks", "The pack's landmarks against dlib's 68 points", "`benchmarks.real_clips`", landmarks),
    ("yardstick", "How far dlib's tracks can be trusted", "`benchmarks.yardstick`", yardstick),
    ("shapes", "How far faces go, shape by shape", "`benchmarks.shapes`", shapes),
    ("noise_floor", "Noise floor of the face mesh's lengths", "`benchmarks.noise_floor`", noise_floor),
    ("flicker", "A still face", "`benchmarks.flicker`", flicker),
    ("compact", "The compact profile", "`benchmarks.compact`", compact),
    ("rd", "Rate and distortion beside ordinary codecs", "`benchmarks.rd`", rate_distortion),
    ("memory", "Memory", "`benchmarks.memory`", memory),
    ("speed", "Speed", "`benchmarks.speed`", speed),
    ("corpus", "Many clips, by many workers", "`benchmarks.corpus`", corpus),
    ("bitstream_speed", "Speed of the bitstream alone", "`benchmarks.bitstream_speed`", bitstream_speed),
    ("call", "A live call", "`benchmarks.call`", call),
    ("live_wire", "A live stream on the wire", "`benchmarks.live_wire`", live_wire),
    ("faults", "Hostile inputs", "`benchmarks.faults`", faults),
    ("faults_guided", "Hostile inputs that were chosen by coverage", "`benchmarks.faults --guided`", faults),
)
"""Start of the file name (the longest that fits counts), title, script, and what makes the tables."""
