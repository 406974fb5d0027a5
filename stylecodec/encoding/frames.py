"""A clip on its way through the encoder: frames with the face aligned, the codes read off them, packets over time.

    source ─► AlignedClip ─► AlignedFrame (crop [256, 256, 3]) ─► FrameCodes (latent, pose, α) ─► Motion [n, 35]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from ..bitstream import CropGeometry
from ..face.align import AlignedTrack
from ..face.detect import Box
from ..face.warp import Frame, warp
from ..geometry import CropTransform
from .ahead import ahead

CROP_SIZE = 256  # pixels per side
FACE_IN_CROP = Box(65.0, 93.0, 190.0, 218.0)  # where dlib's detector sees the face in one
TRACE_STEP = 16  # every so manieth pixel of every so manieth row of a frame is its trace

Crop = NDArray[np.uint8]  # [256, 256, 3] RGB
Packets = NDArray[np.float16]  # [n, 35] yaw, pitch, roll in degrees, α 0..31; NaN where there is no face
POSE, ROLL, ALPHA = slice(0, 2), 2, slice(3, None)  # the columns of packets
CUT_AHEAD = 16  # crops that wait to be looked at, while further ones are cut

Read = Callable[[], Iterable[tuple[float, Frame]]]
"""Begins a new reading: (seconds, frame) from the first to the last."""


@dataclass(frozen=True)
class AlignedFrame:
    """One frame of the clip: its time, and the upright crop of the face, or None where there is no face."""

    seconds: float
    crop: Crop | None
    transform: CropTransform | None = None  # where the crop lies in the source; its roll is sent
    trace: bytes = b""  # pixels of the source's frame by which a clip is known again, whatever networks see in it


class AlignedClip:
    """The aligned crops of a clip whose face has been found, from the beginning at each iteration."""

    def __init__(self, read: Read, track: AlignedTrack) -> None:
        self.read, self.track = read, track

    def __iter__(self) -> Iterator[AlignedFrame]:
        return ahead(self._frames(), CUT_AHEAD)

    def _frames(self) -> Iterator[AlignedFrame]:
        for number, (seconds, frame) in zip(range(len(self.track)), self.read(), strict=False):
            if self.track.found[number]:
                transform = self.track[number]
                trace = frame[::TRACE_STEP, ::TRACE_STEP].tobytes()
                yield AlignedFrame(seconds, warp(frame, transform, CROP_SIZE), transform, trace)
            else:
                yield AlignedFrame(seconds, None)

    def only(self, shown: NDArray[np.bool_]) -> AlignedClip:
        """The same clip as if no other frame than these [n] showed a face."""
        return AlignedClip(self.read, replace(self.track, found=self.track.found & shown))

    def sampled(self, count: int) -> list[int]:
        """The numbers of about `count` frames that show the face, evenly spaced over the clip."""
        there = np.flatnonzero(self.track.found)
        return [int(there[k]) for k in evenly_spaced(len(there), count)]

    def sampled_frames(self, count: int) -> Iterator[tuple[Frame, CropTransform]]:
        """The whole frames of `sampled`, with their squares."""
        wanted = set(self.sampled(count))
        for number, (_, frame) in zip(range(len(self.track)), self.read(), strict=False):
            if number in wanted:
                yield frame, self.track[number]


class MeanSquare:
    """The mean of the squares that crops were taken from."""

    def __init__(self) -> None:
        self._sum = np.zeros(3)
        self._count = 0

    def add(self, transform: CropTransform | None) -> None:
        """One more; None where no square is known."""
        if transform is not None:
            self._sum += (*transform.center, transform.side)
            self._count += 1

    def geometry(self, source_size: tuple[int, int] | None) -> CropGeometry | None:
        """In a source of this width and height; None when nothing is known of the source or of the squares."""
        if not self._count or source_size is None:
            return None
        x, y, side = (float(value) for value in self._sum / self._count)
        return CropGeometry(*source_size, x, y, side)


@dataclass(frozen=True)
class FrameCodes:
    """Codes of n frames."""

    w_id: NDArray[np.float16]  # [n, 18, 512]
    pose: NDArray[np.float32]  # [n, 2] yaw, pitch in degrees, within the pack's ranges
    alpha: NDArray[np.float32]  # [n, 32]

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True)
class Motion:
    """What the face does in every frame of a clip; nothing here changes, methods give a new Motion."""

    packets: Packets

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def faces(self) -> NDArray[np.intp]:
        """The numbers of the frames that show a face."""
        return np.flatnonzero(~np.isnan(self.packets[:, 0]))

    def codes(self, rows: NDArray[np.intp] | Sequence[int]) -> FrameCodes:
        """The codes of frames, without latents."""
        values = self.packets[rows].astype(np.float32)
        return FrameCodes(np.zeros((len(values), 0, 0), np.float16), values[:, POSE], values[:, ALPHA])

    def with_codes(self, rows: NDArray[np.intp] | Sequence[int], codes: FrameCodes) -> Motion:
        """Other codes in these frames; the roll stays."""
        packets = self.packets.copy()
        packets[rows, POSE] = codes.pose
        packets[rows, ALPHA] = codes.alpha
        return Motion(packets)

    def smoothed(self, sigma_frames: float, cuts: Sequence[int] = ()) -> Motion:
        """Pose and α after a Gaussian over time; the roll is smooth already, frames without a face stay empty.

        cuts: frames before which nothing is smoothed with what follows.
        """
        packets = np.full_like(self.packets, np.nan)
        for part in pieces(len(self), cuts):
            there = part.start + np.flatnonzero(~np.isnan(self.packets[part, 0]))
            if len(there):
                filled = Motion(self.packets[part]).filled().packets.astype(np.float32)
                packets[there] = smooth(filled, sigma_frames).astype(np.float16)[there - part.start]
        packets[:, ROLL] = self.packets[:, ROLL]
        return Motion(packets)

    def filled(self) -> Motion:
        """Frames without a face repeat the last one with a face, those before the first face that one."""
        there = ~np.isnan(self.packets[:, 0])
        source = np.maximum.accumulate(np.where(there, np.arange(len(there)), -1))
        source[source < 0] = int(there.argmax())
        return Motion(self.packets[source])


def batches(frames: Iterable[AlignedFrame], size: int) -> Iterator[list[AlignedFrame]]:
    """`size` frames at a time, the last ones fewer."""
    waiting = iter(frames)
    while batch := list(islice(waiting, size)):
        yield batch


def to_input(crops: Sequence[Crop], device: torch.device) -> Tensor:
    """Crops uint8 [256, 256, 3] -> network input [n, 3, 256, 256] in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(crops)).to(device)
    return stacked.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def smooth(values: NDArray[np.float32], sigma_frames: float) -> NDArray[np.float32]:
    """Gaussian over time of [n, k]; the ends are extended by their first and last values."""
    if sigma_frames <= 0 or len(values) < 2:
        return values
    return np.asarray(gaussian_filter1d(values, sigma_frames, axis=0, mode="nearest"), np.float32)


def pieces(count: int, cuts: Sequence[int]) -> list[slice]:
    """The frames 0..count-1 from one cut to the next; a cut is the first frame of a piece, and they increase."""
    return [slice(first, end) for first, end in pairwise([0, *cuts, count])]


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` numbers of 0..count-1, evenly spaced, first and last among them."""
    if count <= wanted:
        return list(range(count))
    return sorted({round(k * (count - 1) / max(wanted - 1, 1)) for k in range(wanted)})
