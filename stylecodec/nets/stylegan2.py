"""The StyleGAN2 generator (1912.04958), written from its mathematics, with free widths.

                 z ──► mapping ──► w ──► broadcast ──► W+ ──► affine ──► StyleSpace ──► synthesis ──► RGB
                                                       │                   │                          │
    entry points:  mapping(z)                          forward(W+)         synthesis(styles)          any pyramid level

Synthesis is written twice, and the caller chooses: the reference, plainly, through which gradients pass, and a fast
form for pictures alone, where maps are changed in place and a single picture's factors go into the small weights
instead of the large maps. Both give the same numbers up to rounding.

Rows of W+: conv0 of block r reads row i, conv1 row i+1, toRGB row i+2, which is the row of the next block's conv0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Widths
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ops import (
    GAIN,
    LEAK,
    EqualizedLinear,
    demodulation,
    modulated_conv,
    normalize_second_moment,
    upsample_rgb,
)
from .picture_conv import TOGETHER, KeptWeights, styled, weights_kept
from .stylespace import StyleSpaceLayout


def config_f_channels(resolution: int, base: int = 32768, most: int = 512) -> dict[int, int]:
    """Widths of the published networks: min(base / r, most) feature maps at resolution r."""
    sizes = [2**k for k in range(2, int(math.log2(resolution)) + 1)]
    return {r: min(base // r, most) for r in sizes}


class MappingNetwork(nn.Module):
    """z [N, z_dim] -> w [N, w_dim]: equalised linear layers with leaky ReLU, learning-rate multiplier 0.01.

    `normalize` scales z to unit mean square first, as StyleGAN2 does; the avatar pack maps standardised identity
    parameters instead and leaves them as they are.
    """

    def __init__(
        self,
        z_dim: int = 512,
        w_dim: int = 512,
        layers: int = 8,
        normalize: bool = True,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.normalize = z_dim, normalize
        widths = [z_dim] + [w_dim] * layers
        self.layers = nn.ModuleList(EqualizedLinear(a, b, lr_multiplier=lr_multiplier) for a, b in pairwise(widths))
        self.w_avg: Tensor
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, psi: float = 1.0) -> Tensor:
        """[N, z_dim] -> [N, w_dim]; `psi` < 1 pulls w towards the mean (truncation)."""
        x = normalize_second_moment(z) if self.normalize else z
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK) * GAIN
        return x if psi == 1.0 else self.w_avg + psi * (x - self.w_avg)


STRIP_BYTES = 8 << 20  # feature maps of a strip: little enough for the caches, and for memory that malloc keeps
STRIP_MARGIN = 2  # input rows at a strip's edge whose output the missing neighbours touch (3 rows of twice as many)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU, clamp."""

    def __init__(self, in_channels: int, out_channels: int, resolution: int, w_dim: int, up: bool) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(resolution, resolution))
        self.up = up
        self._kept: KeptWeights | None = None

    def forward(
        self, x: Tensor, style: Tensor, noise: bool, clamp: float | None, reference: bool = True
    ) -> Tensor:
        """x [N, I, H, W], style [N, I] -> [N, O, H or 2H, W or 2W]; see Generator.synthesis."""
        if not reference:
            return self.picture(x, style, self.noise if noise else None, clamp)
        # The gain commutes with the leaky ReLU, so demodulation, gain, noise and bias are one fused pass.
        scale = demodulation(self.weight, style) * GAIN
        shift = self.bias[:, None, None] * GAIN
        if noise:
            shift = shift + self.noise * (self.noise_strength * GAIN)
        x = modulated_conv(x, self.weight, style, up=self.up)
        shift, scale = shift.to(x.dtype), scale[:, :, None, None].to(x.dtype)
        x = F.leaky_relu(torch.addcmul(shift, x, scale), LEAK)
        return x if clamp is None else x.clamp(-clamp, clamp)

    def picture(self, x: Tensor, style: Tensor, noise: Tensor | None, clamp: float | None) -> Tensor:
        """The same without gradients; noise: the (rows of the) noise map that belong to the output, or None."""
        self._kept = kept = weights_kept(self.weight, self.up, x.dtype, self._kept)
        if noise is not None:
            noise = noise * (self.noise_strength * GAIN)
        return styled(x, kept, self.bias, style, self.up, noise, clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three channels, without demodulation or activation."""

    def __init__(self, in_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.per_pixel = False  # see Generator.train_rgb_per_pixel

    def forward(self, x: Tensor, style: Tensor, clamp: float | None) -> Tensor:
        """x [N, I, H, W], style [N, I] -> float32 [N, 3, H, W]."""
        if self.per_pixel and x.is_contiguous(memory_format=torch.channels_last):
            y = self._per_pixel(x, style).float() + self.bias[:, None, None]
        else:
            y = modulated_conv(x, self.weight, style).float() + self.bias[:, None, None]
        return y if clamp is None else y.clamp(-clamp, clamp)

    def _per_pixel(self, x: Tensor, style: Tensor) -> Tensor:
        """modulated_conv as a matrix product per picture: gradients come in the layout of `x`, in half the time."""
        n, inputs, height, width = x.shape
        weight = self.weight[:, :, 0, 0] * style[:, None] / math.sqrt(inputs)  # [N, 3, I]
        pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, inputs)
        y = torch.bmm(pixels, weight.transpose(1, 2).to(x.dtype))
        return y.view(n, height, width, -1).permute(0, 3, 1, 2)

    def add_to(self, image: Tensor, x: Tensor, style: Tensor, clamp: float | None) -> None:
        """Add the result of `forward` to `image` [N, 3, H, W] in place, without gradients."""
        if clamp is not None:
            image.add_(self(x, style, clamp))
        elif len(x) > 1:
            image.add_(modulated_conv(x, self.weight, style)).add_(self.bias[:, None, None])
        else:
            weight = self.weight[:, :, 0, 0] * (style[0] / math.sqrt(self.weight.shape[1]))
            if x.dtype == image.dtype or x.device.type == "cpu":  # a CPU adds maps of another type and order slowly
                pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])  # a view, where x is channels_last
                image.view(3, -1).addmm_(weight, pixels.to(image.dtype).t())
            else:
                image.add_(F.conv2d(x, weight.to(x.dtype)[:, :, None, None]))
            image.add_(self.bias[:, None, None])


class Block(nn.Module):
    """One resolution: conv-up and conv (only conv at 4x4), then toRGB."""

    def __init__(self, resolution: int, in_channels: int, out_channels: int, w_dim: int) -> None:
        super().__init__()
        convs = []
        if resolution > 4:
            convs.append(StyledConv(in_channels, out_channels, resolution, w_dim, up=True))
        convs.append(StyledConv(out_channels, out_channels, resolution, w_dim, up=False))
        self.convs = nn.ModuleList(convs)
        self.to_rgb = ToRGB(out_channels, w_dim)

    def modulated(self) -> list[StyledConv | ToRGB]:
        """The modulated convolutions in StyleSpace order."""
        return [*self.convs, self.to_rgb]


class Generator(nn.Module):
    """StyleGAN2 skip generator.

    Parameters: `resolution` a power of two from 8; `channels` feature maps per resolution 4, 8, ..., resolution
    (default: config-f); `conv_clamp` limits every activation (part of the function of some published networks).
    """

    def __init__(
        self,
        resolution: int = 1024,
        channels: Widths[int, int] | None = None,
        w_dim: int = 512,
        z_dim: int = 512,
        mapping_layers: int = 8,
        normalize_z: bool = True,
        mapping_lr: float = 0.01,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        widths = config_f_channels(resolution) if channels is None else {int(r): c for r, c in channels.items()}
        self.resolution, self.w_dim, self.conv_clamp = resolution, w_dim, conv_clamp
        self.layout = StyleSpaceLayout.of(resolution, widths)
        self.rows = self.layout.layers[-1].row + 1
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers, normalize_z, mapping_lr)
        self.constant = nn.Parameter(torch.randn(widths[4], 4, 4))
        self.resolutions = sorted(r for r in widths if r <= resolution)
        inputs = [widths[4], *(widths[r] for r in self.resolutions)]
        self.blocks = nn.ModuleList(
            Block(r, i, widths[r], w_dim) for r, i in zip(self.resolutions, inputs, strict=False)
        )

    def modulated(self) -> list[StyledConv | ToRGB]:
        """Every modulated convolution in StyleSpace order."""
        return [layer for block in self.blocks for layer in block.modulated()]  # type: ignore[operator]

    def styles(self, wplus: Tensor) -> list[Tensor]:
        """A(.): W+ [N, rows, w_dim] -> per layer [N, C_l], raw affine outputs in StyleSpace order."""
        if wplus.dim() != 3 or wplus.shape[1] != self.rows:
            raise ValueError(f"W+ must be [N, {self.rows}, {self.w_dim}], not {tuple(wplus.shape)}")
        pairs = zip(self.modulated(), self.layout.layers, strict=True)
        return [layer.affine(wplus[:, entry.row]) for layer, entry in pairs]

    @overload
    def synthesis(
        self,
        styles: Sequence[Tensor],
        noise: bool = ...,
        stop_at: int | None = ...,
        dtype: torch.dtype | None = ...,
        pyramid: Literal[False] = ...,
        reference: bool = ...,
    ) -> Tensor: ...
    @overload
    def synthesis(
        self,
        styles: Sequence[Tensor],
        noise: bool = ...,
        stop_at: int | None = ...,
        dtype: torch.dtype | None = ...,
        *,
        pyramid: Literal[True],
        reference: bool = ...,
    ) -> list[Tensor]: ...
    def synthesis(
        self,
        styles: Sequence[Tensor],
        noise: bool = True,
        stop_at: int | None = None,
        dtype: torch.dtype | None = None,
        pyramid: bool = False,
        reference: bool = True,
    ) -> Tensor | list[Tensor]:
        """Styles (one [N, C_l] per layer) -> RGB [N, 3, R, R], nominally in [-1, 1], not clamped.

        noise: add the constant noise maps. stop_at: the last resolution computed (R), by default all.
        dtype: type of the feature maps (the RGB sum stays float32), by default that of the weights.
        pyramid: return the skip sum at every resolution, coarse to fine. reference: the form that gradients pass
        through; without it a faster one that is for pictures alone.
        """
        x = self.seed(styles[0].shape[0], dtype)
        sizes = [size for size in self.resolutions if stop_at is None or size <= stop_at]
        together = 0 if reference or pyramid or x.device.type != "cpu" or len(x) == 1 else TOGETHER
        if together >= sizes[-1] or not together:
            levels = self._levels(sizes, x, None, styles, noise, reference)
            return levels if pyramid else levels[-1]
        x, image = self.maps_at(together, styles, dtype, False, noise)
        above = [size for size in sizes if size > together]
        return torch.cat(
            [
                self._levels(above, x[n : n + 1], image[n : n + 1], [s[n : n + 1] for s in styles], noise, False)[-1]
                for n in range(len(x))
            ]
        )

    def _levels(
        self,
        sizes: Sequence[int],
        x: Tensor,
        image: Tensor | None,
        styles: Sequence[Tensor],
        noise: bool,
        reference: bool,
    ) -> list[Tensor]:
        """The skip sums of the blocks of these resolutions, one after the other."""
        levels: list[Tensor] = []
        for size in sizes:
            if image is not None and size == sizes[-1] and not reference and self._in_strips(size, x):
                levels.append(self._finish_in_strips(size, x, image, styles, noise))
                break
            x, image = self.grow(size, x, image, styles, noise, reference)
            levels.append(image)
        return levels

    def seed(self, count: int, dtype: torch.dtype | None = None) -> Tensor:
        """The learned constant as the first feature maps [count, C, 4, 4]."""
        constant = self.constant if dtype is None else self.constant.to(dtype)
        return constant.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)

    def grow(
        self,
        size: int,
        x: Tensor,
        image: Tensor | None,
        styles: Sequence[Tensor],
        noise: bool,
        reference: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Run the block of resolution `size`: feature maps and RGB sum in, the next ones out.

        `x` and `image` may be a window of the maps (with `noise` off): the block then yields that window, up to two
        pixels from its edges that the missing neighbours touch.
        """
        convs, to_rgb, own = self._level(size, styles)
        for style, conv in zip(own, convs, strict=False):
            x = conv(x, style, noise, self.conv_clamp, reference)
        if image is None:
            return x, to_rgb(x, own[-1], self.conv_clamp)
        image = upsample_rgb(image, reference)
        if reference:
            return x, image + to_rgb(x, own[-1], self.conv_clamp)
        to_rgb.add_to(image, x, own[-1], self.conv_clamp)
        return x, image

    def maps_at(
        self,
        size: int,
        styles: Sequence[Tensor],
        dtype: torch.dtype | None = None,
        reference: bool = True,
        noise: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Feature maps and RGB sum of resolution `size`; noise, reference: see `synthesis`."""
        x, image = self.grow(4, self.seed(len(styles[0]), dtype), None, styles, noise, reference)
        for level in (r for r in self.resolutions if 4 < r <= size):
            x, image = self.grow(level, x, image, styles, noise, reference)
        return x, image

    def above(
        self, size: int, x: Tensor, image: Tensor, styles: Sequence[Tensor], reference: bool = True
    ) -> Tensor:
        """The RGB sum of the last resolution from (a window of) the maps of resolution `size`, without noise.

        reference: see `synthesis`.
        """
        for level in (r for r in self.resolutions if r > size):
            x, image = self.grow(level, x, image, styles, False, reference)
        return image

    def train_rgb_per_pixel(self) -> None:
        """From now on the reference form of toRGB is a matrix product per picture: half the time of its gradients."""
        for layer in self.modulated():
            if isinstance(layer, ToRGB):
                layer.per_pixel = True

    def _level(self, size: int, styles: Sequence[Tensor]) -> tuple[list[StyledConv], ToRGB, Sequence[Tensor]]:
        """The convolutions of the block of resolution `size`, its toRGB, and the styles of them all."""
        level = self.resolutions.index(size)
        block = self.blocks[level]
        first = 3 * level - 1 if level else 0
        return list(block.convs), block.to_rgb, styles[first : 3 * level + 2]  # type: ignore[arg-type, return-value]

    def _in_strips(self, size: int, x: Tensor) -> bool:
        """Whether the block of resolution `size` is better computed in strips, from its input `x`."""
        channels = self.layout.layers[3 * self.resolutions.index(size) + 1].channels  # its toRGB's
        large = size * size * channels * x.element_size() > 2 * STRIP_BYTES
        return large and len(x) == 1 and x.device.type == "cpu"

    def _finish_in_strips(self, size: int, x: Tensor, image: Tensor, styles: Sequence[Tensor], noise: bool) -> Tensor:
        """The RGB sum of `grow`, for a last block of one picture, computed in strips of rows.

        Whole maps of 1024² would leave the caches between operations, and each would be fresh memory from the system.
        """
        convs, to_rgb, own = self._level(size, styles)
        image = upsample_rgb(image, reference=False)
        height = x.shape[2]
        rows = max(16, STRIP_BYTES // (4 * x.shape[3] * to_rgb.weight.shape[1] * x.element_size()))
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(top - STRIP_MARGIN, 0), min(bottom + STRIP_MARGIN, height)
            y = x[:, :, first:last]
            for style, conv in zip(own, convs, strict=False):
                y = conv.picture(y, style, conv.noise[2 * first : 2 * last] if noise else None, self.conv_clamp)
            y = y[:, :, 2 * (top - first) : 2 * (bottom - first)]
            to_rgb.add_to(image[:, :, 2 * top : 2 * bottom], y, own[-1], self.conv_clamp)
        return image

    def forward(
        self, wplus: Tensor, noise: bool = True, stop_at: int | None = None, reference: bool = True
    ) -> Tensor:
        """W+ [N, rows, w_dim] -> RGB [N, 3, R, R]; see `synthesis`."""
        return self.synthesis(self.styles(wplus), noise=noise, stop_at=stop_at, reference=reference)
