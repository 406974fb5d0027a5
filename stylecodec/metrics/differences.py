"""Differences of pictures in grey levels (0 to 255), and of what changes in them from frame to frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def l1(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean absolute difference of two pictures [H, W, C] of values 0 to 255, in grey levels."""
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


def flicker(source: tuple[NDArray[Any], NDArray[Any]], output: tuple[NDArray[Any], NDArray[Any]]) -> float:
    """How much of the change from a frame to the next is not the source's, mean over pixels, in grey levels.

    Both are (frame before, frame), [H, W, C] of values 0 to 255; 0 where the output changes just as the source does.
    """
    change, wanted = (np.asarray(now, np.float32) - np.asarray(before, np.float32) for before, now in (output, source))
    return float(np.abs(change - wanted).mean())
