"""Frames of a stretch of a stream, rendered when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..bitstream.attached import personalizations
from ..decoding.decoder import Decoder
from ..decoding.options import DecodeOptions
from ..decoding.packets import PacketRenderer, chosen_background, matching_pack
from ..packs.store import ModelPack, open_pack
from .places import Place, opened


@dataclass(frozen=True)
class LazyFrames:
    """Frames start to stop-1 of a stream; can be pickled, and renders in the process that asks.

    >>> frames[3]                                    # uint8 [S, S, 3]
    >>> frames[2:5], frames.tensor()                 # [n, S, S, 3]

    Networks are loaded at the first frame, once per process and pack. FormatError, PackError.
    """

    place: Place
    start: int
    stop: int
    options: DecodeOptions

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int | slice) -> Tensor:
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            return torch.stack([self[number] for number in numbers]) if numbers else self.tensor()[:0]
        number = range(len(self))[index]  # IndexError, and counts from the end
        return torch.as_tensor(self._decoder()[self.start + number])

    def __iter__(self) -> Iterator[Tensor]:
        return map(torch.as_tensor, self._decoder().frames(self.start, self.stop))

    def tensor(self) -> Tensor:
        """All of them, uint8 [T, S, S, 3]."""
        return torch.as_tensor(self._decoder()[self.start : self.stop])

    def _decoder(self) -> Decoder:
        return _decoder(os.getpid(), self.place, self.options)


@lru_cache(maxsize=2)
def _decoder(process: int, place: Place, options: DecodeOptions) -> Decoder:
    """One for each stream that frames are asked of; forked children make their own."""
    stream = opened(place)
    wanted = stream.header.pack_name if options.pack is None else options.pack
    pack = wanted if isinstance(wanted, ModelPack) else _pack(process, os.fspath(wanted))
    matching_pack(stream.header, pack)
    pictures = PacketRenderer(pack, replace(options, pack=pack), personalizations(stream))
    pictures.put_behind(chosen_background(options, stream))
    return Decoder(stream, pictures)


@lru_cache(maxsize=2)
def _pack(process: int, pack: str) -> ModelPack:
    """A pack with the networks that it has loaded."""
    return open_pack(pack)
