"""Contact sheets: rows of pictures in one PNG, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def save_sheet(rows: Sequence[Tensor], path: Path, side: int = 192) -> None:
    """Write rows [n, 3, H, W] in [-1, 1] as one picture, each tile `side` pixels."""
    tiles = [F.interpolate(row.float(), size=(side, side), mode="bilinear", antialias=True) for row in rows]
    grid = torch.cat([torch.cat(list(row), dim=2) for row in tiles], dim=1)
    pixels = grid.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
