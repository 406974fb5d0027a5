"""The tables of RESULTS.md and README.md on rate and distortion beside ordinary codecs."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TypeVar

from benchmarks.clips import label, ordered
from benchmarks.markdown import Json, markdown, mean, number

T = TypeVar("T")
OURS = "stylecodec"
SHOWN = 256  # pixels per side, of the short table
ANCHORS = ("x264", "x265", "svtav1")
METRIC = "PSNR"  # at the same of which lengths are compared


def rate_distortion(content: Json) -> list[str]:
    """The section."""
    found = content["rd"]
    clips = ordered({point["clip"] for point in found["points"]})
    return [
        f"The first {number(max(point['seconds'] for point in _of_clips(found['points'])), 1)} s of "
        f"{', '.join(map(label, clips))}: the same aligned squares for all, rates without sound and container, means "
        "over the clips. `once` is what a call pays at its beginning, `running` what it takes from then on.",
        _points(found),
        "BD-rate over all clips: how much more (+) or fewer (−) bits than the codec for the same quality, where both "
        "have it, with a 95 % interval:",
        _bd_rates(found),
        "From which length on a call takes fewer bits than the codec at the same PSNR, by clip; – where no length "
        "does, or the codec has no such quality:",
        _break_even(found),
        *(["Left out: " + "; ".join(found["left_out"]) + "."] if found["left_out"] else []),
    ]


def _points(found: Json) -> str:
    rows = []
    for length, key in _unique((_length(p), _key(p)) for p in found["points"]):
        some = [p for p in found["points"] if (_length(p), _key(p)) == (length, key)]
        size, system, setting = key
        once = [p["bytes"]["total"] - _running_bytes(p) for p in some if p["kbps_running"] is not None]
        rows.append(
            (
                number(size) + length,
                system.removeprefix(f"{OURS} "),
                setting,
                number(len(some)),
                number(mean(p["kbps"]["video"] for p in some), 1),
                number(mean(once), 0),
                number(mean(p["kbps_running"] for p in some), 1),
                *(number(mean(p["scores"].get(m) for p in some), 1 if m == METRIC else 3) for m in found["metrics"]),
                number(mean(p.get("scores_not_tuned_on", {}).get(METRIC) for p in some), 1),
            )
        )
    head = ("size", "system", "setting", "clips", "kbit/s", "bytes once", "kbit/s running", *found["metrics"])
    return markdown((*head, f"{METRIC} of frames not tuned on"), rows)


def _of_clips(found: Iterable[Json]) -> list[Json]:
    """Without those of long calls."""
    return [one for one in found if not one["long"]]


def _length(point: Json) -> str:
    """What stands behind the size of a long call; nothing behind a clip's."""
    return f", call of {number(point['seconds'], 0)} s" if point["long"] else ""


def _key(point: Json) -> tuple[int, str, str]:
    """Size, system and setting of a point, or of what is told of one."""
    return point["size"], point["system"], point["setting"]


def _running_bytes(point: Json) -> float:
    """Bytes of a point of ours that go with the length of the call, sound and container with them."""
    per_kbps = float(point["seconds"]) * 125
    return float(point["bytes"]["total"]) - per_kbps * (float(point["kbps"]["video"]) - float(point["kbps_running"]))


def _bd_rates(found: Json) -> str:
    rows = [
        (
            number(one["size"]) + (", long calls" if one["long"] else ""),
            one["metric"],
            one["system"].removeprefix(f"{OURS} "),
            one["anchor"],
            "–" if "left_out" in one else number(one["bd_rate_percent"], 0, " %"),
            _interval(one),
            one["left_out"] if "left_out" in one else "{} of {} clips".format(*one["clips"]),
        )
        for one in found["bd_rates"]
        if one["rate"] == "video" and one["system"].startswith(OURS)
    ]
    return markdown(("size", "metric", "system", "codec", "BD-rate", "95 %", "of"), rows)


def _interval(one: Json) -> str:
    ends = one.get("interval_95")
    return "–" if ends is None else f"{number(ends[0], 0)} to {number(ends[1], 0)} %"


def _break_even(found: Json) -> str:
    rows = []
    for key in _unique((*_key(one), one["codec"]) for one in _of_clips(found["break_even"])):
        size, system, setting, codec = key
        by_clip = {one["clip"]: one["seconds"] for one in _even(found, *key)}
        lengths = ", ".join(f"{label(clip)} {number(by_clip[clip], 0)}" for clip in ordered(by_clip))
        rows.append((number(size), system.removeprefix(f"{OURS} "), setting, codec, lengths))
    return markdown(("size", "system", "setting", "codec", "seconds"), rows)


def short_table(content: Json, setting: str) -> str:
    """Of README.md: our ways at one setting, and what ordinary codecs take for the same PSNR at SHOWN pixels."""
    found = content["rd"]
    rows = []
    for system in _unique(p["system"] for p in found["points"] if p["system"].startswith(OURS)):
        some = [p for p in _of_clips(found["points"]) if _key(p) == (SHOWN, system, setting)]
        quality, running = mean(p["scores"][METRIC] for p in some), mean(p["kbps_running"] for p in some)
        cells = [number(quality, 1, " dB"), number(running, 1)]
        cells += [_beside(found, system, setting, codec) for codec in ANCHORS]
        rows.append((system.removeprefix(f"{OURS} "), *cells))
    head = ("way", "PSNR", "kbit/s running", *(f"{codec} at that PSNR (clips), ours is cheaper" for codec in ANCHORS))
    return markdown(head, rows)


def _beside(found: Json, system: str, setting: str, codec: str) -> str:
    """What a codec takes for the same PSNR, and how many clips are cheaper than it from which length on."""
    even = _even(found, SHOWN, system, setting, codec)
    rates = [b["codec_kbps_at_this_quality"] for b in even if b["codec_kbps_at_this_quality"] is not None]
    lengths = [b["seconds"] for b in even if b["seconds"] is not None]
    said = number(mean(rates), 1, " kbit/s") if rates else "–"
    return f"{said} ({len(lengths)} of {len(even)}), from {number(median(lengths), 0)} s" if lengths else said


def _even(found: Json, *key: int | str) -> list[Json]:
    """Break-even lengths by clip; key: size, system, setting, codec."""
    return [one for one in _of_clips(found["break_even"]) if (*_key(one), one["codec"]) == key]


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
