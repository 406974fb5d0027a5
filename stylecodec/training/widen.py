"""A generator with more feature maps that draws what the given one draws (net2net, 1511.05641, with new maps unheard).

New maps of a block come after the old ones, so StyleSpace channels keep their numbers. They see everything and nothing
listens to them yet: weights from a new map to an old one are zero, and training finds what they are good for. Equalised
layers divide by the root of their number of inputs; demodulation undoes that in convolutions, toRGB layers make up for
it. Levels that get narrower than they were cannot draw the same: they begin anew and leave the enlarged picture of the
level below as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from ..errors import OptionError
from ..nets.stylegan2 import Block, Generator, StyledConv, ToRGB


def parse_widths(text: str) -> dict[int, int]:
    """ "64=96,128=48" -> {64: 96, 128: 48}; OptionError where it is written otherwise."""
    try:
        return {int(size): int(width) for size, width in (part.split("=") for part in text.split(",") if part)}
    except ValueError as error:
        raise OptionError(f"widths are written as 64=96,128=48, not {text!r}") from error


def widths_of(generator: Generator) -> dict[int, int]:
    """Feature maps per resolution."""
    pairs = zip(generator.resolutions, blocks(generator), strict=True)
    return {size: block.to_rgb.weight.shape[1] for size, block in pairs}


def blocks(generator: Generator) -> list[Block]:
    """Its blocks, coarse to fine."""
    return cast("list[Block]", list(generator.blocks))


@torch.no_grad()
def widened(generator: Generator, widths: Mapping[int, int]) -> Generator:
    """A copy with other widths where `widths` names a resolution; narrower only from some resolution on upwards."""
    before = widths_of(generator)
    after = {**before, **widths}
    if unknown := after.keys() - before.keys():
        raise OptionError(f"the generator has no resolution {min(unknown)}")
    fresh = next((r for r in sorted(before) if after[r] < before[r]), math.inf)
    if fresh <= 256:
        raise OptionError(f"fewer maps at {fresh}² than the pack's {before[int(fresh)]} would change what it draws")
    mapping = generator.mapping
    new = Generator(
        generator.resolution,
        after,
        generator.w_dim,
        mapping.z_dim,
        len(mapping.layers),
        mapping.normalize,
        mapping.layers[0].bias_gain,  # type: ignore[arg-type]
        generator.conv_clamp,
    ).to(generator.constant)
    mapping_state = mapping.state_dict()
    new.mapping.load_state_dict(mapping_state)
    _grow(new.constant, generator.constant)
    for size, block, known in zip(generator.resolutions, blocks(new), blocks(generator), strict=True):
        if size >= fresh:
            block.to_rgb.weight.zero_()
            for conv in cast("list[StyledConv]", list(block.convs)):
                conv.noise.zero_()
            continue
        for layer, old in zip(block.modulated(), known.modulated(), strict=True):
            _grow_layer(layer, old)
    return new.eval()


def _grow_layer(layer: StyledConv | ToRGB, old: StyledConv | ToRGB) -> None:
    inputs = old.weight.shape[1]
    weight = torch.randn_like(layer.weight) * old.weight.std()
    weight[: len(old.weight), inputs:] = 0
    gain = math.sqrt(layer.weight.shape[1] / inputs) if isinstance(old, ToRGB) else 1.0
    weight[: len(old.weight), :inputs] = old.weight * gain
    layer.weight.copy_(weight)
    _grow(layer.bias, old.bias)
    _grow(layer.affine.weight, old.affine.weight, float(old.affine.weight.std()))
    _grow(layer.affine.bias, old.affine.bias, 0.0, 1.0)
    if isinstance(layer, StyledConv) and isinstance(old, StyledConv):
        layer.noise.copy_(old.noise)
        layer.noise_strength.copy_(old.noise_strength)


def _grow(value: Tensor, old: Tensor, deviation: float = 0.0, mean: float = 0.0) -> None:
    """Put `old` at the beginning of a larger tensor, the rest drawn with this mean and deviation."""
    value.copy_(mean + deviation * torch.randn_like(value))
    value[tuple(slice(n) for n in old.shape)] = old
