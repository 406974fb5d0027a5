"""Codes corrected so that the avatar does what the person does, as the face mesh sees both.

    marks of the person ────────────────────────────┐
    codes ─► renderings ─► marks ─► what is missing, less its median over the clip
                                     ├─► of the nose: pose
                                     └─► of brows, lids, lips, with the pose corrected: α (gaze is left as it is)

The feed-forward encoder was trained on drawn heads, and what the identity latent makes of its codes differs from person
to person. The face mesh was trained on people and sees where lids, brows and lips of either are. The two differ by a
constant, since an avatar has a face of its own; the rest, as far as it is more than the mesh's own error, is a linear
problem, solved for all frames at once. It is the landmark loss of Eq. 3 of 2203.14512 in one step of Gauss and Newton
instead of many of a gradient. Pose and α are solved one after the other: together, turns of the head and sideways
mouths were taken for each other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard
from torch import Tensor

from ...bitstream import ALPHA_COUNT
from ...decoding.latents import Anchor
from ...decoding.render import pick_dtype
from ...packs.store import ModelPack
from ..code_units import POSE_UNITS
from ..options import FollowOptions
from ..personalization.clip_passes import Packets, codes_of, write
from .feedforward import FrameCodes, smooth
from .landmark_features import NAMES, POSE, MarkReader, noise_floor
from .refinement import Scene

AT_ONCE = 16  # renderings
FARTHEST = 3.0  # units that a code is moved: a hand before the mouth is no reason for more
LOUD = ("lips_apart", "mouth_across")  # what is seen at once when it is wrong


def follow(
    packets: Packets,
    marks: NDArray[np.float32],
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: FollowOptions,
    sigma_frames: float,
    progress: Callable[[int], None] | None = None,
) -> Packets:
    """Packets [n, 35], NaN where there is no face, with pose and α corrected; roll and NaN rows stay.

    marks: float32 [n, 17], of the person's crops. pack: with the generator that renders. sigma_frames: of the Gaussian
    that the packets were smoothed with over time. `progress` is told the number of frames done. With `options.frames` 0
    the packets are returned as they are.
    """
    rows = np.flatnonzero(~np.isnan(packets[:, 0]))
    if not options.frames or len(rows) < 2:
        return packets
    scene = Scene(pack, device, pick_dtype(options.precision, device))
    first = codes_of(packets[rows])
    codes = scene.units.units(torch.from_numpy(first.pose), torch.from_numpy(first.alpha))
    wanted = torch.from_numpy(smooth(marks[rows], sigma_frames)).to(device)
    seen = Shown(scene, torch.from_numpy(latent.astype(np.float32)).to(device), min(options.side, pack.card.resolution))
    answer = seen.answer(codes[half_open(wanted[:, 0], options.frames)], options.step)

    def tell(done: int) -> None:
        if progress is not None:
            progress(len(packets) if done == len(rows) else int(rows[done - 1]) + 1)

    missing = believed(lacking(wanted, seen(codes, tell)), noise_floor(pack))
    change = solved(answer, missing, wanted - wanted.median(dim=0).values, options).clamp(-FARTHEST, FARTHEST)
    moved = codes + torch.from_numpy(smooth(change.cpu().numpy(), sigma_frames)).to(device)
    pose, alpha = (value.cpu().numpy() for value in scene.units.split(moved))
    result = packets.copy()
    write(result, rows, FrameCodes(first.w_id, pose, alpha))
    return result


def lacking(wanted: Tensor, shown: Tensor) -> Tensor:
    """What the marks shown [n, 17] lack of those wanted [n, 17], less its median: an avatar has a face of its own."""
    missing = wanted - shown
    return missing - missing.median(dim=0).values


def half_open(lips_apart: Tensor, count: int) -> list[int]:
    """Numbers of `count` frames whose mouths are evenly between shut and as far open [n] as they ever are.

    Lips that are shut do not answer to what would open them further.
    """
    low, high = lips_apart.min(), lips_apart.max()
    return [int((lips_apart - low - (high - low) * (k + 0.5) / count).abs().argmin()) for k in range(count)]


def believed(missing: Tensor, floor: tuple[float, ...]) -> Tensor:
    """What is missing [n, 17], each mark by how much more it varies than where nothing is missing (floor [17]).

    It is the gain of a Wiener filter over the clip; a mark that is not believed is held where the codes have it.
    """
    power = missing.square().mean(dim=0)
    return missing * (1 - missing.new_tensor(floor).square() / power.clamp_min(1e-12)).clamp_min(0)


def solved(answer: Tensor, missing: Tensor, wanted: Tensor, options: FollowOptions) -> Tensor:
    """Changes of codes in units [n, 34] that bring marks nearer to where `missing` [n, 17] says; answer: [17, 34].

    wanted: [n, 17], the marks of the person; it and what is missing are less their medians. Every mark counts by what
    it moves per unit of α, so that brows are heard beside lips, and LOUD ones twice; marks that hardly answer are not
    run after.
    """
    nose = answer[-POSE:, :POSE]
    inverse = torch.linalg.solve(nose.T @ nose + options.floor**2 * torch.eye(POSE).to(nose), nose.T).T
    turns = (wanted[:, -POSE:] @ inverse).square().mean(dim=0) * wanted.new_tensor(POSE_UNITS).square()
    pose = missing[:, -POSE:] @ inverse * (options.pose * turns / (turns + options.calm**2))
    left = missing[:, :-POSE] - pose @ answer[:-POSE, :POSE].T
    face = answer[:-POSE, POSE:]
    weight = (face.square().sum(dim=1) + options.floor**2).rsqrt()
    weight[[NAMES.index(name) for name in LOUD]] *= 2
    scaled = face * weight[:, None]
    held = scaled.T @ scaled + options.hold * torch.eye(ALPHA_COUNT, device=answer.device)
    alpha = torch.linalg.solve(held, scaled.T @ (left * weight).T).T
    return torch.cat([pose, alpha], dim=1)


class Shown:
    """The marks of renderings of one identity."""

    def __init__(self, scene: Scene, latent: Tensor, side: int) -> None:
        self.scene, self.side, self.reader = scene, side, MarkReader(scene.pack, scene.device)
        with torch.no_grad():
            self.anchor: Anchor = scene.anchor(latent)

    @torch.no_grad()
    def __call__(self, codes: Tensor, tell: Callable[[int], None] = lambda done: None) -> Tensor:
        """Codes [n, 34] in units -> [n, 17]; `tell` is told how many are done."""
        found: list[Tensor] = []
        for few in torch.split(codes, AT_ONCE):
            found.append(self.reader(self.scene.render(self.anchor, few, self.side)))
            tell(min(len(found) * AT_ONCE, len(codes)))
        return torch.cat(found)

    def answer(self, codes: Tensor, step: float) -> Tensor:
        """How marks answer to codes, [17, 34] per unit, in the mean over codes [n, 34].

        All α are moved at once, by `step` up or down in 32 patterns that tell them apart: more of the picture moves
        than by one alone, and what it does not do in proportion evens out. Yaw and pitch move one by one.
        """
        signs = torch.from_numpy(hadamard(ALPHA_COUNT).astype(np.float32)).to(codes)
        moves = codes.new_zeros(POSE + ALPHA_COUNT, codes.shape[1])
        moves[:POSE, :POSE], moves[POSE:, POSE:] = step * torch.eye(POSE), step * signs
        slopes = torch.stack([self(middle + moves) - self(middle - moves) for middle in codes]).mean(dim=0) / (2 * step)
        return torch.cat([slopes[:POSE], signs.T @ slopes[POSE:] / ALPHA_COUNT]).T
