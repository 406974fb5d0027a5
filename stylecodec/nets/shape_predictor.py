"""dlib's shape predictor: facial points by an ensemble of regression trees (Kazemi & Sullivan, CVPR 2014).

From the mean shape in a box, every tree compares the brightness of two pixels that move with the shape, and adds the
leaf that it arrives at. The arithmetic is dlib's, in its types and order, so the points are dlib's to the pixel: shapes
and offsets in single precision, the similarity transform in double, sampling at the nearest pixel (halves round up),
black outside the picture.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Shape = NDArray[np.float32]  # [P, 2] in units of the box


class ShapePredictor(nn.Module):
    """A forest, loaded from a pack. `predict` takes a picture and a box.

    points: P; cascades, trees, depth: of the forest (a tree has 2^depth leaves); pixels: sampled per cascade.
    """

    def __init__(
        self, points: int = 68, cascades: int = 15, trees: int = 500, depth: int = 4, pixels: int = 500
    ) -> None:
        super().__init__()
        if min(points, cascades, trees, depth, pixels) < 1 or depth > 16:
            raise ValueError("a shape predictor needs points, cascades, trees, splits and pixels")
        self.points, self.depth = points, depth
        splits, leaves = 2**depth - 1, 2**depth
        for name, shape, dtype in (
            ("initial", (points, 2), torch.float32),
            ("anchors", (cascades, pixels), torch.int32),  # point that a sampled pixel moves with
            ("deltas", (cascades, pixels, 2), torch.float32),  # its place beside that point
            ("pairs", (cascades, trees, splits, 2), torch.int32),  # pixels that a split compares
            ("thresholds", (cascades, trees, splits), torch.float32),
            ("leaves", (cascades, trees, leaves, points, 2), torch.float32),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))

    def forward(self, picture: Tensor, box: Tensor) -> Tensor:
        """Picture uint8 [H, W, 3] and box [4] -> points [P, 2]; see `predict`."""
        left, top, right, bottom = (int(value) for value in box)
        return torch.from_numpy(self.predict(picture.cpu().numpy(), (left, top, right, bottom)))

    def predict(self, picture: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.int64]:
        """Points [P, 2] (x, y) in whole pixels.

        picture: uint8 [H, W, 3] RGB; box: left, top, right, bottom in whole pixels, the last two inside, as dlib's
        rectangles have them (for the published files: from its frontal face detector).
        """
        grey = picture.astype(np.int64).sum(axis=2) // 3
        origin = np.array(box[:2], np.float64)
        extent = np.array([box[2] - box[0], box[3] - box[1]], np.float64)  # dlib: between the first and last pixel
        forest = {name: buffer.cpu().numpy() for name, buffer in self.named_buffers()}
        initial: Shape = forest["initial"]
        shape = initial
        for k in range(len(forest["anchors"])):
            places = shape[forest["anchors"][k]] + _turned(forest["deltas"][k], initial, shape)
            values = _sampled(grey, _nearest(origin + extent * places))
            reached = self._leaves(values, forest["pairs"][k], forest["thresholds"][k])
            for leaf, number in zip(forest["leaves"][k], reached, strict=True):
                shape = shape + leaf[number]  # one by one: single-precision sums depend on their order
        return _nearest(origin + extent * shape)

    def _leaves(
        self, values: NDArray[np.float32], pairs: NDArray[np.int32], thresholds: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """The leaf [T] that each tree [T, splits] arrives at; the children of split i are 2i + 1 and 2i + 2."""
        trees = np.arange(len(pairs))
        node = np.zeros(len(pairs), np.int64)
        for _ in range(self.depth):
            first, second = pairs[trees, node].T
            left = values[first] - values[second] > thresholds[trees, node]
            node = 2 * node + np.where(left, 1, 2)
        number: NDArray[np.int64] = node - (2**self.depth - 1)
        return number


def _turned(deltas: NDArray[np.float32], initial: Shape, shape: Shape) -> NDArray[np.float32]:
    """Offsets [F, 2] turned and scaled as the least-squares similarity from the initial to the current shape is."""
    source, target = initial.astype(np.float64), shape.astype(np.float64)
    source, target = source - source.mean(axis=0), target - target.mean(axis=0)
    s, t = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    power = float(np.vdot(s, s).real)
    turn = np.vdot(s, t) / power if power > 0 else 1.0 + 0j
    a, b = np.float32(turn.real), np.float32(turn.imag)
    x, y = deltas[:, 0], deltas[:, 1]
    return np.stack([a * x - b * y, b * x + a * y], axis=1)


def _nearest(points: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(points + 0.5).astype(np.int64)


def _sampled(grey: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Brightness [F] at places [F, 2]; 0 outside."""
    height, width = grey.shape
    x, y = places[:, 0], places[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = grey[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return np.where(inside, values, 0).astype(np.float32)
