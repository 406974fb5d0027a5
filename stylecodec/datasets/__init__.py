"""Streams as data for training: pose and expression as (35, T) arrays, sound, frames that are rendered when asked for.

    from torch.utils.data import DataLoader
    from stylecodec import datasets

    clips = datasets.StreamDataset("corpus/", window=50)            # by number; also tars of `corpus export`
    loader = DataLoader(clips, 16, sampler=datasets.GroupSampler(clips), collate_fn=datasets.collate, num_workers=2)
    stream = datasets.StreamIterable("tars/", window=50, seed=0)    # in order of reading, mixed in a buffer

Datasets hold no open file and no network: they can be pickled, and worker processes, forked or spawned, open what they
need for themselves.
"""

from .collate import Batch, collate
from .frames import LazyFrames
from .places import Place, find_streams
from .samples import Sample, StreamDataset
from .sampling import GroupSampler, StreamIterable

__all__ = [
    "Batch",
    "GroupSampler",
    "LazyFrames",
    "Place",
    "Sample",
    "StreamDataset",
    "StreamIterable",
    "collate",
    "find_streams",
]
