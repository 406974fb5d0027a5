"""Pixel correction: codes moved so that a personalised generator's pictures come nearer to the person's, in one step.

    codes ─► farthest-point keyframes ─► how their pictures change with each code: a Jacobian for each
    codes ─► pictures ─► what the crops have and they have not, eyes and mouth weighed most
                              └─► by the Jacobian of the nearest keyframe ─► change of codes

A Gauss-Newton step, damped, on pixels and on the differences between neighbouring ones. Refinement (refinement.py)
goes on where this ends, by twelve steps of a gradient for every frame; this takes one rendering for every frame, and
the Jacobians once for a clip. A generator for everybody does not show a person well enough in pixels to be asked.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding.regions import Regions
from ...decoding.render import pick_dtype
from ...nets.threads import side_by_side
from ...packs.store import ModelPack
from ...progress import ProgressCallback, silent
from ..differentiable import DifferentiableRenderer, at_side
from ..frames import AlignedFrame, Crop, FrameCodes, Motion, to_input
from ..identity.keyframes import farthest
from ..options import PixelCorrectionOptions
from .refinement import crops_in_chunks

CORRECTING = "correcting by pixels"  # the stage's name in reports of progress
AT_ONCE = 8  # renderings
FARTHEST = 1.5  # units that a code is moved


def correct_by_pixels(
    frames: Iterable[AlignedFrame],
    motion: Motion,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: PixelCorrectionOptions,
    progress: ProgressCallback = silent,
) -> Motion:
    """The motion with pose and α corrected; the roll and frames without a face stay.

    frames: the clip from its beginning, read once. pack: with the generator that is sent, a personalised one. latent:
    [18, 512], as it is sent. The frames pass in few at a time; memory does not grow with the clip.
    """
    rows = motion.faces
    if not len(rows):
        return motion
    renderer = DifferentiableRenderer(pack, device, pick_dtype(options.precision, device))
    first = motion.codes(rows)
    codes = renderer.units.units(torch.from_numpy(first.pose), torch.from_numpy(first.alpha))
    begun = [len(rows) // 2]
    answers = PixelAnswers(renderer, latent, codes[farthest(codes.cpu().numpy(), begun, options.keyframes)], options)
    place, regions = {int(row): k for k, row in enumerate(rows)}, Regions(pack, device)

    def corrected(chunk: tuple[list[int], list[Crop]]) -> tuple[list[int], Tensor]:
        few, pictures = [place[number] for number in chunk[0]], to_input(chunk[1], device)
        return few, answers.corrected(codes[few], pictures, regions.weights(pictures))

    found = codes.clone()
    for few, better in side_by_side(corrected, crops_in_chunks(frames, place, AT_ONCE, CORRECTING, progress), device):
        found[few] = better
    pose, alpha = (value.cpu().numpy() for value in renderer.units.split(renderer.units.bound_(found)))
    return motion.with_codes(rows, FrameCodes(first.w_id, pose, alpha))


class PixelAnswers:
    """How pictures of one identity latent [18, 512] change with codes, measured at keyframes [k, 34] in units."""

    def __init__(
        self,
        renderer: DifferentiableRenderer,
        latent: NDArray[np.float16],
        keyframes: Tensor,
        options: PixelCorrectionOptions,
    ) -> None:
        self.renderer, self.keyframes, self.options = renderer, keyframes, options
        with torch.no_grad():
            self.anchor = renderer.anchor(torch.from_numpy(latent.astype(np.float32)).to(renderer.device))
        answers = side_by_side(self._jacobian, keyframes, keyframes.device)
        self.jacobians = torch.stack(list(answers))  # [k, 34, 3, S, S]

    @torch.no_grad()
    def corrected(self, codes: Tensor, pictures: Tensor, weights: Tensor) -> Tensor:
        """Codes [n, 34] of pictures [n, 3, S, S] in [-1, 1], weights [n, 1, S, S] -> codes [n, 34], not bounded."""
        side = self.options.compared
        missing = at_side(pictures, side) - self._pictures(codes)
        weights = at_side(weights, side)
        weights = (weights / weights.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)).sqrt()
        nearest = torch.cdist(codes, self.keyframes).argmin(dim=1)
        changes = [
            self._solved(pixel_features(self.jacobians[k], weight), pixel_features(lack[None], weight)[0])
            for k, lack, weight in zip(nearest.tolist(), missing, weights, strict=True)
        ]
        return codes + torch.stack(changes).clamp(-FARTHEST, FARTHEST)

    def _solved(self, jacobian: Tensor, missing: Tensor) -> Tensor:
        """The change of codes [34] by a Jacobian [34, m] and what is missing [m]; the normal equations are damped."""
        normal = jacobian @ jacobian.T / len(missing)
        damping = self.options.damping * torch.eye(len(normal), device=normal.device)
        change: Tensor = torch.linalg.solve(normal + damping, jacobian @ missing / len(missing))
        return change

    @torch.no_grad()
    def _jacobian(self, codes: Tensor) -> Tensor:
        """[34] -> [34, 3, S, S]: what a unit more of each code adds to the picture."""
        step = self.options.step
        moves = step * torch.eye(len(codes), device=codes.device)
        return (self._pictures(codes + moves) - self._pictures(codes - moves)) / (2 * step)

    def _pictures(self, codes: Tensor) -> Tensor:
        """[n, 34] -> [n, 3, S, S], as they are compared."""
        few = torch.split(codes, AT_ONCE)
        drawn = (self.renderer.render(self.anchor, part, self.options.side, reference=False) for part in few)
        return torch.cat([at_side(pictures.clamp(-1, 1), self.options.compared) for pictures in drawn])


def pixel_features(pictures: Tensor, weight: Tensor) -> Tensor:
    """Pictures [n, 3, S, S] -> [n, m]: pixels and the differences between neighbours, times `weight` [1, S, S]."""
    across, down = pictures.diff(dim=-1) * weight[..., 1:], pictures.diff(dim=-2) * weight[..., 1:, :]
    return torch.cat([part.flatten(1) for part in (pictures * weight, across, down)], dim=1)
