"""The order in which samples come: shuffled group by group, so that what is read at once is used at once."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch.distributed as dist
from torch.utils.data import IterableDataset, Sampler, get_worker_info

from ..decoding.options import DecodeOptions
from ..errors import OptionError
from ..files import PathLike
from .places import Place
from .samples import Sample, StreamDataset, Stretches, places_of

MIXED = 32


class GroupSampler(Sampler[int]):
    """Numbers of a dataset's samples: groups of frames in random order, the samples of `mixed` groups shuffled.

    Each epoch has another order, the same for the same seed; `epoch` may be set, else it grows by one.
    """

    def __init__(self, dataset: StreamDataset, seed: int = 0, mixed: int = MIXED) -> None:
        if mixed < 1:
            raise OptionError(f"samples of 1 group or more are mixed, not of {mixed}")
        self.dataset, self.seed, self.mixed, self.epoch = dataset, seed, mixed, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self.seed} {self.epoch}")
        self.epoch += 1
        groups = self.dataset.groups()
        draw.shuffle(groups)
        waiting = iter(groups)
        while some := list(islice(waiting, self.mixed)):
            numbers = [number for group in some for number in group]
            draw.shuffle(numbers)
            yield from numbers


class StreamIterable(IterableDataset[Sample]):
    """Stretches of streams one after the other, for corpora of any size: nothing is opened before it is its turn.

    sources, window, hop, sound and the options of decoding: as of StreamDataset. Streams come in random order, and a
    buffer of `mixed` samples is drawn from; with shuffle off they come as they lie. The streams are shared out among
    the worker processes of a DataLoader, and among the processes of torch.distributed, each sample to one of them.
    `epoch` may be set, else it grows by one at each iteration; with persistent workers it grows in them.
    """

    def __init__(
        self,
        sources: PathLike | Iterable[PathLike | Place],
        window: int | None = None,
        hop: int | None = None,
        sound: bool = False,
        shuffle: bool = True,
        seed: int = 0,
        mixed: int = 8 * MIXED,
        **options: Any,
    ) -> None:
        if mixed < 1:
            raise OptionError(f"the buffer holds 1 sample or more, not {mixed}")
        self.stretches = Stretches(window, hop, sound, DecodeOptions.of(None, options))
        self.places = places_of(sources)
        self.shuffle, self.seed, self.mixed, self.epoch = shuffle, seed, mixed, 0

    def __iter__(self) -> Iterator[Sample]:
        draw, places = random.Random(f"{self.seed} {self.epoch}"), list(self.places)
        self.epoch += 1
        if self.shuffle:
            draw.shuffle(places)  # alike in all processes
        mine, count = _share()
        samples = self._samples(places[mine::count])
        return _mixed(samples, self.mixed, draw) if self.shuffle else samples

    def _samples(self, places: Iterable[Place]) -> Iterator[Sample]:
        for place in places:
            with place.open() as stream:
                for start in self.stretches.starts(stream.frame_count):
                    yield self.stretches.sample(place, stream, start)


def _share() -> tuple[int, int]:
    """(which, of how many) parts is this process's."""
    worker = get_worker_info()
    mine, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() * count + mine, dist.get_world_size() * count
    return mine, count


def _mixed(samples: Iterator[Sample], size: int, draw: random.Random) -> Iterator[Sample]:
    buffer = list(islice(samples, size))
    for sample in samples:
        place = draw.randrange(len(buffer))
        buffer[place], drawn = sample, buffer[place]
        yield drawn
    draw.shuffle(buffer)
    yield from buffer
