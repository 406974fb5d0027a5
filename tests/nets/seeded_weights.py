"""Weights and inputs drawn from a seed, the same bits on every machine.

A tensor depends on (seed, name, shape) alone. The first 16 bytes of sha256("seed|name|AxBxC") are the key of a
Philox-4x64 counter generator; each 64-bit word gives one number, the sum of its four 16-bit parts, centred and
scaled to variance 1. numpy fixes the raw words of Philox, unlike its normal numbers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable

import numpy as np
import torch

Shapes = dict[str, tuple[int, ...]]

# (pattern, mean, standard deviation); the first that is found in the name decides. A string stands for a deviation of
# sqrt(gain / fan-in). What no pattern names is a weight: 1 +- 0.1 for vectors, sqrt(1 / fan-in) for the rest.
_RULES: tuple[tuple[str, float, float | str], ...] = (
    (r"^input\.wplus", 0.0, 0.5),
    (r"^input\b", 0.0, 1.0),
    (r"(latent_avg|w_avg|running_mean)$", 0.0, 0.1),
    (r"running_var$", 1.0, 0.1),
    (r"(\bstyle\.\d+|mapping\.fc\d+)\.weight$", 0.0, 100.0),
    (r"(\bstyle\.\d+|mapping\.fc\d+)\.bias$", 0.0, 10.0),
    (r"(modulation|affine)\.weight$", 0.0, 1.0),
    (r"(modulation|affine)\.bias$", 1.0, 0.1),
    (r"(noise\.weight|noise_strength)$", 0.0, 0.1),
    (r"\bnoises\.|noise_const$|input\.input$|\.const$", 0.0, 1.0),
    (r"to_?rgb.*weight$", 0.0, 0.3),
    (r"\bconv(1|s\.\d+)\.conv\.weight$|synthesis\.b\d+\.conv\d\.weight$", 0.0, 1.0),
    (r"(input_layer|res_layer)\.2\.weight$", 0.25, 0.03),
    (r"styles\.\d+\.linear\.weight$", 0.0, 0.25),
    (r"styles\..*convs.*weight$|^features\..*weight$", 0.0, "he"),
    (r"^lin\d+\.", 0.3, 0.08),
    (r"^chain\.[02]\.(weight|bias)$", 0.0, 0.2),
    (r"sqrt_end_time$", 1.0488, 0.0),
    (r"_hyper_.*weight$", 0.0, 0.05),
    (r"bias$", 0.0, 0.1),
)


CHUNK = 1 << 15  # numbers that are drawn at once: what fits into a processor's cache


def standard(
    name: str, shape: tuple[int, ...], seed: int, mean: float = 0.0, deviation: float = 1.0, dtype: type = np.float64
) -> np.ndarray:
    """Numbers of that mean and deviation, within +-3.47 deviations, computed in float64."""
    digest = hashlib.sha256(f"{seed}|{name}|{'x'.join(map(str, shape))}".encode()).digest()
    generator = np.random.Philox(key=np.frombuffer(digest[:16], "<u8").astype(np.uint64))
    out = np.empty(math.prod(shape), dtype)
    for first in range(0, len(out), CHUNK):
        few = out[first : first + CHUNK]
        parts = generator.random_raw(len(few)).view(np.uint16).reshape(-1, 4)
        total = np.full(len(parts), -131070, np.int32)
        for column in range(4):  # much faster than a sum over so short an axis
            total += parts[:, column]
        few[:] = mean + deviation * (total * (math.sqrt(3.0) / 65536))
    return out.reshape(shape)


def draw(name: str, shape: Iterable[int], seed: int = 1) -> torch.Tensor:
    """One float32 tensor; resampling filters are what they are, not drawn."""
    shape = tuple(shape)
    if name.endswith((".kernel", "resample_filter")):
        taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / (16 if name.endswith("kernel") else 64)
        return torch.from_numpy(taps.astype(np.float32))
    default: tuple[float, float | str] = (1.0, 0.1) if len(shape) == 1 else (0.0, "fan")
    mean, deviation = next((rule[1:] for rule in _RULES if re.search(rule[0], name)), default)
    if isinstance(deviation, str):
        deviation = math.sqrt((2 if deviation == "he" else 1) / math.prod(shape[1:]))
    return torch.from_numpy(standard(name, shape, seed, mean, deviation, np.float32))


def picture(name: str, shape: tuple[int, int, int, int], seed: int = 1) -> torch.Tensor:
    """NCHW float32 in [-1, 1]: noise in blocks of 32, 8 and 1 pixels."""
    n, c, h, w = shape
    total = np.zeros(shape)
    for block, amount in ((32, 0.35), (8, 0.2), (1, 0.08)):
        cells = amount * standard(f"{name}.{block}", (n, c, -(-h // block), -(-w // block)), seed)
        total = total + cells.repeat(block, 2).repeat(block, 3)[:, :, :h, :w]
    return torch.from_numpy(np.clip(total, -1, 1).astype(np.float32))


def fill(module: torch.nn.Module, prefix: str = "", seed: int = 1) -> None:
    """Draw every floating-point tensor of a module in place, under `prefix` + its own name."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(draw(prefix + name, tensor.shape, seed))


def _widths(resolution: int) -> dict[int, int]:
    return {4 << b: min(32768 // (4 << b), 512) for b in range(int(math.log2(resolution)) - 1)}


def port_generator_shapes(resolution: int) -> Shapes:
    """Names and shapes of a config-f generator in the naming of the PyTorch port, noise maps included."""
    shapes: Shapes = {"input.input": (1, 512, 4, 4)}
    for i in range(1, 9):
        shapes |= {f"style.{i}.weight": (512, 512), f"style.{i}.bias": (512,)}

    def modulated(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.conv.weight"] = (1, outputs, inputs, kernel, kernel)
        shapes[f"{name}.conv.modulation.weight"] = (inputs, 512)
        shapes[f"{name}.conv.modulation.bias"] = (inputs,)

    def conv(number: int, name: str, inputs: int, outputs: int, size: int) -> None:
        modulated(name, inputs, outputs, 3)
        shapes[f"{name}.noise.weight"] = (1,)
        shapes[f"{name}.activate.bias"] = (outputs,)
        shapes[f"noises.noise_{number}"] = (1, 1, size, size)

    widths = _widths(resolution)
    for b, (size, width) in enumerate(widths.items()):
        rgb = "to_rgb1" if b == 0 else f"to_rgbs.{b - 1}"
        if b == 0:
            conv(0, "conv1", width, width, 4)
        else:
            conv(2 * b - 1, f"convs.{2 * b - 2}", widths[size // 2], width, size)
            conv(2 * b, f"convs.{2 * b - 1}", width, width, size)
            shapes[f"convs.{2 * b - 2}.conv.blur.kernel"] = shapes[f"{rgb}.upsample.kernel"] = (4, 4)
        modulated(rgb, width, 3, 1)
        shapes[f"{rgb}.bias"] = (1, 3, 1, 1)
    return shapes


def nvidia_generator_shapes(resolution: int) -> Shapes:
    """The same generator in NVIDIA's naming, with the mean w."""
    shapes: Shapes = {"synthesis.b4.const": (512, 4, 4), "mapping.w_avg": (512,)}
    for i in range(8):
        shapes |= {f"mapping.fc{i}.weight": (512, 512), f"mapping.fc{i}.bias": (512,)}
    widths = _widths(resolution)
    for size, width in widths.items():
        block = f"synthesis.b{size}"
        shapes[f"{block}.resample_filter"] = (4, 4)
        layers = [("conv1", width, width, 3), ("torgb", width, 3, 1)]
        if size > 4:
            layers.insert(0, ("conv0", widths[size // 2], width, 3))
        for name, inputs, outputs, kernel in layers:
            shapes[f"{block}.{name}.weight"] = (outputs, inputs, kernel, kernel)
            shapes[f"{block}.{name}.bias"] = (outputs,)
            shapes[f"{block}.{name}.affine.weight"] = (inputs, 512)
            shapes[f"{block}.{name}.affine.bias"] = (inputs,)
            if kernel == 3:
                shapes[f"{block}.{name}.noise_strength"] = ()
                shapes[f"{block}.{name}.noise_const"] = (size, size)
    return shapes


def flow_shapes() -> Shapes:
    """Names and shapes of StyleFlow's published flow."""
    shapes: Shapes = {"chain.1.sqrt_end_time": (), "chain.1.odefunc._num_evals": ()}
    for norm in ("chain.0", "chain.2"):
        shapes |= {f"{norm}.{name}": (512,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.step"] = (1,)
    for k in range(6):
        layer = f"chain.1.odefunc.diffeq.layers.{k}."
        shapes |= {layer + "_layer.weight": (512, 512), layer + "_layer.bias": (512,)}
        shapes |= {layer + "_hyper_bias.weight": (512, 18)}
        shapes |= {layer + "_hyper_gate.weight": (512, 18), layer + "_hyper_gate.bias": (512,)}
    return shapes


def state(shapes: Shapes, seed: int = 1) -> dict[str, torch.Tensor]:
    """A whole state dict."""
    return {name: draw(name, shape, seed) for name, shape in shapes.items()}
