"""Keeps the networks apart from what the host program has set for its own use of torch.

A host may run this package inside `torch.inference_mode()` or autocast, with another default dtype or default device,
and counts on the state of its global random number generator. Inside `isolated()` the current thread sees the state
of a fresh process: float32, the CPU, gradients on, no autocast. Nothing global is changed, so other threads of the
host notice nothing, and everything is as before when the block ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions whose result has the default dtype where no dtype and no tensor says otherwise.
_FILLED = frozenset({torch.zeros, torch.ones, torch.empty, torch.rand, torch.randn, torch.eye, torch.linspace})
_FILLED |= {torch.logspace, torch.hann_window, torch.hamming_window, torch.empty_strided}
_INFERRED = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.full, torch.arange, torch.scalar_tensor})
_RANDOM = frozenset({torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.bernoulli})
_RANDOM |= {Tensor.normal_, Tensor.uniform_, Tensor.random_, Tensor.bernoulli_, Tensor.exponential_}
_RANDOM |= {torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.trunc_normal_, torch.nn.init.orthogonal_}
_RANDOM |= {torch.nn.init.kaiming_uniform_, torch.nn.init.kaiming_normal_}
_RANDOM |= {torch.nn.init.xavier_uniform_, torch.nn.init.xavier_normal_}


@contextmanager
def isolated(draws: bool = False) -> Iterator[None]:
    """Within the block this thread's torch state is that of a fresh process, whatever the host program has set.

    draws: keep random numbers that are drawn without a generator, as building a network does, away from the global
    generator; they come from one of the block's own. It costs a microsecond per call of torch.

    Do not keep the block open across a `yield` to the host: it belongs to the thread, not to the generator.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        default = torch.get_default_dtype()
        if draws or default != torch.float32:
            stack.enter_context(_OwnDefaults(default, draws))
        yield


class _OwnDefaults(TorchFunctionMode):
    """Calls of torch in this thread find float32 as the default dtype and, if asked for, another random generator."""

    def __init__(self, default: torch.dtype, draws: bool) -> None:
        super().__init__()
        self.default, self.draws = default, draws
        self.random = torch.Generator("cpu").manual_seed(0)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, with what it would have taken from the process's defaults given to it."""
        given = dict(kwargs or {})
        if self.draws and func in _RANDOM and given.get("generator") is None:
            given["generator"] = self.random
        if self.default == torch.float32:
            return func(*args, **given)
        if func in _FILLED and given.get("dtype") is None and given.get("out") is None:
            given["dtype"] = torch.float32
        result = func(*args, **given)
        if not isinstance(result, Tensor) or result.dtype != self.default or given.get("dtype") is not None:
            return result
        if func in _INFERRED:  # an array or a tensor brings its dtype along, numbers do not
            brought = any(hasattr(value, "dtype") for value in (*args, given.get("data")))
            return result if brought else func(*args, **given, dtype=torch.float32)
        tensors = [value for value in _values(args, given) if isinstance(value, Tensor)]
        if not tensors or any(value.is_floating_point() or value.is_complex() for value in tensors):
            return result
        # Whole numbers became floating-point ones: again, from float32.
        return func(*_floats(args), **{name: _floats(value) for name, value in given.items()})


def _values(args: tuple[Any, ...], given: dict[str, Any]) -> Iterator[Any]:
    for value in (*args, *given.values()):
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _floats(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(torch.float32)
    return type(value)(_floats(one) for one in value) if type(value) in (list, tuple) else value
