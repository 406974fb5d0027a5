"""Checkpoints of trainings: numbers and tensors in one safetensors file, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import StylecodecError
from ..files import atomic_write

SEPARATOR = "/"


def checkpoint_of(work: Path, name: str) -> Path:
    """The file in the folder `work` that the training `name` is resumed from."""
    return work / f"{name}.checkpoint.safetensors"


@dataclass
class Saved:
    """Numbers, and tensors named group/name."""

    numbers: dict[str, float]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def put(self, group: str, state: Mapping[str, Tensor]) -> None:
        """Add the tensors of one group."""
        for name, value in state.items():
            self.tensors[group + SEPARATOR + name] = value.detach().cpu().contiguous()

    def put_optimizer(self, group: str, optimizer: torch.optim.Optimizer) -> None:
        """Add what an optimiser knows of its parameters; its settings are the program's."""
        for number, state in optimizer.state_dict()["state"].items():
            self.put(f"{group}{number}", {key: torch.as_tensor(value) for key, value in state.items()})

    def get_optimizer(self, group: str, optimizer: torch.optim.Optimizer) -> None:
        """Give it back to an optimiser of the same parameters."""
        whole = optimizer.state_dict()
        count = sum(len(one["params"]) for one in whole["param_groups"])
        whole["state"] = {n: state for n in range(count) if (state := self.get(f"{group}{n}"))}
        optimizer.load_state_dict(whole)

    def get(self, group: str) -> dict[str, Tensor]:
        """The tensors of one group; empty where there is none."""
        start = group + SEPARATOR
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def save_state(path: Path, saved: Saved) -> None:
    """Write a checkpoint, visible only when whole."""
    tensors = {name: value.clone() for name, value in saved.tensors.items()}  # none may share memory with another
    with atomic_write(path) as file:
        file.write(save(tensors, {"numbers": json.dumps(saved.numbers)}))


def load_state(path: Path) -> Saved:
    """Read a checkpoint; StylecodecError where it is none."""
    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads((file.metadata() or {}).get("numbers", "{}"))
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            return Saved({str(name): float(value) for name, value in numbers.items()}, tensors)
    except (OSError, SafetensorError, ValueError, AttributeError) as error:
        raise StylecodecError(f"{path} is no checkpoint of a training: {error}") from error
