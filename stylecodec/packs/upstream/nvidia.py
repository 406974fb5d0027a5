"""NVIDIA's pickled generators as data: PyTorch modules (both eras, and those tuned by PTI) and TensorFlow networks.

A PyTorch module is a record of its class's name, its source text, which is never looked at, and its attributes; modules
within it lie under `_modules`, tensors under `_parameters` and `_buffers`. A TensorFlow network is a table of named
arrays with the components `mapping` and `synthesis` inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ImportRefused
from .names import generator_from_tensorflow
from .values import PERSISTENT_OBJECT, TF_NETWORK, Record, TensorView, array_of

MAX_MODULES = 2000  # the largest published generator has some 80
MAX_NESTING = 8
CLAMPED = ("conv0", "conv1", "torgb")

Attributes = Mapping[Any, Any]


def attributes_of(record: Any) -> Attributes:
    """The attributes of a pickled module."""
    meta = record.arguments[0] if isinstance(record, Record) and len(record.arguments) == 1 else None
    if not isinstance(record, Record) or record.what != PERSISTENT_OBJECT or not isinstance(meta, dict):
        raise ImportRefused("the pickle holds a module of a kind that NVIDIA's networks do not have")
    state = meta.get("state")
    if not isinstance(state, dict):
        raise ImportRefused("the pickle holds a module without attributes")
    return state


def modules(record: Any, prefix: str = "", nesting: int = 0) -> Iterator[tuple[str, Attributes]]:
    """(path, attributes) of a module and of all within it."""
    if nesting > MAX_NESTING:
        raise ImportRefused("the pickle holds modules within modules within modules")
    attributes = attributes_of(record)
    yield prefix, attributes
    inner = attributes.get("_modules")
    for name, child in inner.items() if isinstance(inner, dict) else ():
        if child is not None:
            yield from modules(child, f"{prefix}{name}.", nesting + 1)


def from_persistent(record: Record) -> tuple[dict[str, TensorView], dict[str, Any]]:
    """Tensors of a generator by NVIDIA's names, and the parameters that no tensor shows."""
    views: dict[str, TensorView] = {}
    clamps: set[Any] = set()
    params: dict[str, Any] = {}
    for number, (path, attributes) in enumerate(modules(record)):
        if number > MAX_MODULES:
            raise ImportRefused(f"the pickle holds more than {MAX_MODULES:,} modules")
        for group in ("_parameters", "_buffers"):
            table = attributes.get(group)
            for name, value in table.items() if isinstance(table, dict) else ():
                if isinstance(value, TensorView):
                    views[f"{path}{name}"] = value
        layer = path.rstrip(".").rsplit(".", 1)[-1]
        if path.startswith("synthesis.") and layer in CLAMPED:
            clamps.add(_number(attributes.get("conv_clamp"), "conv_clamp"))
        if layer.startswith("fc") and path.startswith("mapping."):
            params["mapping_lr"] = _number(attributes.get("bias_gain"), "bias_gain")
            _check_activation(attributes, "lrelu")
    if len(clamps) > 1:
        raise ImportRefused("its layers are clamped differently, as no published generator's are")
    params["conv_clamp"] = clamps.pop() if clamps else None
    if any(name.startswith("mapping.embed") for name in views):
        raise ImportRefused("it is a generator for labelled classes, and faces have none")
    return views, params


def _check_activation(attributes: Attributes, wanted: str) -> None:
    if attributes.get("activation", wanted) != wanted:
        raise ImportRefused(f"its activation is not the {wanted!r} of the published generators")


def _number(value: Any, name: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9):
        return None if value is None else float(value)
    raise ImportRefused(f"its {name} is not a positive number")


# --- TensorFlow -------------------------------------------------------------------------------------------------


def is_tensorflow(value: Any) -> bool:
    """Whether a value of a pickle is a TensorFlow network."""
    return isinstance(value, Record) and value.what == TF_NETWORK


def from_tensorflow(network: Record, size: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A TensorFlow generator in our names, and the parameters that no tensor shows; size: bytes of the file."""
    own = _variables(network, size)
    state = _network_state(network)
    components = state.get("components")
    parts = {}
    for name in ("synthesis", "mapping"):
        part = components.get(name) if isinstance(components, dict) else None
        if not is_tensorflow(part):
            raise ImportRefused(f"the TensorFlow network has no component {name!r}: it is no StyleGAN2 generator")
        parts[name] = _variables(part, size)
    if "dlatent_avg" not in own:
        raise ImportRefused("the TensorFlow generator has no mean latent")
    settings = _network_state(components["mapping"]).get("static_kwargs") if isinstance(components, dict) else None
    rate = settings.get("mapping_lrmul") if isinstance(settings, dict) else None
    tensors = generator_from_tensorflow(parts["synthesis"], parts["mapping"], own["dlatent_avg"])
    return tensors, {"mapping_lr": _number(rate, "mapping_lrmul")}


def _network_state(network: Any) -> Attributes:
    if not isinstance(network.state, dict):
        raise ImportRefused("the TensorFlow network has no content")
    return network.state


def _variables(network: Any, size: int) -> dict[str, Tensor]:
    """The named arrays of one network, in single precision; together not much larger than the file."""
    listed = _network_state(network).get("variables")
    if not isinstance(listed, list):
        raise ImportRefused("the TensorFlow network has no list of variables")
    found: dict[str, Tensor] = {}
    left = 2 * size + (1 << 20)
    for entry in listed:
        if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            raise ImportRefused("the TensorFlow network has a variable without a name")
        value = entry[1]
        array = np.asarray(value) if isinstance(value, int | float) else array_of(value)
        left -= array.nbytes
        if left < 0:
            raise ImportRefused(f"its arrays claim more than the {size:,} bytes that the file has")
        found[entry[0]] = torch.from_numpy(np.array(array, np.float32))
    return found
