"""One reading of the clip: every frame's codes, and the frames that show who is seen.

    aligned frames ─┬─► codes of the feed-forward encoder ─► motion
                    ├─► landmark features, if they are wanted
                    └─► near-frontal candidates, keyframes that differ most, the mean square of the crops

Frames pass in batches and are forgotten. What grows with the clip is 35 half-precision numbers, 17 landmark features
and one time per frame, about 13 MB per hour at 25 frames per second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..bitstream import PARAMS_PER_FRAME
from ..metrics.landmark_features import NAMES, FeatureReader
from ..packs.store import ModelPack
from ..progress import Progress, ProgressCallback, silent
from .differentiable import CodeUnits
from .frames import ALPHA, POSE, ROLL, AlignedFrame, MeanSquare, Motion, Packets, batches, to_input
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
    reader = FeatureReader(pack, device) if landmark_features else None
    squares = MeanSquare()
    packets: list[Packets] = []
    features: list[NDArray[np.float32]] = []
    seconds: list[float] = []
    for batch in batches(frames, options.batch or (CUDA_BATCH if device.type == "cuda" else CPU_BATCH)):
        keepers = (pool,) if extra is None else (pool, extra)
        packets.append(_packets(batch, len(seconds), pack, device, keepers, squares))
        if reader is not None:
            features.append(_features(batch, reader, device))
        seconds += [frame.seconds for frame in batch]
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


def _packets(
    batch: list[AlignedFrame],
    first: int,
    pack: ModelPack,
    device: torch.device,
    keepers: tuple[CandidatePool | Keyframes, ...],
    squares: MeanSquare,
) -> Packets:
    """Packets [n, 35] of a batch whose first frame has the number `first`; NaN for frames without a face."""
    packets = np.full((len(batch), PARAMS_PER_FRAME), np.nan, np.float16)
    found = [k for k, frame in enumerate(batch) if frame.crop is not None]
    crops = [frame.crop for frame in batch if frame.crop is not None]
    if found:
        codes = analyse(crops, pack, device)
        for keeper in keepers:
            keeper.offer([first + k for k in found], crops, codes)
        transforms = [batch[k].transform for k in found]
        for transform in transforms:
            squares.add(transform)
        packets[found, POSE] = codes.pose
        packets[found, ROLL] = [0.0 if transform is None else transform.roll_deg for transform in transforms]
        packets[found, ALPHA] = codes.alpha
    return packets


def _features(batch: list[AlignedFrame], reader: FeatureReader, device: torch.device) -> NDArray[np.float32]:
    """Landmark features [n, 17] of the crops of a batch; NaN for frames without a face."""
    features = np.full((len(batch), len(NAMES)), np.nan, np.float32)
    found = [k for k, frame in enumerate(batch) if frame.crop is not None]
    if found:
        crops = [frame.crop for frame in batch if frame.crop is not None]
        features[found] = reader(to_input(crops, device)).cpu().numpy()
    return features
