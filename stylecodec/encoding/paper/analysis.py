"""Some frames that follow each other: their targets, head poses, attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...packs.store import ModelPack
from ..differentiable import at_side
from .attributes import AttributeSearch, Indices, Last
from .indices import REACH
from .inversion import Inverter
from .losses import AttributeLoss
from .masks import SIDE as MASK_SIDE
from .masks import FaceMasks, FaceReader
from .perceptual import Perceptual
from .pose import PoseSearch, PoseTarget
from .rendering import Perturbed, Rendering
from .sensitivity import measure
from .settings import INVERSION, REFERENCE, PaperOptions

CHUNK, LARGE_CHUNK = 16, 4  # frames searched together; with a generator of FFHQ's widths on a CPU
LARGE = 6000  # StyleSpace channels of such a generator
PROBE = 0.5  # δ of Eq. 5 for the clip's own sensitivities, raw style units either side
SHOWN = 0.02  # perceptual distance in its region that one unit of an index makes
UNITS = (0.05, 10.0)  # raw style units that are believed to be a unit
FARTHEST = 4.0  # units that α may go, times `reach`, where nothing else says it
DEVIATIONS = 3.0  # of α over what the pack's feed-forward encoder was trained on: so far it goes


@dataclass(frozen=True)
class Chunk:
    """Frames with a face that follow each other: crops [n, 3, 256, 256], L_t [n, 18, 512], open eyes bool [n], rough
    poses [n, 2] in degrees."""

    pictures: Tensor
    latents: Tensor
    open: Tensor
    rough: NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """A chunk's target pictures [n, 3, S, S] in [-1, 1], and the masks of the faces in them."""

    pictures: Tensor
    masks: FaceMasks
    chunk: Chunk


class ChunkSearch:
    """Finds the codes of successive chunks of one clip and one identity latent [18, 512].

    pack: with the generator that the receiver will use. inverter: with the one that makes targets.
    """

    def __init__(
        self,
        pack: ModelPack,
        inverter: Inverter,
        latent: NDArray[np.float16],
        target: str,
        options: PaperOptions,
    ) -> None:
        self.inverter, self.target, self.options = inverter, target, options
        self.device = inverter.device
        self.perceptual = Perceptual(pack, self.device)
        self.reader = FaceReader(pack, self.device)
        self.rendering = Rendering(pack, self.device, options.side_for(pack.indices))
        identity = torch.from_numpy(latent.astype(np.float32)).to(self.device)
        self.pose = PoseSearch(self.rendering, identity, self.perceptual, pack.card.pose)
        self.loss = AttributeLoss(pack, self.device, self.perceptual, options.weights)
        self.indices = self._indices()
        keep = options.weights.frame_range if target != INVERSION else 0.0
        self.attributes = AttributeSearch(self.rendering, self.loss, self.indices, options, keep)
        self.last: tuple[Tensor, Last] | None = None  # pose [2] in degrees and attributes, where the last chunk ended
        self.figures: list[tuple[float, float]] = []  # losses of pose and attributes, per frame

    @property
    def chunk_size(self) -> int:
        """Frames per chunk, for the memory's sake."""
        large = self.device.type == "cpu" and self.rendering.generator.layout.size > LARGE
        return LARGE_CHUNK if large else CHUNK

    def restart(self) -> None:
        """Forget where the last chunk ended."""
        self.last = None
        self.figures.clear()

    @torch.no_grad()
    def prepared(self, chunk: Chunk) -> Prepared:
        """The pictures that renderings are compared with."""
        side = self.rendering.side
        if self.target == INVERSION:
            pictures = self.inverter.pictures(chunk.latents)
            return Prepared(pictures, self.reader(at_side(pictures, MASK_SIDE)).at(side), chunk)
        return Prepared(at_side(chunk.pictures, side), self.reader(chunk.pictures).at(side), chunk)

    def poses(self, prepared: Prepared) -> Tensor:
        """Yaw and pitch [n, 2] in degrees."""
        options, masks = self.options, prepared.masks
        if options.direct_pose:
            rough = torch.from_numpy(prepared.chunk.rough).to(self.device)
            return (
                torch.minimum(torch.maximum(rough / self.pose.units, self.pose.low), self.pose.high) * self.pose.units
            )
        start = None if self.last is None else self.last[0]
        features = self.perceptual.features(prepared.pictures)
        target = PoseTarget(prepared.pictures, features, masks.rigid, masks.face)
        if options.method == REFERENCE:
            found = self.pose.reference(target, torch.zeros(2) if start is None else start)
        else:
            found = self.pose.search(target, start, options.pose_steps)
        return found

    def __call__(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Pose [n, 2] in degrees and α [n, 32] of the frames that follow the last chunk's."""
        prepared = self.prepared(chunk)
        pose = self.poses(prepared)
        styles = self.rendering.posed(self.pose.anchor, pose)
        target = self.loss.target(prepared.pictures, prepared.masks, chunk.open.float())
        before = None if self.last is None else self.last[1]
        if self.options.method == REFERENCE:
            alpha, last = self.attributes.reference(styles, target, before)
        else:
            alpha, last = self.attributes.solve(styles, target, before, self.guess(chunk))
        self.last = pose[-1], last
        return pose, alpha

    @torch.no_grad()
    def guess(self, chunk: Chunk) -> Tensor | None:
        """α [n, 32] as the pack's feed-forward encoder has it; None without one."""
        pack = self.rendering.pack
        return pack.feedforward(self.device)(chunk.pictures).alpha if pack.has("feedforward") else None

    def pose_losses(self, prepared: Prepared, pose: Tensor) -> Tensor:
        """Eq. 2's loss [n] at poses [n, 2] in degrees."""
        features = self.perceptual.features(prepared.pictures)
        target = PoseTarget(prepared.pictures, features, prepared.masks.rigid, prepared.masks.face)
        return self.pose.losses(pose, target)

    @torch.no_grad()
    def _indices(self) -> Indices:
        """Γ of the pack's 32 indices for this identity, and what follows: their units, how far they go."""
        styles = self.rendering.posed(self.pose.anchor, torch.zeros(1, 2))
        perturbed = Perturbed(self.rendering, styles)
        masks = self.reader(at_side(perturbed.base.clamp(-1, 1), MASK_SIDE)).at(self.rendering.side)
        regions = torch.cat([masks.mouth, masks.eyes, masks.pupils], dim=1)[0]
        seen = measure(perturbed, self.rendering.pack.indices, (-PROBE, 0.0, PROBE), regions, self.perceptual)
        # LPIPS grows as the square of δ: the offset at which it is SHOWN.
        strongest = torch.from_numpy(seen.regions.max(axis=0)).clamp_min(1e-12) * 3 / 2 / PROBE
        units = (SHOWN / strongest).sqrt().clamp(*UNITS).float().to(self.device)
        limit, pack = FARTHEST * units, self.rendering.pack
        if pack.has("feedforward"):
            limit = DEVIATIONS * pack.feedforward(self.device).alpha_scale.detach().to(units)
        elif (known := pack.card.calibration.get(REACH)) is not None:
            names = [f"{layer}_{channel}" for layer, channel in pack.indices]
            limit = torch.tensor([known.values.get(name, math.inf) for name in names]).to(units)
        return Indices(seen.regions, units, self.options.reach * limit)
