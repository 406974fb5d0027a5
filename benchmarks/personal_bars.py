"""The bars of benchmarks.personal, and which figures reach them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

TRACKS = ("mouth_open", "eyes_open", "yaw", "pitch", "brows")
BARS = {
    "psnr": 30.0,
    "psnr_worst": 25.0,
    "ssim": 0.90,
    "held_out_psnr": 28.0,
    "refitted_psnr": 29.0,
    "delta_loss": 0.5,
    "locality": 30.0,
    "mouth_open": 0.95,
    "eyes_open": 0.9,
    "yaw": 0.9,
    "identity": 0.35,
}
HIGHEST = ("delta_loss", "identity")  # bars that a figure must not exceed


def summary(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The figures that have a bar, of one clip; NaN for what was not measured, or says nothing."""
    one, held = parts.get("whole", {}), parts.get("held_out", {})
    tracks = one.get("tracks", {})
    head = one.get("head", {})
    found = {
        **{name: head.get(name) for name in ("psnr", "psnr_worst", "ssim")},
        "held_out_psnr": held.get("rest", {}).get("psnr"),
        "refitted_psnr": held.get("refitted", {}).get("psnr"),
        "delta_loss": one.get("delta_loss"),
        "locality": one.get("locality", {}).get("psnr"),
        **{name: tracks.get(name, {}).get("correlation") for name in ("mouth_open", "eyes_open", "yaw")},
        "identity": one.get("identity", {}).get("mean"),
    }
    return {name: float("nan") if value is None else float(value) for name, value in found.items()}


def verdicts(rows: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Per figure: the mean over clips (the worst frame: the worst of all), the bar, and whether it is reached."""
    found = []
    for name, bar in BARS.items():
        values = [row[name] for row in rows.values() if row[name] == row[name]]
        if not values:
            continue
        value = min(values) if name == "psnr_worst" else float(np.mean(values))
        reached = value <= bar if name in HIGHEST else value >= bar
        answer = "yes" if reached else "NO"
        found.append({"figure": name, "value": value, "bar": bar, "reached": answer, "clips": len(values)})
    return found
