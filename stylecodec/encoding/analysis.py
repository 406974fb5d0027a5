"""One reading of the clip: every frame's codes, and the frames that show who is seen.

    aligned frames ─┬─► codes of the feed-forward encoder ─► motion
                    ├─► landmark features, if they are wanted
                    └─► near-frontal candidates, keyframes that differ most, the mean square of the crops

Frames pass in batches, through the networks several batches at once, and are forgotten. What grows with the clip is 35
half-precision numbers, 17 landmark features and one time per frame, about 13 MB per hour at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..bitstream import PARAMS_PER_FRAME
from ..metrics.landmark_features import NAMES, FeatureReader
from ..nets.threads import side_by_side
from ..packs.store import ModelPack
from ..progress import Progress, ProgressCallback, silent
from .differentiable import CodeUnits
from .frames import ALPHA, POSE, ROLL, AlignedFrame, Crop, FrameCodes, MeanSquare, Motion, Packets, batches, to_input
from .identity.keyframes import Keyframes
from .identity.selection import Candidate, CandidatePool
from .motion.feedforward import analyse
from .options import EncodeOptions

ANALYSING = "encoding"  # the stage's name in reports of progress
CPU_BATCH = 8
CUDA_BATCH = 32


@dataclass(frozen=True)
class ClipAnalysis:
    """What one reading of the clip found."""

    motion: Motion  # as the feed-forward encoder gives it
    seconds: NDArray[np.float64]  # [n] from the first frame
    features: NDArray[np.float32] | None  # [n, 17] landmark features, NaN where there is no face; None: not read
    candidates: tuple[Candidate, ...]  # near-frontal, for the choice of the identity; one at least
    fit_frames: tuple[Candidate, ...]  # spread over the clip and keyframes: what the identity is fitted to
    squares: MeanSquare  # of the crops


def analyse_clip(
    frames: Iterable[AlignedFrame],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    landmark_features: bool,
    keyframes: bool,
    total: int | None = None,
    progress: ProgressCallback = silent,
) -> ClipAnalysis:
    """Read the clip once.

    landmark_features: read them off the crops. keyframes: keep the frames that differ most. total: number of frames,
    for reports of progress. Raises MediaError for a clip without frames, FaceNotFound for one without a face.
    """
    pool = CandidatePool(options)
    extra = Keyframes(CodeUnits(pack, device), options.fit.keyframe_count) if keyframes else None
    keepers = (pool,) if extra is None else (pool, extra)
    look = _Look(pack, device, landmark_features)
    squares = MeanSquare()
    packets: list[Packets] = []
    features: list[NDArray[np.float32]] = []
    seconds: list[float] = []
    size = options.batch or (CUDA_BATCH if device.type == "cuda" else CPU_BATCH)
    for seen in side_by_side(look, (_Batch(batch) for batch in batches(frames, size)), device):
        packets.append(_packets(seen, len(seconds), keepers, squares))
        if seen.features is not None:
            features.append(seen.spread(seen.features))
        seconds += [frame.seconds for frame in seen.batch.frames]
        progress(Progress(ANALYSING, len(seconds), total))
    candidates = pool.found_in(len(seconds))
    kept = {one.frame: one for one in (*pool.kept(), *(extra.kept() if extra else ()))}
    return ClipAnalysis(
        motion=Motion(np.concatenate(packets)),
        seconds=np.array(seconds) - seconds[0],
        features=np.concatenate(features) if features else None,
        candidates=tuple(candidates),
        fit_frames=tuple(kept[frame] for frame in sorted(kept)),
        squares=squares,
    )


@dataclass(frozen=True)
class _Batch:
    """Successive frames, of which some may show no face."""

    frames: list[AlignedFrame]

    @property
    def found(self) -> list[int]:
        """Numbers in the batch of the frames with a face."""
        return [k for k, frame in enumerate(self.frames) if frame.crop is not None]

    @property
    def crops(self) -> list[Crop]:
        """Theirs."""
        return [frame.crop for frame in self.frames if frame.crop is not None]


@dataclass(frozen=True)
class _Seen:
    """What the networks see in a batch of frames."""

    batch: _Batch
    codes: FrameCodes | None  # of the frames with a face; None: there is none
    features: NDArray[np.float32] | None  # [k, 17] likewise; None: not read

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values [k, m] of the frames with a face -> [n, m] of all, NaN for the others."""
        whole = np.full((len(self.batch.frames), values.shape[1]), np.nan, np.float32)
        whole[self.batch.found] = values
        return whole


class _Look:
    """The networks over one batch after the other, or over several at once."""

    def __init__(self, pack: ModelPack, device: torch.device, features: bool) -> None:
        self._pack, self._device = pack, device
        self._reader = FeatureReader(pack, device) if features else None
        pack.feedforward(device)  # read before several threads ask for it

    def __call__(self, batch: _Batch) -> _Seen:
        crops = batch.crops
        features = None if self._reader is None else np.zeros((0, len(NAMES)), np.float32)
        if not crops:
            return _Seen(batch, None, features)
        if self._reader is not None:
            features = self._reader(to_input(crops, self._device)).cpu().numpy()
        return _Seen(batch, analyse(crops, self._pack, self._device), features)


def _packets(
    seen: _Seen, first: int, keepers: tuple[CandidatePool | Keyframes, ...], squares: MeanSquare
) -> Packets:
    """Packets [n, 35] of a batch whose first frame has the number `first`; NaN for frames without a face."""
    batch, codes = seen.batch, seen.codes
    packets = np.full((len(batch.frames), PARAMS_PER_FRAME), np.nan, np.float16)
    if codes is None:
        return packets
    found = batch.found
    for keeper in keepers:
        keeper.offer([first + k for k in found], batch.crops, codes)
    transforms = [batch.frames[k].transform for k in found]
    for transform in transforms:
        squares.add(transform)
    packets[found, POSE] = codes.pose
    packets[found, ROLL] = [0.0 if transform is None else transform.roll_deg for transform in transforms]
    packets[found, ALPHA] = codes.alpha
    return packets
