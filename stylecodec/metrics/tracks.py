"""Tracks: what a face does over time, read off 68 landmarks; how far two sets of landmarks lie apart. Numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Floats = NDArray[np.float64]

NAMES = ("mouth_open", "mouth_width", "mouth_sideways", "eyes_open", "brows", "yaw", "pitch")
STILL = {"yaw": 0.02, "pitch": 0.02, "mouth_open": 0.01}  # standard deviations below which nothing moves
STILL_ELSE = 0.006
JITTER = 3  # frames of the running median that takes out single wrong points

PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}

# fmt: off
# The points of MediaPipe's face mesh that lie where the 68 of iBUG do; those of the jaw only roughly.
MESH_AS_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)
# fmt: on


def face_tracks(points: NDArray[Any]) -> dict[str, Floats]:
    """Landmarks [n, >= 68, 2] in the iBUG order -> [n] per name of NAMES.

    Lengths are in units of the distance between the eye centres, measured along the face's own axes:
    mouth_open: mean gap of the inner lips; mouth_width: corner to corner; mouth_sideways: lips seen from the base of
    the nose, to the image's right; eyes_open: mean gap of the lids; brows: mean height over the eye centres;
    yaw: the tip of the nose seen from the middle of the outer eye corners, to the image's right (grows with yaw);
    pitch: minus the height of the eyes over the tip of the nose in units of that over its base (grows with pitch).
    The last two stand for the angles, they are not degrees.
    """
    p = np.asarray(points, np.float64)
    left, right = p[:, 36:42].mean(1), p[:, 42:48].mean(1)
    unit = np.linalg.norm(right - left, axis=1)
    across = (right - left) / unit[:, None]
    down = np.stack([-across[:, 1], across[:, 0]], axis=1)

    def gap(*pairs: tuple[int, int]) -> Floats:
        ends = np.array(pairs)
        return np.asarray(np.linalg.norm(p[:, ends[:, 0]] - p[:, ends[:, 1]], axis=2).mean(1) / unit, np.float64)

    def along(axis: Floats, vectors: Floats) -> Floats:
        return np.asarray((vectors * axis).sum(1) / unit, np.float64)

    eyes, corners = (left + right) / 2, (p[:, 36] + p[:, 45]) / 2
    lips = p[:, [48, 51, 54, 57]].mean(1)
    return {
        "mouth_open": gap((61, 67), (62, 66), (63, 65)),
        "mouth_width": gap((48, 54)),
        "mouth_sideways": along(across, lips - p[:, 33]),
        "eyes_open": gap((37, 41), (38, 40), (43, 47), (44, 46)),
        "brows": along(down, eyes - p[:, 17:27].mean(1)),
        "yaw": along(across, p[:, 30] - corners),
        "pitch": -along(down, p[:, 30] - eyes) / along(down, p[:, 33] - eyes),
    }


def calm(track: Floats) -> Floats:
    """A track [n] without single wrong values."""
    return np.asarray(median_filter(track, JITTER, mode="nearest"), np.float64) if len(track) >= JITTER else track


def following(source: Floats, output: Floats, still: float = 0.0) -> dict[str, float]:
    """How an output's track [n] follows its source's: correlation, and gain, the slope of output over source.

    Both NaN when the source hardly moves (standard deviation up to `still`), correlation NaN when the output does
    not move at all.
    """
    a, b = calm(source), calm(output)
    if len(a) < 2 or a.std() <= max(still, 1e-9):
        return {"correlation": float("nan"), "gain": float("nan")}
    gain = float(((a - a.mean()) * (b - b.mean())).mean() / a.var())
    correlation = gain * float(a.std() / b.std()) if b.std() > 1e-9 else float("nan")
    return {"correlation": correlation, "gain": gain}


def compare(source: Mapping[str, Floats], output: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """`following` for every name of NAMES, with what counts as still for each."""
    return {name: following(source[name], output[name], STILL.get(name, STILL_ELSE)) for name in NAMES}


def landmark_distance(found: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
    """Mean distance of landmarks [n, >= 68, 2] from a reference, in units of its outer eye corners' distance.

    "inner": points 17 to 67; "all": all 68; and each of PARTS on its own.
    """
    a, b = np.asarray(found, np.float64)[:, :68], np.asarray(reference, np.float64)[:, :68]
    unit = np.linalg.norm(b[:, 45] - b[:, 36], axis=1)
    distance = np.linalg.norm(a - b, axis=2) / unit[:, None]
    parts = {"all": slice(0, 68), "inner": slice(17, 68), **PARTS}
    return {name: float(distance[:, part].mean()) for name, part in parts.items()}
