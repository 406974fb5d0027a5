"""Pivotal tuning as the paper uses it (2106.05744; 2203.14512 section 4.1): the generator is fine-tuned on inversions.

    L_t of frames spread over the clip, held ─► steps of the generator so that G(L_t) is the frame ─► G*
                                                 └► what changed, rounded: the delta that the stream carries

Everything after it, the choice of the identity included, is done with G*; targets are G*(L_t).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import ALPHA_COUNT
from ...decoding.personal import TunedPack, differences, tunable
from ...decoding.regions import Regions
from ...metrics.psnr import psnr
from ...nets.stylegan2 import Generator
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import DifferentiableRenderer, at_side, shuffled
from ..frames import Crop, FrameCodes, to_input
from ..options import EncodeOptions
from ..personalization.clip import TunedClip
from ..personalization.delta_coding import fitted, measure
from ..personalization.tuning import Personalized
from .perceptual import Perceptual
from .rendering import Rendering
from .settings import PaperOptions

TUNING = "tuning the generator to the inversions"  # the stage's name in reports of progress
BATCH = 2


@dataclass(frozen=True)
class Tuned:
    """G* as it came out, before its delta is rounded."""

    generator: Generator
    psnr: NDArray[np.float32]  # [n] dB of the head, of the pivots' pictures
    steps: int
    seconds: float


def tune(
    pack: ModelPack,
    crops: Sequence[Crop],
    pivots: NDArray[np.float16],
    device: torch.device,
    options: PaperOptions,
    progress: ProgressCallback = silent,
) -> Tuned:
    """Tune a copy of the pack's generator so that pivots [n, 18, 512] render their crops: L2 and LPIPS."""
    begun = time.time()
    generator = copy.deepcopy(pack.generator(device))
    rendering = Rendering(TunedPack(pack, generator=generator), device, options.side_for(pack.indices))
    perceptual = Perceptual(pack, device)
    pictures, latents = to_input(crops, device), torch.from_numpy(pivots.astype(np.float32)).to(device)
    target = at_side(pictures, rendering.side)
    parameters = [p.requires_grad_(True) for name, p in tunable(generator) if "noise_strength" not in name]
    optimizer = torch.optim.Adam(parameters, lr=options.tuning_rate)
    batches = iter(shuffled(len(crops), min(BATCH, len(crops)), torch.Generator().manual_seed(0)))
    for step in range(options.tuning_steps):
        rows = next(batches).to(device)
        with torch.enable_grad():
            output = rendering.pictures(generator.styles(latents[rows]))
            features = perceptual.features(output.clamp(-1, 1))
            with torch.no_grad():
                wanted = perceptual.features(target[rows])
            everywhere = output.new_ones(1, 1, rendering.side, rendering.side)
            loss = (output - target[rows]).square().mean() + perceptual.distance(features, wanted, everywhere).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        progress(Progress(TUNING, step + 1, options.tuning_steps, "steps"))
    generator.requires_grad_(False).eval()
    quality = pivot_psnr(rendering, latents, target, at_side(Regions(pack, device).head(pictures), rendering.side))
    return Tuned(generator, quality, options.tuning_steps, time.time() - begun)


@torch.no_grad()
def pivot_psnr(rendering: Rendering, latents: Tensor, target: Tensor, head: Tensor) -> NDArray[np.float32]:
    """[n] dB of the head of G*(L_t) against the frames."""
    made = [rendering.pictures(rendering.generator.styles(one[None])) for one in latents]
    return np.asarray(psnr(torch.cat(made), target, head).cpu().numpy(), np.float32)


def rounded(
    tuned: Tuned,
    pack: ModelPack,
    latent: NDArray[np.float16],
    poses: NDArray[np.float32],
    rows: NDArray[np.intp],
    device: torch.device,
    options: EncodeOptions,
) -> TunedClip:
    """G* as the stream carries it, around L_ID [18, 512] in the poses [n, 2] of the tuned frames `rows`."""
    changes = differences(tuned.generator, pack.generator(device))
    exact = DifferentiableRenderer(TunedPack(pack, generator=tuned.generator), device)
    with torch.no_grad():
        anchor = exact.anchor(torch.from_numpy(latent.astype(np.float32)).to(device))
    codes = exact.units.units(torch.from_numpy(poses), torch.zeros(len(poses), ALPHA_COUNT))
    measured = measure(exact, anchor, codes, pack.generator(device), pack.digest, changes)
    budget = options.tuning
    delta = fitted(measured, budget.delta_bytes, float(tuned.psnr.mean()) + budget.delta_margin)
    empty = FrameCodes(np.zeros((len(rows), 0, 0), np.float16), poses, np.zeros((len(rows), ALPHA_COUNT), np.float32))
    result = Personalized(latent, delta, empty, tuned.psnr, tuned.psnr, (), tuned.steps, tuned.seconds, measured)
    return TunedClip(TunedPack(pack, delta), result, rows)


def with_latent(clip: TunedClip, latent: NDArray[np.float16]) -> TunedClip:
    """The same with the latent that is sent in the end."""
    return replace(clip, result=replace(clip.result, latent=latent))
