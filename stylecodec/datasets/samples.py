"""Stretches of streams by number: `StreamDataset`."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..bitstream import PARAMS_PER_FRAME, StreamFile
from ..decoding.options import DecodeOptions
from ..errors import OptionError
from ..files import PathLike
from .frames import LazyFrames
from .places import Place, find_streams, opened
from .sound import SOUND_RATE, waveform

_NO_SOUND = torch.zeros(0)


@dataclass(frozen=True)
class Sample:
    """T frames of one stream.

    motion: float32 [35, T], yaw, pitch, roll in degrees and α 0..31. identity: float32 [18, 512], of the first frame.
    sound: float32 [n], mono, -1..1, `sound_rate` per second, from the first frame to where the last one ends; empty
    where it was not asked for, silence where the stream has none.
    """

    name: str
    start: int  # number of the first frame
    fps: float
    motion: Tensor
    identity: Tensor
    frames: LazyFrames
    sound: Tensor = _NO_SOUND
    sound_rate: int = SOUND_RATE

    def __len__(self) -> int:
        return int(self.motion.shape[1])


@dataclass(frozen=True)
class Stretches:
    """How streams are cut: windows of `window` frames, one every `hop`; a rest that is shorter is left out.

    window: None for whole streams. sound: whether samples have it. options: how frames are rendered.
    """

    window: int | None
    hop: int | None
    sound: bool
    options: DecodeOptions

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise OptionError(f"a window has 1 frame or more, not {self.window}")
        if self.hop is not None and (self.window is None or self.hop < 1):
            raise OptionError("windows follow each other every 1 frame and more, and need a length")

    def starts(self, frames: int) -> range:
        """First frames of the windows of a stream of so many."""
        if self.window is None:
            return range(min(frames, 1))
        return range(0, frames - self.window + 1, self.hop or self.window)

    def sample(self, place: Place, stream: StreamFile, start: int) -> Sample:
        """FormatError where the stream is damaged there."""
        stop = stream.frame_count if self.window is None else start + self.window
        packets = np.asarray(stream.packets(start, stop), np.float32)
        if packets.shape != (stop - start, PARAMS_PER_FRAME):
            raise OptionError(f"{place.name} has no frames {start} to {stop - 1}")
        identity = np.asarray(stream.identity_for(start).latent, np.float32)
        fps = float(stream.header.rate)
        return Sample(
            name=place.name,
            start=start,
            fps=fps,
            motion=torch.from_numpy(np.ascontiguousarray(packets.T)),
            identity=torch.from_numpy(identity.copy()),
            frames=LazyFrames(place, start, stop, self.options),
            sound=waveform(stream, start / fps, stop / fps) if self.sound else _NO_SOUND,
        )


class StreamDataset(Dataset[Sample]):
    """Stretches of streams, by number: for `torch.utils.data.DataLoader`, with `collate` and `GroupSampler`.

    sources: folders, tars, streams, as `find_streams` takes them, or Places. window, hop: frames, see `Stretches`.
    sound: samples have it, which needs PyAV. Single options of decoding by keyword say how frames are rendered
    (`size=256`, `device="cpu"`). Every stream is opened once to learn its length. Raises OptionError, FormatError,
    MediaError, MissingDependency.
    """

    def __init__(
        self,
        sources: PathLike | Iterable[PathLike | Place],
        window: int | None = None,
        hop: int | None = None,
        sound: bool = False,
        **options: Any,
    ) -> None:
        self.stretches = Stretches(window, hop, sound, DecodeOptions.of(None, options))
        self.places = places_of(sources)
        self.group_starts: list[list[int]] = []  # of each stream: first frames of its groups
        self._first = [0]  # of each stream: the number of its first sample
        for place in self.places:
            with place.open() as stream:
                self.group_starts.append([stream.group(k).first_frame for k in range(stream.group_count)])
                self._first.append(self._first[-1] + len(self.stretches.starts(stream.frame_count)))

    def __len__(self) -> int:
        return self._first[-1]

    def where(self, index: int) -> tuple[int, int]:
        """(number of the stream, first frame) of a sample."""
        number = range(len(self))[index]
        stream = bisect_right(self._first, number) - 1
        step = self.stretches.hop or self.stretches.window or 0
        return stream, (number - self._first[stream]) * step

    def __getitem__(self, index: int) -> Sample:
        number, start = self.where(index)
        place = self.places[number]
        return self.stretches.sample(place, opened(place), start)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def groups(self) -> list[list[int]]:
        """The numbers of all samples, those together that begin in one group of a stream: what is read at once."""
        found: dict[tuple[int, int], list[int]] = {}
        for index in range(len(self)):
            number, start = self.where(index)
            found.setdefault((number, bisect_right(self.group_starts[number], start)), []).append(index)
        return list(found.values())


def places_of(sources: PathLike | Iterable[PathLike | Place]) -> list[Place]:
    """Places as they are, sources as `find_streams` has them."""
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    found: list[Place] = []
    for one in given:
        found += [one] if isinstance(one, Place) else find_streams(one)
    return found
