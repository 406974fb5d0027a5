"""Prepared photographs (see `photos`) as training data: squares, how much each pixel counts, what the encoder makes of
them. A row is a photograph; rows from `count` on are the same ones in a mirror."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..decoding.regions import Regions
from ..encoding.identity_loss import IdentityLoss, IdentityOfPictures
from ..errors import StylecodecError
from ..files import atomic_write
from ..nets.face_mesh import POINTS
from ..packs.store import ModelPack
from .photos import INDEX, LANDMARKS, SIDE, read_square, square_of, validity

MOST_WEIGHT, LEAST_WEIGHT = 4.0, 0.5  # parts differ less than in the codec: photographs must look right all over

NAME = 16  # bytes of a name in a file of tensors


class Photographs:
    """The kept photographs of one part of the split, in memory.

    folder: where they lie. squares: what the index says of them. images uint8 [n, 256, 256, 3]; valid bool
    [n, 256, 256]; points float32 [n, 478, 2] of the face mesh in crop units. digest: of their names, for what is
    computed from them and kept.
    """

    def __init__(self, folder: Path, held_out: bool, most: int | None = None) -> None:
        index = folder / INDEX
        if not index.is_file():
            raise StylecodecError(f"{folder} is no folder of prepared photographs: it has no {INDEX}")
        entries = [square_of(entry) for entry in json.loads(index.read_text())["photographs"]]
        kept = [square for square in entries if not square.why]
        with np.load(folder / LANDMARKS, allow_pickle=False) as stored:
            points = stored["points"]
        if points.shape != (len(kept), POINTS, 2):
            raise StylecodecError(f"{folder / LANDMARKS} does not fit {index}: prepare the photographs again")
        mine = [k for k, square in enumerate(kept) if square.held_out == held_out][:most]
        if not mine:
            raise StylecodecError(f"{folder} holds no {'held-out ' if held_out else ''}photographs")
        self.folder = folder
        self.squares = [kept[k] for k in mine]
        self.points = torch.from_numpy(points[mine])
        self.digest = hashlib.sha256(" ".join(square.name for square in self.squares).encode()).hexdigest()[:12]
        self.images = np.stack([read_square(folder, square.name) for square in self.squares])
        self.valid = torch.from_numpy(np.stack([validity(square, SIDE) for square in self.squares]))

    def __len__(self) -> int:
        return len(self.squares)

    @property
    def names(self) -> Tensor:
        """Their names, uint8 [n, 16]."""
        names = [list(square.name.encode().ljust(NAME)[:NAME]) for square in self.squares]
        return torch.tensor(names, dtype=torch.uint8)

    def pictures(self, rows: Tensor) -> Tensor:
        """Rows [n] of 0..2 count - 1 -> float32 [n, 3, 256, 256] in [-1, 1], those of the second half mirrored."""
        stack = torch.from_numpy(self.images[(rows % len(self)).numpy()])
        return mirrored(stack.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0), rows >= len(self))

    def validity(self, rows: Tensor) -> Tensor:
        """Rows [n] -> [n, 1, 256, 256]: 1 where the photograph has a pixel of its own."""
        return mirrored(self.valid[rows % len(self)][:, None].float(), rows >= len(self))


class PixelWeights:
    """How much the pixels of photographs count, by what the face parser sees there. Computed once, kept in a file."""

    SIDE = 128

    def __init__(self, photos: Photographs, pack: ModelPack, work: Path) -> None:
        path = work / f"weights_{photos.digest}.npz"
        known = cached(path, ("weights",))
        if known is None:
            regions, found = Regions(pack, "cpu"), []
            for rows in torch.split(torch.arange(len(photos)), 16):
                found.append((halved(regions.weights(photos.pictures(rows)), self.SIDE) * 16).round().byte())
            known = [torch.cat(found)]
            with atomic_write(path) as file:
                np.savez(file, weights=known[0].numpy())
        self._sixteenths = known[0]  # uint8 [n, 1, 128, 128]

    def __call__(self, rows: Tensor, side: int) -> Tensor:
        """Rows [m] of 0..2 n - 1 -> [m, 1, side, side]."""
        count = len(self._sixteenths)
        found = (self._sixteenths[rows % count].float() / 16).clamp(LEAST_WEIGHT, MOST_WEIGHT)
        found = mirrored(found, rows >= count)
        if side <= self.SIDE:
            return halved(found, side)
        return F.interpolate(found, size=side, mode="bilinear")


def identity_of_photographs(photos: Photographs, work: Path, device: torch.device) -> IdentityLoss:
    """L_ID of rows 0..2 n - 1. Computed once, kept in a file."""
    path = work / f"identities_{photos.digest}.npz"
    known = cached(path, ("chips", "descriptors"))
    if known is None:
        seen = IdentityOfPictures(list(photos.images), torch.device("cpu"))
        seen.see(torch.arange(len(photos)))
        known = [seen.chips, seen.descriptors]
        with atomic_write(path) as file:
            np.savez(file, chips=known[0].numpy(), descriptors=known[1].numpy())
    chips, descriptors = known
    in_a_mirror = chips * torch.tensor([-1.0, 1.0])[:, None]  # cut out as it is without the mirror
    both = torch.cat([chips, in_a_mirror]), torch.cat([descriptors, descriptors])
    return IdentityLoss(both[0].to(device), both[1].to(device))


def mirrored(maps: Tensor, which: Tensor) -> Tensor:
    """Maps [n, C, H, W], those of `which` [n] flipped from left to right."""
    return torch.where(which[:, None, None, None], maps.flip(3), maps)


def filled_outside(pictures: Tensor, valid: Tensor, output: Tensor) -> Tensor:
    """Targets [n, 3, S, S] for `output`: where the photograph ends (valid [n, 1, S, S] is 0) the output itself, so that
    no loss arises there, nor in what looks at neighbourhoods."""
    target: Tensor = torch.lerp(output.detach(), pictures, valid)
    return target


def cached(path: Path, keys: Sequence[str]) -> list[Tensor] | None:
    """Tensors that were stored under `path`, None where there are none."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        return [torch.from_numpy(stored[key]) for key in keys]


def halved(maps: Tensor, side: int) -> Tensor:
    """Maps [n, C, S, S] averaged down to `side`, which divides S."""
    return maps if maps.shape[-1] == side else F.avg_pool2d(maps, maps.shape[-1] // side)
