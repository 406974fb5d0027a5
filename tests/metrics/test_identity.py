"""Identity distance of pairs of pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylecodec.errors import FaceNotFound
from stylecodec.metrics.identity import identity_distances


def mean_colour(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A recognition network that knows people by their colour, and takes black for nobody."""
    if not picture.any():
        raise FaceNotFound("nobody")
    assert picture.shape == (16, 16, 3)
    return np.asarray(picture.mean(axis=(0, 1)), np.float64)


def test_pairs_without_a_face_are_left_out() -> None:
    dark, light, black = (np.full((8, 8, 3), value, np.uint8) for value in (10, 13, 0))
    pairs = [(dark, light), (black, light), (dark, black), (dark, dark)]
    found = identity_distances(mean_colour, pairs, enlarged=2)
    np.testing.assert_allclose(found, [3 * 3**0.5, 0.0])
