"""The rendered head before something else: a still picture, its own surroundings blurred, one colour (SPEC 14).

    rendered square ──► parser ──► head mask, its edge softened ──┐
                    └─────────────────────────────► turned by roll ┴─► blended into the still at the head's place
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bitstream.background import Background, Mode, PictureFormat
from ..errors import CorruptChunk, MissingDependency
from ..jpeg import MAX_SCANS, too_many_scans
from ..packs.store import ModelPack
from .regions import Regions
from .render import restore_roll, to_uint8

SOFT = 1 / 64  # of the square: radius of the mask's edge
RIM = 1 / 12  # of the square: where the mask falls to 0 towards its border, so that hair is not cut by a line
BLUR_SIDE = 24  # pixels to which surroundings are averaged down
KEY_GREEN = (0, 177, 64)


class Compositor:
    """Composes rendered squares with what a BACKGROUND chunk asks for, on one device."""

    def __init__(self, pack: ModelPack, device: torch.device, background: Background) -> None:
        self.background, self.device = background, device
        self.regions = Regions(pack, device)
        self.plate = decode_plate(background).to(device) if background.mode == Mode.PLATE else None

    def size(self, square: int) -> tuple[int, int]:
        """Width and height of the pictures composed from squares of `square` pixels."""
        return (self.background.width, self.background.height) if self.plate is not None else (square, square)

    def compose(self, images: Tensor, roll: Tensor | None = None) -> Tensor:
        """Squares [N, 3, S, S] in [-1, 1], turned by `roll` [N] degrees where given -> uint8 [N, H, W, 3]."""
        mask = soft_mask(self.regions.head(images.clamp(-1, 1)))
        both = torch.cat([images, mask], dim=1)
        if roll is not None:
            both = restore_roll(both, roll)
        pictures, mask = both[:, :3], both[:, 3:]
        if self.plate is not None:
            return to_uint8(self._on_plate(pictures, mask))
        behind = surroundings(pictures, mask) if self.background.mode == Mode.BLUR else self._colour()
        return to_uint8(pictures * mask + behind * (1 - mask))

    def _colour(self) -> Tensor:
        """[1, 3, 1, 1]."""
        return torch.tensor(self.background.colour, device=self.device).view(1, 3, 1, 1) / 127.5 - 1

    def _on_plate(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """The plate [N, 3, H, W] with the head in its place."""
        assert self.plate is not None
        x, y, side = self.background.square
        both = torch.cat([pictures, mask], dim=1)
        while both.shape[-1] >= 2 * side and both.shape[-1] > 2:
            both = F.avg_pool2d(both, 2)
        columns, across = _places(x, side, self.background.width, self.device)
        rows, down = _places(y, side, self.background.height, self.device)
        result = self.plate.expand(len(pictures), -1, -1, -1).clone()
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return result
        grid = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1)
        placed = F.grid_sample(both, grid.expand(len(both), -1, -1, -1), align_corners=False)
        share = placed[:, 3:]
        region = result[..., rows, columns]
        result[..., rows, columns] = region * (1 - share) + placed[:, :3] * share
        return result


def _places(centre: float, side: float, count: int, device: torch.device) -> tuple[slice, Tensor]:
    """Along one axis: the still's pixels that the square covers, and where they lie in it, -1 to 1."""
    first, last = max(int(np.floor(centre - side / 2)), 0), min(int(np.ceil(centre + side / 2)), count)
    pixels = torch.arange(first, max(last, first), device=device, dtype=torch.float32) + 0.5
    return slice(first, max(last, first)), (pixels - centre) / (side / 2)


def soft_mask(head: Tensor) -> Tensor:
    """A head mask [N, 1, S, S] with a soft edge, falling to 0 at the square's border."""
    size = head.shape[-1]
    reach = max(round(SOFT * size), 1)
    blurred = F.avg_pool2d(head, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
    edge = ((torch.arange(size, device=head.device) + 0.5) / size / RIM).clamp(max=1)
    edge = torch.minimum(edge, edge.flip(0))
    return blurred * edge[None, :] * edge[:, None]


def surroundings(pictures: Tensor, mask: Tensor) -> Tensor:
    """The pictures [N, 3, S, S] without what the mask covers, blurred."""
    size, kept = pictures.shape[-1], 1 - mask
    colour = F.interpolate(pictures * kept, size=BLUR_SIDE, mode="area")
    share = F.interpolate(kept, size=BLUR_SIDE, mode="area")
    for _ in range(3):  # carry colour in from where there is some
        colour, share = (F.avg_pool2d(x, 5, 1, 2, count_include_pad=False) for x in (colour, share))
    return F.interpolate(colour / share.clamp_min(1e-3), size=size, mode="bilinear", align_corners=False).clamp(-1, 1)


def decode_plate(background: Background) -> Tensor:
    """The still as [1, 3, H, W] in [-1, 1]; CorruptChunk where the file is not what the chunk says."""
    from PIL import Image, features

    wanted = background.picture_format.name
    if background.picture_format == PictureFormat.AVIF and not features.check("avif"):
        raise MissingDependency("the background is an AVIF picture; it needs Pillow 11.3 or later")
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of huge sizes and damaged metadata
            Image.open(io.BytesIO(background.picture), formats=[wanted]) as image,
        ):
            if image.size != (background.width, background.height):  # said by the file's head, before pixels are made
                said = f"{background.width}x{background.height}"
                raise CorruptChunk(f"the background is said to have {said} pixels and has not")
            if background.picture_format == PictureFormat.JPEG and too_many_scans(io.BytesIO(background.picture)):
                raise CorruptChunk(f"the background is a JPEG picture of more than {MAX_SCANS} scans")
            pixels = np.array(image.convert("RGB"))
    except CorruptChunk:
        raise
    except Exception:  # Pillow's errors for damaged files are of any kind
        raise CorruptChunk(f"the background is not a {wanted} picture that can be read") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)
