"""Read dlib's shape predictors (`.dat`) into tensors of nets.shape_predictor.

The file is one row of whole numbers, each a control byte (bit 7: negative; low four bits: how many bytes follow) and
its magnitude, little-endian. A real number is two of them, mantissa and exponent; a list is its length and its items; a
matrix its rows and columns, written as negative numbers, then its items row by row:

    1 · initial shape [2P, 1] · forest of cascades × trees · pixels' anchors · pixels' offsets
    tree: splits (pixel, pixel, threshold), then leaves [2P, 1], one more than splits
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ImportRefused

MAX_BYTES = 1 << 28
MAX_POINTS, MAX_DEPTH = 1024, 12
MOST = 1 << 20  # cascades, trees, pixels
_SIZES = [byte & 15 for byte in range(256)]


def read_shape_predictor(data: memoryview) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The parameters and tensors of a ShapePredictor; ImportRefused when the bytes are not one, whole and uniform."""
    if len(data) > MAX_BYTES:
        raise ImportRefused(f"it is no shape predictor: those have at most {MAX_BYTES:,} bytes")
    row = _Row(_whole_numbers(data))
    if row.one() != 1:
        raise ImportRefused("it is a shape predictor of an unknown version")
    initial = row.matrix()
    if len(initial) % 2 or not 2 <= len(initial) <= 2 * MAX_POINTS:
        raise ImportRefused(f"its mean shape has {len(initial)} numbers, which are no points")
    cascades = row.count()
    pairs: list[NDArray[np.generic]] = []
    thresholds: list[NDArray[np.generic]] = []
    leaves: list[NDArray[np.generic]] = []
    for _ in range(cascades):
        forest = [row.tree(len(initial)) for _ in range(row.count())]
        if len({len(tree[1]) for tree in forest}) != 1:
            raise ImportRefused("its trees are of different depths")
        for collected, part in zip((pairs, thresholds, leaves), zip(*forest, strict=True), strict=True):
            collected.append(np.stack(part))
    if row.count() != cascades:
        raise ImportRefused("its pixels do not belong to its trees")
    anchors = [row.take(row.count()) for _ in range(cascades)]
    if row.count() != cascades:
        raise ImportRefused("its pixels do not belong to its trees")
    deltas = [row.reals(2 * row.count()).reshape(-1, 2) for _ in range(cascades)]
    if row.left():
        raise ImportRefused("bytes follow behind the shape predictor")
    try:
        tensors = {
            "initial": initial.reshape(-1, 2),
            "anchors": np.stack(anchors).astype(np.int32),
            "deltas": np.stack(deltas),
            "pairs": np.stack(pairs).astype(np.int32),
            "thresholds": np.stack(thresholds),
            "leaves": np.stack(leaves).reshape(cascades, len(leaves[0]), -1, len(initial) // 2, 2),
        }
    except ValueError:
        raise ImportRefused("its cascades are of different sizes") from None
    return _checked(tensors)


def _checked(arrays: dict[str, NDArray[np.generic]]) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Every index within what it points to."""
    points, pixels = len(arrays["initial"]), arrays["anchors"].shape[1]
    if arrays["deltas"].shape[1] != pixels:
        raise ImportRefused("its pixels do not belong to its points")
    for name, limit in (("anchors", points), ("pairs", pixels)):
        if arrays[name].size and not (int(arrays[name].min()) >= 0 and int(arrays[name].max()) < limit):
            raise ImportRefused("it points to pixels or points that it does not have")
    cascades, trees, splits = arrays["thresholds"].shape
    params = {
        "points": points,
        "cascades": cascades,
        "trees": trees,
        "depth": (splits + 1).bit_length() - 1,
        "pixels": pixels,
    }
    return params, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


class _Row:
    """The numbers of a file, taken from the front."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers, self.position = numbers, 0

    def left(self) -> int:
        return len(self.numbers) - self.position

    def take(self, count: int) -> NDArray[np.int64]:
        if not 0 <= count <= self.left():
            raise ImportRefused("the shape predictor is cut off or damaged")
        part = self.numbers[self.position : self.position + count]
        self.position += count
        return part

    def one(self) -> int:
        return int(self.take(1)[0])

    def count(self) -> int:
        """Length of a list that has something in it."""
        count = self.one()
        if not 0 < count <= min(MOST, self.left()):
            raise ImportRefused("the shape predictor is cut off or damaged")
        return count

    def reals(self, count: int) -> NDArray[np.float32]:
        return _reals(self.take(2 * count).reshape(-1, 2))

    def matrix(self) -> NDArray[np.float32]:
        """A column of reals."""
        rows, columns = -self.one(), -self.one()
        if columns != 1 or not 0 < rows <= self.left():
            raise ImportRefused("the shape predictor is cut off or damaged")
        return self.reals(rows)

    def tree(self, numbers: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Pairs [splits, 2], thresholds [splits], leaves [splits + 1, numbers]."""
        count = self.count()
        if (count + 1) & count or count >= 1 << MAX_DEPTH:
            raise ImportRefused("it has a tree that is not full")
        splits = self.take(4 * count).reshape(count, 4)
        if self.count() != count + 1:
            raise ImportRefused("it has a tree with too few leaves")
        leaves = self.take((count + 1) * (2 + 2 * numbers)).reshape(count + 1, -1)
        if not (leaves[:, :2] == (-numbers, -1)).all():
            raise ImportRefused("it has leaves of another size than its mean shape")
        return splits[:, :2], _reals(splits[:, 2:]), _reals(leaves[:, 2:].reshape(count + 1, numbers, 2))


def _reals(pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mantissa and exponent [..., 2] -> numbers."""
    mantissa, exponent = pairs[..., 0], pairs[..., 1]
    if exponent.size and int(np.abs(exponent).max()) > 1100:  # dlib's infinities and not-a-numbers, too
        raise ImportRefused("the shape predictor holds numbers that are not finite")
    with np.errstate(over="ignore"):
        numbers = np.ldexp(mantissa.astype(np.float64), exponent.astype(np.int32)).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ImportRefused("the shape predictor holds numbers that are not finite")
    return numbers


def _whole_numbers(data: memoryview) -> NDArray[np.int64]:
    """All numbers of the file. Where each begins depends on the one before, so the places are found one by one."""
    raw = bytes(data)
    places: list[NDArray[np.int64]] = []
    place, end = 0, len(raw)
    while place < end:
        found = []
        limit = min(end, place + (1 << 20))
        while place < limit:
            found.append(place)
            place += 1 + _SIZES[raw[place]]
        places.append(np.array(found, np.int64))
    if place != end:
        raise ImportRefused("the shape predictor is cut off or damaged")
    starts = np.concatenate(places)
    padded = np.frombuffer(raw + bytes(8), np.uint8)
    control = padded[starts]
    sizes = control & 15
    if int(sizes.max()) > 8 or bool((control & 0x70).any()):
        raise ImportRefused("it is no shape predictor of dlib's: its numbers are not written as dlib writes them")
    values = np.zeros(len(starts), np.uint64)
    for k in range(int(sizes.max())):
        byte = np.where(sizes > k, padded[starts + 1 + k], 0).astype(np.uint64)
        values |= byte << np.uint64(8 * k)
    if bool((values >> np.uint64(62)).any()):
        raise ImportRefused("the shape predictor holds numbers that are out of all bounds")
    numbers = values.astype(np.int64)
    return np.where(control & 0x80, -numbers, numbers)
