"""Sharpen the renderer: adversarial and feature-matching terms beside the supervised ones (1406.2661, 1711.11585).

L1 alone draws the mean of what the codes leave open, which is a blur. A patch discriminator that looks at windows of
the 256² picture asks for the detail of real renders; feature matching on its layers holds that detail to the true
picture, the supervised terms hold everything else, and R1 (1801.04406) keeps the discriminator smooth. Only synthesis
from FIRST² on is tuned: what codes mean is decided below and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..metrics.psnr import psnr
from ..nets.perceptual import FeatureDistance
from ..nets.pixel_loss import pixel_loss
from . import parser
from .avatar import AvatarModel
from .checkpoint import checkpoint_of
from .datasets import HeadsDataset
from .loop import Run, TrainOptions, load_average
from .losses import region_weights, weight_map
from .sheets import save_sheet

FIRST = 64  # the lowest resolution whose layers are tuned
SIDE = 256
WINDOW = 128  # side of the part of the 256² picture that the discriminator sees
BATCH = 4
ADVERSARIAL = 0.05
MATCHING = 1.0
PERCEPTUAL = 0.3
R1_WEIGHT, R1_EVERY = 1.0, 8  # gamma / 2 on [-1, 1] pictures; lazily, every so many steps
START = 0.1  # share of the budget in which the discriminator learns alone


class PatchDiscriminator(nn.Module):
    """[N, 3, S, S] -> the maps of its layers, the last being the verdict [N, 1, S / 16, S / 16].

    Parameters: `widths` of the stages, each halving the side. No normalisation, so that R1 means what it says.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, widths[0], 3, 2, 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, a, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(a, b, 3, 2, 1))
            for a, b in pairwise(widths)
        )
        self.verdict = nn.Conv2d(widths[-1], 1, 3, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):  # torch's own start divides the signal by two and more in every layer
                nn.init.kaiming_normal_(layer.weight, 0.2)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps after every stage, then the verdict; float32."""
        x = F.leaky_relu(self.first(x), 0.2)
        maps = [x]
        for stage in self.stages:
            x = F.leaky_relu(stage(x), 0.2)
            maps.append(x)
        return [m.float() for m in [*maps, self.verdict(x)]]


def matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """L1 of the layers' maps, each in units of the real map's mean size."""
    terms = [(a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-4) for a, b in zip(fake, real, strict=True)]
    return torch.stack(terms).mean()


def gradient_penalty(net: PatchDiscriminator, real: Tensor) -> Tensor:
    """R1: mean squared norm of the verdict's gradient by the real picture."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(net(real)[-1].mean(dim=(1, 2, 3)).sum(), real, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean()


def tuned_parameters(model: AvatarModel) -> list[nn.Parameter]:
    """Weights and biases of the blocks from FIRST² to SIDE², without the affine maps from w."""
    blocks = zip(model.generator.resolutions, model.generator.blocks, strict=True)
    return [
        p
        for size, block in blocks
        if FIRST <= size <= SIDE
        for name, p in block.named_parameters()
        if "affine" not in name
    ]


def window_of(rng: np.random.Generator) -> tuple[slice, slice]:
    """A random window, the middle of the picture (the face) twice as often as the rest."""
    last = SIDE - WINDOW
    draw = rng.integers(0, last + 1, 2) if rng.random() < 0.5 else rng.integers(last // 4, 3 * last // 4 + 1, 2)
    row, column = (int(v) for v in draw)
    return slice(row, row + WINDOW), slice(column, column + WINDOW)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget from the encoder's renderer; resumes `work/sharpen.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(8)
    model = AvatarModel(data.identities().shape[1])
    load_average(model, checkpoint_of(options.work, "encoder"), "avatar")
    before = AvatarModel(data.identities().shape[1])
    before.load_state_dict(model.state_dict())
    before.to(options.device).eval().requires_grad_(False)
    model.to(options.device).requires_grad_(False)
    net = PatchDiscriminator().to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    distance = parser.feature_distance(options)
    tuned = tuned_parameters(model)
    for p in tuned:
        p.requires_grad_(True)
    optimizer = torch.optim.Adam(
        [{"params": tuned, "lr": 5e-4}, {"params": list(net.parameters()), "lr": 5e-4}], betas=(0.5, 0.99)
    )
    run = Run("sharpen", options.work, {"avatar": model, "discriminator": net}, optimizer, options.minutes)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    for step in run.steps():
        batch = data.batch(data.draw(options.batch(BATCH), run.rng)).to(options.device)
        with torch.no_grad():
            w, alpha = model.latent(batch.identity), model.expression(batch.expression)
        output = model.render(w, batch.pose, alpha, SIDE, options.dtype)
        rows, columns = window_of(run.rng)
        target = batch.pictures(SIDE)
        real, fake = target[..., rows, columns].contiguous(), output[..., rows, columns].clamp(-1.2, 1.2)
        with options.autocast():
            on_real, on_fake = net(real), net(fake.detach())
        verdicts = F.softplus(on_fake[-1]).mean() + F.softplus(-on_real[-1]).mean()
        loss = verdicts
        if step % R1_EVERY == 0:
            loss = loss + R1_EVERY * R1_WEIGHT * gradient_penalty(net, real)
        if run.fraction > START:
            net.requires_grad_(False)
            with options.autocast():
                maps = net(fake)
            net.requires_grad_(True)
            supervised = pixel_loss(output, target, weight_map(batch.labels, weights, SIDE))
            loss = loss + supervised + MATCHING * matching(maps[:-1], on_real[:-1])
            loss = loss + ADVERSARIAL * F.softplus(-maps[-1]).mean()
            if distance is not None:
                loss = loss + PERCEPTUAL * distance(output.clamp(-1, 1), target).mean()
        run.update(loss, limit=2.0)
        run.log(len(w), verdicts=float(verdicts.detach()), psnr=float(psnr(output.detach(), target).mean()))
    run.load_averages()
    return evaluate(model, before, data, distance, options)


@torch.no_grad()
def evaluate(
    model: AvatarModel, before: AvatarModel, data: HeadsDataset, distance: FeatureDistance | None, options: TrainOptions
) -> dict[str, float]:
    """Held-out people at 256², before and after: PSNR, feature distance, energy of the detail against the truth's."""
    figures: dict[str, list[Tensor]] = {}
    sheet: list[Tensor] = []
    for part in data.held_out(96, 8):
        batch = data.batch(part).to(options.device)
        target = batch.pictures(SIDE)
        rendered = []
        for name, net in (("before", before), ("after", model)):
            output = net.render(net.latent(batch.identity), batch.pose, net.expression(batch.expression), SIDE)
            output = output.clamp(-1, 1)
            rendered.append(output)
            found = {"psnr": psnr(output, target), "detail": detail(output) / detail(target)}
            if distance is not None:
                found["distance"] = distance(output, target)
            for key, values in found.items():
                figures.setdefault(f"{key}_{name}", []).append(values)
        if len(sheet) < 9:
            sheet += [target, *rendered]
    save_sheet(sheet, options.work / "sharpen.png")
    return {key: float(torch.cat(values).mean()) for key, values in figures.items()}


def detail(x: Tensor) -> Tensor:
    """Energy [n] of what a halving of the side takes away from pictures [n, 3, S, S]."""
    return (x - without_detail(x)).square().mean(dim=(1, 2, 3))


def without_detail(x: Tensor) -> Tensor:
    """Pictures [n, 3, S, S] as a halving of the side and back leaves them."""
    return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False)
