"""Contact sheets: rows of pictures in one PNG, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def painted(labels: Tensor, classes: int) -> Tensor:
    """Labels [n, H, W] below `classes` -> pictures [n, 3, H, W] in [-1, 1], each class in a colour of its own."""
    turns = torch.arange(classes, device=labels.device) * 0.618 * 2 * torch.pi  # neighbours far apart
    palette = torch.stack([(turns + shift).cos() for shift in (0.0, 2.1, 4.2)], dim=1)
    palette[0] = -1.0  # the background
    return palette[labels.long()].permute(0, 3, 1, 2)


def dotted(pictures: Tensor, points: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Pictures [n, 3, H, W] with points [n, P, 2], in shares of width and height, marked by dots of three pixels."""
    height, width = pictures.shape[-2:]
    at = points.to(pictures) * torch.tensor([width, height]).to(pictures)
    out = pictures.clone()
    for n, dots in enumerate(at.round().long()):
        for x, y in dots.tolist():
            rows, columns = (slice(max(k - 1, 0), max(k + 2, 0)) for k in (y, x))
            out[n, :, rows, columns] = torch.tensor(colour).to(out)[:, None, None]
    return out


def save_sheet(rows: Sequence[Tensor], path: Path, side: int = 192) -> None:
    """Write rows [n, 3, H, W] in [-1, 1] as one picture, each tile `side` pixels."""
    tiles = [F.interpolate(row.float(), size=(side, side), mode="bilinear", antialias=True) for row in rows]
    grid = torch.cat([torch.cat(list(row), dim=2) for row in tiles], dim=1)
    pixels = grid.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
