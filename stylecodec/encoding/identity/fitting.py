"""The identity latent, fitted to the clip: what the feed-forward encoder gives is where the search in W+ begins.

    frames spread over the clip, their codes ─► W+ so that their renderings look like them; pose and α stay

A network's first guess knows what the people that it was trained on have in common; the 18 × 512 numbers can say more.
The search is that of projection into W+ (1904.03189, and the pivot of pivotal tuning, 2106.05744), over several frames
at once, so that what belongs to one of them alone is not taken for the person. It costs seconds once per clip, and no
bytes but those of a latent that is less common. On the way the face is kept moving: behind glasses a likeness that
never opens its mouth is as near as one that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding.regions import MOUTH_INSIDE, PASS, Regions
from ...decoding.render import pick_dtype
from ...packs.store import ModelPack
from ..code_units import BETAS, shuffled
from ..losses import LossWeights, PartsInPlace, Resemblance, StillMoves
from ..motion.feedforward import Crop, FrameCodes, to_input
from ..motion.refinement import Scene, at_side, falling
from ..options import FitOptions


def fit_identity(
    latent: NDArray[np.float16],
    crops: Sequence[Crop],
    codes: FrameCodes,
    pack: ModelPack,
    device: torch.device,
    options: FitOptions,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float16]:
    """The latent [18, 512] with which the pack renders the codes of `crops` (1 and more) most like them.

    `progress` is told the number of steps done. With `options.steps` 0 the latent is returned as it is.
    """
    if options.steps == 0:
        return latent
    scene = Scene(pack, device, pick_dtype(options.precision, device))
    side = min(options.side, pack.card.resolution)
    batch = min(options.batch, len(crops))
    batches = iter(shuffled(len(crops), batch, torch.Generator().manual_seed(0)))
    pictures = to_input(crops, device)
    regions = Regions(pack, device)
    whole, parts = fit_weights(regions, pictures, options)
    weight, target = at_side(whole, side), at_side(pictures, side)
    placed = scene.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    pivot = torch.from_numpy(latent.astype(np.float32)).to(device)
    in_place: PartsInPlace | None = None
    still_moves: StillMoves | None = None
    if parts is not None:
        in_place = PartsInPlace(regions, at_side(parts, side), scene.dtype) if options.parts else None
        still_moves = StillMoves(regions, _rendered(scene, pivot, placed, side)) if options.response else None
    resemblance = Resemblance(pack, device, LossWeights(features=options.features))
    spread = pack.feedforward(device).latent_std
    moved = torch.zeros_like(pivot[: options.rows], requires_grad=True)  # from the pivot, in units of the spread
    optimizer = torch.optim.Adam([moved], betas=BETAS)
    chance, every = torch.Generator().manual_seed(1), options.parts_every
    with torch.enable_grad():
        for step in range(options.steps):
            few, others = next(batches).to(device), torch.zeros(0, dtype=torch.int64, device=device)
            fraction = step / options.steps
            response = options.response * (1 - fraction / options.response_share)
            if still_moves is not None and response > 0 and step % every == every // 2:
                others = torch.randint(len(crops), (len(few),), generator=chance).to(device)
            optimizer.param_groups[0]["lr"] = options.rate * falling(fraction)
            anchor = scene.anchor(torch.cat([pivot[: options.rows] + moved * spread, pivot[options.rows :]]))
            rendered = scene.render(anchor, placed[torch.cat([few, others])], side)
            output, beside = rendered[: len(few)], rendered[len(few) :]
            loss = resemblance(output, target[few], weight[few]) + options.hold * moved.square().mean()
            if in_place is not None and step % every == 0:
                loss = loss + every * options.parts * in_place(output, few)
            if still_moves is not None and len(others):
                loss = loss + every * response * still_moves(output, few, beside, others)
            (moved.grad,) = torch.autograd.grad(loss, moved)
            optimizer.step()
            if progress is not None:
                progress(step + 1)
    pivot[: options.rows] += moved.detach() * spread
    return np.asarray(pivot.cpu().numpy(), np.float16)


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
def _rendered(scene: Scene, latent: Tensor, codes: Tensor, side: int) -> Tensor:
    """Codes [N, 34] in units of one latent -> [N, 3, side, side]; few at a time, for the memory's sake."""
    anchor = scene.anchor(latent)
    return torch.cat([scene.render(anchor, few, side) for few in torch.split(codes, PASS)])
