"""A clip whose face has been found, to be read as often as the stages want."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..face.align import AlignedTrack
from ..face.warp import Frame, warp
from ..geometry import CropTransform
from .code_units import spread
from .motion.feedforward import CROP_SIZE
from .pipeline import AlignedFrame

TRACE_STEP = 16  # every so manieth pixel of every so manieth row of a frame is its trace

Read = Callable[[], Iterable[tuple[float, Frame]]]
"""Begins a new reading: (seconds, frame) from the first to the last."""


class AlignedClip:
    """The aligned crops of a clip, from the beginning at each iteration."""

    def __init__(self, read: Read, track: AlignedTrack) -> None:
        self.read, self.track = read, track

    def __iter__(self) -> Iterator[AlignedFrame]:
        for number, (seconds, frame) in zip(range(len(self.track)), self.read(), strict=False):
            if self.track.found[number]:
                transform = self.track[number]
                trace = frame[::TRACE_STEP, ::TRACE_STEP].tobytes()
                yield AlignedFrame(seconds, warp(frame, transform, CROP_SIZE), transform, trace)
            else:
                yield AlignedFrame(seconds, None)

    def numbers(self, count: int) -> list[int]:
        """The numbers of about `count` frames that show the face, spread over the clip."""
        there = np.flatnonzero(self.track.found)
        return [int(there[k]) for k in spread(len(there), count)]

    def spread(self, count: int) -> Iterator[tuple[Frame, CropTransform]]:
        """The whole frames of `numbers`, with their squares."""
        wanted = set(self.numbers(count))
        for number, (_, frame) in zip(range(len(self.track)), self.read(), strict=False):
            if number in wanted:
                yield frame, self.track[number]
