"""The rendered heads as training data.

A data set is the folder that `stylecodec train render` writes: `meta.json` and shards `shard_00000.npz`, each with
images uint8 [n, 256, 256, 3], labels uint8 [n, 256, 256], expression float32 [n, 55] (53 weights, gaze yaw and pitch in
degrees), pose float32 [n, 2] (yaw, pitch in degrees), landmarks float32 [n, 83, 2] (crop units), identity float32
[n, d] and identity_id int64 [n].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import StylecodecError

GAZE_SCALE = (15.0, 10.0)  # degrees of gaze yaw and pitch that count as 1 in the networks' expression input
SHARDS = "shard_*.npz"
FIELDS = ("images", "labels", "expression", "pose", "landmarks", "identity", "identity_id")


SIDES = (("_L", "_R"), ("Left", "Right"))  # how the names of expressions end that have a counterpart on the other side


def mirrored_order(names: Sequence[str]) -> list[int]:
    """For each expression name the number of the one that it is in a mirror."""
    swapped = {a: b for pair in SIDES for a, b in (pair, pair[::-1])}
    order = []
    for name in names:
        end = next((end for end in swapped if name.endswith(end)), "")
        order.append(names.index(name.removesuffix(end) + swapped[end]) if end else names.index(name))
    return order


class Batch(NamedTuple):
    """Renders: images uint8 [n, 256, 256, 3], labels uint8 [n, 256, 256], the rest float32 (see the module)."""

    images: Tensor
    labels: Tensor
    expression: Tensor
    pose: Tensor
    landmarks: Tensor
    identity: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(field.to(device, non_blocking=True) for field in self))

    def mirrored(self, order: Sequence[int]) -> Batch:
        """What a mirror shows, `order` being `mirrored_order`; landmarks and identity are left as they are."""
        turned = self.expression[:, list(order)].clone()
        turned[:, -2] *= -1  # gaze yaw
        pose = self.pose * self.pose.new_tensor([-1.0, 1.0])
        return self._replace(images=self.images.flip(2), labels=self.labels.flip(2), expression=turned, pose=pose)

    def pictures(self, size: int) -> Tensor:
        """float32 [n, 3, size, size] in [-1, 1], area-averaged."""
        x = self.images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        return x if x.shape[-1] == size else F.interpolate(x, size=(size, size), mode="area")


def scaled_expression(expression: NDArray[np.float32]) -> NDArray[np.float32]:
    """Expression vector [n, 55] with gaze in units of GAZE_SCALE instead of degrees."""
    out = np.array(expression, np.float32)
    out[:, -2:] /= np.asarray(GAZE_SCALE, np.float32)
    return out


def extent(folder: Path) -> tuple[int, int]:
    """How many people and renders there are in a folder's shards, without reading the pictures."""
    people: list[NDArray[Any]] = [np.zeros(0, np.int64)]
    for path in sorted(folder.glob(SHARDS)):
        with np.load(path, allow_pickle=False) as shard:
            people.append(shard["identity_id"])
    ids = np.concatenate(people)
    return len(np.unique(ids)), len(ids)


class HeadsDataset:
    """All shards of a folder in memory; `refresh()` takes in those that were rendered meanwhile.

    Every `hold_out`-th identity is kept out of training: `validation_rows` in place of `train_rows`.
    """

    def __init__(self, folder: Path, hold_out: int = 25) -> None:
        self.folder, self.hold_out = folder, hold_out
        meta = folder / "meta.json"
        if not meta.is_file():
            raise StylecodecError(f"{folder} is no data set of rendered heads: it has no meta.json")
        self.meta: dict[str, Any] = json.loads(meta.read_text())
        self._seen: set[str] = set()
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in FIELDS}
        self.refresh()
        if not self._parts["images"]:
            raise StylecodecError(f"{folder} holds no shard yet")

    def refresh(self) -> int:
        """Load new shards; returns how many renders there are."""
        for path in sorted(self.folder.glob(SHARDS)):
            if path.name in self._seen:
                continue
            with np.load(path, allow_pickle=False) as shard:
                for name in FIELDS:
                    self._parts[name].append(shard[name])
            self._seen.add(path.name)
        if self._parts["images"]:
            self._index()
        return len(self.identity_id)

    def _index(self) -> None:
        ids = np.concatenate(self._parts["identity_id"]).astype(np.int64)
        self.identity_id = ids
        sizes = [len(part) for part in self._parts["images"]]
        self._shard = np.repeat(np.arange(len(sizes)), sizes)
        self._within = np.concatenate([np.arange(n) for n in sizes])
        held = ids % self.hold_out == self.hold_out - 1
        self.train_rows, self.validation_rows = np.flatnonzero(~held), np.flatnonzero(held)
        order = np.argsort(ids, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(ids[order]) != 0])
        groups = np.split(order, starts[1:])
        self._siblings = {int(ids[group[0]]): group for group in groups}
        self.pairs = self._pairs()

    def _pairs(self) -> NDArray[np.int64]:
        """Rows [n, 2] of two training renders of one person in one pose."""
        who = np.c_[self.identity_id, np.concatenate(self._parts["pose"])][self.train_rows]
        order = np.lexsort(who.T)
        same = np.flatnonzero((who[order[1:]] == who[order[:-1]]).all(axis=1))
        return self.train_rows[np.c_[order[same], order[same + 1]]]

    def identities(self) -> NDArray[np.float32]:
        """The identity vectors of all training renders [n, d]."""
        return np.concatenate(self._parts["identity"])[self.train_rows]

    def expressions(self) -> NDArray[np.float32]:
        """The scaled expression vectors of all renders [n, 55]."""
        return scaled_expression(np.concatenate(self._parts["expression"]))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The renders of `rows`."""

        def gather(name: str) -> NDArray[Any]:
            return np.stack([self._parts[name][self._shard[r]][self._within[r]] for r in rows])

        return Batch(
            images=torch.from_numpy(gather("images")),
            labels=torch.from_numpy(gather("labels")),
            expression=torch.from_numpy(scaled_expression(gather("expression"))),
            pose=torch.from_numpy(gather("pose")),
            landmarks=torch.from_numpy(gather("landmarks")),
            identity=torch.from_numpy(gather("identity")),
        )

    def held_out(self, count: int, size: int = 16) -> list[NDArray[np.int64]]:
        """Rows of held-out people, `count` at most, the same ones each time, in parts of `size`.

        Drawn at random: a fixed stride would meet the same of each person's renders, the first one being neutral.
        """
        rows = np.sort(np.random.default_rng(5).permutation(self.validation_rows)[:count])
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def siblings(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """For each row another render of the same person (itself when it is alone)."""
        return np.array([rng.choice(self._siblings[int(self.identity_id[r])]) for r in rows], np.int64)

    def draw_pairs(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` random pairs of training renders: rows [2 * count], first all firsts, then all seconds."""
        return rng.permuted(rng.choice(self.pairs, count), axis=1).T.ravel()

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` random training rows."""
        return rng.choice(self.train_rows, count)
