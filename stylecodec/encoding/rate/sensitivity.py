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
from ...nets.threads import side_by_side
from ...packs.store import ModelPack


class Metrics(NamedTuple):
    """What an error e of a packet does to the picture: e · metric · e, in squared levels of 255, mean of pixels."""

    pixels: NDArray[np.float64]  # [35, 35]: all pixels count the same
    perceptual: NDArray[np.float64]  # [35, 35]: pixels weighted as in regions.py, eyes and mouth most; mean weight 1


KINDS = 3  # of style layers per resolution: conv-up, conv, toRGB
PROBE_SIZE = 256  # pixels per side
PROBED_FRAMES = 2
BATCH = 8
ANGLE_NUDGE = 0.5  # degrees
ALPHA_NUDGE = 0.25  # of an offset, in its RMS deviation over all offsets of the clip, or in units if nothing moves
PROJECTIONS = 4  # of the picture on noise, whose gradients tell how much styles show
SMOOTHING = 0.3  # of a style's weight is the mean of its layer's, as few projections tell single weights roughly


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


def style_weights(
    latents: LatentDecoder, renderer: Renderer, identity: Identity, packet: Tensor
) -> list[NDArray[np.float64]]:
    """Per StyleSpace layer [C_l]: what a unit of each style does to the picture, in squares of its [-1, 1], mean of
    pixels; of the picture of one packet [35], before its roll.

    Gradients of projections on noise have this as their mean square. Layers above the renderer's size are taken to
    show as much as the last layers of their kinds below it.
    """
    with torch.no_grad():
        anchor = latents.anchor(torch.from_numpy(np.array(identity.latent, np.float32))[None])
        values = packet[None].to(latents.device)
        styles = [style.detach() for style in latents.styles(anchor, values[:, :2], values[:, 3:])]
    seen = sum(entry.resolution <= renderer.level for entry in latents.generator.layout.layers)
    for style in styles[:seen]:
        style.requires_grad_()
    image = renderer.generator.synthesis(styles, renderer.noise, renderer.level, renderer.dtype)
    noise = torch.Generator().manual_seed(0)
    weights = [np.zeros(style.shape[1]) for style in styles]
    for left in reversed(range(PROJECTIONS)):
        drawn = torch.randn(image.shape, generator=noise).to(image)
        for weight, slope in zip(
            weights, torch.autograd.grad(image, styles[:seen], drawn, retain_graph=left > 0), strict=False
        ):
            weight += slope[0].double().cpu().numpy() ** 2 / PROJECTIONS / image.numel()
    weights = [weight + SMOOTHING * (weight.mean() - weight) for weight in weights]
    for layer in range(seen, len(weights)):
        weights[layer][:] = weights[layer - KINDS].mean()
    return weights


def pictures(latents: LatentDecoder, renderer: Renderer, identity: Identity, packets: Tensor) -> Tensor:
    """Packets float32 [n, 35] of one identity -> pictures [n, 3, size, size] in about [-1, 1], turned by their roll."""

    @torch.inference_mode()
    def drawn(part: Tensor) -> Tensor:
        values = part.to(latents.device)
        images = renderer.pictures(latents.styles(anchor, values[:, :2], values[:, 3:]))
        return restore_roll(images, part[:, 2])

    with torch.inference_mode():
        anchor = latents.anchor(torch.from_numpy(np.array(identity.latent, np.float32))[None])
        return torch.cat(list(side_by_side(drawn, torch.split(packets, BATCH), latents.device)))


def _nudges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [35]: by how much to move each parameter to see what it does."""
    alpha = values[:, PARAMS_PER_FRAME - ALPHA_COUNT :]
    moved = float(np.sqrt(np.mean((alpha - alpha.mean(0)) ** 2)))
    nudges = np.full(PARAMS_PER_FRAME, ANGLE_NUDGE, np.float32)
    nudges[-ALPHA_COUNT:] = max(moved, 0.1) if moved > 0 else ALPHA_NUDGE
    return nudges
