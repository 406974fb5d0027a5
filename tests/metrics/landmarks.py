"""A face of 68 points, drawn by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def face() -> NDArray[np.float64]:
    """68 points that are no beauty, but hold everything the tracks measure: eyes 100 apart at height 0."""
    p = np.zeros((68, 2))
    p[0:17] = np.stack([np.linspace(-120, 120, 17), 150 - np.linspace(-12, 12, 17) ** 2], axis=1)
    p[17:27] = np.stack([np.linspace(-80, 80, 10), np.full(10, -30.0)], axis=1)
    p[27:31] = np.stack([np.zeros(4), np.linspace(0, 50, 4)], axis=1)
    p[31:36] = np.stack([np.linspace(-15, 15, 5), np.full(5, 70.0)], axis=1)
    eye = np.array([[-20, 0], [-8, -6], [8, -6], [20, 0], [8, 6], [-8, 6]], float)
    p[36:42], p[42:48] = eye - np.array([50, 0]), eye + np.array([50, 0])
    outer = [[-35, 110], [-20, 102], [-8, 100], [0, 101], [8, 100], [20, 102], [35, 110]]
    outer += [[20, 118], [8, 121], [0, 122], [-8, 121], [-20, 118]]
    p[48:60] = outer
    p[60:68] = [[-30, 110], [-8, 108], [0, 108], [8, 108], [30, 110], [8, 112], [0, 112], [-8, 112]]
    return p
