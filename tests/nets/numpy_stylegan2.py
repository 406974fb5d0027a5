"""StyleGAN2's generator in plain numpy, float64, one sample at a time: the arithmetic the torch code must match.

Written from 1912.04958 without any of the shortcuts of the package: weights are modulated and demodulated per
sample, the up-convolution is done literally, and convolutions are loops over taps.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
FIR = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0]) / 64.0


def correlate(x: Array, kernel: Array, before: int, after: int) -> Array:
    """x [I, H, W], kernel [O, I, k, k]; zero padding before and after each axis."""
    size = kernel.shape[-1]
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
    out = np.zeros((kernel.shape[0], rows, columns))
    for i in range(size):
        for j in range(size):
            out += np.einsum("oi,ihw->ohw", kernel[:, :, i, j], x[:, i : i + rows, j : j + columns])
    return out


def fir_each(x: Array, gain: float, before: int, after: int) -> Array:
    """Low-pass every channel of x [C, H, W] by itself."""
    return np.concatenate([correlate(c[None], FIR[None, None] * gain, before, after) for c in x])


def zero_insert(x: Array) -> Array:
    """[C, H, W] -> [C, 2H, 2W]: every sample followed by a zero."""
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def up_conv_scatter(x: Array, kernel: Array) -> Array:
    """Transposed convolution as a scatter: each sample paints its kernel at twice its position; then the FIR."""
    _, height, width = x.shape
    out = np.zeros((kernel.shape[0], 2 * height + 1, 2 * width + 1))
    for y in range(height):
        for z in range(width):
            out[:, 2 * y : 2 * y + 3, 2 * z : 2 * z + 3] += np.einsum("oikl,i->okl", kernel, x[:, y, z])
    return fir_each(out, 4.0, 1, 1)


def up_conv_zeros(x: Array, kernel: Array) -> Array:
    """The same as zero insertion, a full convolution, and the FIR."""
    full = correlate(zero_insert(x), kernel[:, :, ::-1, ::-1], 2, 1)
    return fir_each(full, 4.0, 1, 1)


def upsample_rgb(x: Array) -> Array:
    """Zero insertion and the FIR with gain 4, two samples of padding before and one after."""
    return fir_each(zero_insert(x), 4.0, 2, 1)


def linear(x: Array, weight: Array, bias: Array, lr: float = 1.0) -> Array:
    """Equalised linear layer on a vector."""
    out: Array = (weight * lr / np.sqrt(weight.shape[1])) @ x + bias * lr
    return out


def leaky(x: Array) -> Array:
    """Leaky ReLU 0.2 with gain sqrt(2)."""
    out: Array = np.where(x >= 0, x, 0.2 * x) * np.sqrt(2.0)
    return out


def modulated(weight: Array, style: Array, demodulate: bool) -> Array:
    """The kernel of one sample (Eq. 1 and 3)."""
    kernel: Array = weight / np.sqrt(weight[0].size) * style[None, :, None, None]
    if demodulate:
        kernel /= np.sqrt((kernel**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
    return kernel


def mapping(state: dict[str, Array], z: Array, layers: int, lr: float) -> Array:
    """z -> w."""
    x: Array = z / np.sqrt(np.mean(z**2) + 1e-8)
    for i in range(layers):
        x = leaky(linear(x, state[f"mapping.layers.{i}.weight"], state[f"mapping.layers.{i}.bias"], lr))
    return x


def generate(
    state: dict[str, Array], wplus: Array, blocks: int, noise: bool, clamp: float | None, scatter: bool
) -> list[Array]:
    """W+ [rows, w_dim] -> RGB [3, R, R] at every resolution; `scatter` picks the form of the up-convolution."""
    limit = np.inf if clamp is None else clamp
    x, image, row, levels = state["constant"], None, 0, []
    for b in range(blocks):
        convs = 1 if b == 0 else 2
        for c in range(convs):
            name = f"blocks.{b}.convs.{c}."
            style = linear(wplus[row], state[name + "affine.weight"], state[name + "affine.bias"])
            kernel = modulated(state[name + "weight"], style, demodulate=True)
            if convs == 2 and c == 0:
                x = up_conv_scatter(x, kernel) if scatter else up_conv_zeros(x, kernel)
            else:
                x = correlate(x, kernel, 1, 1)
            if noise:
                x = x + state[name + "noise_strength"] * state[name + "noise"]
            x = np.clip(leaky(x + state[name + "bias"][:, None, None]), -limit, limit)
            row += 1
        name = f"blocks.{b}.to_rgb."
        style = linear(wplus[row], state[name + "affine.weight"], state[name + "affine.bias"])
        rgb = correlate(x, modulated(state[name + "weight"], style, demodulate=False), 0, 0)
        rgb = np.clip(rgb + state[name + "bias"][:, None, None], -limit, limit)
        image = rgb if image is None else upsample_rgb(image) + rgb
        levels.append(image)
    return levels
