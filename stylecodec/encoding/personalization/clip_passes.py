"""What comes after the feed-forward pass: the generator is personalised, codes are refined. Both read the clip again.

    packets (NaN where there is no face) ─┬─► some frames ─► personalise ─► latent, delta, codes of these frames
                                          └─► the others, batch by batch, on the generator that is sent ─► refined
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...decoding.personal import TunedPack
from ...packs.store import ModelPack
from ..code_units import spread
from ..motion.feedforward import Crop, FrameCodes
from ..motion.refinement import Refiner
from ..options import EncodeOptions
from .checkpoint import Checkpoint
from .tuning import Personalized, personalize, work_of

if TYPE_CHECKING:
    from ..pipeline import AlignedFrame

Packets = NDArray[np.float16]  # [n, 35] yaw, pitch, roll, α; NaN where there is no face
POSE, ALPHA = slice(0, 2), slice(3, None)
CHUNK = 16  # consecutive frames that are refined together


@dataclass(frozen=True)
class TunedClip:
    """A personalised generator, and the packets of the frames that it was tuned on."""

    pack: TunedPack
    result: Personalized
    rows: NDArray[np.intp]  # numbers of those frames

    def report(self) -> dict[str, Any]:
        """What is worth telling; PSNR in dB of the head at the size that was tuned at."""
        result = self.result
        return {
            "frames": len(self.rows),
            "steps": result.steps,
            "minutes": round(result.seconds / 60, 2),
            "psnr": round(float(result.psnr.mean()), 2),
            "psnr_worst": round(float(result.psnr.min()), 2),
            "psnr_before_rounding": round(float(result.psnr_before.mean()), 2),
            "delta_bytes": len(result.delta),
            "delta": result.delta.digest.hex(),
        }


def codes_of(packets: Packets) -> FrameCodes:
    """The codes of packets [n, 35] without latents."""
    values = packets.astype(np.float32)
    return FrameCodes(np.zeros((len(packets), 0, 0), np.float16), values[:, POSE], values[:, ALPHA])


def personalize_clip(
    frames: Iterable[AlignedFrame],
    packets: Packets,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    tell: Callable[[float, float], None] | None = None,
) -> TunedClip:
    """Tune the pack's generator to frames spread over the clip, at the side that the source resolves and that of the
    options at most; `tell` as in encoding.personalize."""
    there = np.flatnonzero(~np.isnan(packets[:, 0]))
    rows = there[spread(len(there), options.tune.frames)]
    chosen = list(_chosen(frames, set(rows.tolist())))
    crops = [crop for crop, _ in chosen]
    work = work_of(pack, rows.tolist(), [frame.trace for _, frame in chosen], options.tune)
    checkpoint = Checkpoint(options.checkpoint, work)
    tune = replace(options.tune, side=resolved_side((frame for _, frame in chosen), options.tune.side))
    result = personalize(pack, crops, codes_of(packets[rows]), latent, tune, device, checkpoint, tell)
    return TunedClip(TunedPack(pack, result.delta), result, rows)


def refine_clip(
    frames: Iterable[AlignedFrame],
    packets: Packets,
    latent: NDArray[np.float16],
    pack: ModelPack,
    device: torch.device,
    options: EncodeOptions,
    tuned: TunedClip | None = None,
    progress: Callable[[int], None] | None = None,
) -> Packets:
    """Refine pose and α of all frames with a face, but of those that were tuned on: these have their codes.

    pack: with the generator that is sent. The frames pass in chunks; memory does not grow with the clip.
    """
    result = packets.copy()
    known = set() if tuned is None else set(tuned.rows.tolist())
    start = packets
    if tuned is not None:
        start = _corrected(packets, tuned)
        write(result, tuned.rows, tuned.result.codes)
    refiner = Refiner(pack, device, latent, options)
    size = options.batch or CHUNK
    rows: list[int] = []
    crops: list[Crop] = []

    def flush() -> None:
        if rows:
            write(result, np.array(rows), refiner(crops, codes_of(start[rows])))
        rows.clear()
        crops.clear()

    for number, frame in enumerate(frames):
        if number >= len(packets):
            break
        if frame.crop is not None and number not in known:
            rows.append(number)
            crops.append(frame.crop)
        if len(rows) >= size:
            flush()
        if progress is not None:
            progress(number + 1)
    flush()
    return result


def write(packets: Packets, rows: NDArray[np.intp], codes: FrameCodes) -> None:
    """Put codes into rows of packets; the roll stays."""
    packets[rows, POSE] = codes.pose
    packets[rows, ALPHA] = codes.alpha


def _corrected(packets: Packets, tuned: TunedClip) -> Packets:
    """Packets moved by what tuning changed in the tuned frames around them, interpolated in time."""
    before = packets[tuned.rows].astype(np.float32)
    after = before.copy()
    after[:, POSE], after[:, ALPHA] = tuned.result.codes.pose, tuned.result.codes.alpha
    numbers = np.arange(len(packets))
    change = [np.interp(numbers, tuned.rows, column) for column in (after - before).T]
    return np.asarray(packets.astype(np.float32) + np.stack(change, axis=1), np.float16)


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
