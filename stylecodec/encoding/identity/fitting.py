"""The identity latent, fitted to the clip: what the feed-forward encoder gives is where the search in W+ begins.

    frames spread over the clip, their codes ─► W+ so that their renderings look like them; pose and α stay

A network's first guess knows what the people that it was trained on have in common; the 18 × 512 numbers can say more.
The search is that of projection into W+ (1904.03189, and the pivot of pivotal tuning, 2106.05744), over several frames
at once, so that what belongs to one of them alone is not taken for the person. It costs seconds once per clip, and no
bytes but those of a latent that is less common. On the way the face is kept moving: behind glasses a likeness that
never opens its mouth is as near as one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding.regions import MOUTH_INSIDE, PASS, Regions
from ...decoding.render import pick_dtype
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import BETAS, DifferentiableRenderer, at_side, cosine_decay, shuffled
from ..frames import Crop, FrameCodes, to_input
from ..identity_loss import IdentityOfPictures
from ..losses import LossWeights, MotionLoss, PartPlacementLoss, ReconstructionLoss
from ..options import FitOptions
from ..personalization.locality import latent_deviation
from .selection import Candidate

FITTING = "fitting the identity"  # the stage's name in reports of progress


@dataclass(frozen=True)
class FittedIdentity:
    """The latent that the search ended with."""

    latent: NDArray[np.float16]  # [18, 512]
    steps: int


def fit_identity(
    latent: NDArray[np.float16],
    crops: Sequence[Crop],
    codes: FrameCodes,
    pack: ModelPack,
    device: torch.device,
    options: FitOptions,
    progress: ProgressCallback = silent,
) -> FittedIdentity:
    """The latent [18, 512] with which the pack renders the codes of `crops` (1 and more) most like them.

    With `options.enabled` off the latent is returned as it is, after 0 steps.
    """
    if not options.enabled:
        return FittedIdentity(latent, 0)
    search = _LatentSearch(latent, crops, codes, pack, device, options)
    with torch.enable_grad():
        for step in range(options.steps):
            search.step(step)
            progress(Progress(FITTING, step + 1, options.steps, "steps"))
    return FittedIdentity(search.found(), options.steps)


def fit_to_candidates(
    latent: NDArray[np.float16],
    frames: Sequence[Candidate],
    pack: ModelPack,
    device: torch.device,
    options: FitOptions,
    progress: ProgressCallback = silent,
) -> FittedIdentity:
    """`fit_identity` to the frames that the analysis of a clip kept."""
    pose, alpha = np.stack([c.pose for c in frames]), np.stack([c.alpha for c in frames])
    codes = FrameCodes(np.stack([c.w_id for c in frames]), pose, alpha)
    return fit_identity(latent, [c.crop for c in frames], codes, pack, device, options, progress)


class _LatentSearch:
    """Adam on the first rows of W+, in units of the latent's standard deviation over people."""

    def __init__(
        self,
        latent: NDArray[np.float16],
        crops: Sequence[Crop],
        codes: FrameCodes,
        pack: ModelPack,
        device: torch.device,
        options: FitOptions,
    ) -> None:
        self.options, self.device, self.count = options, device, len(crops)
        self.renderer = DifferentiableRenderer(pack, device, pick_dtype(options.precision, device))
        self.side = min(options.side, pack.card.resolution)
        self.batches = iter(shuffled(self.count, min(options.batch, self.count), torch.Generator().manual_seed(0)))
        pictures = to_input(crops, device)
        regions = Regions(pack, device)
        whole, parts = fit_weights(regions, pictures, options)
        self.weight, self.target = at_side(whole, self.side), at_side(pictures, self.side)
        self.codes = self.renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        self.pivot = torch.from_numpy(latent.astype(np.float32)).to(device)
        self.placement: PartPlacementLoss | None = None
        self.motion: MotionLoss | None = None
        if parts is not None and options.parts:
            self.placement = PartPlacementLoss(regions, at_side(parts, self.side), self.renderer.dtype)
        if parts is not None and options.response:
            self.motion = MotionLoss(regions, _rendered(self.renderer, self.pivot, self.codes, self.side))
        self.loss = ReconstructionLoss(pack, device, LossWeights(features=options.features))
        self.identity = IdentityOfPictures(crops, device) if options.identity else None
        known = pack.has("feedforward")
        self.deviation = pack.feedforward(device).latent_std if known else latent_deviation(self.renderer)
        self.moved = torch.zeros_like(self.pivot[: options.rows], requires_grad=True)  # from the pivot
        self.optimizer = torch.optim.Adam([self.moved], betas=BETAS)
        self.random = torch.Generator().manual_seed(1)

    def step(self, step: int) -> None:
        """One step of the latent against one batch of frames."""
        options, every = self.options, self.options.parts_every
        few = next(self.batches).to(self.device)
        others = torch.zeros(0, dtype=torch.int64, device=self.device)
        fraction = step / options.steps
        response = options.response * (1 - fraction / options.response_share)
        if self.motion is not None and response > 0 and step % every == every // 2:
            others = torch.randint(self.count, (len(few),), generator=self.random).to(self.device)
        self.optimizer.param_groups[0]["lr"] = options.rate * cosine_decay(fraction)
        anchor = self.renderer.anchor(
            torch.cat([self.pivot[: options.rows] + self.moved * self.deviation, self.pivot[options.rows :]])
        )
        rendered = self.renderer.render(anchor, self.codes[torch.cat([few, others])], self.side)
        output, beside = rendered[: len(few)], rendered[len(few) :]
        loss = self.loss(output, self.target[few], self.weight[few]) + options.prior * self.moved.square().mean()
        if self.identity is not None and step % every == every // 2:
            loss = loss + every * options.identity * self.identity(output, few)
        if self.placement is not None and step % every == 0:
            loss = loss + every * options.parts * self.placement(output, few)
        if self.motion is not None and len(others):
            loss = loss + every * response * self.motion(output, few, beside, others)
        (self.moved.grad,) = torch.autograd.grad(loss, self.moved)
        self.optimizer.step()

    def found(self) -> NDArray[np.float16]:
        """The latent [18, 512] as it is now."""
        latent = self.pivot.clone()
        latent[: self.options.rows] += self.moved.detach() * self.deviation
        return np.asarray(latent.cpu().numpy(), np.float16)


@torch.no_grad()
def fit_weights(regions: Regions, pictures: Tensor, options: FitOptions) -> tuple[Tensor, Tensor | None]:
    """Of pictures [N, 3, S, S]: how much each pixel matters to the fit [N, 1, S, S], and the parts of the face there.

    The parts are those of `Regions.parts` [N, 5, S, S]; without a parser there are none.
    """
    if regions.parser is None:
        return regions.weights(pictures), None
    weights, parts = regions.weights_and_parts(pictures)
    return weights * (1 + options.mouth * parts[:, MOUTH_INSIDE : MOUTH_INSIDE + 1]), parts


@torch.no_grad()
def _rendered(renderer: DifferentiableRenderer, latent: Tensor, codes: Tensor, side: int) -> Tensor:
    """Codes [N, 34] in units of one latent -> [N, 3, side, side]; few at a time, for the memory's sake."""
    anchor = renderer.anchor(latent)
    return torch.cat([renderer.render(anchor, few, side, reference=False) for few in torch.split(codes, PASS)])
