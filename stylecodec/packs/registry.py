"""Which class a network kind names, and how its file becomes a module: the one place that knows."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import OptionError, PackCorrupt
from .card import NO_VALUE

BUILDERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "stylegan2": ("stylecodec.nets.stylegan2", "Generator"),
        "styleflow": ("stylecodec.nets.styleflow", "HeadPoseFlow"),
        "hybrid": ("stylecodec.nets.feedforward", "HybridEncoder"),
        "e4e": ("stylecodec.nets.e4e", "E4eEncoder"),
        "restyle": ("stylecodec.nets.restyle", "RestyleEncoder"),
        "irse": ("stylecodec.nets.identity", "IdentityNet"),
        "bisenet": ("stylecodec.nets.parsing", "BiSeNet"),
        "landmarks": ("stylecodec.nets.landmarks", "LandmarkNet"),
        "blendshapes": ("stylecodec.nets.expression", "ExpressionNet"),
        "shape_predictor": ("stylecodec.nets.shape_predictor", "ShapePredictor"),
        "lpips": ("stylecodec.nets.lpips", "Lpips"),
        "lpips_heads": ("stylecodec.nets.lpips", "LpipsHeads"),
        "dists_heads": ("stylecodec.nets.dists", "DistsHeads"),
        "inception": ("stylecodec.nets.inception", "FidInception"),
        "i3d": ("stylecodec.nets.i3d", "I3d"),
        "face_mesh": ("stylecodec.nets.face_mesh", "FaceMesh"),
    }
)
"""kind -> (module, class); modules are imported when a network of that kind is built."""


FLOATS = ("F16", "BF16", "F32", "F64")
WHOLE = ("BOOL", "U8", "I8", "I16", "I32", "I64")
"""Types of safetensors that a network of floats and one of whole numbers may be stored in."""

MAX_ZEROS = 1 << 24  # values of a network that are zero and not in its file
SPARED = 4096  # elements from which an all-zero tensor is not stored


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """The torch device of "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", "mps"; OptionError otherwise."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"there is no device {name!r}; use auto, cpu, cuda or mps") from error
    if device.type == "cpu":
        return device
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise OptionError("there is no MPS device here; use --device cpu")
        return device
    if device.type != "cuda":
        raise OptionError(f"the networks do not run on device {str(name)!r}; use auto, cpu, cuda or mps")
    if not torch.cuda.is_available():
        raise OptionError("there is no CUDA device here; use --device cpu")
    last = torch.cuda.device_count() - 1
    if not 0 <= (device.index or 0) <= last:
        raise OptionError(f"there is no device {str(name)!r} here; the last one is cuda:{last}")
    return device


def build(kind: str, params: Mapping[str, Any], where: str) -> nn.Module:
    """A module of `kind` with fresh weights; PackCorrupt, naming `where`, when `params` do not fit it."""
    module_name, class_name = BUILDERS[kind]
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise PackCorrupt(f"{where}: this version of stylecodec cannot build a network of kind {kind!r}") from error
    try:
        module = factory(**{name: None if value == NO_VALUE else value for name, value in params.items()})
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise PackCorrupt(f"{where}: the parameters do not build a {kind} network: {error}") from error
    if not isinstance(module, nn.Module):
        raise TypeError(f"{module_name}.{class_name} did not build a module")
    return module


def load_module(
    kind: str, params: Mapping[str, Any], file: Path, zeros: Sequence[str], where: str, check: bool = True
) -> nn.Module:
    """A module of `kind` with the tensors of a safetensors file; PackCorrupt as `check_tensors`, and as `build`.

    zeros: tensors that are not in the file because they are all zero. check: take memory only for what the file holds;
    off for files that are not a stranger's, since the first check of a process imports torch's compiler: a second.
    """
    if check:
        check_tensors(kind, params, file, zeros, where)
    module = build(kind, params, where)
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise PackCorrupt(f"{file} cannot be read as safetensors: {error}") from error
    for name, wanted in module.state_dict().items():
        tensors.setdefault(name, torch.zeros_like(wanted))
    module.load_state_dict(tensors)  # copies, so fp16 on disk becomes the module's fp32
    return module


def check_tensors(kind: str, params: Mapping[str, Any], file: Path, zeros: Sequence[str], where: str) -> None:
    """Compare a safetensors file's head with what a module of `kind` holds, before memory is taken for either.

    PackCorrupt unless every name, shape and sort of number is that of the module.
    """
    with torch.device("meta"):
        wanted = build(kind, params, where).state_dict()
    try:
        with safe_open(file, framework="pt") as tensors:
            heads = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            found = {name: (list(head.get_shape()), head.get_dtype()) for name, head in heads.items()}
    except (OSError, SafetensorError) as error:
        raise PackCorrupt(f"{file} cannot be read as safetensors: {error}") from error
    left_out = [name for name in zeros if name in wanted and name not in found]
    if sum(wanted[name].numel() for name in left_out) > MAX_ZEROS:
        raise PackCorrupt(f"{where}: more than {MAX_ZEROS:,} values of zero that are not in the file")
    if missing := sorted(wanted.keys() - found.keys() - set(left_out)):
        raise PackCorrupt(f"{file} lacks {len(missing)} tensors of the network, the first being {missing[0]}")
    if surplus := sorted(found.keys() - wanted.keys()):
        raise PackCorrupt(f"{file} holds {len(surplus)} tensors too many, the first being {surplus[0][:100]}")
    for name, (shape, dtype) in found.items():
        value = wanted[name]
        if shape != list(value.shape):
            raise PackCorrupt(f"{file}: {name} has the shape {shape}, the network needs {list(value.shape)}")
        if dtype not in (FLOATS if value.is_floating_point() else WHOLE):
            raise PackCorrupt(f"{file}: {name} is stored as {dtype}, the network needs {value.dtype}")


def stored_tensors(module: nn.Module, half: bool, where: str) -> dict[str, Tensor]:
    """The state of `module` as it goes into a file: contiguous, on the CPU, floats as fp16 when `half`.

    PackCorrupt when a weight is not finite, or not any more as fp16.
    """
    tensors = {}
    for name, value in module.state_dict().items():
        stored = value.detach().cpu().clone().contiguous()
        if stored.is_floating_point():
            stored = stored.to(torch.float16 if half else torch.float32)
            if not bool(torch.isfinite(stored).all()):
                raise PackCorrupt(f"{where}: {name} holds values that are not finite in {stored.dtype}")
        tensors[name] = stored
    return tensors


def drop_zeros(tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """Take the tensors that are worth leaving out of a file out of `tensors`; their names."""
    names = tuple(sorted(n for n, value in tensors.items() if value.numel() >= SPARED and not bool(value.any())))
    for name in names:
        del tensors[name]
    return names
