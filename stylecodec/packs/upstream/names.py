"""Tensor names of published checkpoints -> names of our modules.

The identity net, the parser and the encoder's body keep the published names; the generator and the flow do not.
A generator's state dict circulates in two namings that describe the same numbers, without any flip or scale
between them: the widespread PyTorch port ("port": convs.N, to_rgbs.N) and NVIDIA's own ("nvidia": synthesis.bR).
NVIDIA's TensorFlow networks ("tensorflow") have the same numbers in another order of axes.

Only names and axes change here. Every function raises PackCorrupt for a tensor that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypedDict

from torch import Tensor

from ...errors import PackCorrupt

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


class GeneratorSettings(TypedDict):
    """Arguments of stylegan2.Generator that the shapes of a state dict fix."""

    resolution: int
    channels: dict[int, int]
    w_dim: int
    z_dim: int
    mapping_layers: int


_PORT_LAYER = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
_NVIDIA_LAYER = {
    "weight": "weight",
    "affine.weight": "affine.weight",
    "affine.bias": "affine.bias",
    "noise_strength": "noise_strength",
    "noise_const": "noise",
    "bias": "bias",
}


MAX_RESOLUTION = 4096


def _conv(number: int, tail: str) -> str:
    """Our name in the `number`-th 3x3 convolution, counted from 0 at 4x4."""
    block, place = (0, 0) if number == 0 else ((number - 1) // 2 + 1, (number - 1) % 2)
    return f"blocks.{_within(block)}.convs.{place}.{tail}"


def _block(resolution: str) -> int:
    """Index of the block of a resolution: 4 -> 0, 8 -> 1, ...."""
    size = int(resolution)
    if size & (size - 1) or size < 4:
        raise PackCorrupt(f"the generator has a block of {size} pixels")
    return _within(size.bit_length() - 3)


def _within(block: int) -> int:
    if 4 << min(block, 30) > MAX_RESOLUTION:
        raise PackCorrupt(f"the generator is larger than {MAX_RESOLUTION} pixels")
    return block


def _alternatives(table: Mapping[str, str]) -> str:
    return "|".join(re.escape(name) for name in table)


_PORT: list[_Rule] = [
    (re.compile(r"style\.(\d{1,3})\.(weight|bias)"), lambda m: f"mapping.layers.{int(m[1]) - 1}.{m[2]}"),
    (re.compile(r"input\.input"), lambda m: "constant"),
    (re.compile(rf"conv1\.({_alternatives(_PORT_LAYER)})"), lambda m: _conv(0, _PORT_LAYER[m[1]])),
    (
        re.compile(rf"convs\.(\d{{1,3}})\.({_alternatives(_PORT_LAYER)})"),
        lambda m: _conv(int(m[1]) + 1, _PORT_LAYER[m[2]]),
    ),
    (re.compile(rf"to_rgb1\.({_alternatives(_PORT_LAYER)})"), lambda m: f"blocks.0.to_rgb.{_PORT_LAYER[m[1]]}"),
    (
        re.compile(rf"to_rgbs\.(\d{{1,3}})\.({_alternatives(_PORT_LAYER)})"),
        lambda m: f"blocks.{_within(int(m[1]) + 1)}.to_rgb.{_PORT_LAYER[m[2]]}",
    ),
    (re.compile(r"noises\.noise_(\d{1,3})"), lambda m: _conv(int(m[1]), "noise")),
]
_NVIDIA: list[_Rule] = [
    (re.compile(r"mapping\.fc(\d{1,3})\.(weight|bias)"), lambda m: f"mapping.layers.{m[1]}.{m[2]}"),
    (re.compile(r"mapping\.w_avg"), lambda m: "mapping.w_avg"),
    (re.compile(r"synthesis\.b4\.const"), lambda m: "constant"),
    (
        re.compile(rf"synthesis\.b4\.conv1\.({_alternatives(_NVIDIA_LAYER)})"),
        lambda m: _conv(0, _NVIDIA_LAYER[m[1]]),
    ),
    (
        re.compile(rf"synthesis\.b(\d{{1,5}})\.conv([01])\.({_alternatives(_NVIDIA_LAYER)})"),
        lambda m: f"blocks.{_block(m[1])}.convs.{m[2]}.{_NVIDIA_LAYER[m[3]]}",
    ),
    (
        re.compile(rf"synthesis\.b(\d{{1,5}})\.torgb\.({_alternatives(_NVIDIA_LAYER)})"),
        lambda m: f"blocks.{_block(m[1])}.to_rgb.{_NVIDIA_LAYER[m[2]]}",
    ),
]
_FLOW: list[_Rule] = [
    (re.compile(r"chain\.0\.(weight|bias|running_mean|running_var)"), lambda m: f"norm_in.{m[1]}"),
    (re.compile(r"chain\.2\.(weight|bias|running_mean|running_var)"), lambda m: f"norm_out.{m[1]}"),
    (re.compile(r"chain\.1\.sqrt_end_time"), lambda m: "sqrt_end_time"),
    (re.compile(r"chain\.1\.odefunc\.diffeq\.(layers\..+)"), lambda m: f"field.{m[1]}"),
]

# Fixed filters and counters, which our modules do not store.
_IGNORED = re.compile(r".*(\.kernel|resample_filter|_num_evals|\.step|num_batches_tracked)")


def _renamed(state: Mapping[str, Tensor], rules: list[_Rule], what: str) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _IGNORED.fullmatch(name):
            continue
        found = next((rule(match) for pattern, rule in rules if (match := pattern.fullmatch(name))), None)
        if found is None:
            raise PackCorrupt(f"the {what} holds a tensor that its format does not have: {name!r}")
        out[found] = tensor
    return out


def _shaped(name: str, tensor: Tensor) -> Tensor:
    """Drop the leading or trailing axes of length 1 in which the namings differ."""
    if name.endswith("noise_strength"):
        return tensor.reshape(())
    if name.endswith("bias"):
        return tensor.reshape(-1)
    axes = 3 if name == "constant" else 2 if name.endswith((".noise", "affine.weight")) else 4
    if name.startswith("mapping."):
        axes = tensor.dim()
    return tensor.reshape(tensor.shape[-axes:])


def _generator(state: Mapping[str, Tensor], rules: list[_Rule]) -> dict[str, Tensor]:
    out = {name: _shaped(name, tensor) for name, tensor in _renamed(state, rules, "generator").items()}
    if "constant" not in out:
        raise PackCorrupt("the generator has no 4x4 constant")
    if "blocks.0.convs.0.affine.weight" not in out:
        raise PackCorrupt("the generator has no 4x4 convolution")
    for name in [name for name in out if name.endswith("noise_strength")]:
        block = int(name.split(".")[1])
        side = 4 << block
        # Self-trained files may lack the noise maps; without them the generator runs without noise.
        out.setdefault(name.removesuffix("_strength"), out[name].new_zeros(side, side))
    return out


def generator_from_port(state: Mapping[str, Tensor], latent_avg: Tensor | None = None) -> dict[str, Tensor]:
    """A generator in the naming of the PyTorch port (`g_ema`, or `decoder.` of an encoder file) -> ours.

    latent_avg: the mean w, [w_dim] or one row per layer [rows, w_dim] with equal rows. Without it the result has no
    `mapping.w_avg`; the mean of some 10,000 mapped z takes its place.
    """
    out = _generator(state, _PORT)
    if latent_avg is not None:
        out["mapping.w_avg"] = latent_avg.reshape(-1, latent_avg.shape[-1])[0]
    return out


def generator_from_nvidia(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator in NVIDIA's naming (`G_ema`) -> ours."""
    return _generator(state, _NVIDIA)


_TF_LAYER = {
    "weight": "weight",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
    "noise_strength": "noise_strength",
    "bias": "bias",
}
_TF_SYNTHESIS: list[_Rule] = [
    (re.compile(r"4x4/Const/const"), lambda m: "constant"),
    (re.compile(rf"4x4/Conv/({_alternatives(_TF_LAYER)})"), lambda m: _conv(0, _TF_LAYER[m[1]])),
    (
        re.compile(rf"(\d{{1,5}})x\1/Conv(0_up|1)/({_alternatives(_TF_LAYER)})"),
        lambda m: f"blocks.{_block(m[1])}.convs.{0 if m[2] == '0_up' else 1}.{_TF_LAYER[m[3]]}",
    ),
    (
        re.compile(rf"(\d{{1,5}})x\1/ToRGB/({_alternatives(_TF_LAYER)})"),
        lambda m: f"blocks.{_block(m[1])}.to_rgb.{_TF_LAYER[m[2]]}",
    ),
    (re.compile(r"noise(\d{1,3})"), lambda m: _conv(int(m[1]), "noise")),
]
_TF_MAPPING: list[_Rule] = [
    (re.compile(r"Dense(\d{1,3})/(weight|bias)"), lambda m: f"mapping.layers.{m[1]}.{m[2]}"),
]


def generator_from_tensorflow(
    synthesis: Mapping[str, Tensor], mapping: Mapping[str, Tensor], latent_avg: Tensor
) -> dict[str, Tensor]:
    """A TensorFlow generator (variables of its two components, and `dlatent_avg` [w_dim]) -> ours.

    Kernels are [k, k, in, out] there and linear weights [in, out]; the kernels of up-convolutions are mirrored in both
    directions; the bias of a style is stored without the 1 that it starts from.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in {**synthesis, **mapping}.items():
        if name == "lod":
            continue
        if name.endswith("mod_bias"):
            tensor = tensor + 1
        elif tensor.dim() == 4 and name.endswith("weight"):
            tensor = tensor.flip(0, 1) if "Conv0_up" in name else tensor
            tensor = tensor.permute(3, 2, 0, 1)
        elif tensor.dim() == 2 and name.endswith("weight"):
            tensor = tensor.t()
        state[name] = tensor.contiguous()
    out = _generator(state, _TF_SYNTHESIS + _TF_MAPPING)
    out["mapping.w_avg"] = latent_avg.reshape(-1)
    return out


def generator_settings(state: Mapping[str, Tensor]) -> GeneratorSettings:
    """The hyper-parameters of a generator, read from the shapes of a state dict in our names."""
    channels = {4: state["constant"].shape[0]}
    block = 1
    while (weight := state.get(f"blocks.{block}.convs.1.weight")) is not None:
        channels[4 << block] = weight.shape[0]
        block += 1
    layers = 0
    while f"mapping.layers.{layers}.weight" in state:
        layers += 1
    w_dim = state["blocks.0.convs.0.affine.weight"].shape[1]
    z_dim = state["mapping.layers.0.weight"].shape[1] if layers else w_dim
    return GeneratorSettings(
        resolution=max(channels), channels=channels, w_dim=w_dim, z_dim=z_dim, mapping_layers=layers
    )


def under_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it: `encoder.` or `decoder.` of an encoder file."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def encoder_from_e4e(state: Mapping[str, Tensor], latent_avg: Tensor) -> dict[str, Tensor]:
    """An e4e or ReStyle file's `state_dict` and `latent_avg` ([w_dim] or [rows, w_dim]) -> the encoder in our names."""
    out = under_prefix(state, "encoder.")
    rows = len({name.split(".")[1] for name in out if name.startswith("styles.")})
    if not rows:
        raise PackCorrupt("the encoder file has no style heads under 'encoder.styles.'")
    out["latent_avg"] = latent_avg.reshape(-1, latent_avg.shape[-1]).expand(rows, -1)
    return out


def flow_from_styleflow(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """StyleFlow's published flow -> styleflow.HeadPoseFlow with 17 attributes."""
    return _renamed(state, _FLOW, "flow")
