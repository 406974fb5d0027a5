"""Aligned squares without a face: a bright spot that wanders, so that every frame differs from its neighbours."""

from __future__ import annotations

import numpy as np

from stylecodec.evaluation.faces import AlignedFaces


def wandering(seconds: np.ndarray, late: float = 0.0, size: int = 64, lost: tuple[int, ...] = ()) -> AlignedFaces:
    """Squares at these times; late: seconds by which the spot is behind."""
    y, x = np.mgrid[:size, :size] / size
    crops = []
    for time in np.asarray(seconds) - late:
        across, down = 0.5 + 0.3 * np.sin(3.1 * time + np.sin(11 * time)), 0.5 + 0.3 * np.cos(2.3 * time)
        spot = np.exp(-((x - across) ** 2 + (y - down) ** 2) / 0.02)
        crops.append(np.repeat((60 + 150 * spot).astype(np.uint8)[:, :, None], 3, axis=2))
    found = np.ones(len(crops), bool)
    found[list(lost)] = False
    return AlignedFaces(np.asarray(seconds, float), found, np.stack(crops), np.zeros(len(crops)), float(size))


def times(count: int, rate: float = 25.0) -> np.ndarray:
    return np.arange(count) / rate
