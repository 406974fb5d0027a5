"""The stage that personalises: frames are chosen, the generator is tuned to them, what it will be is handed on.

    motion ─► frames spread over the clip, keyframes ─► personalise ─► latent, delta, codes of these frames
                                                            └► the codes of the others, moved alike
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...decoding.personal import TunedPack
from ...packs.store import ModelPack
from ...progress import ProgressCallback, silent
from ..differentiable import CodeUnits
from ..frames import AlignedFrame, Crop, Motion, evenly_spaced
from ..identity.keyframes import farthest
from ..options import EncodeOptions, TuneOptions
from .checkpoint import Checkpoint
from .tuning import Personalized
from .workers import personalize

NOT_IN_CHECKPOINTS = ("minutes", "steps", "most_steps", "delta_bytes", "delta_margin", "settle_share", "processes")


@dataclass(frozen=True)
class TunedClip:
    """A personalised generator, and the codes of the frames that it was tuned on."""

    pack: TunedPack
    result: Personalized
    rows: NDArray[np.intp]  # numbers of those frames

    def report(self) -> dict[str, Any]:
        """What is worth telling; PSNR in dB of the head at the size that was tuned at."""
        result = self.result
        return {
            "frames": len(self.rows),
            "frame_numbers": self.rows.tolist(),
            "steps": result.steps,
            "minutes": round(result.seconds / 60, 2),
            "psnr": round(float(result.psnr.mean()), 2),
            "psnr_worst": round(float(result.psnr.min()), 2),
            "psnr_before_rounding": round(float(result.psnr_before.mean()), 2),
            "delta_bytes": len(result.delta),
            "delta": result.delta.digest.hex(),
        }

    def corrected(self, motion: Motion) -> Motion:
        """The motion with the tuned frames' codes, the others moved by what tuning changed around them in time."""
        after = motion.with_codes(self.rows, self.result.codes)
        before = motion.packets[self.rows].astype(np.float32)
        tuned = before.copy()
        tuned[:, :2], tuned[:, 3:] = self.result.codes.pose, self.result.codes.alpha
        numbers = np.arange(len(motion))
        change = [np.interp(numbers, self.rows, column) for column in (tuned - before).T]
        packets = np.asarray(motion.packets.astype(np.float32) + np.stack(change, axis=1), np.float16)
        packets[self.rows] = after.packets[self.rows]
        return Motion(packets)


def personalize_clip(
    frames: Iterable[AlignedFrame],
    motion: Motion,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    progress: ProgressCallback = silent,
) -> TunedClip:
    """Tune the pack's generator to some frames of the clip.

    It is tuned at the side that the source resolves, and that of the options at most. latent: [18, 512], the pivot.
    Raises OptionError for a checkpoint of other work, MediaError for one that cannot be read.
    """
    tune = options.tuning
    rows = tuned_rows(motion, CodeUnits(pack, device), tune)
    chosen = list(_chosen(frames, set(rows.tolist())))
    crops = [crop for crop, _ in chosen]
    work = work_of(pack, rows.tolist(), [frame.trace for _, frame in chosen], tune)
    checkpoint = Checkpoint(options.checkpoint, work)
    tune = replace(tune, side=resolved_side((frame for _, frame in chosen), tune.side))
    result = personalize(pack, crops, motion.codes(rows), latent, tune, device, checkpoint, progress)
    return TunedClip(TunedPack(pack, result.delta), result, rows)


def tuned_rows(motion: Motion, units: CodeUnits, options: TuneOptions) -> NDArray[np.intp]:
    """The numbers of the frames that are tuned on: some spread over the clip, the others those that differ most."""
    there = motion.faces
    spread = evenly_spaced(len(there), max(round((1 - options.keyframes) * options.frames), 1))
    if not options.keyframes:
        return there[spread]
    codes = motion.codes(there)
    places = units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha)).cpu().numpy()
    return there[farthest(places, spread, options.frames)]


def work_of(pack: ModelPack, rows: Sequence[int], traces: Iterable[bytes], options: TuneOptions) -> str:
    """What a checkpoint belongs to, as hexadecimal SHA-256: the pack, the frames, how it is tuned but for the budget.

    rows: numbers of the tuned frames; traces: theirs (AlignedFrame). Nothing here has gone through a network.
    """
    settings = {name: value for name, value in asdict(options).items() if name not in NOT_IN_CHECKPOINTS}
    digest = hashlib.sha256(pack.digest + repr((sorted(settings.items()), list(rows))).encode())
    for trace in traces:
        digest.update(hashlib.sha256(trace).digest())
    return digest.hexdigest()


def resolved_side(frames: Iterable[AlignedFrame], most: int) -> int:
    """The power of two, 32 to `most`, nearest to the median side of the frames' squares in pixels of the source."""
    sides = [frame.transform.side for frame in frames if frame.transform is not None]
    nearest = 2 ** round(math.log2(np.median(sides))) if sides else most
    return min(max(nearest, 32), most)


def _chosen(frames: Iterable[AlignedFrame], wanted: set[int]) -> Iterator[tuple[Crop, AlignedFrame]]:
    for number, frame in enumerate(frames):
        if number in wanted:
            assert frame.crop is not None
            yield frame.crop, frame
