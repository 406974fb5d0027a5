"""Operations of StyleGAN2 in plain torch, from the papers' mathematics.

Sources: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (1912.04958), section 2.2
(modulation and demodulation) and section 2.3 (skip generator); Karras et al. 2017 section 4.1 (equalised
learning rate). All maps are NCHW.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.2  # slope of every leaky ReLU in StyleGAN2
GAIN = math.sqrt(2.0)  # restores the variance that the leaky ReLU takes


def fir_kernel(device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The [1, 3, 3, 1] binomial low-pass as a [4, 4] kernel of sum 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device, dtype=dtype)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


@functools.cache
def _up_fir(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The kernel of gain 4, kept: building it for each call would copy from the host to the device."""
    with torch.inference_mode(False):  # what is kept must also serve calls that need gradients
        return fir_kernel(device, dtype) * 4.0


@functools.cache
def _rgb_phases(channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The four output phases of upsample_rgb per channel [4 * channels, 1, 3, 3], kept like _up_fir."""
    with torch.inference_mode(False):
        even = torch.tensor([0.25, 0.75, 0.0], device=device, dtype=dtype)
        odd = torch.tensor([0.0, 0.75, 0.25], device=device, dtype=dtype)
        phases = torch.stack([torch.outer(a, b) for a in (even, odd) for b in (even, odd)])
        return phases[:, None].repeat(channels, 1, 1, 1)


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of `x` [N, C] to unit mean square."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def upsample_rgb(image: Tensor, reference: bool = True) -> Tensor:
    """Double an RGB map [N, C, H, W] -> [N, C, 2H, 2W]: zero insertion, then the FIR with gain 4.

    The two taps that meet samples are (1, 3)/4 per axis, so the four output phases are fixed blends of
    neighbouring samples; done as one grouped convolution and a pixel shuffle, through which gradients pass. Without
    `reference` they are written straight to their places, which is quicker and for pictures alone.
    """
    if not reference:
        return _upsample_rgb_in_place(image)
    channels = image.shape[1]
    padded = F.pad(image, (1, 1, 1, 1))
    return F.pixel_shuffle(F.conv2d(padded, _rgb_phases(channels, image.device, image.dtype), groups=channels), 2)


def _upsample_rgb_in_place(image: Tensor) -> Tensor:
    """The blends of upsample_rgb written straight to their places, rows then columns: six times as fast on a CPU."""
    n, channels, height, width = image.shape
    padded = F.pad(image, (1, 1, 1, 1))
    own = padded[:, :, 1:-1]
    tall = image.new_empty(n, channels, height, 2, width + 2)
    torch.lerp(own, padded[:, :, :-2], 0.25, out=tall[:, :, :, 0])
    torch.lerp(own, padded[:, :, 2:], 0.25, out=tall[:, :, :, 1])
    tall = tall.view(n, channels, 2 * height, width + 2)
    own = tall[..., 1:-1]
    wide = image.new_empty(n, channels, 2 * height, width, 2)
    torch.lerp(own, tall[..., :-2], 0.25, out=wide[..., 0])
    torch.lerp(own, tall[..., 2:], 0.25, out=wide[..., 1])
    return wide.view(n, channels, 2 * height, 2 * width)


def conv_up(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Transposed 3x3 convolution of stride 2, then the FIR with gain 4: [N, I, H, W] -> [N, O, 2H, 2W].

    `weight` [O, I, 3, 3] and `bias` [O], which is added last, in the type of `x`.
    """
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    channels = y.shape[1]
    fir = _up_fir(y.device, y.dtype).expand(channels, 1, 4, 4)
    return F.conv2d(y, fir, bias, padding=1, groups=channels)


class EqualizedLinear(nn.Module):
    """A linear layer whose stored weight has unit variance (times 1 / lr_multiplier)."""

    def __init__(self, in_features: int, out_features: int, bias_init: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_features] -> [N, out_features]."""
        return F.linear(x * self.weight_gain, self.weight, self.bias * self.bias_gain)  # x has fewer numbers


def modulated_conv(
    x: Tensor,  # [N, I, H, W]
    weight: Tensor,  # [O, I, k, k], unit variance as stored
    style: Tensor,  # [N, I]
    up: bool = False,
) -> Tensor:
    """Convolution whose input channels are scaled by `style` (1912.04958 Eq. 1), not yet demodulated.

    Scaling the input of one shared convolution equals scaling its weights per sample. Returns [N, O, H, W], or
    [N, O, 2H, 2W] when `up`.
    """
    scaled = style * (1 / math.sqrt(weight[0].numel()))  # the weights' gain: they are far more numbers
    x, weight = x * scaled[:, :, None, None].to(x.dtype), weight.to(x.dtype)
    return conv_up(x, weight) if up else F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """What brings each output map of modulated_conv back to unit variance (1912.04958 Eq. 3).

    weight [O, I, k, k], style [N, I] -> factors [N, O], in the type of the style.
    """
    energy = style.square() @ weight.square().sum(dim=(2, 3)).t() / weight[0].numel()
    return torch.rsqrt(energy + 1e-8)
