"""What a foreign pickle is read into: inert values, and the names of classes that stand for data.

A tensor is a view with checked bounds onto bytes of the file, an array the same, everything else a `Record` that only
remembers what it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ImportRefused

MAX_AXES = 8
SPREAD = 1 << 16  # elements that a tensor may have although its storage has fewer (one value for a whole row)


@dataclass(frozen=True)
class Name:
    """A class or function of some module, as a pickle names it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object of a class that is not looked up: what it was made with."""

    what: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:  # its content may refer to itself
        return f"Record({self.what})"


@dataclass(eq=False)
class Storage:
    """The bytes behind tensors: `count` elements; `data` is set when they have been found in the file."""

    dtype: torch.dtype
    count: int
    data: memoryview | None = None


@dataclass(frozen=True, eq=False)
class TensorView:
    """A strided view onto a storage, within its bounds; `tensor` makes it real without copying where it can."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """The tensor, on the CPU; ImportRefused when its bytes are not in the file."""
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.storage.dtype)
        if self.storage.data is None:
            raise ImportRefused("the bytes of a tensor are not in the file")
        flat = _flat(self.storage.data, self.storage.dtype, self.storage.count)
        return flat.as_strided(self.shape, self.stride, self.offset)


def _flat(data: memoryview, dtype: torch.dtype, count: int) -> Tensor:
    size = dtype.itemsize
    if data.readonly or np.frombuffer(data, np.uint8).ctypes.data % size:
        data = memoryview(bytearray(data[: count * size]))
    return torch.frombuffer(data, dtype=dtype, count=count)


# --- torch ----------------------------------------------------------------------------------------------------

STORAGE_TYPES: Mapping[str, torch.dtype] = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}


def storage_dtype(name: Any) -> torch.dtype:
    """The type of torch.FloatStorage and its kin."""
    known = isinstance(name, Name) and name.name.endswith("Storage") and name.module in ("torch", "torch.cuda")
    dtype = STORAGE_TYPES.get(name.name.removesuffix("Storage")) if known else None
    if dtype is None:
        raise ImportRefused("the file has tensors of a type that no published checkpoint has")
    return dtype


def whole_numbers(values: Any, most: int = MAX_AXES) -> tuple[int, ...]:
    """A short tuple or list of whole numbers from 0; ImportRefused for anything else."""
    if isinstance(values, list | tuple) and len(values) <= most and all(type(v) is int and v >= 0 for v in values):
        return tuple(values)
    raise ImportRefused("the file has a tensor whose shape makes no sense")


def view_of(storage: Any, offset: Any, shape: Any, stride: Any) -> TensorView:
    """A view within the bounds of its storage."""
    if not isinstance(storage, Storage):
        raise ImportRefused("the file has a tensor without a storage")
    sides, steps = whole_numbers(shape), whole_numbers(stride)
    (start,) = whole_numbers((offset,))
    if len(sides) != len(steps):
        raise ImportRefused("the file has a tensor whose shape makes no sense")
    if 0 not in sides:
        last = start + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
        if last >= storage.count or math.prod(sides) > max(storage.count, SPREAD):
            raise ImportRefused(f"the file has a tensor {list(sides)} that reaches beyond its {storage.count:,} values")
    return TensorView(storage, start, sides, steps)


# --- numpy ----------------------------------------------------------------------------------------------------

NDARRAY = Name("numpy", "ndarray")
DTYPE = Name("numpy", "dtype")


def dtype_of(record: Any) -> np.dtype[Any]:
    """The numpy type that a record of numpy.dtype describes: plain numbers only."""
    if isinstance(record, Record) and record.what == DTYPE and record.arguments:
        code, state = record.arguments[0], record.state
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if isinstance(code, str) and code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
            return np.dtype((order if order in ("<", ">") else "=") + code)
    raise ImportRefused("the file has an array of something that is not plain numbers")


def array_of(record: Any) -> NDArray[Any]:
    """The array that a record of numpy.ndarray describes, as a view onto the file where it can be."""
    if not (isinstance(record, Record) and record.what == NDARRAY):
        raise ImportRefused("the file has something else where an array belongs")
    if not isinstance(record.state, tuple) or len(record.state) != 5:
        raise ImportRefused("the file has an array without content")
    _, shape, kind, fortran, raw = record.state
    dtype, sides = dtype_of(kind), whole_numbers(shape)
    data = raw.encode("latin-1", "replace") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | memoryview) or len(data) != math.prod(sides) * dtype.itemsize:
        raise ImportRefused(f"the file has an array {list(sides)} whose bytes are not of that number")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(sides, order="F" if fortran is True else "C")


def names_of(*texts: str) -> list[Name]:
    """Names from their full spelling, "module.name"."""
    return [Name(*text.rsplit(".", 1)) for text in texts]


PERSISTENT_OBJECT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
TF_NETWORK = Name("dnnlib.tflib.network", "Network")
NAMESPACE = Name("argparse", "Namespace")

SAFE_NAMES: frozenset[Name] = frozenset(
    [
        PERSISTENT_OBJECT,
        TF_NETWORK,
        NAMESPACE,
        NDARRAY,
        DTYPE,
        *(Name(module, f"{kind}Storage") for module in ("torch", "torch.cuda") for kind in STORAGE_TYPES),
        *(Name(module, f"{kind}Tensor") for module in ("torch", "torch.cuda") for kind in STORAGE_TYPES),
        *names_of(
            "builtins.object",
            "__builtin__.object",
            "builtins.int",
            "builtins.float",
            "builtins.list",
            "collections.defaultdict",
            "collections.Counter",
            "torch.device",
            "torch.float32",
            "torch.float16",
            "pathlib.PosixPath",
            "pathlib.WindowsPath",
            "torch.nn.parameter.Parameter",
        ),
    ]
)
"""Classes that files name; their objects become records."""
