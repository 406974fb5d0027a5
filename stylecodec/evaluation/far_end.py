"""The far end of every distance: what the face of somebody unrelated scores.

A few people are drawn from the mapping of the pack that comes with stylecodec, always the same ones; they look ahead
and are at rest. Each metric compares some frames of the reference with each of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoding.personalization.locality import random_people
from ..packs.store import embedded_pack
from .faces import AlignedFaces, as_batch
from .judges import Judges, Readings

PEOPLE, SEED = 4, 0
FRAMES = 3  # of the reference, spread over it


@torch.no_grad()
def strangers(size: int, device: torch.device) -> AlignedFaces:
    """PEOPLE generated faces, aligned as the pack's are."""
    generator = embedded_pack().generator(device)
    w = random_people(generator, PEOPLE, torch.Generator().manual_seed(SEED))
    level = next((r for r in generator.resolutions if r >= size), generator.resolution)
    pictures = generator(w[:, None].expand(-1, generator.rows, -1), stop_at=level).clamp(-1, 1)
    levels = ((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    if level != size:
        resized = as_batch(levels, torch.device("cpu"), size).clamp(-1, 1)
        levels = ((resized + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return AlignedFaces.of_pictures(levels)


class FarEnd:
    """Some frames of a reference against every stranger, for all metrics of pairs."""

    def __init__(self, reference: Readings, judges: Judges) -> None:
        faces = reference.faces
        seen = np.flatnonzero(faces.found)
        some = seen[np.unique(np.linspace(0, len(seen) - 1, FRAMES).round().astype(int))]
        self.reference, self.frames = reference, np.repeat(some, PEOPLE)
        self.strangers = Readings(strangers(faces.size, judges.place), judges)
        self.people: NDArray[np.intp] = np.tile(np.arange(PEOPLE), len(some))
