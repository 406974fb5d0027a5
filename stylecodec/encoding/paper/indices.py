"""The choice of StyleSpace indices: Γ of Eq. 5 for every channel, thresholding, over several people and frames.

    every channel of every convolution ─► screened on one face by Γ_{f,i} ─► the most promising ones on all faces
                                                           what moves a feature, and little outside ─► 32 of them

2203.14512 section 3.4: indices that change a feature much and the rest of the picture negligibly. The second is the
share of the change of pixels that lies in the features' regions. The first is Γ where channels are screened; of those
that pass, it is how far landmark features move from the lowest δ to the highest, for an index that paints lips or
irises has as much Γ as one that moves them. No channel is looked at for what it was meant for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import ALPHA_COUNT
from ...errors import OptionError
from ...nets.isolation import isolated
from ...packs.card import Calibration
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import at_side
from ..frames import Crop, to_input
from ..personalization.locality import random_people
from .inversion import Inverter
from .masks import FEATURES, FaceReader
from .masks import SIDE as MASK_SIDE
from .perceptual import Perceptual
from .rendering import Perturbed, Rendering
from .sensitivity import Index, Movement, Sensitivities, measure
from .settings import PaperOptions

SEARCHING = "searching indices"  # the stage's name in reports of progress
REACH = "index_reach"  # the calibration with how far each index goes, in raw style units
SENSITIVITY = "index_sensitivity_{}"  # and those with Γ of a feature's indices, and of all of them over the whole
SHOWN_AT_REACH = 0.3  # perceptual distance in its region that an index makes at its reach
FARTHEST = 10.0  # raw style units
POSES = ((0.0, 0.0), (14.0, 0.0), (0.0, 7.0), (-14.0, -4.0))  # degrees, in turn


@dataclass(frozen=True)
class IndexOptions:
    """How indices are searched."""

    people: int = 3  # random ones, beside those of clips
    side: int = 128  # pixels
    screened: int = 192  # channels that are looked at on all faces
    deltas: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0)  # {δ_k} in raw style units
    screening: tuple[float, ...] = (-2.0, 0.0, 2.0)
    seed: int = 0


@dataclass(frozen=True)
class IndexTable:
    """What was found: the indices by falling score, the feature each shows in most, Γ there and over the whole."""

    indices: tuple[Index, ...]
    features: tuple[str, ...]
    gammas: NDArray[np.float64]  # [n]
    whole: NDArray[np.float64]  # [n]
    inside: NDArray[np.float64]  # [n] share of the change of pixels that lies in the features' regions
    reach: NDArray[np.float64]  # [n] raw style units
    channels: int  # looked at
    faces: int
    pictures: int  # rendered
    screened: tuple[Index, ...]  # what was looked at on all faces

    def calibrations(self, source: str) -> dict[str, Calibration]:
        """As a card has them."""
        names = [f"{layer}_{channel}" for layer, channel in self.indices]
        found = {}
        for feature in FEATURES:
            own = {n: float(g) for n, g, f in zip(names, self.gammas, self.features, strict=True) if f == feature}
            if own:
                found[SENSITIVITY.format(feature)] = Calibration(own, source)
        found[SENSITIVITY.format("whole")] = Calibration(dict(zip(names, map(float, self.whole), strict=True)), source)
        found[REACH] = Calibration(dict(zip(names, map(float, self.reach), strict=True)), source)
        return found


def find_indices(
    pack: ModelPack,
    device: torch.device,
    options: IndexOptions,
    latents: Tensor | None = None,
    progress: ProgressCallback = silent,
) -> IndexTable:
    """The pack's 32 best indices; latents: [m, 18, 512], faces to look at beside random ones."""
    with isolated(draws=True):
        return _found(pack, device, options, latents, progress)


def inverted(crops: Sequence[Crop], pack: ModelPack, device: torch.device) -> Tensor:
    """L_t [n, 18, 512] of aligned crops, for `find_indices`; PackNotFound without an inversion network."""
    with isolated(draws=True):
        return Inverter(pack, device, MASK_SIDE).latents(to_input(crops, device))


def _found(
    pack: ModelPack, device: torch.device, options: IndexOptions, latents: Tensor | None, progress: ProgressCallback
) -> IndexTable:
    rendering = Rendering(pack, device, options.side, torch.float32)
    reader, perceptual = FaceReader(pack, device), Perceptual(pack, device)
    faces = _faces(rendering, options, latents)
    layout = rendering.generator.layout.layers
    first = Perturbed(rendering, faces[0])
    every = [(layer, channel) for layer in first.layers for channel in range(layout[layer].channels)]
    if len(every) < ALPHA_COUNT:
        raise OptionError(
            f"the generator has {len(every)} channels up to {options.side} pixels, fewer than {ALPHA_COUNT} indices"
        )
    step, found = 64, []
    regions = _regions(reader, first, options.side)
    for start in range(0, len(every), step):
        part = every[start : start + step]
        found.append(measure(first, part, options.screening, regions, perceptual))
        progress(Progress(SEARCHING, start + len(part), len(every), "channels"))
    promise = screening_score(Sensitivities.joined(found))
    best = [every[k] for k in np.argsort(-promise, kind="stable")[: options.screened]]
    movement, all_faces = Movement(pack, device), []
    for number, face in enumerate(faces):
        perturbed = Perturbed(rendering, face)
        own = _regions(reader, perturbed, options.side)
        all_faces.append(measure(perturbed, best, options.deltas, own, perceptual, movement))
        progress(Progress(SEARCHING + " on all faces", number + 1, len(faces), "faces"))
    pictures = len(every) * (len(options.screening) - 1) + len(best) * (len(options.deltas) - 1) * len(faces)
    return _table(Sensitivities.mean(all_faces), options, len(every), len(faces), pictures)


def reach_of(pack: ModelPack, device: torch.device) -> Tensor:
    """How far each of the pack's 32 indices goes [32], in raw style units: as its card says, else measured now."""
    if (known := pack.card.calibration.get(REACH)) is not None:
        return torch.tensor([known.values.get(f"{layer}_{channel}", 1.0) for layer, channel in pack.indices])
    options = IndexOptions(people=2, side=PaperOptions().side_for(pack.indices))
    rendering = Rendering(pack, device, options.side, torch.float32)
    reader, perceptual, deltas = FaceReader(pack, device), Perceptual(pack, device), (-0.5, 0.0, 0.5)
    found = []
    for face in _faces(rendering, options, None):
        perturbed = Perturbed(rendering, face)
        regions = _regions(reader, perturbed, options.side)[:-1]
        found.append(measure(perturbed, pack.indices, deltas, regions, perceptual).regions.max(axis=0))
    return torch.from_numpy(_reach(np.mean(found, axis=0), deltas)).float()


def _reach(gammas: NDArray[np.float64], deltas: Sequence[float]) -> NDArray[np.float64]:
    """[n] raw style units at which a perceptual distance of SHOWN_AT_REACH is to be expected.

    LPIPS grows as the square of a step: of K equal steps Γ is K/(K+1) times that square over the step.
    """
    steps = len(deltas) - 1
    square = gammas * (steps + 1) / steps / float(np.diff(sorted(deltas)).mean())
    return np.asarray(np.minimum(np.sqrt(SHOWN_AT_REACH / np.maximum(square, 1e-12)), FARTHEST))


def _table(seen: Sensitivities, options: IndexOptions, channels: int, faces: int, pictures: int) -> IndexTable:
    order = np.argsort(-moving_score(seen), kind="stable")[:ALPHA_COUNT]
    features = seen.regions[:-1]  # the last region is their union
    strongest = features[:, order].argmax(axis=0)
    gammas = features[strongest, order]
    reach = _reach(gammas, options.deltas)
    names = tuple(FEATURES[k] for k in strongest)
    indices = tuple(seen.indices[k] for k in order)
    return IndexTable(
        indices, names, gammas, seen.whole[order], seen.inside[order], reach, channels, faces, pictures, seen.indices
    )


def screening_score(seen: Sensitivities) -> NDArray[np.float64]:
    """How promising each index is [n]: its Γ of a feature, in that feature's greatest, by its share inside."""
    features = seen.regions[:-1]
    own = features / np.maximum(features.max(axis=1, keepdims=True), 1e-12)
    return np.asarray(own.max(axis=0) * seen.inside)


def moving_score(seen: Sensitivities) -> NDArray[np.float64]:
    """How good each index is [n]: how far it moves a feature, in that feature's farthest, by its share inside."""
    far = np.abs(seen.moved)
    own = far / np.maximum(far.max(axis=1, keepdims=True), 1e-9)
    return np.asarray(own.max(axis=0) * seen.inside)


def _faces(rendering: Rendering, options: IndexOptions, latents: Tensor | None) -> list[list[Tensor]]:
    """Styles of people in several poses, one face each."""
    people = random_people(rendering.generator, options.people, torch.Generator().manual_seed(options.seed))
    wplus = people[:, None].expand(-1, rendering.generator.rows, -1)
    if latents is not None:
        wplus = torch.cat([latents.to(wplus), wplus])
    faces = []
    for number, one in enumerate(wplus):
        with torch.no_grad():
            anchor = rendering.anchor(one)
        pose = torch.tensor([POSES[number % len(POSES)]])
        faces.append(rendering.posed(anchor, pose))
    return faces


def _regions(reader: FaceReader, perturbed: Perturbed, side: int) -> Tensor:
    """[F + 1, side, side]: where the features are, and all of them together."""
    masks = reader.features(at_side(perturbed.base.float().clamp(-1, 1), MASK_SIDE))
    union = masks.amax(dim=1, keepdim=True)
    return at_side(torch.cat([masks, union], dim=1), side)[0]
