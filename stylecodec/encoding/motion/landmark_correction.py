"""Landmark correction: codes moved so that the avatar does what the person does, as the face mesh sees both.

    features of the person ─────────────────────────────┐
    codes ─► renderings ─► features ─► what is missing, less its median over the clip
                                        ├─► of the nose: pose
                                        └─► of brows, lids, lips, with the pose corrected: α (gaze is left as it is)

The feed-forward encoder was trained on drawn heads, and what the identity latent makes of its codes differs from person
to person. The face mesh was trained on people and sees where lids, brows and lips of either are. The two differ by a
constant, since an avatar has a face of its own; the rest, as far as it is more than the mesh's own error, is a linear
problem, solved for all frames at once. It is the landmark loss of Eq. 3 of 2203.14512 in one Gauss-Newton step instead
of many of a gradient. Pose is solved before α: a turn of the head also moves the mouth sideways.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard
from torch import Tensor

from ...bitstream import ALPHA_COUNT
from ...decoding.latents import Anchor
from ...decoding.render import pick_dtype
from ...metrics.landmark_features import NAMES, POSE, FeatureReader, noise_floor
from ...nets.threads import side_by_side
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import POSE_UNITS, DifferentiableRenderer
from ..frames import FrameCodes, Motion, pieces, smooth
from ..options import LandmarkCorrectionOptions

CORRECTING = "correcting by landmarks"  # the stage's name in reports of progress
AT_ONCE = 16  # renderings
FARTHEST = 3.0  # units that a code is moved: a hand before the mouth is no reason for more
LOUD = ("lips_apart", "mouth_across")  # what is seen at once when it is wrong


def correct_by_landmarks(
    motion: Motion,
    features: NDArray[np.float32],
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: LandmarkCorrectionOptions,
    sigma_frames: float,
    progress: ProgressCallback = silent,
    cuts: Sequence[int] = (),
) -> Motion:
    """The motion with pose and α corrected; the roll and frames without a face stay.

    features: float32 [n, 17], of the person's crops. pack: with the generator that renders. sigma_frames: of the
    Gaussian that the motion was smoothed with over time, cuts: frames that it did not cross. Features count by how far
    they vary beyond the pack's noise floor. A clip with fewer than two faces has no median to compare with: its motion
    is returned as it is.
    """
    rows = motion.faces
    if len(rows) < 2:
        return motion
    renderer = DifferentiableRenderer(pack, device, pick_dtype(options.precision, device))
    first = motion.codes(rows)
    codes = renderer.units.units(torch.from_numpy(first.pose), torch.from_numpy(first.alpha))
    cuts = np.searchsorted(rows, cuts).tolist()
    wanted = torch.from_numpy(_smooth(features[rows], sigma_frames, cuts)).to(device)
    identity = torch.from_numpy(latent.astype(np.float32)).to(device)
    rendered = RenderedFeatures(renderer, identity, min(options.side, pack.card.resolution))
    jacobian = rendered.jacobian(codes[half_open(wanted[:, 0], options.frames)], options.step)
    shown = rendered_rows(len(rows), options.every)
    parts, found = torch.split(shown, AT_ONCE), list[Tensor]()
    for seen in side_by_side(rendered, (codes[few.to(device)] for few in parts), device):
        last = int(parts[len(found)][-1])
        found.append(seen)
        done = len(motion) if last == len(rows) - 1 else int(rows[last]) + 1
        progress(Progress(CORRECTING, done, len(motion)))
    features_shown = between(shown.to(device), torch.cat(found), codes, jacobian)
    missing = above_noise(residual(wanted, features_shown), noise_floor(pack))
    change = solved(jacobian, missing, wanted - wanted.median(dim=0).values, options).clamp(-FARTHEST, FARTHEST)
    moved = codes + torch.from_numpy(_smooth(change.cpu().numpy(), sigma_frames, cuts)).to(device)
    pose, alpha = (value.cpu().numpy() for value in renderer.units.split(moved))
    return motion.with_codes(rows, FrameCodes(first.w_id, pose, alpha))


def rendered_rows(count: int, every: int) -> Tensor:
    """Numbers of the frames that are rendered: one of so many, and the last."""
    return torch.cat([torch.arange(0, count - 1, every), torch.tensor([count - 1])])


def between(shown: Tensor, found: Tensor, codes: Tensor, jacobian: Tensor) -> Tensor:
    """Features [n, 17] of all codes [n, 34] from those found [k, 17] of the codes of numbers `shown` [k], which rise
    and hold the first and the last. jacobian: [17, 34].

    Others are what both neighbours lead to, to first order, each by how near its codes are: over a cut only one is.
    """
    number = torch.arange(len(codes), device=codes.device)
    after = torch.searchsorted(shown, number)
    before = torch.where(shown[after] == number, after, after - 1)
    moves = [codes - codes[shown[side]] for side in (before, after)]
    led = [found[side] + move @ jacobian.T for side, move in zip((before, after), moves, strict=True)]
    near, far = (move.square().sum(dim=1, keepdim=True) + 1e-12 for move in moves)
    return led[0] + (led[1] - led[0]) * (near / (near + far))


def _smooth(values: NDArray[np.float32], sigma_frames: float, cuts: Sequence[int]) -> NDArray[np.float32]:
    return np.concatenate([smooth(values[part], sigma_frames) for part in pieces(len(values), cuts)])


def residual(wanted: Tensor, rendered: Tensor) -> Tensor:
    """What rendered features [n, 17] lack of those wanted [n, 17], less its median: an avatar has its own face."""
    missing = wanted - rendered
    return missing - missing.median(dim=0).values


def half_open(lips_apart: Tensor, count: int) -> list[int]:
    """Numbers of `count` frames whose mouths are evenly between shut and as far open [n] as they ever are.

    Lips that are shut do not answer to what would open them further.
    """
    low, high = lips_apart.min(), lips_apart.max()
    return [int((lips_apart - low - (high - low) * (k + 0.5) / count).abs().argmin()) for k in range(count)]


def above_noise(missing: Tensor, floor: Sequence[float]) -> Tensor:
    """What is missing [n, 17], each feature by how much more it varies than its noise floor, `floor` [17].

    It is the gain of a Wiener filter over the clip; a feature that does not vary more is left where the codes have it.
    """
    power = missing.square().mean(dim=0)
    return missing * (1 - missing.new_tensor(floor).square() / power.clamp_min(1e-12)).clamp_min(0)


def solved(jacobian: Tensor, missing: Tensor, wanted: Tensor, options: LandmarkCorrectionOptions) -> Tensor:
    """Changes of codes in units [n, 34] that bring features nearer to where `missing` [n, 17] says.

    jacobian: [17, 34], of the features by the codes. wanted: [n, 17], the features of the person; it and what is
    missing are less their medians. Every feature counts by what it moves per unit of α, so that brows are heard beside
    lips, and LOUD ones twice; features that hardly answer are not run after. The normal equations are damped.
    """
    nose = jacobian[-POSE:, :POSE]
    inverse = torch.linalg.solve(nose.T @ nose + options.floor**2 * torch.eye(POSE).to(nose), nose.T).T
    turns = (wanted[:, -POSE:] @ inverse).square().mean(dim=0) * wanted.new_tensor(POSE_UNITS).square()
    pose = missing[:, -POSE:] @ inverse * (options.pose * turns / (turns + options.calm**2))
    left = missing[:, :-POSE] - pose @ jacobian[:-POSE, :POSE].T
    face = jacobian[:-POSE, POSE:]
    weight = (face.square().sum(dim=1) + options.floor**2).rsqrt()
    weight[[NAMES.index(name) for name in LOUD]] *= 2
    scaled = face * weight[:, None]
    damped = scaled.T @ scaled + options.damping * torch.eye(ALPHA_COUNT, device=jacobian.device)
    alpha = torch.linalg.solve(damped, scaled.T @ (left * weight).T).T
    return torch.cat([pose, alpha], dim=1)


class RenderedFeatures:
    """The landmark features of renderings of one identity latent [18, 512], `side` pixels per side."""

    def __init__(self, renderer: DifferentiableRenderer, latent: Tensor, side: int) -> None:
        self.renderer, self.side, self.reader = renderer, side, FeatureReader(renderer.pack, renderer.device)
        with torch.no_grad():
            self.anchor: Anchor = renderer.anchor(latent)

    @torch.no_grad()
    def __call__(self, codes: Tensor) -> Tensor:
        """Codes [n, 34] in units -> [n, 17]."""
        pictures = (
            self.renderer.render(self.anchor, few, self.side, reference=False) for few in torch.split(codes, AT_ONCE)
        )
        return torch.cat([self.reader(few) for few in pictures])

    def jacobian(self, codes: Tensor, step: float) -> Tensor:
        """How features change with codes, [17, 34] per unit, in the mean over codes [n, 34].

        All α are moved at once, by `step` up or down in 32 patterns that tell them apart: more of the picture moves
        than by one alone, and what it does not do in proportion evens out. Yaw and pitch move one by one.
        """
        signs = torch.from_numpy(hadamard(ALPHA_COUNT).astype(np.float32)).to(codes)
        moves = codes.new_zeros(POSE + ALPHA_COUNT, codes.shape[1])
        moves[:POSE, :POSE], moves[POSE:, POSE:] = step * torch.eye(POSE), step * signs
        up_and_down = (middle + way * moves for middle in codes for way in (1, -1))
        seen = torch.stack(list(side_by_side(self, up_and_down, codes.device)))
        slopes = (seen[0::2] - seen[1::2]).mean(dim=0) / (2 * step)
        return torch.cat([slopes[:POSE], signs.T @ slopes[POSE:] / ALPHA_COUNT]).T
