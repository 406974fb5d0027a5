"""One reading of the clip: every frame's inversion, and what of it the later stages want to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import ALPHA_COUNT
from ...metrics.landmark_features import NAMES, features_of
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..frames import AlignedFrame, Crop, FrameCodes, MeanSquare, batches, to_input
from ..identity.selection import Candidate, CandidatePool
from ..options import EncodeOptions
from .inversion import Inverter

SURVEYING = "inverting"  # the stage's name in reports of progress
BATCH = 8
MOVING = ("lips_apart", "left_lids", "right_lids")  # what inversions must show to be targets
FAITHFUL = 0.5  # correlation of these between frames and inversions from which on they do
STILL = 0.01  # standard deviation, in distances between the eyes, up to which a feature says nothing
BLINK = 0.5  # of the usual gap of the lids
NOSE_AHEAD = 0.6  # distances between the eyes that the tip of the nose lies ahead of them
NOSE_HEIGHT, NOSE_PER_DEGREE = 0.72, 0.014  # nose_down of a head that looks ahead; its fall per degree up


@dataclass(frozen=True)
class Survey:
    """What one reading found, of n frames; NaN where there is no face."""

    seconds: NDArray[np.float64]  # [n] from the first frame
    roll: NDArray[np.float32]  # [n] degrees
    latents: NDArray[np.float16]  # [n, 18, 512] L_t
    similarity: NDArray[np.float32]  # [n] of S_t to the frame
    lids: NDArray[np.float32]  # [n]
    pose: NDArray[np.float32]  # [n, 2] yaw and pitch in degrees, roughly, as the face mesh has them
    faithful: float  # correlation of what moves in frames and inversions
    kept: tuple[Candidate, ...]  # frames spread over the clip
    frontal: tuple[Candidate, ...]  # the near-frontal ones of these
    squares: MeanSquare  # of the crops

    @property
    def faces(self) -> NDArray[np.intp]:
        """Numbers of the frames that show a face."""
        return np.flatnonzero(~np.isnan(self.similarity))

    @property
    def blinks(self) -> NDArray[np.bool_]:
        """[n]: are the eyes shut?"""
        return np.asarray(self.lids < BLINK * np.nanmedian(self.lids))


def rough_pose(points: Tensor) -> NDArray[np.float32]:
    """Points [n, 478, 2] of the face mesh -> yaw, pitch [n, 2] in degrees, within ten or so: to tell fronts apart."""
    features = features_of(points)
    across, down = (features[:, NAMES.index(name)] for name in ("nose_across", "nose_down"))
    yaw = torch.rad2deg(torch.asin((across / NOSE_AHEAD).clamp(-1, 1)))
    pitch = ((NOSE_HEIGHT - down) / NOSE_PER_DEGREE).clamp(-45, 45)
    return np.asarray(torch.stack([yaw, pitch], dim=1).cpu().numpy(), np.float32)


def survey(
    frames: Iterable[AlignedFrame],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    total: int | None = None,
    progress: ProgressCallback = silent,
) -> Survey:
    """Read the clip once. MediaError for a clip without frames, FaceNotFound for one without a face, PackNotFound."""
    reader = _Reader(pack, device, options)
    for batch in batches(frames, options.batch or BATCH):
        reader.take(batch)
        progress(Progress(SURVEYING, len(reader.seconds), total))
    return reader.done()


class _Reader:
    """Takes the frames in; memory grows by a latent per frame."""

    def __init__(self, pack: ModelPack, device: torch.device, options: EncodeOptions) -> None:
        self.device = device
        self.inverter = Inverter(pack, device, options.paper.side_for(pack.indices))
        self.mesh = pack.face_mesh(device)
        self.pool = CandidatePool(options)
        self.seconds: list[float] = []
        self._columns: list[tuple[NDArray[np.float32], ...]] = []
        self._latents: list[NDArray[np.float16]] = []
        self._squares = MeanSquare()
        self._rows = 0, 512

    def take(self, batch: list[AlignedFrame]) -> None:
        """The next frames."""
        first, count = len(self.seconds), len(batch)
        self.seconds += [frame.seconds for frame in batch]
        found = [k for k, frame in enumerate(batch) if frame.crop is not None]
        crops = [frame.crop for frame in batch if frame.crop is not None]
        roll, similarity, lids = (np.full(count, np.nan, np.float32) for _ in range(3))
        pose, moved = np.full((count, 2), np.nan, np.float32), np.full((count, 2, len(MOVING)), np.nan, np.float32)
        rows = self.inverter.rendering.generator.rows
        latents = np.zeros((count, rows, self.inverter.rendering.generator.w_dim), np.float16)
        if found:
            squares = [batch[k].transform for k in found]
            for square in squares:
                self._squares.add(square)
            roll[found] = [0.0 if square is None else square.roll_deg for square in squares]
            own = self._seen(crops)
            latents[found], similarity[found], lids[found], pose[found], moved[found] = own
            zeros = np.zeros((len(found), ALPHA_COUNT), np.float32)
            self.pool.offer([first + k for k in found], crops, FrameCodes(own[0], own[3], zeros))
        self._latents.append(latents)
        self._columns.append((roll, similarity, lids, pose, moved))

    @torch.no_grad()
    def _seen(self, crops: list[Crop]) -> tuple[NDArray[Any], ...]:
        """Latents, similarity, lids, pose, and [n, 2, 3] of what moves in crops and inversions."""
        pictures = to_input(crops, self.device)
        latents = self.inverter.latents(pictures)
        shown = self.inverter.pictures(latents)
        points, others = self.mesh(pictures), self.mesh(shown)
        columns = [NAMES.index(name) for name in MOVING]
        features = [features_of(one)[:, columns].cpu().numpy() for one in (points, others)]
        lids = features[0][:, 1:].mean(axis=1)
        return (
            latents.cpu().numpy().astype(np.float16),
            self.inverter.similarity(pictures, shown),
            lids,
            rough_pose(points),
            np.stack(features, axis=1),
        )

    def done(self) -> Survey:
        """Everything together."""
        frontal = self.pool.found_in(len(self.seconds))
        roll, similarity, lids, pose, moved = (np.concatenate(c) for c in zip(*self._columns, strict=True))
        return Survey(
            np.array(self.seconds) - self.seconds[0],
            roll,
            np.concatenate(self._latents),
            similarity,
            lids,
            pose,
            _faithful(moved[~np.isnan(similarity)]),
            tuple(self.pool.kept()),
            tuple(frontal),
            self._squares,
        )


def _faithful(moved: NDArray[np.float32]) -> float:
    """The least correlation between [n, 0, k] and [n, 1, k], of those columns k that move; 1 where nothing does."""
    found = [1.0]
    for k in range(moved.shape[2]):
        a, b = moved[:, 0, k], moved[:, 1, k]
        if a.std() > STILL:
            found.append(float(np.corrcoef(a, b)[0, 1]) if b.std() > 1e-6 else 0.0)
    return min(found)
