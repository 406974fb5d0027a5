"""Train the renderer: generator, head-pose flow and expression net, on rendered heads.

Supervised, not adversarial: the mapping network receives the identity parameters that the picture was rendered from, so
the target of every latent is known. Resolution grows with the budget.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..nets.pixel_loss import pixel_loss
from .avatar import AvatarModel, begin_renderer
from .datasets import Batch, HeadsDataset
from .loop import Run, TrainOptions
from .losses import psnr, region_weights, weight_map
from .sheets import save_sheet

# (from this share of the budget, picture side, batch)
STAGES = ((0.0, 32, 32), (0.07, 64, 16), (0.27, 128, 8), (0.86, 256, 4))
THROUGH_W = 0.2  # share of samples whose expression enters through W instead of α
REFRESH_STEPS = 400
EXPRESSION_NAMES = "expression_names.json"  # in the work folder: what the expression net's inputs are


def stage_at(fraction: float) -> tuple[int, int]:
    """(side, batch) at this share of the budget."""
    return next((side, batch) for start, side, batch in reversed(STAGES) if fraction >= start)


def forward(model: AvatarModel, batch: Batch, side: int, through_w: Tensor, dtype: torch.dtype) -> Tensor:
    """Render a batch from its true parameters, expression by the road that `through_w` [n] says."""
    mask = through_w[:, None].float()
    w = model.latent(batch.identity, batch.expression * mask)
    alpha = model.expression(batch.expression) * (1 - mask)
    return model.render(w, batch.pose, alpha, side, dtype)


def parameter_groups(model: AvatarModel, rate: float) -> list[dict[str, object]]:
    """Learning rates: `rate` for synthesis; the mapping's weights are stored tenfold and α has few channels to work
    through, so these two take larger steps."""
    mapping = list(model.generator.mapping.parameters())
    known = {id(p) for p in mapping}
    synthesis = [p for p in model.generator.parameters() if id(p) not in known]
    return [
        {"params": synthesis, "lr": rate},
        {"params": mapping, "lr": 4 * rate},
        {"params": list(model.flow.parameters()), "lr": rate / 2},
        {"params": list(model.expression.parameters()), "lr": 2 * rate},
    ]


@torch.no_grad()
def evaluate(model: AvatarModel, data: HeadsDataset, side: int, count: int = 96) -> dict[str, float]:
    """Mean PSNR on held-out identities, by α and by W."""
    figures: dict[str, list[Tensor]] = {"alpha": [], "w": []}
    for part in data.held_out(count):
        batch = data.batch(part).to(model.identity_mean.device)
        target = batch.pictures(side)
        for name, flag in (("alpha", False), ("w", True)):
            output = forward(model, batch, side, torch.full((len(part),), flag, device=target.device), torch.float32)
            figures[name].append(psnr(output, target))
    return {name: float(torch.cat(values).mean()) for name, values in figures.items()}


@torch.no_grad()
def sheet(model: AvatarModel, data: HeadsDataset, side: int, path: Path) -> None:
    """Contact sheet: held-out targets over outputs, then training targets over outputs."""
    rng = np.random.default_rng(1)
    groups = []
    for rows in (data.validation_rows, data.train_rows):
        if len(rows) == 0:
            continue
        for _ in range(2):
            batch = data.batch(np.sort(rng.choice(rows, 8))).to(model.identity_mean.device)
            output = forward(
                model, batch, side, torch.zeros(8, dtype=torch.bool, device=batch.pose.device), torch.float32
            )
            groups += [batch.pictures(side), output]
    save_sheet(groups, path)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget (resumes `work/generator.checkpoint.pt`); writes `work/generator.png` and the weights."""
    data = HeadsDataset(options.data)
    torch.manual_seed(0)
    model = begin_renderer(options, data.identities())
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / EXPRESSION_NAMES).write_text(json.dumps(data.meta.get("expression_names", [])))
    model.to(options.device)
    optimizer = torch.optim.Adam(parameter_groups(model, 2e-3), betas=(0.9, 0.99))
    run = Run("generator", options.work, {"avatar": model}, optimizer, options.minutes)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    rng = run.rng
    for step in run.steps():
        if step % REFRESH_STEPS == REFRESH_STEPS - 1:
            data.refresh()
        side, count = stage_at(run.fraction)
        batch = data.batch(data.draw(options.batch(count), rng)).to(options.device)
        count = len(batch.pose)
        target = batch.pictures(side)
        output = forward(model, batch, side, torch.rand(count, device=options.device) < THROUGH_W, options.dtype)
        loss = pixel_loss(output, target, weight_map(batch.labels, weights, side))
        run.update(loss)
        run.log(count, side=side, loss=float(loss.detach()), psnr=float(psnr(output.detach(), target).mean()))
    run.load_averages()
    figures = evaluate(model, data, 256)
    sheet(model, data, 256, options.work / "generator.png")
    return figures
