"""The squares of somebody known, laid where the personalised generator draws the face.

    frames spread over the clip ─► each square's zoom and place, with the codes beside, by rendering and comparing
                                ─► smoothed, carried over to the frames between ─► the clip, its squares moved
                                └► if asked for, the latent as well: light, hair and clothes are of the day

How large a square is and how high it sits over the eyes are medians over a clip: over what the person happens to do in
it. In another clip of the same person they come out some hundredths otherwise. A generator for everybody does not mind;
one that was tuned to the first clip's squares can draw no others, and packets have no numbers for size and place.

What the encoder reads off the compared frames only begins the search: once its squares have moved, every crop has other
pixels, and the clip's codes are read off those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional as F

from ...bitstream import Identity
from ...decoding.personal import TunedPack
from ...face.warp import warp
from ...packs.registry import pick_device
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import RowAdam, at_side, coarse_side, cosine_decay
from ..frames import CROP_SIZE, AlignedClip, Crop, to_input
from ..identity.cards import IdentityCard
from ..motion.feedforward import analyse
from ..motion.refinement import Refiner
from ..options import EncodeOptions
from .locality import latent_deviation

REGISTERING = "placing the face"  # the stage's name in reports of progress
FRAMES = 32  # of the clip that are compared
STEPS = 25  # of the optimiser, for each of them
BATCH = 8  # frames per step
MOVE_RATE = 0.004  # step size of zoom and place, in the units of CropTransform.moved
FARTHEST = 0.1  # in the same units, that a square may move
LATENT_RATE = 0.05  # step size of the latent, in units of its deviation over people
MARGIN = 1.25  # side of what is cut out around a square, to move it in
SMOOTHING = 1.5  # sigma, in compared frames, of the Gaussian over what was found


@dataclass(frozen=True)
class Registration:
    """The clip and the card to go on with."""

    clip: AlignedClip  # its squares where the card's generator draws the face
    card: IdentityCard  # with another latent if that was fitted to this clip
    moves: NDArray[np.float64] | None  # [n, 3] of all frames, as CropTransform.moved takes them; None: nothing to place


def register_crops(
    clip: AlignedClip,
    card: IdentityCard,
    pack: ModelPack,
    options: EncodeOptions,
    progress: ProgressCallback = silent,
) -> Registration:
    """The clip with its squares where the card's generator draws the face; as it is when the card has no generator.

    With `options.refit` the card has another latent, fitted to this clip on the way. PackMismatch when the generator is
    not of this pack.
    """
    if card.delta is None:
        return Registration(clip, card, None)
    device = pick_device(options.device)
    wide_side = round(CROP_SIZE * MARGIN)
    crops, wide = [], []
    for frame, square in clip.sampled_frames(FRAMES):
        crops.append(warp(frame, square, CROP_SIZE))
        wide.append(warp(frame, square.moved(float(np.log(MARGIN)), 0.0, 0.0), wide_side))
    search = _Search(TunedPack(pack, card.delta), crops, wide, card.identity.latent, device, options)
    with torch.enable_grad():
        for step in range(STEPS):
            search.step(cosine_decay(step / STEPS))
            progress(Progress(REGISTERING, step + 1, STEPS, "steps"))
    calm = gaussian_filter1d(search.moves.values.double().cpu().numpy(), SMOOTHING, axis=0, mode="nearest")
    numbers = clip.sampled(FRAMES)
    moves = np.stack([np.interp(np.arange(len(clip.track)), numbers, column) for column in calm.T], axis=1)
    if options.refit:
        latent = search.latent.values.reshape(search.pivot.shape).cpu().numpy()
        card = IdentityCard(Identity(latent.astype(np.float16)), card.delta, fresh=True)
    return Registration(AlignedClip(clip.read, clip.track.moved(moves)), card, moves)


class _Search:
    """Zoom, across and down of squares, their codes, and, if asked for, the latent: all at once.

    crops [n, 256, 256, 3] as aligned; wide: the same cut MARGIN times as large; latent [18, 512].
    """

    def __init__(
        self,
        pack: TunedPack,
        crops: Sequence[Crop],
        wide: Sequence[Crop],
        latent: NDArray[np.float16],
        device: torch.device,
        options: EncodeOptions,
    ) -> None:
        self.refiner = Refiner(pack, device, latent, options)
        self.side, self.wide = coarse_side(self.refiner.settings.side), to_input(wide, device)
        self.weight = at_side(self.refiner.regions.weights(to_input(crops, device)), self.side)
        codes = [analyse(crops[first : first + BATCH], pack, device) for first in range(0, len(crops), BATCH)]
        pose = torch.from_numpy(np.concatenate([few.pose for few in codes]))
        alpha = torch.from_numpy(np.concatenate([few.alpha for few in codes]))
        self.start = self.refiner.renderer.units.units(pose, alpha)
        self.directions = self.refiner.even_directions(self.start)
        self.codes, self.moves = RowAdam(torch.zeros_like(self.start)), RowAdam(self.start.new_zeros(len(crops), 3))
        self.pivot = torch.from_numpy(latent.astype(np.float32)).to(device)
        self.latent, self.deviation = RowAdam(self.pivot.reshape(1, -1)), latent_deviation(self.refiner.renderer)
        self.refit, self.identity_prior = options.refit, options.tuning.identity_prior

    def step(self, slower: float) -> None:
        """A step for every frame, of `slower` times the step sizes."""
        refiner, device = self.refiner, self.start.device
        only = torch.zeros(1, dtype=torch.int64, device=device)
        for rows in torch.split(torch.arange(len(self.start), device=device), BATCH):
            taken, moved, row = self.codes.take(rows), self.moves.take(rows), self.latent.take(only)
            latent, at = row.reshape(self.pivot.shape), self.start[rows] + taken @ self.directions
            output = refiner.renderer.render(refiner.renderer.anchor(latent), at, self.side)
            loss = refiner.loss(output, _cut(self.wide[rows], moved, self.side), self.weight[rows])
            loss = loss + refiner.prior(at, self.start[rows])
            loss = loss + self.identity_prior * ((latent - self.pivot) / self.deviation).square().mean()
            gradients = torch.autograd.grad(loss, (taken, moved, row))
            self.codes.step(rows, gradients[0] * len(rows), refiner.settings.rate * slower)
            self.moves.step(rows, gradients[1], MOVE_RATE * slower)
            self.moves.values.clamp_(-FARTHEST, FARTHEST)
            if self.refit:
                self.latent.step(only, gradients[2], LATENT_RATE * self.deviation * slower)


def _cut(wide: Tensor, moved: Tensor, side: int) -> Tensor:
    """Squares [n, 3, side, side] moved by [n, 3] within their wide cuts [n, 3, W, W]; differentiable in the moves."""
    line = (torch.arange(2 * side, device=wide.device) + 0.5) / side - 1  # drawn at twice the size, then averaged
    down, across = torch.meshgrid(line, line, indexing="ij")
    zoom, place = moved[:, 0].exp()[:, None, None, None], 2 * moved[:, None, None, 1:]
    grid = (torch.stack([across, down], dim=-1) * zoom + place) / MARGIN
    return at_side(F.grid_sample(wide, grid, align_corners=False, padding_mode="border"), side)
