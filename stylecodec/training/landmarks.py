"""Train the landmark net: 81 points in dlib's order and the two iris centres, from rendered heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..nets.landmarks import LandmarkNet
from .augment import (
    degrade,
    jitter_colour,
    light_from_the_side,
    move_points,
    random_similarity,
    replace_background,
    resample,
)
from .datasets import HeadsDataset
from .loop import Run, TrainOptions
from .sheets import dotted, save_sheet

BATCH = 32
# How far a first crop may be off the aligned square: shift in half sides, scale, rotation.
SLACK = {"shift": 0.24, "scale": 0.18, "degrees": 25.0}


def point_weights(points: int) -> Tensor:
    """Weight per point [points]: eyes, mouth and irises 2, jaw and forehead 0.5, the rest 1."""
    weight = torch.ones(points)
    weight[0:17] = 0.5
    weight[36:68] = 2.0
    weight[68:81] = 0.5
    weight[81:] = 2.0
    return weight


def prepare(
    pictures: Tensor, labels: Tensor, points: Tensor, size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Augmented crops [n, 3, size, size] and where their points lie [n, P, 2]."""
    theta = random_similarity(len(pictures), **SLACK, device=pictures.device)
    x = replace_background(pictures, labels, rng)
    x = resample(light_from_the_side(jitter_colour(x)), theta, size)
    return degrade(x, rng), move_points(points, theta)


@torch.no_grad()
def evaluate(net: nn.Module, data: HeadsDataset, size: int) -> dict[str, float]:
    """Mean distance on held-out people as a share of the distance between the eye centres."""
    errors = []
    for part in data.held_out(256, 32):
        batch = data.batch(part).to(next(net.parameters()).device)
        found = net(batch.pictures(size))
        eyes = (batch.landmarks[:, 36:42].mean(1) - batch.landmarks[:, 42:48].mean(1)).norm(dim=-1)
        errors.append((found - batch.landmarks).norm(dim=-1) / eyes[:, None])
    error = torch.cat(errors)
    return {
        "all": float(error.mean()),
        "inner_face": float(error[:, 17:68].mean()),
        "eyes": float(error[:, 36:48].mean()),
        "mouth": float(error[:, 48:68].mean()),
        "irises": float(error[:, 81:].mean()),
    }


@torch.no_grad()
def sheet(net: LandmarkNet, data: HeadsDataset, path: Path) -> None:
    """Held-out people with their points in green and, below, those found in red."""
    batch = data.batch(data.validation_rows[:8]).to(next(net.parameters()).device)
    pictures, found = batch.pictures(256), net(batch.pictures(net.input_size))
    save_sheet([dotted(pictures, batch.landmarks, (-1, 1, -1)), dotted(pictures, found, (1, -1, -1))], path, side=256)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget; resumes `work/landmarks.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(2)
    net = LandmarkNet()
    options.begin(net, "landmarks")
    net.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.5e-3, weight_decay=1e-3)
    run = Run("landmarks", options.work, {"landmarks": net}, optimizer, options.minutes)
    rng = run.rng
    weight = point_weights(net.points)[None, :, None].to(options.device)
    for _ in run.steps():
        batch = data.batch(data.draw(options.batch(BATCH), rng)).to(options.device)
        x, truth = prepare(batch.pictures(256), batch.labels, batch.landmarks, net.input_size, rng)
        with options.autocast():
            found = net(x.contiguous(memory_format=torch.channels_last))
        inside = ((truth > -0.05) & (truth < 1.05)).all(-1, keepdim=True)
        distance = torch.sqrt((found.float() - truth).square() + 1e-6)
        loss = (distance * weight * inside).sum() / (weight * inside).sum() / 2
        run.update(loss)
        run.log(len(x), percent_of_crop=100 * float(loss.detach()))
    run.load_averages()
    sheet(net, data, options.work / "landmarks.png")
    return evaluate(net, data, net.input_size)
