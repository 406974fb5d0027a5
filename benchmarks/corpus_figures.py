"""What `corpus.py` makes of a manifest: sums, memory of each worker over time, what many clips would cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from stylecodec.corpus.records import Record
from stylecodec.corpus.report import corpus_stats

COSTED_CLIPS, COSTED_SECONDS, COSTED_FPS = 10_000_000, 10.0, 25.0
FLAT_MIB = 48.0  # growth that counts as flat, as in memory.py
WARM = 0.25  # share of a worker's clips, the first, in which memory may grow: everything is loaded and used once


def summary(records: Iterable[Record]) -> dict[str, Any]:
    """Counts, CPU seconds, bytes, and where clips failed."""
    stats = corpus_stats(records)
    names = ("clips", "done", "failed", "failed_by_stage", "frames", "stage_seconds")
    cpu = round(stats["cpu_hours"] * 3600, 1)
    return {**{name: stats[name] for name in names}, "cpu_seconds": cpu, "bytes": stats["bytes"].get("total", 0)}


def memory(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Of each worker: its clips, its highest resident memory in MiB, and how much it grew after it was warm."""
    of: dict[str, list[float]] = {}
    for record in records:
        if record.worker is not None and record.worker_mib is not None and record.done:
            of.setdefault(record.worker, []).append(record.worker_mib)
    rows = []
    for number, values in enumerate(of.values(), 1):
        warm = max(1, int(len(values) * WARM))
        grown = max(values[warm:], default=max(values[:warm])) - max(values[:warm])
        verdict = "flat" if grown <= FLAT_MIB else "grows"
        row = {"worker": number, "clips": len(values), "mib": max(values), "growth_mib": grown, "verdict": verdict}
        rows.append(row)
    return rows


def cost_model(
    records: Iterable[Record], clips: int = COSTED_CLIPS, seconds: float = COSTED_SECONDS, fps: float = COSTED_FPS
) -> dict[str, Any]:
    """What so many clips of such a length would take, by a straight line through what these took.

    A clip costs so much, and each of its frames so much; bytes likewise. Worker hours are those of one worker of this
    run on its device; they divide among workers as far as runs of more than one worker scale.
    """
    done = [record for record in records if record.done and record.frames and record.duration_seconds]
    frames = np.array([record.frames for record in done], np.float64)
    taken = line(frames, np.array([record.seconds for record in done], np.float64))
    cpu = line(frames, np.array([record.cpu_seconds for record in done], np.float64))
    count = seconds * fps
    parts = ("total", "packets", "audio")
    account = {name: sum(record.bytes_by_part.get(name, 0) for record in done) for name in parts}
    length = sum(record.duration_seconds or 0.0 for record in done)
    once = (account["total"] - account["packets"] - account["audio"]) / max(len(done), 1)
    per_clip = once + account["packets"] / max(frames.sum(), 1) * count + account["audio"] / max(length, 1e-9) * seconds
    return {
        "measured_clips": len(done),
        "seconds_per_clip": taken[0],
        "seconds_per_frame": taken[1],
        "worker_hours": clips * (taken[0] + taken[1] * count) / 3600,
        "cpu_hours": clips * (cpu[0] + cpu[1] * count) / 3600,
        "bytes_per_clip": per_clip,
        "terabytes": clips * per_clip / 1e12,
    }


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(value at 0, slope) of the straight line nearest to points, neither below 0; all in the slope where x is one."""
    if len(x) < 2 or np.ptp(x) == 0:
        return 0.0, float(y.sum() / max(x.sum(), 1e-9))
    slope, start = np.polyfit(x, y, 1)
    if slope <= 0:
        return float(y.mean()), 0.0
    return (float(start), float(slope)) if start >= 0 else (0.0, float((x * y).sum() / (x * x).sum()))
