"""Refinement of pose and α by rendering and comparing: Eq. 2 and Eq. 3 of 2203.14512 in spirit, many frames at once.

    codes of the feed-forward encoder ─► steps of pose and α together, eyes and mouth weighed most,
                                         each direction as far as it shows ─► codes, less far from the crop

The crop itself is what the renderings are compared with, or its inversion, G(L_t), as in the paper, where nothing that
the generator cannot show is to pull at the codes; with a personalised generator it is always the crop.

The paper first moves the pose alone and weighs the steps of α by their sensitivity (Eq. 8). Here the steps are weighed
by the response to all codes at once, so that none waits for another. The paper takes one frame after the other and
begins each where the last one ended (Eq. 7). Here the frames of a batch move together; what carries over is by how much
the feed-forward codes were wrong, which is much the same from one frame of a person to the next. How far the
corrections may differ between neighbours is limited as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import Identity
from ...decoding.personal import TunedPack
from ...decoding.regions import Regions
from ...decoding.render import pick_dtype
from ...nets.e4e import E4eEncoder
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import (
    CodeUnits,
    DifferentiableRenderer,
    RowAdam,
    at_side,
    coarse_side,
    cosine_decay,
    even_steps,
)
from ..frames import ROLL, AlignedFrame, Crop, FrameCodes, Motion, to_input
from ..losses import LossWeights, ReconstructionLoss
from ..options import EncodeOptions, RefineOptions
from ..rate.sensitivity import picture_metrics

REFINING = "refining"  # the stage's name in reports of progress
CHUNK = 16  # consecutive frames that are refined together
AT_ONCE = 16 * 128**2  # pixels of renderings whose gradients are in memory together
WARM = 0.5  # how fast the correction that the next batch begins with follows the last batch's


def refine_clip(
    frames: Iterable[AlignedFrame],
    motion: Motion,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    known: Collection[int] = (),
    progress: ProgressCallback = silent,
) -> Motion:
    """The motion with pose and α of all frames with a face refined, but of those `known` already.

    frames: the clip from its beginning. pack: with the generator that is sent. latent: [18, 512], as it is sent. The
    frames pass in chunks; memory does not grow with the clip.
    """
    refiner = Refiner(pack, device, latent, options)
    done: list[int] = []
    found: list[FrameCodes] = []
    wanted = set(range(len(motion))).difference(known)
    for rows, crops in crops_in_chunks(frames, wanted, options.batch or CHUNK, REFINING, progress):
        found.append(refiner(crops, motion.codes(rows)))
        done += rows
    if not done:
        return motion
    pose, alpha = np.concatenate([few.pose for few in found]), np.concatenate([few.alpha for few in found])
    return motion.with_codes(done, FrameCodes(np.zeros((len(done), 0, 0), np.float16), pose, alpha))


def crops_in_chunks(
    frames: Iterable[AlignedFrame], wanted: Collection[int], size: int, stage: str, progress: ProgressCallback
) -> Iterator[tuple[list[int], list[Crop]]]:
    """Numbers and crops of `size` frames at a time, of those wanted that have a face; tells the progress of `stage`."""
    count = max(wanted, default=-1) + 1
    rows: list[int] = []
    crops: list[Crop] = []
    for number, frame in zip(range(count), frames, strict=False):
        if frame.crop is not None and number in wanted:
            rows.append(number)
            crops.append(frame.crop)
        if len(rows) >= size:
            yield rows, crops
            rows, crops = [], []
        progress(Progress(stage, number + 1, count))
    if rows:
        yield rows, crops


class Refiner:
    """Refines the codes of successive batches of one clip and one identity.

    pack: with the generator that the receiver will use. latent: float [18, 512], as it is sent.
    """

    def __init__(self, pack: ModelPack, device: torch.device, latent: np.ndarray, options: EncodeOptions) -> None:
        self.settings: RefineOptions = options.refine_tuned if isinstance(pack, TunedPack) else options.refine
        self.pack, self.device, self.identity = pack, device, Identity(latent.astype(np.float16))
        self.renderer = DifferentiableRenderer(pack, device, pick_dtype(self.settings.precision, device))
        self.regions = Regions(pack, device)
        self.loss = ReconstructionLoss(pack, device, LossWeights(features=self.settings.features))
        with torch.no_grad():
            self.anchor = self.renderer.anchor(torch.from_numpy(np.array(latent, np.float32)).to(device))
        self.inversion: E4eEncoder | None = None
        if self.settings.target == "inversion" and not isinstance(pack, TunedPack):
            pack.require(("inversion",), "refinement compared with inversions")
            self.inversion = pack.inversion(device)
        self.offset: Tensor | None = None  # [34] by how much the last codes were corrected
        self.directions: Tensor | None = None  # [34, 34], of steps; see differentiable.even_steps

    @property
    def units(self) -> CodeUnits:
        """The units of the codes."""
        return self.renderer.units

    def __call__(self, crops: Sequence[Crop], codes: FrameCodes) -> FrameCodes:
        """Refine the codes of frames that follow each other; FrameCodes with the refined pose and α."""
        start = self.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        pictures = self._targets(to_input(crops, self.device))
        with torch.enable_grad():
            refined = self.refined(pictures, start)
        pose, alpha = (value.cpu().numpy() for value in self.units.split(refined))
        return FrameCodes(codes.w_id, pose, alpha)

    @torch.no_grad()
    def _targets(self, pictures: Tensor) -> Tensor:
        """What renderings [n, 3, 256, 256] are compared with."""
        if self.inversion is None:
            return pictures
        generator, noise = self.renderer.generator, self.renderer.noise
        inverted: Tensor = generator(self.inversion(pictures), noise, pictures.shape[-1], reference=False)
        return inverted.float().clamp(-1, 1)

    def refined(self, pictures: Tensor, start: Tensor) -> Tensor:
        """Pictures [n, 3, 256, 256] and codes in units [n, 34] -> codes [n, 34], within the pack's reach."""
        settings = self.settings
        begin = start if self.offset is None else start + self.offset
        steps, rows = RowAdam(torch.zeros_like(start)), torch.arange(len(start), device=self.device)
        weight = self.regions.weights(pictures)
        if self.directions is None:
            self.directions = self.even_directions(begin)
        for step in range(settings.steps):
            fraction = step / settings.steps
            side = settings.side if fraction >= settings.coarse else coarse_side(settings.side)
            taken = steps.take(rows)
            (gradient,) = torch.autograd.grad(self.prior(begin + taken @ self.directions, start), taken)
            gradient = gradient * len(rows)
            for few in torch.split(rows, max(1, AT_ONCE // side**2)):
                output = self.renderer.render(self.anchor, begin[few] + taken[few] @ self.directions, side)
                loss = self.loss(output, at_side(pictures[few], side), at_side(weight[few], side))
                gradient += torch.autograd.grad(loss * len(few), taken)[0]
            steps.step(rows, gradient, settings.rate * cosine_decay(fraction))
        found = self.units.bound_(begin + steps.values @ self.directions)
        wrong = (found - start).mean(0)
        self.offset = wrong if self.offset is None else torch.lerp(self.offset, wrong, WARM)
        return found

    def even_directions(self, codes: Tensor) -> Tensor:
        """`even_steps` [34, 34] around codes in units [n, 34], by the weighted pixels of this identity's pictures."""
        pose, alpha = (value.cpu() for value in self.units.split(codes))
        packets = torch.cat([pose, torch.zeros(len(pose), 1), alpha], dim=1)
        metric = picture_metrics(self.pack, self.device, self.identity, packets.numpy()).perceptual
        moving = [k for k in range(len(metric)) if k != ROLL]
        scale = self.units.scale
        return even_steps(torch.from_numpy(metric[np.ix_(moving, moving)]).to(scale) * scale * scale[:, None])

    def prior(self, codes: Tensor, start: Tensor) -> Tensor:
        """What corrections of codes [n, 34] cost: their size, and how much they differ between neighbours in time."""
        wrong = codes - start
        cost = self.settings.prior * wrong.square().mean()
        if self.settings.smoothness and len(codes) > 1:
            cost = cost + self.settings.smoothness * wrong.diff(dim=0).square().mean()
        return cost
