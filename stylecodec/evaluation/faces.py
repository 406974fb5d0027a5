"""The aligned squares of a video: upright, the face at the same place and scale in all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FaceNotFound
from ..face.align import AlignedTrack, Aligner
from ..face.landmarks import PackLandmarks
from ..face.warp import Frame, warp
from ..packs.store import embedded_pack
from ..progress import Progress, ProgressCallback
from .move import Move
from .options import LEAST_SIZE, MOST_SIZE, SIZE_STEP
from .sources import Source

Crops = NDArray[np.uint8]  # [n, S, S, 3] RGB


@dataclass(frozen=True)
class AlignedFaces:
    """n frames: their times in seconds, whether each shows a face (else its square is no face's), and the squares."""

    seconds: NDArray[np.float64]  # [n], the first at 0
    found: NDArray[np.bool_]  # [n]
    crops: Crops
    roll: NDArray[np.float64]  # [n] degrees, which was taken out of the squares
    side: float  # pixels of the source that a square spans
    track: AlignedTrack | None = None  # where the squares lie

    @property
    def size(self) -> int:
        """Pixels per side of the squares."""
        return int(self.crops.shape[1])

    @classmethod
    def of_pictures(cls, crops: Crops) -> AlignedFaces:
        """Aligned pictures that are no video."""
        n = len(crops)
        return cls(np.arange(n, dtype=np.float64), np.ones(n, bool), crops, np.zeros(n), float(crops.shape[1]))


def aligner_for(device: str) -> Aligner:
    """The aligner that `encode` uses, with the landmarks of the pack that comes with stylecodec."""
    pack = embedded_pack()
    return Aligner(PackLandmarks(pack.landmarks(device), pack.alignment), alignment=pack.alignment)


def aligned(
    source: Source, aligner: Aligner, size: int | None, folder: Path, progress: ProgressCallback
) -> AlignedFaces:
    """The squares of a whole video, one side for all of them; kept in a file of `folder`.

    size: pixels per side; None: as many as the face's square has in the source. FaceNotFound, which names the file.
    """
    seconds: list[float] = []
    try:
        track = aligner.track(_watched(source, seconds, progress), source.rate)
    except FaceNotFound as error:
        raise FaceNotFound(f"{source.path}: {error}") from error
    track = at_constant_scale(track)
    side = float(track.squares[0, 2])
    pixels = size or native_size(side)
    crops = _cut(source, track, pixels, folder, progress)
    return AlignedFaces(np.array(seconds), track.found, crops, track.roll_deg, side, track)


def resized(faces: AlignedFaces, source: Source, size: int, folder: Path, progress: ProgressCallback) -> AlignedFaces:
    """The same squares of a video at another size, pixels per side."""
    if faces.track is None:
        raise ValueError("only the squares of a video can be cut anew")
    return replace(faces, crops=_cut(source, faces.track, size, folder, progress))


def moved(faces: AlignedFaces, source: Source, move: Move, folder: Path, progress: ProgressCallback) -> AlignedFaces:
    """The squares of the same video with one move for all of them."""
    if faces.track is None:
        raise ValueError("only the squares of a video can be moved")
    by = np.tile([move.zoom, move.across, move.down], (len(faces.track), 1))
    track = faces.track.moved(by)
    track = replace(track, squares=track.squares + np.array([0, 0, 0, move.turn]))
    return replace(faces, crops=_cut(source, track, faces.size, folder, progress), track=track)


def _cut(source: Source, track: AlignedTrack, pixels: int, folder: Path, progress: ProgressCallback) -> Crops:
    shape = (len(track), pixels, pixels, 3)
    crops = np.memmap(folder / f"{os.urandom(8).hex()}.rgb", np.uint8, "w+", shape=shape)
    for number, (_, frame) in zip(range(len(track)), source.read(), strict=False):
        crops[number] = warp(frame, track[number], pixels)
        progress(Progress(f"aligning {Path(source.path).name}", number + 1, len(track)))
    return crops


def at_constant_scale(track: AlignedTrack) -> AlignedTrack:
    """The same with the median side of the frames with a face in all of them."""
    squares = track.squares.copy()
    squares[:, 2] = np.median(squares[track.found, 2])
    return replace(track, squares=squares)


def native_size(side: float) -> int:
    """Pixels per side for squares that span so many pixels of the source."""
    return int(np.clip(round(side / SIZE_STEP) * SIZE_STEP, LEAST_SIZE, MOST_SIZE))


def _watched(source: Source, seconds: list[float], progress: ProgressCallback) -> Iterator[Frame]:
    """The frames; their times go into `seconds`."""
    for time, frame in source.read():
        seconds.append(time)
        yield frame
        progress(Progress(f"finding the face of {Path(source.path).name}", len(seconds), source.count))


def as_batch(crops: Crops, device: torch.device, side: int | None = None) -> torch.Tensor:
    """Squares [n, S, S, 3] -> [n, 3, side, side] in [-1, 1]; other sides than S by antialiased bilinear samples."""
    batch = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    if side is not None and side != batch.shape[-1]:
        batch = torch.nn.functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)
    return batch
