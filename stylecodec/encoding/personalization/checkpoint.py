"""Checkpoints of long work: tensors and facts in one safetensors file, never a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...errors import MediaError, OptionError
from ...files import atomic_write

FACTS = "stylecodec"  # the metadata entry with everything that is not a tensor, as JSON


class Checkpoint:
    """A file that work can be taken up from; `work` names what it is of, so that it is not taken for other work."""

    def __init__(self, path: str | os.PathLike[str] | None, work: str) -> None:
        self.path = None if path is None else Path(path)
        self.work = work

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts, None where there is nothing yet. OptionError for a checkpoint of other work."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                facts = json.loads((file.metadata() or {})[FACTS])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            found = facts["work"]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise MediaError(f"{self.path} is no checkpoint that can be read: {error}") from error
        if found != self.work:
            raise OptionError(f"{self.path} is the checkpoint of another clip, pack or other options of tuning")
        return tensors, facts

    def store(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write it whole, over the one before."""
        if self.path is None:
            return
        copies = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        data = save(copies, {FACTS: json.dumps({**facts, "work": self.work})})
        with atomic_write(self.path) as file:
            file.write(data)
