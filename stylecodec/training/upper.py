"""Train the top layers, 512² and 1024², on windows of large renders; everything below stays as it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..metrics.psnr import psnr
from ..nets.pixel_loss import pixel_loss
from .avatar import AvatarModel, load_renderer
from .datasets import Batch, HeadsDataset
from .loop import Run, TrainOptions
from .losses import region_weights, weight_map
from .sheets import save_sheet

BASE = 256  # the last resolution that is left alone
WINDOW = 64  # side of a window of the 256² maps
MARGIN = 4  # of these at an edge inside the picture, which the missing neighbours touch: not compared
BATCH = 6


@torch.no_grad()
def base_maps(model: AvatarModel, batch: Batch, dtype: torch.dtype) -> tuple[list[Tensor], Tensor, Tensor]:
    """Styles, feature maps and RGB sum at 256² of a batch rendered from its true parameters."""
    styles = model.styles(model.latent(batch.identity), batch.pose, model.expression(batch.expression))
    return styles, *model.generator.maps_at(BASE, styles, dtype, reference=False)


def window_start(rng: np.random.Generator) -> int:
    """Where a window begins along one axis; every other one touches an edge of the picture, whose padding is real."""
    last = BASE - WINDOW
    return int(rng.choice([0, last])) if rng.random() < 0.5 else int(rng.integers(0, last + 1))


def compared(start: int) -> slice:
    """The part of a window's 1024² pixels along one axis that is compared."""
    first = 0 if start == 0 else MARGIN
    last = WINDOW if start == BASE - WINDOW else WINDOW - MARGIN
    return slice(4 * first, 4 * last)


def fit_colours(image: Tensor, target: Tensor) -> Tensor:
    """The target's detail on the output's low frequencies: what the top layers can be asked for.

    The layers below decide shape and colour up to 256²; an error of theirs must not be charged to the layers above.
    """
    low = torch.nn.functional.interpolate(target, size=image.shape[-2:], mode="area")
    difference = torch.nn.functional.interpolate(
        image - low, size=target.shape[-2:], mode="bilinear", align_corners=False
    )
    return target + difference


def begin_top(model: AvatarModel, options: TrainOptions) -> None:
    """Take the blocks above 256² of the starting pack's generator; what lies below is newer than that pack."""
    before = AvatarModel(len(model.identity_mean)).generator
    options.begin(before, "generator")
    for size, block, known in zip(model.generator.resolutions, model.generator.blocks, before.blocks, strict=True):
        if size > BASE:
            block.load_state_dict(known.state_dict())


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget on a data set of 1024² renders; resumes `work/upper.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(5)
    model = AvatarModel(data.identities().shape[1])
    load_renderer(model, options.work)
    if options.start is not None:
        begin_top(model, options)
    model.to(options.device)
    blocks = [b for r, b in zip(model.generator.resolutions, model.generator.blocks, strict=True) if r > BASE]
    parameters = [p for block in blocks for name, p in block.named_parameters() if "affine" not in name]
    optimizer = torch.optim.Adam(parameters, lr=1.5e-3, betas=(0.0, 0.99))
    run = Run("upper", options.work, {"avatar": model}, optimizer, options.minutes)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    rng = run.rng
    for _ in run.steps():
        batch = data.batch(data.draw(options.batch(BATCH), rng)).to(options.device)
        styles, x, image = base_maps(model, batch, options.dtype)
        row, column = window_start(rng), window_start(rng)
        rows, columns = slice(row, row + WINDOW), slice(column, column + WINDOW)
        window = image[..., rows, columns]
        output = model.generator.above(BASE, x[..., rows, columns], window, styles)
        pictures, labels = batch.pictures(1024), weight_map(batch.labels, weights, 1024)
        large = (slice(4 * row, 4 * (row + WINDOW)), slice(4 * column, 4 * (column + WINDOW)))
        target = fit_colours(window, pictures[..., large[0], large[1]])
        cut = (..., compared(row), compared(column))
        loss = pixel_loss(output[cut], target[cut], labels[..., large[0], large[1]][cut].contiguous())
        run.update(loss)
        run.log(len(x), loss=float(loss.detach()), psnr=float(psnr(output[cut].detach(), target[cut]).mean()))
    run.load_averages()
    return evaluate(model, data, options)


@torch.no_grad()
def evaluate(model: AvatarModel, data: HeadsDataset, options: TrainOptions) -> dict[str, float]:
    """Held-out people at 1024²: PSNR of the output and of the plain enlargement of its 256² picture; a sheet."""
    ours, plain, rows = [], [], []
    for part in data.validation_rows[:8]:
        batch = data.batch(np.array([part])).to(options.device)
        styles, x, image = base_maps(model, batch, torch.float32)
        output = model.generator.above(BASE, x, image, styles, reference=False)
        target = fit_colours(image, batch.pictures(1024))
        enlarged = torch.nn.functional.interpolate(image, size=1024, mode="bicubic", align_corners=False)
        ours.append(psnr(output, target))
        plain.append(psnr(enlarged, target))
        rows.append(torch.cat([target, enlarged, output]))
    save_sheet(rows[:4], options.work / "upper.png", side=512)
    return {"psnr": float(torch.cat(ours).mean()), "psnr_of_enlargement": float(torch.cat(plain).mean())}
