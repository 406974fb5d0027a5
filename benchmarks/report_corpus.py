"""The tables of RESULTS.md on corpora: runs, memory of the workers, and what many clips would cost."""

from __future__ import annotations

from benchmarks.markdown import Json, markdown, number

TELLING_CLIPS = 8  # of a worker, from which on its memory tells something


def corpus(content: Json) -> list[str]:
    return [*_runs(content), *_memory(content), *_costs(content)]


def _runs(content: Json) -> list[str]:
    times = content["times_one_worker"]
    rows = [
        (
            row["run"],
            number(row["clips"]),
            number(row["done"]),
            ", ".join(f"{stage}: {count}" for stage, count in row["failed_by_stage"].items()) or "none",
            number(row["wall_seconds"], 0),
            number(row["cpu_seconds"], 0),
            number(row["per_second"]),
            number(times.get(row["run"])),
        )
        for row in content["runs"]
    ]
    head = ("run", "clips", "encoded", "failed, by stage", "wall s", "CPU s", "clips per second", "of one worker")
    same = "are" if content["same_bytes"] else "are **not**"
    said = [f"Streams of all runs on the same clips {same} the same bytes."]
    if "killed" in content:
        killed = content["killed"]
        result = "the same bytes" if killed["same_bytes"] else "**other bytes**"
        said.append(f"With a node killed on the way, {number(killed['lost'])} clips were lost; {result} came of it.")
    return [
        f"{number(content['clips'])} clips, and some that cannot be encoded ({', '.join(content['bad'])}), without the "
        "stages that search, packets raw; the last run has the default options of `corpus encode`. Rates are from the "
        "first clip to the last, so loading the models is in the wall time alone.",
        markdown(head, rows),
        " ".join(said),
    ]


def _memory(content: Json) -> list[str]:
    rows = [
        (
            run["run"],
            number(row["worker"]),
            number(row["clips"]),
            number(row["mib"], 0),
            number(row["growth_mib"], 0),
            row["verdict"] if row["clips"] >= TELLING_CLIPS else "too few clips to say",
        )
        for run in content["runs"]
        for row in run["workers"]
    ]
    return [
        "Resident memory of each worker, and what it grew by after the first quarter of its clips:",
        markdown(("run", "worker", "clips", "MiB, highest", "growth, MiB", "verdict"), rows),
    ]


def _costs(content: Json) -> list[str]:
    costed = content["costed"]
    rows = [
        (
            row["options"],
            number(row["measured_clips"]),
            number(row["seconds_per_clip"]),
            number(row["seconds_per_frame"], 3),
            number(row["worker_hours"], 0),
            number(row["cpu_hours"], 0),
            number(row["bytes_per_clip"], 0),
            number(row["terabytes"]),
        )
        for row in content["costs"]
    ]
    head = ("options", "measured on", "s per clip", "s per frame", "worker hours", "CPU hours", "bytes per clip", "TB")
    gpu = "no GPU was measured" if content["device"] == "cpu" else "a worker has a GPU"
    return [
        f"**On paper**: {number(costed['clips'])} clips of {costed['seconds']:g} seconds at {costed['fps']:g} frames "
        "per second, by a straight line through what these took: so much for a clip, so much for each of its frames. "
        f"Hours are those of one worker with one thread on this machine ({content['device']}; {gpu}); divide by the "
        "number of workers as far as the runs above scale. A line through few short clips is a rough one.",
        markdown(head, rows),
    ]
