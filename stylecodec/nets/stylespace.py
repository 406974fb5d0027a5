"""The StyleSpace index table, shared by encoder and decoder.

StyleSpace (Wu et al., 2011.12799) lists the styles of every modulated convolution of the generator in order:
4x4 conv, 4x4 toRGB, then per resolution conv-up, conv, toRGB. A channel is named (layer, channel) or by its flat index.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["conv", "conv_up", "rgb"]


@dataclass(frozen=True)
class StyleLayer:
    """One modulated convolution: its resolution, kind, W+ row and number of input channels."""

    resolution: int
    kind: Kind
    row: int
    channels: int


@dataclass(frozen=True)
class StyleSpaceLayout:
    """The order of all style vectors of a generator.

    At 1024 pixels there are 26 layers; config-f widths give 9,088 channels.
    """

    layers: tuple[StyleLayer, ...]

    @classmethod
    def of(cls, resolution: int, channels: Mapping[int, int]) -> StyleSpaceLayout:
        """The layout of a generator with `channels[r]` feature maps at resolution r (4, 8, ..., resolution)."""
        layers = [StyleLayer(4, "conv", 0, channels[4]), StyleLayer(4, "rgb", 1, channels[4])]
        row, size = 1, 8
        while size <= resolution:
            layers += [
                StyleLayer(size, "conv_up", row, channels[size // 2]),
                StyleLayer(size, "conv", row + 1, channels[size]),
                StyleLayer(size, "rgb", row + 2, channels[size]),
            ]
            row, size = row + 2, size * 2
        return cls(tuple(layers))

    @property
    def offsets(self) -> tuple[int, ...]:
        """Flat index of the first channel of each layer."""
        starts, total = [], 0
        for layer in self.layers:
            starts.append(total)
            total += layer.channels
        return tuple(starts)

    @property
    def size(self) -> int:
        """Number of StyleSpace channels."""
        return sum(layer.channels for layer in self.layers)

    def flat(self, layer: int, channel: int) -> int:
        """Flat index of (layer, channel); IndexError when there is no such channel."""
        if not (0 <= layer < len(self.layers) and 0 <= channel < self.layers[layer].channels):
            raise IndexError(f"StyleSpace has no channel {layer}_{channel}")
        return self.offsets[layer] + channel

    def pair(self, flat: int) -> tuple[int, int]:
        """(layer, channel) of a flat index; IndexError outside the space."""
        if not 0 <= flat < self.size:
            raise IndexError(f"StyleSpace has {self.size} channels, no index {flat}")
        layer = max(i for i, start in enumerate(self.offsets) if start <= flat)
        return layer, flat - self.offsets[layer]


def apply_offsets(
    styles: Sequence[Tensor],  # per layer [N, C_l]
    indices: Sequence[tuple[int, int]],  # (layer, channel) of each offset
    alpha: Tensor,  # [N, len(indices)]
) -> list[Tensor]:
    """Add alpha[:, k] to channel indices[k] of the styles (Eq. 13 of 2203.14512); the input is left as it was."""
    if alpha.shape[1] != len(indices):
        raise ValueError(f"{alpha.shape[1]} offsets for {len(indices)} StyleSpace indices")
    edited = list(styles)
    for layer, columns, channels in _by_layer(tuple(indices), alpha.device):
        offsets = alpha.index_select(1, columns).to(styles[layer].dtype)
        edited[layer] = styles[layer].index_add(1, channels, offsets)
    return edited


@functools.lru_cache(maxsize=64)
def _by_layer(indices: tuple[tuple[int, int], ...], device: torch.device) -> tuple[tuple[int, Tensor, Tensor], ...]:
    """(layer, columns of alpha, channels they move) of each layer; kept, to spare copies to the device."""
    by_layer: dict[int, list[int]] = {}
    for k, (layer, _) in enumerate(indices):
        by_layer.setdefault(layer, []).append(k)
    with torch.inference_mode(False):  # what is kept must also serve calls that need gradients
        return tuple(
            (layer, torch.tensor(ks, device=device), torch.tensor([indices[k][1] for k in ks], device=device))
            for layer, ks in by_layer.items()
        )
