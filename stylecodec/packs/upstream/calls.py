"""What takes the place of the functions that published checkpoints call.

torch's and numpy's own functions are never called with arguments from a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ImportRefused
from .stack_machine import Call, StackMachine
from .values import NDARRAY, Name, Record, TensorView, dtype_of, names_of, view_of

ITEM_BYTES = 100  # of an item of a table


def _tensor(machine: StackMachine, arguments: tuple[Any, ...]) -> TensorView:
    if len(arguments) < 4:
        raise ImportRefused("the file has a tensor without a shape")
    return view_of(*arguments[:4])


def _first(machine: StackMachine, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        raise ImportRefused("the file makes a value out of nothing")
    return arguments[0]


def _table(machine: StackMachine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """A dict, out of another one or pairs."""
    table: dict[Any, Any] = {}
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, dict | list | tuple):
        raise ImportRefused("the file makes a table out of something that is none")
    machine.budget.spend(ITEM_BYTES * len(pairs))
    if isinstance(pairs, dict):
        return dict(pairs)
    if not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise ImportRefused("the file makes a table out of something that is none")
    machine.set_items(table, [value for pair in pairs for value in pair])
    return table


def _sequence(machine: StackMachine, arguments: tuple[Any, ...]) -> list[Any]:
    values = arguments[0] if arguments else []
    if not isinstance(values, list | tuple):
        raise ImportRefused("the file makes a set out of something that is no list")
    machine.budget.spend(8 * len(values))
    return list(values)


def _encoded(machine: StackMachine, arguments: tuple[Any, ...]) -> bytes | memoryview:
    """Bytes spelled as text, as protocol 2 has them."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise ImportRefused("the file spells bytes in an unknown way")
    text = arguments[0]
    machine.budget.spend(len(text))
    try:
        data = bytearray(text, "latin-1")
    except UnicodeEncodeError:
        raise ImportRefused("the file spells bytes in an unknown way") from None
    return memoryview(data) if len(data) > 64 else bytes(data)


def _empty(machine: StackMachine, arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise ImportRefused("the file spells bytes in an unknown way")
    return b""


def _reconstructed(machine: StackMachine, arguments: tuple[Any, ...]) -> Record:
    """copyreg's way to begin an object, and numpy's way to begin an array."""
    if not arguments or not isinstance(arguments[0], Name):
        raise ImportRefused("the file makes an object of no class")
    return Record(arguments[0])


def _from_buffer(machine: StackMachine, arguments: tuple[Any, ...]) -> Record:
    """numpy's way to pickle an array in protocol 5."""
    if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F"):
        raise ImportRefused("the file has an array in an unknown order")
    data, dtype, shape, order = arguments[:4]
    return Record(NDARRAY, state=(1, shape, dtype, order == "F", data))


def _scalar(machine: StackMachine, arguments: tuple[Any, ...]) -> int | float | bool:
    dtype = dtype_of(arguments[0] if arguments else None)
    data = arguments[1] if len(arguments) > 1 else b""
    data = data.encode("latin-1", "replace") if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ImportRefused("the file has a number of the wrong size")
    value: int | float | bool = np.frombuffer(data, dtype)[0].item()
    return value


CALLS: dict[Name, Call] = {
    **dict.fromkeys(names_of("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"), _tensor),
    **dict.fromkeys(
        names_of("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"),
        _first,
    ),
    **dict.fromkeys(names_of("collections.OrderedDict", "dnnlib.util.EasyDict", "builtins.dict"), _table),
    **dict.fromkeys(
        names_of("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset", "torch.Size"),
        _sequence,
    ),
    **dict.fromkeys(names_of("_codecs.encode"), _encoded),
    **dict.fromkeys(names_of("builtins.bytes", "__builtin__.bytes"), _empty),
    **dict.fromkeys(
        names_of(
            "copyreg._reconstructor",
            "copy_reg._reconstructor",
            "numpy.core.multiarray._reconstruct",
            "numpy._core.multiarray._reconstruct",
        ),
        _reconstructed,
    ),
    **dict.fromkeys(names_of("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"), _from_buffer),
    **dict.fromkeys(names_of("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), _scalar),
}
"""Functions that files call, and what takes their place."""
