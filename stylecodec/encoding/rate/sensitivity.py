"""How much each parameter of a packet shows in the picture, measured through the decoder itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import ALPHA_COUNT, PARAMS_PER_FRAME, Identity
from ...decoding.latents import LatentDecoder
from ...decoding.regions import Regions
from ...decoding.render import Renderer, restore_roll
from ...packs.store import ModelPack


class Metrics(NamedTuple):
    """What an error e of a packet does to the picture: e · metric · e, in squared levels of 255, mean of pixels."""

    pixels: NDArray[np.float64]  # [35, 35]: all pixels count the same
    perceptual: NDArray[np.float64]  # [35, 35]: pixels weighted as in regions.py, eyes and mouth most; mean weight 1


PROBE_SIZE = 256  # pixels per side
PROBED_FRAMES = 2
BATCH = 8
ANGLE_NUDGE = 0.5  # degrees
ALPHA_NUDGE = 0.25  # of an offset, in its RMS deviation over all offsets of the clip, or in units if nothing moves


def probed_frames(count: int) -> NDArray[np.int64]:
    """The numbers of the frames that are looked at in a clip of `count` frames."""
    return np.unique(np.linspace(0, count - 1, PROBED_FRAMES + 2).astype(np.int64)[1:-1])


def picture_metrics(
    pack: ModelPack, device: torch.device, identity: Identity, packets: NDArray[np.floating]
) -> Metrics:
    """The metrics at some frames of a clip, averaged; packets: [n, 35]."""
    latents, renderer = LatentDecoder(pack, device), Renderer(pack, device, PROBE_SIZE, "float32")
    regions = Regions(pack, device)
    values = np.asarray(packets, np.float32)
    nudges = _nudges(values)
    frames = probed_frames(len(values))
    metrics = Metrics(*np.zeros((2, PARAMS_PER_FRAME, PARAMS_PER_FRAME)))
    for frame in frames:
        nudged = np.concatenate([values[frame][None], values[frame] + np.diag(nudges)])
        images = pictures(latents, renderer, identity, torch.from_numpy(nudged))
        slopes = (images[1:] - images[:1]).flatten(1) * 127.5 / torch.from_numpy(nudges).to(images)[:, None]
        weight = regions.weights(images[:1].clamp(-1, 1)).expand(-1, 3, -1, -1).flatten()
        for metric, weights in zip(metrics, (torch.ones_like(weight), weight / weight.mean()), strict=True):
            metric += ((slopes * weights) @ slopes.T).double().cpu().numpy() / slopes.shape[1] / len(frames)
    return metrics


@torch.inference_mode()
def pictures(latents: LatentDecoder, renderer: Renderer, identity: Identity, packets: Tensor) -> Tensor:
    """Packets float32 [n, 35] of one identity -> pictures [n, 3, size, size] in about [-1, 1], turned by their roll."""
    anchor = latents.anchor(torch.from_numpy(np.array(identity.latent, np.float32))[None])
    made = []
    for start in range(0, len(packets), BATCH):
        part = packets[start : start + BATCH]
        values = part.to(latents.device)
        images = renderer.pictures(latents.styles(anchor, values[:, :2], values[:, 3:]))
        made.append(restore_roll(images, part[:, 2]))
    return torch.cat(made)


def _nudges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [35]: by how much to move each parameter to see what it does."""
    alpha = values[:, PARAMS_PER_FRAME - ALPHA_COUNT :]
    moved = float(np.sqrt(np.mean((alpha - alpha.mean(0)) ** 2)))
    nudges = np.full(PARAMS_PER_FRAME, ANGLE_NUDGE, np.float32)
    nudges[-ALPHA_COUNT:] = max(moved, 0.1) if moved > 0 else ALPHA_NUDGE
    return nudges
