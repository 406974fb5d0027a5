"""Train the renderer: generator, head-pose flow and expression net, on rendered heads.

Supervised, not adversarial: the mapping network receives the identity parameters that the picture was rendered from, so
the target of every latent is known. Resolution grows with the budget. With `keep_codes` only the synthesis moves:
an encoder and streams made for the starting pack stay valid.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import OptionError
from ..metrics.psnr import psnr
from ..nets.pixel_loss import pixel_loss
from .avatar import ALPHA_INDICES, AvatarModel, begin_renderer
from .datasets import Batch, HeadsDataset
from .loop import Run, TrainOptions
from .losses import region_weights, weight_map
from .reader import Reader
from .sheets import save_sheet

# (from this share of the budget, picture side, batch)
STAGES = ((0.0, 32, 32), (0.07, 64, 16), (0.27, 128, 8), (0.86, 256, 4))
REFRESH_STEPS = 400
RATE = 2e-3  # step size of synthesis
# α must tell all expressions apart, faint ones too, through noise as large as an encoder's errors: pictures alone leave
# a puff of the cheeks or a corner of the mouth in what is a hundredth of a jaw's α.
LEGIBLE = 0.3  # weight of reading the expression off α
READING_NOISE = 0.3  # in standard units of α
READ_AT_ONCE = 256  # expressions
# Weight of the difference between two pictures of one person in one pose being what their expressions make it. Beside
# what the picture gets wrong of the person, an absolute error hardly notices whether a mouth went to the side.
APART = 2.0
GOES_ON = 0.07  # share of the stages that is left out where training goes on from a pack
EXPRESSION_NAMES = "expression_names.json"  # in the work folder: what the expression net's inputs are


def stage_at(fraction: float) -> tuple[int, int]:
    """(side, batch) at this share of the budget."""
    return next((side, batch) for start, side, batch in reversed(STAGES) if fraction >= start)


def draw(data: HeadsDataset, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Training rows for a batch, and how many pairs it begins with (HeadsDataset.draw_pairs), half of it at most."""
    pairs = count // 4 if len(data.pairs) else 0
    singles = data.draw(count - 2 * pairs, rng)
    return (np.concatenate([data.draw_pairs(pairs, rng), singles]) if pairs else singles), pairs


def apart(output: Tensor, target: Tensor, weight: Tensor, pairs: int) -> Tensor:
    """The pixel loss of differences within the pairs that a batch begins with."""
    first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    heavier = torch.maximum(weight[first], weight[second])
    return pixel_loss(output[first] - output[second], target[first] - target[second], heavier)


def forward(model: AvatarModel, batch: Batch, side: int, dtype: torch.dtype) -> Tensor:
    """Render a batch from its true parameters."""
    return model.render(model.latent(batch.identity), batch.pose, model.expression(batch.expression), side, dtype)


def parameter_groups(model: AvatarModel, rate: float) -> list[dict[str, object]]:
    """Learning rates: `rate` for synthesis; the mapping's weights are stored tenfold and α has few channels to work
    through, so these two take larger steps. What is frozen is left out."""
    mapping = list(model.generator.mapping.parameters())
    known = {id(p) for p in mapping}
    synthesis = [p for p in model.generator.parameters() if id(p) not in known]
    groups = (
        (synthesis, rate),
        (mapping, 4 * rate),
        (list(model.flow.parameters()), rate / 2),
        (list(model.expression.parameters()), 2 * rate),
    )
    trained = [([p for p in parameters if p.requires_grad], step) for parameters, step in groups]
    return [{"params": parameters, "lr": step} for parameters, step in trained if parameters]


@torch.no_grad()
def evaluate(model: AvatarModel, data: HeadsDataset, side: int, count: int = 96) -> dict[str, float]:
    """Mean PSNR on held-out identities, rendered from their parameters."""
    found = []
    for part in data.held_out(count):
        batch = data.batch(part).to(model.identity_mean.device)
        found.append(psnr(forward(model, batch, side, torch.float32), batch.pictures(side)))
    return {"psnr": float(torch.cat(found).mean())}


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
            groups += [batch.pictures(side), forward(model, batch, side, torch.float32)]
    save_sheet(groups, path)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget, resuming `work/generator.checkpoint.safetensors`; writes `work/generator.png` too."""
    if options.keep_codes and options.start is None:
        raise OptionError("to keep what the codes say, name the pack in which they say it: --start PACK")
    data = HeadsDataset(options.data)
    torch.manual_seed(0)
    model = begin_renderer(options, data.identities())
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / EXPRESSION_NAMES).write_text(json.dumps(data.meta.get("expression_names", [])))
    model.to(options.device)
    expressions = torch.from_numpy(data.expressions()).to(options.device)
    parts: dict[str, nn.Module] = {"avatar": model}
    groups = parameter_groups(model, RATE)
    reader: Reader | None = None
    if not options.keep_codes:  # else no α changes, and nothing new is to be read in it
        parts["reader"] = reader = Reader(len(ALPHA_INDICES), expressions).to(options.device)
        groups.append({"params": list(reader.parameters()), "lr": RATE})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    run = Run("generator", options.work, parts, optimizer, options.minutes)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    rng = run.rng
    for step in run.steps():
        if step % REFRESH_STEPS == REFRESH_STEPS - 1:
            data.refresh()
        side, count = stage_at(run.fraction if options.start is None else GOES_ON + (1 - GOES_ON) * run.fraction)
        rows, pairs = draw(data, options.batch(count), rng)
        batch = data.batch(rows).to(options.device)
        target = batch.pictures(side)
        output = forward(model, batch, side, options.dtype)
        weight = weight_map(batch.labels, weights, side)
        loss = pixel_loss(output, target, weight)
        if pairs:
            moved = apart(output, target, weight, pairs)
            loss = loss + APART * moved
            run.log(0, apart=float(moved.detach()))
        run.log(len(rows), side=side, loss=float(loss.detach()), psnr=float(psnr(output.detach(), target).mean()))
        if reader is not None:
            some = torch.from_numpy(rng.integers(0, len(expressions), READ_AT_ONCE)).to(options.device)
            reading = reader.loss_through_noise(model.expression(expressions[some]), expressions[some], READING_NOISE)
            loss = loss + LEGIBLE * reading
            run.log(0, reading=float(reading.detach()))
        run.update(loss)
    run.load_averages()
    figures = evaluate(model, data, 256)
    sheet(model, data, 256, options.work / "generator.png")
    return figures
