"""Codes to pictures with gradients, and what an optimiser of codes needs: units, steps, step sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bitstream import ALPHA_COUNT
from ..decoding.latents import Anchor, LatentDecoder
from ..packs.registry import pick_device
from ..packs.store import ModelPack

POSE_UNITS = (10.0, 5.0)  # degrees of yaw and of pitch
SIZE = len(POSE_UNITS) + ALPHA_COUNT  # 34
BETAS = (0.9, 0.99)
EVENNESS = 0.03  # of the mean response: directions that show less than this are not stepped along further


class CodeUnits:
    """Between codes in units [n, 34] and (pose [n, 2] in degrees, α [n, 32]): a step of one size suits them all.

    The unit of an α is its standard deviation over the expressions that the pack's encoder was trained on. Paper
    2203.14512 weighs the steps of the indices by their sensitivity instead (Eq. 8), which for these units is about the
    same for all.
    """

    def __init__(self, pack: ModelPack, device: str | torch.device = "auto") -> None:
        self.device = pick_device(device)
        scale = torch.ones(ALPHA_COUNT)
        if pack.has("feedforward"):
            scale = pack.feedforward(self.device).alpha_scale.detach().float().cpu()
        self.scale = torch.cat([torch.tensor(POSE_UNITS), scale.clamp_min(1e-4)]).to(self.device)
        card = pack.card.pose
        self._low = torch.tensor([card.yaw[0], card.pitch[0]], device=self.device) / self.scale[:2]
        self._high = torch.tensor([card.yaw[1], card.pitch[1]], device=self.device) / self.scale[:2]

    def units(self, pose: Tensor, alpha: Tensor) -> Tensor:
        """[n, 2] degrees and [n, 32] -> [n, 34]."""
        return torch.cat([pose, alpha], dim=1).to(self.device, torch.float32) / self.scale

    def split(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """[n, 34] -> pose [n, 2] in degrees within the pack's reach, α [n, 32]; differentiable."""
        pose = codes[:, :2].clamp(self._low, self._high) * self.scale[:2]
        return pose, codes[:, 2:] * self.scale[2:]

    def bound_(self, codes: Tensor) -> Tensor:
        """Keep the angles of codes [n, 34] within the pack's reach, in place."""
        codes[:, :2] = codes[:, :2].clamp(self._low, self._high)
        return codes


class DifferentiableRenderer:
    """Codes in units to pictures of one pack on one device; gradients reach codes, latents and generator.

    Pictures alone, without gradients, are rendered faster with `reference` off; see Generator.synthesis.

    dtype: of the feature maps; the RGB sum is always float32.
    """

    def __init__(self, pack: ModelPack, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.pack, self.device, self.dtype = pack, device, dtype
        self.latents = LatentDecoder(pack, device)
        self.generator = self.latents.generator
        self.noise = any(bool(p.any()) for name, p in self.generator.named_parameters() if "noise_strength" in name)
        self.units = CodeUnits(pack, device)

    def anchor(self, latent: Tensor) -> Anchor:
        """An identity latent [18, 512], or one per frame [N, 18, 512], ready to be posed."""
        return self.latents.anchor(latent if latent.dim() == 3 else latent[None])

    def render(self, anchor: Anchor, codes: Tensor, side: int, reference: bool = True) -> Tensor:
        """Codes [N, 34] in units -> float32 [N, 3, side, side] in about [-1, 1], not clamped."""
        styles = self.styles(anchor, codes)
        pictures = self.generator.synthesis(
            styles, noise=self.noise, stop_at=side, dtype=self.dtype, reference=reference
        )
        return pictures.float()

    def styles(self, anchor: Anchor, codes: Tensor) -> list[Tensor]:
        """Codes [N, 34] in units -> StyleSpace, one [N, C_l] per layer."""
        return self.latents.styles(anchor, *self.units.split(codes))


class RowAdam:
    """Adam over a table whose rows are drawn in batches: a row that is not drawn does not move, nor does its momentum.

    values [N, D]; `state` is what a checkpoint keeps. torch.optim has no such optimiser: SparseAdam takes gradients of
    embeddings alone, and corrects the bias of every row by the count of all steps.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().clone()
        self.first, self.second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.count = torch.zeros(len(values), dtype=torch.int64, device=values.device)

    def take(self, rows: Tensor) -> Tensor:
        """The values of rows [n] as a leaf [n, D] that collects their gradient."""
        return self.values[rows].requires_grad_(True)

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor, rate: float | Tensor) -> None:
        """Move rows [n] (all different) against their gradient [n, D]; `rate` may be per column [D]."""
        self.count[rows] += 1
        count = self.count[rows][:, None].float()
        first = torch.lerp(gradient, self.first[rows], BETAS[0])
        second = torch.lerp(gradient.square(), self.second[rows], BETAS[1])
        self.first[rows], self.second[rows] = first, second
        unbiased = (second / (1 - BETAS[1] ** count)).sqrt().add_(1e-12)
        self.values[rows] -= rate * (first / (1 - BETAS[0] ** count)) / unbiased

    def state(self) -> dict[str, Tensor]:
        """Tensors to be saved."""
        return {"values": self.values, "first": self.first, "second": self.second, "count": self.count}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        for name, value in self.state().items():
            value.copy_(state[name])


def even_steps(metric: Tensor) -> Tensor:
    """[34, 34] from steps to codes in units: a step of one size changes the picture about as much in every direction.

    metric [34, 34]: the squared change of a picture is e · metric · e for a change e of its codes. Some combinations of
    codes hardly show and others outweigh all the rest; an optimiser that goes code by code takes long over both.
    """
    values, directions = torch.linalg.eigh(metric.double())
    mean = values.mean().clamp_min(1e-30)
    lengths = (mean / (values.clamp_min(0) + EVENNESS * mean)).sqrt()
    return torch.as_tensor((directions * lengths) @ directions.T, dtype=metric.dtype)


def shuffled(count: int, size: int, generator: torch.Generator) -> Iterable[Tensor]:
    """Batches of `size` different rows of `count`, for ever: every row once before any comes again."""
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count, size):
            batch = order[start : start + size]
            if len(batch) == min(size, count):
                yield batch


def at_side(pictures: Tensor, side: int) -> Tensor:
    """Pictures or weights [N, C, S, S] at another power of two: averaged down or interpolated."""
    size = pictures.shape[-1]
    if size > side:
        return F.avg_pool2d(pictures, size // side)
    return pictures if size == side else F.interpolate(pictures, size=side, mode="bilinear", align_corners=False)


def coarse_side(side: int) -> int:
    """Pixels per side of the coarse steps of a search whose last ones have `side`."""
    return max(side // 2, 32)


def cosine_decay(fraction: float) -> float:
    """Factor of the step size: 1 at the beginning, a tenth at the end, half a cosine between.

    A function of the share of the budget that is spent: a budget in minutes has no number of steps that a scheduler of
    torch could count.
    """
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))
