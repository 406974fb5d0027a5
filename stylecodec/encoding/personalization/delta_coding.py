"""From a tuned generator to a delta of few bytes: which tensors, how coarse, in which form.

    tuned − untuned ─┬─► affine weights: only what acts on this person's latents, as a product of two thin factors
                     └─► all else: levels, a step per row ─► c / √(what an error of that row does to the picture)

One number c sets quality and bytes together; rows in which nothing exceeds half their step cost next to nothing. What
an error does is measured: the squared gradient of randomly signed pixels is the diagonal of the Gauss-Newton matrix.
That holds for errors that know nothing of each other. Tuning moves many elements for one purpose, and where all of them
are rounded away their errors add up; so what a coding does in all is told by rendering with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream.delta import DeltaTensor, GeneratorDelta
from ...decoding.latents import Anchor
from ...decoding.personal import tunable
from ...nets.stylegan2 import Generator
from ..differentiable import DifferentiableRenderer

Matrix = NDArray[np.float32]

PROBES = 12  # signed sums of pixels per measurement
PROBE_SIDE = 128
JUDGED = 8  # frames on which a coding is judged
BASIS_ENERGY = 1e-5  # share of the latents' energy that the basis may miss
BASIS_RANK = 12
COARSEST, FINEST = 0.3, 1e-7  # of c
AFFINE = ".affine.weight"


@dataclass(frozen=True)
class CodingConfiguration:
    """How a delta is coded. Every choice but the usual one is there to be compared."""

    affine: str = "projected"  # "rows": like all else; "none": left out
    rank: int | None = None  # convolutions as products of this rank instead of rows
    rounding: float = 0.5  # what is added before cutting off: below 0.5 more levels become 0
    uniform: bool = False  # the same step for all rows, whatever their errors do


@dataclass(frozen=True)
class Basis:
    """Orthonormal rows [r, 512] that span a row of W+ of the person's, and the size of its latents along each [r]."""

    vectors: Matrix
    reach: NDArray[np.float64]  # root mean square


@dataclass(frozen=True)
class Measured:
    """What coding needs to know of a tuned generator; tensors by name.

    changes: float32 arrays. effect: per row, the mean squared error of pixels in [-1, 1] per squared error of one
    element. bases: of affine weights. judge: renders.
    """

    pack_digest: bytes
    changes: Mapping[str, Matrix]
    effect: Mapping[str, NDArray[np.float64]]
    bases: Mapping[str, Basis]
    judge: Callable[[Sequence[DeltaTensor]], float]  # mean squared error of pixels that this coding adds


def measure(
    renderer: DifferentiableRenderer,
    anchor: Anchor,
    codes: Tensor,
    base: Generator,
    pack_digest: bytes,
    changes: Mapping[str, Tensor],
    seed: int = 0,
) -> Measured:
    """Measure the generator of `renderer`, tuned from `base`, around the person's codes [n, 34].

    changes: see decoding.personal.differences.
    """
    arrays = {name: value.numpy() for name, value in changes.items()}
    effects = _effects(renderer, anchor, codes, list(arrays), seed)
    judge = _Judge(renderer, anchor, codes[:: max(len(codes) // JUDGED, 1)][:JUDGED], base)
    return Measured(pack_digest, arrays, effects, _bases(renderer, anchor, codes), judge)


class _Judge:
    """Renders some codes with a coding of the changes, and compares with the tuned generator's pictures."""

    def __init__(self, renderer: DifferentiableRenderer, anchor: Anchor, codes: Tensor, base: Generator) -> None:
        self.anchor, self.codes, self.base = anchor, codes.detach(), dict(tunable(base))
        self.renderer = copy.copy(renderer)
        self.renderer.latents = copy.copy(renderer.latents)
        generator = copy.deepcopy(renderer.generator).requires_grad_(False)
        self.renderer.generator = self.renderer.latents.generator = generator
        with torch.no_grad():
            self.wanted = self.renderer.render(anchor, self.codes, PROBE_SIDE).clamp(-1, 1)

    @torch.no_grad()
    def __call__(self, tensors: Sequence[DeltaTensor]) -> float:
        given = {tensor.name: tensor for tensor in tensors}
        for name, parameter in tunable(self.renderer.generator):
            parameter.copy_(self.base[name])
            if name in given:
                parameter.add_(torch.from_numpy(given[name].values).to(parameter))
        found = self.renderer.render(self.anchor, self.codes, PROBE_SIDE).clamp(-1, 1)
        return float((found - self.wanted).square().mean())


def _effects(
    renderer: DifferentiableRenderer, anchor: Anchor, codes: Tensor, names: Sequence[str], seed: int
) -> dict[str, NDArray[np.float64]]:
    """Per tensor and row, what a squared error of an element costs; above PROBE_SIDE from a picture of full size."""
    random = torch.Generator().manual_seed(seed)
    parameters = {name: p for name, p in tunable(renderer.generator) if name in set(names)}
    kept = {name: p.requires_grad for name, p in parameters.items()}
    total = {name: np.zeros(p.shape[0] if p.dim() > 1 else 1) for name, p in parameters.items()}
    seen = dict.fromkeys(parameters, 0)
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        for side, count in ((PROBE_SIDE, PROBES), (renderer.generator.resolution, 2)):
            wanted = [name for name in parameters if not seen[name]]
            for _ in range(count if wanted else 0):
                row = int(torch.randint(len(codes), (1,), generator=random))
                output = renderer.render(anchor, codes[row : row + 1].detach(), side)
                signs = torch.randint(0, 2, output.shape, generator=random).to(output) * 2 - 1
                probe = (signs * output).sum() / output.numel() ** 0.5
                found = torch.autograd.grad(probe, [parameters[n] for n in wanted], allow_unused=True)
                for name, gradient in zip(wanted, found, strict=True):
                    if gradient is not None:
                        square = gradient.double().square()
                        total[name] += (square.flatten(1).mean(1) if square.dim() > 1 else square.mean()).cpu().numpy()
                        seen[name] += 1
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(kept[name])
    return {name: value / max(seen[name], 1) for name, value in total.items()}


@torch.no_grad()
def _bases(renderer: DifferentiableRenderer, anchor: Anchor, codes: Tensor) -> dict[str, Basis]:
    """For every affine weight a basis of the latents that it meets with these codes."""
    pose, _ = renderer.units.split(codes)
    latents = renderer.latents.posed(anchor, pose).double().cpu()
    by_row: dict[int, Basis] = {}
    bases = {}
    layers = renderer.generator.layout.layers
    rows = {id(m): entry.row for m, entry in zip(renderer.generator.modulated(), layers, strict=True)}
    for name, module in renderer.generator.named_modules():
        row = rows.get(id(module))
        if row is None:
            continue
        if row not in by_row:
            _, s, v = torch.linalg.svd(latents[:, row], full_matrices=False)
            energy = s.square().flip(0).cumsum(0).flip(0)  # from each component on
            rank = int((energy > BASIS_ENERGY * energy[0]).sum().clamp(1, BASIS_RANK))
            by_row[row] = Basis(v[:rank].float().numpy(), s[:rank].numpy() / len(latents) ** 0.5)
        bases[f"{name}{AFFINE}"] = by_row[row]
    return bases


def coded(
    measured: Measured, coarseness: float, configuration: CodingConfiguration | None = None
) -> list[DeltaTensor]:
    """The delta's tensors at a coarseness c; tensors whose levels are all 0 are left out."""
    configuration = configuration or CodingConfiguration()
    found = []
    for name, change in measured.changes.items():
        tensor = _coded(name, change, measured, coarseness, configuration)
        if tensor is not None and tensor.levels.any():
            found.append(tensor)
    return found


def _coded(
    name: str, change: Matrix, measured: Measured, coarseness: float, configuration: CodingConfiguration
) -> DeltaTensor | None:
    if name.endswith(AFFINE):
        if configuration.affine == "none":
            return None
        if configuration.affine == "projected":
            return _projected(name, change, measured, coarseness)
    elif (rank := configuration.rank) is not None and change.ndim == 4 and min(len(change), change[0].size) > rank:
        return DeltaTensor.factored(name, change, rank)
    effect = measured.effect[name]
    if configuration.uniform:
        effect = np.full_like(effect, 1.0)
    steps = np.where(effect > 0, coarseness / np.sqrt(np.maximum(effect, 1e-30)), 65_000.0)
    return DeltaTensor.quantised(name, change, np.minimum(steps, 65_000.0), configuration.rounding)


def _projected(name: str, change: Matrix, measured: Measured, coarseness: float) -> DeltaTensor | None:
    """An affine change as a product with the basis, without the components that are not worth their bytes.

    At a step of c / √effect an element has an error of c² / 12, and a byte less costs 16 ln 2 of it: 0.92 c². What a
    component does to the styles adds up over them, at worst as the square of their number.
    """
    basis = measured.bases[name]
    along = change @ basis.vectors.T
    energy = float(np.square(basis.reach).sum())
    per_style = measured.effect[name] * change.shape[1] / max(energy, 1e-12)  # of a squared error of one style
    matters = (np.square(along, dtype=np.float64) * per_style[:, None]).sum(axis=0) * np.square(basis.reach)
    kept = matters * len(change) > 0.92 * coarseness**2 * sum(change.shape)
    if not kept.any():
        return None
    return DeltaTensor.product(name, change.shape, along[:, kept], basis.vectors[kept])


def estimated_bytes(tensors: Sequence[DeltaTensor]) -> float:
    """About what the levels and steps take, by the entropy of each tensor's levels."""
    total = 0.0
    for tensor in tensors:
        counts = np.bincount(tensor.levels.astype(np.int16) + 128)
        share = counts[counts > 0] / tensor.levels.size
        total += max(float(-(share * np.log2(share)).sum()), 0.02) * tensor.levels.size / 8 + 2 * len(tensor.steps)
    return total


def fitted(
    measured: Measured, limit: int, noise_db: float, configuration: CodingConfiguration | None = None
) -> GeneratorDelta:
    """The delta of `limit` bytes at most whose predicted noise is just below `noise_db`, or as low as that allows.

    noise_db: PSNR of pictures by the tuned generator against those by the coded one. A picture tuned to 30 dB loses
    0.3 dB by noise of 42 dB.
    """
    allowed = 4 * 10 ** (-noise_db / 10)
    low, high = np.log(FINEST), np.log(COARSEST)
    for _ in range(14):
        middle = (low + high) / 2
        tensors = coded(measured, float(np.exp(middle)), configuration)
        if estimated_bytes(tensors) > limit or measured.judge(tensors) < allowed:
            low = middle
        else:
            high = middle
    coarseness = float(np.exp(low))
    while True:  # the estimate errs by some percent
        delta = GeneratorDelta.of(measured.pack_digest, _never_empty(measured, coarseness, configuration))
        if len(delta) <= limit or coarseness > 100 * COARSEST:
            return delta
        coarseness *= 1.04


def _never_empty(measured: Measured, coarseness: float, configuration: CodingConfiguration | None) -> list[DeltaTensor]:
    """The tensors at that coarseness; a delta has one at least, if only of zeros."""
    found = coded(measured, coarseness, configuration)
    if found:
        return found
    name = next((n for n in measured.changes if not n.endswith(AFFINE)), next(iter(measured.changes)))
    return [DeltaTensor.quantised(name, np.zeros_like(measured.changes[name]), 0.0)]
