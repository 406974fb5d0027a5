"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .frames import LazyFrames
from .samples import Sample


@dataclass(frozen=True)
class Batch:
    """N samples, shorter ones filled up with zeros.

    motion: float32 [N, 35, T]; lengths: int64 [N], frames of each; mask: bool [N, T]; identity: float32 [N, 18, 512];
    sound: float32 [N, n].
    """

    names: tuple[str, ...]
    starts: Tensor  # int64 [N], number of each first frame
    fps: Tensor  # float32 [N]
    motion: Tensor
    lengths: Tensor
    identity: Tensor
    sound: Tensor
    frames: tuple[LazyFrames, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mask(self) -> Tensor:
        """Which frames are a sample's own."""
        return torch.arange(self.motion.shape[2], device=self.lengths.device) < self.lengths[:, None]

    def pin_memory(self) -> Batch:
        """For DataLoader."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def to(self, device: str | torch.device) -> Batch:
        """The same on a device."""
        return self._moved(lambda tensor: tensor.to(device))

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            starts=move(self.starts),
            fps=move(self.fps),
            motion=move(self.motion),
            lengths=move(self.lengths),
            identity=move(self.identity),
            sound=move(self.sound),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """For DataLoader's collate_fn; ValueError for no sample."""
    if not samples:
        raise ValueError("a batch has one sample or more")
    return Batch(
        names=tuple(sample.name for sample in samples),
        starts=torch.tensor([sample.start for sample in samples]),
        fps=torch.tensor([sample.fps for sample in samples]),
        motion=_filled([sample.motion for sample in samples]),
        lengths=torch.tensor([len(sample) for sample in samples]),
        identity=torch.stack([sample.identity for sample in samples]),
        sound=_filled([sample.sound for sample in samples]),
        frames=tuple(sample.frames for sample in samples),
    )


def _filled(tensors: Sequence[Tensor]) -> Tensor:
    """[..., n] of different n -> [N, ..., most]."""
    most = max(tensor.shape[-1] for tensor in tensors)
    return torch.stack([torch.nn.functional.pad(tensor, (0, most - tensor.shape[-1])) for tensor in tensors])
