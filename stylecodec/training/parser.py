"""Train the face parser: the renderer's region labels from augmented renders."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from ..nets.parsing import BiSeNet
from ..nets.perceptual import FeatureDistance
from .augment import degrade, jitter_colour, light_from_the_side, random_similarity, replace_background, resample
from .checkpoint import checkpoint_of
from .datasets import HeadsDataset
from .loop import Run, TrainOptions, load_average
from .losses import region_weights
from .sheets import painted, save_sheet

SETTINGS: dict[str, object] = {
    "classes": 19,
    "widths": [24, 48, 96, 160],
    "blocks": [1, 1, 1, 1],
    "context": 48,
    "fusion": 64,
}
BATCH = 12
SIDE = 256


def feature_distance(options: TrainOptions) -> FeatureDistance | None:
    """The perceptual distance by the trained parser, when `work/parser.checkpoint.safetensors` is there."""
    path = checkpoint_of(options.work, "parser")
    if not path.is_file():
        return None
    net = BiSeNet(**SETTINGS)  # type: ignore[arg-type]
    load_average(net, path, "parser")
    return FeatureDistance(net).to(options.device)


@torch.no_grad()
def evaluate(net: BiSeNet, data: HeadsDataset) -> dict[str, float]:
    """Held-out people: share of pixels labelled right and the mean intersection over union of the classes present."""
    classes = net.classes
    confusion = torch.zeros(classes, classes)
    for part in data.held_out(96, 8):
        batch = data.batch(part).to(next(net.parameters()).device)
        found = net(batch.pictures(SIDE)).argmax(1)
        flat = batch.labels.long().flatten() * classes + found.flatten()
        confusion += torch.bincount(flat, minlength=classes**2).reshape(classes, classes).cpu()
    hit, union = confusion.diag(), confusion.sum(0) + confusion.sum(1) - confusion.diag()
    present = confusion.sum(1) > 0
    return {"pixels": float(hit.sum() / confusion.sum()), "iou": float((hit / union.clamp_min(1))[present].mean())}


@torch.no_grad()
def sheet(net: BiSeNet, data: HeadsDataset, path: Path) -> None:
    """Held-out people, their regions, and the regions found."""
    batch = data.batch(data.validation_rows[:8]).to(next(net.parameters()).device)
    pictures = batch.pictures(SIDE)
    found = net(pictures).argmax(1)
    save_sheet([pictures, painted(batch.labels, net.classes), painted(found, net.classes)], path)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget; resumes `work/parser.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(4)
    net = BiSeNet(**SETTINGS)  # type: ignore[arg-type]
    options.begin(net, "parser")
    net.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    run = Run("parser", options.work, {"parser": net}, optimizer, options.minutes)
    rng = run.rng
    weights = torch.ones(net.classes)
    weights[: len(data.meta["class_names"])] = region_weights(data.meta["class_names"])  # eyes and lips are few pixels
    weights = weights.to(options.device)
    for _ in run.steps():
        batch = data.batch(data.draw(options.batch(BATCH), rng)).to(options.device)
        theta = random_similarity(len(batch.pose), 0.15, 0.15, 12.0, options.device)
        x = replace_background(batch.pictures(SIDE), batch.labels, rng, share=0.7)
        x = degrade(resample(light_from_the_side(jitter_colour(x)), theta), rng)
        grid = F.affine_grid(theta, [len(theta), 1, SIDE, SIDE], align_corners=False)
        moved = F.grid_sample(
            batch.labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
        )
        truth = moved[:, 0].long()
        with options.autocast():
            outputs = net.all_logits(x.contiguous(memory_format=torch.channels_last))
        losses = [F.cross_entropy(out.float(), truth, weights) for out in outputs]
        loss = torch.stack(losses).sum()
        run.update(loss)
        run.log(len(x), loss=float(loss.detach()), pixels=float((outputs[0].argmax(1) == truth).float().mean()))
    run.load_averages()
    sheet(net, data, options.work / "parser.png")
    return evaluate(net, data)
