"""What a checkpoint of the paper preset holds: the codes so far, and where the last frame left the search."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...packs.store import ModelPack
from ..options import EncodeOptions
from ..personalization.checkpoint import Checkpoint
from .attributes import Last
from .survey import Survey

if TYPE_CHECKING:
    from .analysis import ChunkSearch


def work_of(pack: ModelPack, found: Survey, options: EncodeOptions) -> str:
    """What a checkpoint belongs to, as hexadecimal SHA-256: the pack, the clip, how it is encoded."""
    digest = hashlib.sha256(pack.digest + repr((asdict(options.paper), asdict(options.fit))).encode())
    digest.update(found.seconds.tobytes() + np.round(found.lids, 2).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Resumed:
    """How far the work is: the number of frames done, and where the last one left the search."""

    done: int
    last: tuple[Tensor, Last] | None

    @classmethod
    def load(cls, checkpoint: Checkpoint, packets: NDArray[np.float16], search: ChunkSearch) -> Resumed:
        """Go on from a checkpoint, if there is one: `packets` and `search` get what it holds."""
        found = checkpoint.load()
        if found is None:
            return cls(0, None)
        tensors, facts = found
        packets[:] = tensors["packets"].numpy()
        device = search.device
        last = Last(*(tensors[f"last.{field.name}"].to(device) for field in fields(Last)))
        search.last = tensors["pose"].to(device), last
        if "first" in tensors:
            search.loss.first = tensors["first"].to(device)
        if "steepness" in tensors:
            search.attributes.steepness = tensors["steepness"].to(device)
        return cls(int(facts["done"]), search.last)

    def store(self, checkpoint: Checkpoint, packets: NDArray[np.float16], search: ChunkSearch) -> None:
        """Write the checkpoint."""
        if self.last is None or checkpoint.path is None:
            return
        first, steepness = search.loss.first, search.attributes.steepness
        pose, last = self.last
        tensors = {"packets": torch.from_numpy(packets), "pose": pose}
        tensors |= {f"last.{field.name}": getattr(last, field.name) for field in fields(Last)}
        tensors |= {} if first is None else {"first": first}
        tensors |= {} if steepness is None else {"steepness": steepness}
        checkpoint.store(tensors, {"done": self.done})
