"""Points of curves that are made up: codecs whose quality rises with the logarithm of their rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stylecodec.evaluation.rd.points import ORDINARY, OURS, Point, Values, rates_of

FRAMES, FPS = 50, 25.0


def values(metric: str, mean: float, seed: int = 0, spread: float = 0.3) -> Values:
    """FRAMES values of this mean, the same pattern for every mean."""
    noise = np.random.default_rng(seed).normal(0, spread, FRAMES)
    return Values(metric, np.arange(FRAMES), mean + noise - noise.mean())


def point(
    system: str,
    setting: str,
    parts: Mapping[str, int],
    means: Mapping[str, float],
    clip: str = "a",
    size: int = 256,
    long: bool = False,
    tuned: Sequence[int] = (),
    spread: float = 0.3,
    left_out: Mapping[str, str] | None = None,
) -> Point:
    seconds = FRAMES / FPS
    return Point(
        clip=clip,
        long=long,
        size=size,
        seconds=seconds,
        frames=FRAMES,
        fps=FPS,
        system=system,
        setting=setting,
        origin=OURS if system.startswith("stylecodec") else ORDINARY,
        parts=parts,
        rates=rates_of(parts, seconds),
        scores={name: values(name, mean, spread=spread) for name, mean in means.items()},
        left_out=left_out or {},
        tuned=frozenset(tuned),
    )


def ordinary(factor: float = 1.0, clip: str = "a", name: str = "x264") -> list[Point]:
    """10, 20, 40, 80 kbit/s times a factor, 28 to 34 dB; with sound and a container."""
    found = []
    for k in range(4):
        seen = round(factor * 10 * 2**k * 1000 / 8 * FRAMES / FPS)
        parts = {"picture": seen, "sound": 3000, "container": 500}
        found.append(point(name, f"crf {51 - k}", parts, {"PSNR": 28 + 2 * k, "SSIM": 0.8 + 0.04 * k}, clip))
    return found


def ours(clip: str = "a", once: int = 5000, psnr: float = 29.0, name: str = "stylecodec fast+off") -> list[Point]:
    """Four qualities within a decibel, with `once` bytes that are paid once."""
    found = []
    for k in range(4):
        parts = {"identity": once, "packets": 400 + 100 * k, "sound": 3000, "header": 0}
        scores = {"PSNR": psnr + 0.3 * k, "SSIM": 0.82 + 0.005 * k}
        found.append(point(name, f"{38 + 8 * k} dB", parts, scores, clip))
    return found
