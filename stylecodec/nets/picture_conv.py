"""Modulated convolutions for pictures alone: the mathematics of `ops`, without gradients, arranged for speed.

What does not change from picture to picture is computed once per network: the weights in the type of the maps, and the
sums of squares that demodulation takes. A style then goes where there is less to multiply: into the maps (up to
TOGETHER², where pictures are rendered together) or into the weights (above it, where they are rendered one by one).

A CPU that multiplies bfloat16 does the transposed convolution of stride 2 and the FIR behind it as one convolution with
four times the output maps, one for each phase of the doubled picture: four times the multiplications, which its matrix
unit has almost for nothing, and half the time. In float32 the two steps are quicker.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .ops import GAIN, LEAK, conv_up, fir_kernel

TOGETHER = 32  # up to this resolution a CPU renders the pictures of a batch at once, above it one after the other

Key = tuple[torch.dtype, torch.device, int, int]


@dataclass(frozen=True)
class KeptWeights:
    """Of one convolution with weights [O, I, 3, 3].

    energy: of its filters [O, I]. exact: the weights for inputs of unit variance, float32. rounded: these in the
    type of the maps. phases: the weights of an upsampling convolution are [4 O, I, 3, 3], see `up_phases`.
    """

    key: Key  # of the weights that these were made from
    energy: Tensor
    exact: Tensor
    rounded: Tensor
    phases: bool


def weights_kept(weight: Tensor, up: bool, dtype: torch.dtype, before: KeptWeights | None) -> KeptWeights:
    """What is kept of a convolution's weight for maps of `dtype`: `before`, if nothing has changed since."""
    key = (dtype, weight.device, weight.data_ptr(), 0 if weight.is_inference() else weight._version)
    if before is not None and before.key == key:
        return before
    with torch.no_grad():
        weight = weight.detach()
        energy = weight.square().sum(dim=(2, 3)) / weight[0].numel()
        exact = weight / math.sqrt(weight[0].numel())
        phases = up and weight.device.type == "cpu" and dtype == torch.bfloat16
        if phases:
            exact = up_phases(exact)
        rounded = exact.to(dtype).contiguous(memory_format=torch.channels_last)
    return KeptWeights(key, energy, exact, rounded, phases)


def styled(
    x: Tensor, kept: KeptWeights, bias: Tensor, style: Tensor, up: bool, noise: Tensor | None, clamp: float | None
) -> Tensor:
    """x [N, I, H, W], style [N, I] -> activated maps [N, O, H or 2H, W or 2W].

    bias [O], noise: the (rows of the) map [H, W] of the output that is added to all of its channels, or None.
    """
    scale = torch.rsqrt(style.square() @ kept.energy.t() + 1e-8) * GAIN
    if len(x) == 1 and x.shape[3] * (2 if up else 1) > TOGETHER:
        return _in_weights(x, kept, bias * GAIN, style[0], scale[0], up, noise, clamp)
    y = _convolved(x * style[:, :, None, None].to(x.dtype), kept.rounded, None, up, kept.phases)
    shift = bias[:, None, None] * GAIN
    if noise is not None:
        shift = shift + noise
    torch.addcmul(shift.to(x.dtype), y, scale[:, :, None, None].to(x.dtype), out=y)
    return activated_(y, clamp)


def _in_weights(
    x: Tensor,
    kept: KeptWeights,
    bias: Tensor,
    style: Tensor,
    scale: Tensor,
    up: bool,
    noise: Tensor | None,
    clamp: float | None,
) -> Tensor:
    """`styled` of one picture [1, I, H, W]: style, demodulation and gain in the weights."""
    if kept.phases:
        scale, bias = scale.repeat(4), bias.repeat(4)
    weight = (kept.exact * style[:, None, None]).mul_(scale[:, None, None, None]).to(x.dtype)
    if kept.phases:  # the phases are put in their places last: everything else is quicker on maps that lie together
        y = F.conv2d(x, weight, bias.to(x.dtype), padding=1)
        if noise is None:
            return interleaved(activated_(y, clamp))
        y = interleaved(y)
    else:
        y = _convolved(x, weight, bias.to(x.dtype), up, False)
    if noise is not None:
        add_noise_(y, noise.to(y.dtype))
    return activated_(y, clamp)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, up: bool, phases: bool) -> Tensor:
    if phases:
        return interleaved(F.conv2d(x, weight, bias, padding=1))
    return conv_up(x, weight, bias) if up else F.conv2d(x, weight, bias, padding=1)


def up_phases(weight: Tensor) -> Tensor:
    """Weights [O, I, 3, 3] of `ops.conv_up` -> [4 O, I, 3, 3] of a convolution that gives its four phases.

    `interleaved(F.conv2d(x, up_phases(w), padding=1))` is `conv_up(x, w)`. The phases are (even, even), (even, odd),
    (odd, even) and (odd, odd) rows and columns, O maps each.
    """
    outputs, inputs = weight.shape[:2]
    by_phase = (weight.reshape(-1, 9) @ _phase_matrix().to(weight)).view(outputs, inputs, 4, 3, 3)
    return by_phase.permute(2, 0, 1, 3, 4).reshape(4 * outputs, inputs, 3, 3)


@functools.cache
def _phase_matrix() -> Tensor:
    """[9, 4 * 9]: the taps of a 3x3 filter -> the taps of the four phases of it and the FIR."""
    with torch.inference_mode(False):
        taps = F.pad(torch.eye(9).view(9, 1, 3, 3), (3, 3, 3, 3))
        both = F.conv2d(taps, 4.0 * fir_kernel()[None, None])[:, 0]  # [9, 6, 6]; the FIR is symmetric
        phases = [both[:, row::2, column::2].flip(1, 2) for row in (0, 1) for column in (0, 1)]
        return torch.stack(phases, 1).reshape(9, 36)


def interleaved(maps: Tensor) -> Tensor:
    """Maps [N, 4 C, H, W] of the phases -> [N, C, 2H, 2W], channels last."""
    n, channels, height, width = maps.shape
    split = maps.permute(0, 2, 3, 1).reshape(n, height, width, 2, 2, channels // 4)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def add_noise_(x: Tensor, noise: Tensor) -> None:
    """Add one map [H, W] to all channels of x [1, C, H, W] in place, in the type of both."""
    if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        # A product with ones: PyTorch's own broadcast over the innermost axis is 20 times slower in bfloat16.
        x.permute(0, 2, 3, 1).view(-1, x.shape[1]).addmm_(noise.reshape(-1, 1), noise.new_ones(1, x.shape[1]))
    else:
        x.add_(noise)


def activated_(x: Tensor, clamp: float | None) -> Tensor:
    """Leaky ReLU and clamp in place."""
    F.leaky_relu_(x, LEAK)
    return x if clamp is None else x.clamp_(-clamp, clamp)
