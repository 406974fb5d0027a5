"""What is put behind the head: a still without it, the median over time of what it does not cover, or a blur, a key."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..bitstream.background import MIN_SIDE, Background, Mode, PictureFormat
from ..decoding.background import KEY_GREEN
from ..decoding.regions import Regions
from ..errors import MediaError
from ..face.warp import Frame, warp
from ..geometry import CropTransform
from ..packs.registry import pick_device
from ..packs.store import ModelPack
from ..progress import Progress, ProgressCallback, silent
from .frames import CROP_SIZE, AlignedClip, to_input
from .options import EncodeOptions

LOOKING_BEHIND = "taking the background"  # the stage's name in reports of progress
PLATE_FRAMES = 15  # of the clip that are looked at
PLATE_SIDE = 1280  # pixels of the longer side, at most
PLATE_QUALITY = 55  # of the picture file
GROWN = 9  # pixels of 256 by which the head is taken larger than it is


def background_of(
    clip: AlignedClip, pack: ModelPack, options: EncodeOptions, progress: ProgressCallback = silent
) -> Background | None:
    """What the options ask to be put behind the head; None for what the generator makes of it."""
    if options.background == "plate":
        frames = _told(clip.sampled_frames(PLATE_FRAMES), len(clip.sampled(PLATE_FRAMES)), progress)
        return make_plate(frames, clip.track.mean, pack, pick_device(options.device))
    plain = {"blur": Background(Mode.BLUR), "key": Background(Mode.KEY, KEY_GREEN)}
    return plain.get(options.background)


def _told(
    frames: Iterable[tuple[Frame, CropTransform]], total: int, progress: ProgressCallback
) -> Iterator[tuple[Frame, CropTransform]]:
    for done, one in enumerate(frames, 1):
        yield one
        progress(Progress(LOOKING_BEHIND, done, total))


def make_plate(
    frames: Iterable[tuple[Frame, CropTransform]], square: CropTransform, pack: ModelPack, device: torch.device
) -> Background:
    """frames: some of the clip, uint8 [H, W, 3], each with its aligned square; square: the mean of these."""
    regions, seen, masks = Regions(pack, device), [], []
    factor = 1.0
    for frame, place in frames:
        head = F.max_pool2d(regions.head(to_input([warp(frame, place, CROP_SIZE)], device)), GROWN, 1, GROWN // 2)
        factor = min(1.0, PLATE_SIDE / max(frame.shape[:2]))
        small = _resized(frame, factor)
        seen.append(small)
        masks.append(_covered(head.cpu(), place.scaled(factor), small.shape[:2]))
    if not seen:
        raise MediaError("the clip has no frames that a background could be taken from")
    still = _median(np.stack(seen), np.stack(masks))
    data, how = _file(still)
    scaled = square.scaled(factor)
    place_of_head = (*scaled.center, scaled.side)
    return Background(Mode.PLATE, (0, 0, 0), still.shape[1], still.shape[0], place_of_head, how, data)


def _resized(frame: Frame, factor: float) -> Frame:
    """A frame with even sides, at least 16 pixels each."""
    from PIL import Image

    height, width = (max(int(side * factor) // 2 * 2, MIN_SIDE) for side in frame.shape[:2])
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX), np.uint8)


def _covered(head: Tensor, place: CropTransform, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels [H, W] the head mask [1, 1, S, S] of an aligned square covers."""
    height, width = shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = place.to_crop(np.stack([x, y], axis=-1)) * 2 - 1
    grid = torch.from_numpy(inside.astype(np.float32))[None]
    found: NDArray[np.bool_] = (F.grid_sample(head, grid, align_corners=False)[0, 0] > 0.3).numpy()
    return found


def _median(frames: NDArray[np.uint8], covered: NDArray[np.bool_]) -> Frame:
    """[n, H, W, 3] and [n, H, W] -> [H, W, 3]: the median of the uncovered, of all where all are covered."""
    result = np.empty(frames.shape[1:], np.uint8)
    for row in range(frames.shape[1]):
        values = frames[:, row].astype(np.float32)
        hidden = covered[:, row]
        values[hidden & ~hidden.all(axis=0)] = np.nan
        result[row] = np.nanmedian(values, axis=0)
    return result


def _file(still: Frame) -> tuple[bytes, PictureFormat]:
    """The still as AVIF, or as JPEG where Pillow cannot write that."""
    from PIL import Image, features

    how = PictureFormat.AVIF if features.check("avif") else PictureFormat.JPEG
    out = io.BytesIO()
    Image.fromarray(still).save(out, how.name, quality=PLATE_QUALITY)
    return out.getvalue(), how
