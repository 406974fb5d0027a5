"""From an identity latent and packets to StyleSpace codes: Eq. 4 and Eq. 13 of 2203.14512.

    L_ID ──► flow at (0°, 0°) ──► z ──► flow back at (Y_t, P_t) ──► LH_t ──► A(LH_t) ──► + α_t ──► styles
                 once per identity                  per frame

Everything here is differentiable, so that an encoder can optimise pose and α through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..bitstream import IDENTITY_ROWS
from ..errors import PackCorrupt
from ..nets.stylespace import apply_offsets
from ..packs.registry import pick_device
from ..packs.store import ModelPack

ANGLES = 2  # yaw and pitch


@dataclass(frozen=True)
class Anchor:
    """Identity latents made ready for posing: `w` [M, 18, 512] and their pose-free `z` [M, pose rows, 512]."""

    w: Tensor
    z: Tensor


class LatentDecoder:
    """Eq. 13's latent side on one device."""

    def __init__(self, pack: ModelPack, device: str | torch.device = "auto") -> None:
        self.device = pick_device(device)
        self.generator, self.flow = pack.generator(self.device), pack.flow(self.device)
        self.indices, self.pose_rows = pack.indices, pack.pose_rows
        if self.generator.rows != IDENTITY_ROWS:
            raise PackCorrupt(f"pack {pack.name}: a stream needs a generator of {IDENTITY_ROWS} rows (1024 pixels)")
        if not self.flow.pose_only and self.flow.neutral is None:
            raise PackCorrupt(
                f"pack {pack.name}: its flow takes {self.flow.attributes} attributes and the card has no neutral values"
            )

    def anchor(self, latents: Tensor) -> Anchor:
        """Identity latents [M, 18, 512], taken as seen from the front (yaw and pitch 0), made ready for posing."""
        w = latents.to(self.device, torch.float32)
        frontal = self.flow.attributes_at(w.new_zeros(len(w), ANGLES))
        return Anchor(w, self.flow(w[:, : self.pose_rows], frontal))

    def posed(self, anchor: Anchor, pose: Tensor) -> Tensor:
        """LH_t [N, 18, 512]: the anchor turned to `pose` [N, 2] (yaw, pitch in degrees).

        The anchor holds one latent for all N poses, or N of them.
        """
        count = len(pose)
        head = self.flow.reverse(anchor.z.expand(count, -1, -1), self.flow.attributes_at(pose))
        return torch.cat([head, anchor.w[:, self.pose_rows :].expand(count, -1, -1)], dim=1)

    def styles(self, anchor: Anchor, pose: Tensor, alpha: Tensor) -> list[Tensor]:
        """Per StyleSpace layer [N, C_l]: A(LH_t) with `alpha` [N, 32] added at the pack's indices (Eq. 13)."""
        return apply_offsets(self.generator.styles(self.posed(anchor, pose)), self.indices, alpha)
