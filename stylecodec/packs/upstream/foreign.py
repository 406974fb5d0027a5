"""What a foreign pickle may speak of: names that stand for data, and the inert values that take their place.

torch's and numpy's own functions are never called with arguments from a file: a tensor is a view with checked bounds
onto bytes of the file, an array the same, everything else a `Record` that only remembers what it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ImportRefused

if TYPE_CHECKING:
    from .inert_pickle import Call, Machine

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


def _tensor(machine: Machine, arguments: tuple[Any, ...]) -> TensorView:
    if len(arguments) < 4:
        raise ImportRefused("the file has a tensor without a shape")
    return view_of(*arguments[:4])


def _first(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        raise ImportRefused("the file makes a value out of nothing")
    return arguments[0]


def _table(machine: Machine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """A dict, out of another one or pairs."""
    table: dict[Any, Any] = {}
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return dict(pairs)
    if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise ImportRefused("the file makes a table out of something that is none")
    machine.set_items(table, [value for pair in pairs for value in pair])
    return table


def _sequence(machine: Machine, arguments: tuple[Any, ...]) -> list[Any]:
    values = arguments[0] if arguments else []
    if not isinstance(values, list | tuple):
        raise ImportRefused("the file makes a set out of something that is no list")
    machine.budget.spend(8 * len(values))
    return list(values)


def _encoded(machine: Machine, arguments: tuple[Any, ...]) -> bytes | memoryview:
    """Bytes spelled as text, as protocol 2 has them."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise ImportRefused("the file spells bytes in an unknown way")
    text = arguments[0]
    if len(text) > 1 << 16:
        machine.budget.spend(len(text))
    try:
        data = bytearray(text, "latin-1")
    except UnicodeEncodeError:
        raise ImportRefused("the file spells bytes in an unknown way") from None
    return memoryview(data) if len(data) > 64 else bytes(data)


def _empty(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise ImportRefused("the file spells bytes in an unknown way")
    return b""


def _reconstructed(machine: Machine, arguments: tuple[Any, ...]) -> Record:
    """copyreg's way to begin an object, and numpy's way to begin an array."""
    if not arguments or not isinstance(arguments[0], Name):
        raise ImportRefused("the file makes an object of no class")
    return Record(arguments[0])


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


def _from_buffer(machine: Machine, arguments: tuple[Any, ...]) -> Record:
    """numpy's way to pickle an array in protocol 5."""
    if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F"):
        raise ImportRefused("the file has an array in an unknown order")
    data, dtype, shape, order = arguments[:4]
    return Record(NDARRAY, state=(1, shape, dtype, order == "F", data))


def _scalar(machine: Machine, arguments: tuple[Any, ...]) -> int | float | bool:
    dtype = dtype_of(arguments[0] if arguments else None)
    data = arguments[1] if len(arguments) > 1 else b""
    data = data.encode("latin-1", "replace") if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ImportRefused("the file has a number of the wrong size")
    value: int | float | bool = np.frombuffer(data, dtype)[0].item()
    return value


def _names(*texts: str) -> list[Name]:
    return [Name(*text.rsplit(".", 1)) for text in texts]


PERSISTENT_OBJECT = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
TF_NETWORK = Name("dnnlib.tflib.network", "Network")
NAMESPACE = Name("argparse", "Namespace")

CALLS: dict[Name, Call] = {
    **dict.fromkeys(_names("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"), _tensor),
    **dict.fromkeys(
        _names("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
        _first,
    ),
    **dict.fromkeys(_names("collections.OrderedDict", "dnnlib.util.EasyDict", "builtins.dict"), _table),
    **dict.fromkeys(
        _names("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset", "torch.Size"),
        _sequence,
    ),
    **dict.fromkeys(_names("_codecs.encode"), _encoded),
    **dict.fromkeys(_names("builtins.bytes", "__builtin__.bytes"), _empty),
    **dict.fromkeys(
        _names(
            "copyreg._reconstructor",
            "copy_reg._reconstructor",
            "numpy.core.multiarray._reconstruct",
            "numpy._core.multiarray._reconstruct",
        ),
        _reconstructed,
    ),
    **dict.fromkeys(_names("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"), _from_buffer),
    **dict.fromkeys(_names("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), _scalar),
}
"""Functions that files call, and what takes their place."""

SAFE_NAMES: frozenset[Name] = frozenset(
    [
        PERSISTENT_OBJECT,
        TF_NETWORK,
        NAMESPACE,
        NDARRAY,
        DTYPE,
        *(Name(module, f"{kind}Storage") for module in ("torch", "torch.cuda") for kind in STORAGE_TYPES),
        *(Name(module, f"{kind}Tensor") for module in ("torch", "torch.cuda") for kind in STORAGE_TYPES),
        *_names(
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
