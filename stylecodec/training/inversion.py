"""Train the inversion encoder: a crop -> the W+ whose picture it is, expression and pose included (e4e form)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..metrics.psnr import psnr
from ..nets.e4e import E4eEncoder
from ..nets.pixel_loss import pixel_loss
from .augment import degrade
from .avatar import AvatarModel, load_renderer
from .datasets import HeadsDataset
from .loop import Run, TrainOptions
from .losses import region_weights, weight_map
from .sheets import save_sheet

SETTINGS = {
    "widths": [24, 48, 96, 128],
    "units": [1, 2, 2, 2],
    "head_width": 48,
    "stem_stride": 2,
}
BATCH = 12
SIDE = 128
DELTA_NORM = 2e-3  # weight of the offsets' mean square: rows stay near one W code


@torch.no_grad()
def evaluate(model: AvatarModel, net: E4eEncoder, data: HeadsDataset) -> dict[str, float]:
    """Held-out people: PSNR at 256² of inverted crops."""
    device = model.identity_mean.device
    quality = []
    for part in data.held_out(96, 8):
        x = data.batch(part).to(device).pictures(256)
        quality.append(psnr(model.generator(net(x), noise=False, stop_at=256, reference=False), x))
    return {"psnr": float(torch.cat(quality).mean())}


def true_latent(model: AvatarModel, identity: Tensor, pose: Tensor) -> Tensor:
    """W+ [n, 18, 512] of renders turned to their pose, the face at rest."""
    return model.pose(model.latent(identity), pose)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget against the encoder's renderer; resumes `work/inversion.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(6)
    model = AvatarModel(data.identities().shape[1])
    load_renderer(model, options.work)
    model.to(options.device).requires_grad_(False)
    net = E4eEncoder(**SETTINGS)  # type: ignore[arg-type]
    first = data.batch(data.train_rows[::8][:512])
    with torch.no_grad():
        net.latent_avg.copy_(true_latent(model.cpu(), first.identity, first.pose).mean(0))
        model.to(options.device)
    options.begin(net, "inversion")
    net.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
    run = Run("inversion", options.work, {"inversion": net}, optimizer, options.minutes)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    rng = run.rng
    for _ in run.steps():
        batch = data.batch(data.draw(options.batch(BATCH), rng)).to(options.device)
        clean = batch.pictures(256)
        x = degrade(clean, rng) if rng.random() < 0.5 else clean
        with options.autocast():
            deltas = net.deltas(x.contiguous(memory_format=torch.channels_last))
        wplus = net.compose(deltas)
        truth = true_latent(model, batch.identity, batch.pose)
        output = model.generator.synthesis(
            model.generator.styles(wplus), noise=False, stop_at=SIDE, dtype=options.dtype
        )
        target = batch.pictures(SIDE)
        near = (wplus - truth).square().mean() / truth.var()
        loss = pixel_loss(output, target, weight_map(batch.labels, weights, SIDE))
        loss = loss + 0.1 * near + DELTA_NORM * deltas[:, 1:].square().mean()
        run.update(loss, limit=2.0)
        run.log(len(x), psnr=float(psnr(output.detach(), target).mean()), near=float(near.detach()))
    run.load_averages()
    with torch.no_grad():
        x = data.batch(data.validation_rows[:8]).to(options.device).pictures(256)
        output = model.generator(net(x), noise=False, stop_at=256, reference=False)
        save_sheet([x, output], options.work / "inversion.png")
    return evaluate(model, net, data)
