"""Which latent stands for the person: Eq. 1 of 2203.14512, among near-frontal frames.

    L_ID = argmax over L_t of similarity(I_t, G(L_t))                                                  (Eq. 1)

I_t is the crop and G(L_t) its rendering from the frame's own code (latent, pose, α). The feed-forward encoder
gives every frame a pose-free latent, so several can be averaged, which evens out what one frame gets wrong. The
mean of the best few is sent when it resembles the candidates more than the single best does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding.latents import LatentDecoder
from ...decoding.render import Renderer
from ...errors import FaceNotFound, MediaError
from ...packs.store import ModelPack
from ..frames import CROP_SIZE, Crop, FrameCodes, to_input
from ..options import EncodeOptions

BATCH = 8


@dataclass(frozen=True)
class Candidate:
    """One frame that may give the identity."""

    frame: int
    crop: Crop
    w_id: NDArray[np.float16]  # [18, 512]
    pose: NDArray[np.float32]  # [2]
    alpha: NDArray[np.float32]  # [32]
    turn: float = 0.0  # how far from the front: 1 at the limit of what counts as near-frontal

    def copied(self) -> Candidate:
        """The same, apart from the batch that it came in."""
        return replace(
            self, crop=self.crop.copy(), w_id=self.w_id.copy(), pose=self.pose.copy(), alpha=self.alpha.copy()
        )


@dataclass(frozen=True)
class IdentityChoice:
    """The identity to send."""

    latent: NDArray[np.float16]  # [18, 512]
    frame: int  # the argmax of Eq. 1
    similarity: float  # of that frame: a cosine, or without an identity net minus the RMS difference of [-1, 1]
    averaged: int  # latents in the mean; 1: that frame's own
    candidates: int


class CandidatePool:
    """Keeps near-frontal frames spread over a clip of unknown length, in bounded memory.

    Time is cut into equal slots, and a slot keeps its most frontal frame. When there are twice as many slots as
    candidates asked for, neighbours are merged and slots become twice as long.
    """

    def __init__(self, options: EncodeOptions) -> None:
        self.options = options
        self._slots: dict[int, Candidate] = {}
        self._length = 1  # frames per slot

    def offer(self, frames: Sequence[int], crops: Sequence[Crop], codes: FrameCodes) -> None:
        """Take the crops and codes of the frames of these numbers."""
        limits = np.array([self.options.frontal_yaw, self.options.frontal_pitch])
        turns = np.abs(codes.pose / limits).max(axis=1)
        for k, (frame, crop) in enumerate(zip(frames, crops, strict=True)):
            slot = frame // self._length
            held = self._slots.get(slot)
            if held is None or turns[k] < held.turn:
                one = Candidate(frame, crop, codes.w_id[k], codes.pose[k], codes.alpha[k], float(turns[k]))
                self._slots[slot] = one.copied()
            if len(self._slots) >= 2 * self.options.identity_candidates:
                self._merge()

    def candidates(self) -> list[Candidate]:
        """The near-frontal frames kept, in order of time; without any, the most frontal quarter of the rest."""
        held = sorted(self._slots.values(), key=lambda c: c.turn)
        frontal = [c for c in held if c.turn <= 1.0] or held[: max(1, len(held) // 4)]
        if len(frontal) > self.options.identity_candidates:
            frontal = frontal[: self.options.identity_candidates]
        return sorted(frontal, key=lambda c: c.frame)

    def found_in(self, frames: int) -> list[Candidate]:
        """The same of a clip of so many frames; MediaError for one without any, FaceNotFound for one without a face."""
        if not frames:
            raise MediaError("the clip has no frames between its start and its end")
        if not self._slots:
            raise FaceNotFound(f"no face was found in the {frames:,} frames of the clip")
        return self.candidates()

    def kept(self) -> list[Candidate]:
        """All frames kept, in order of time, turned ones too."""
        return sorted(self._slots.values(), key=lambda c: c.frame)

    def _merge(self) -> None:
        self._length *= 2
        slots: dict[int, Candidate] = {}
        for candidate in self._slots.values():
            slot = candidate.frame // self._length
            if slot not in slots or candidate.turn < slots[slot].turn:
                slots[slot] = candidate
        self._slots = slots


@torch.inference_mode()
def select(
    candidates: Sequence[Candidate], pack: ModelPack, device: torch.device, options: EncodeOptions
) -> IdentityChoice:
    """Choose the identity among candidates (at least one)."""
    judge = _Judge(candidates, pack, device)
    own = judge.similarities(torch.from_numpy(np.stack([c.w_id for c in candidates])))
    order = np.argsort(-own, kind="stable")
    best = int(order[0])
    latent, averaged = candidates[best].w_id, 1
    count = min(options.identity_average, len(candidates))
    if count > 1:
        mean = np.mean([candidates[k].w_id.astype(np.float32) for k in order[:count]], axis=0).astype(np.float16)
        if judge.likeness(mean) > judge.likeness(latent):
            latent, averaged = mean, count
    return IdentityChoice(latent, candidates[best].frame, float(own[best]), averaged, len(candidates))


class _Judge:
    """Renders latents in the candidates' poses and expressions, and compares with their crops."""

    def __init__(self, candidates: Sequence[Candidate], pack: ModelPack, device: torch.device) -> None:
        self.latents = LatentDecoder(pack, device)
        self.renderer = Renderer(pack, device, CROP_SIZE, "float32")  # near ties are not to hang on the machine
        self.network = pack.identity(device) if pack.has("identity") else None
        self.pose = torch.from_numpy(np.stack([c.pose for c in candidates])).to(device)
        self.alpha = torch.from_numpy(np.stack([c.alpha for c in candidates])).to(device)
        self.crops = to_input([c.crop for c in candidates], device)
        if self.network is not None:  # each is compared several times
            parts = torch.split(self.crops, BATCH)
            self.embedded = torch.cat([self.network.embed_aligned(part) for part in parts])

    def likeness(self, latent: NDArray[np.float16]) -> float:
        """Mean similarity of one latent to all candidates."""
        one = torch.from_numpy(latent)[None]
        return float(self.similarities(one.expand(len(self.pose), -1, -1)).mean())

    def similarities(self, latents: Tensor) -> NDArray[np.float32]:
        """[n]: likeness of latent k [n, 18, 512], posed as candidate k, to crop k."""
        scores = []
        for start in range(0, len(latents), BATCH):
            part = slice(start, start + BATCH)
            anchor = self.latents.anchor(latents[part])
            styles = self.latents.styles(anchor, self.pose[part], self.alpha[part])
            rendered = self.renderer.pictures(styles).clamp(-1.0, 1.0)
            scores.append(self._compare(rendered, part).cpu().numpy())
        return np.concatenate(scores).astype(np.float32)

    def _compare(self, rendered: Tensor, part: slice) -> Tensor:
        if self.network is None:
            return -(rendered - self.crops[part]).square().mean(dim=(1, 2, 3)).sqrt()
        return (self.network.embed_aligned(rendered) * self.embedded[part]).sum(dim=1)
