"""Train the hybrid feed-forward encoder, end to end through the renderer (2302.07848).

The renderer is tuned along, or kept as it is when a better encoder for a finished pack is all that is wanted.

A pair of renders of one person: the identity latent comes from one (as it is), pose and α from the other (heavily
augmented). First the codes alone are learned, which is quick: pose, α and w of each render are known, and a linear
reader asks the same features for every expression weight and the gaze, so that none is lost for being faint in α.
Then the rendered combination must match the other picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import OptionError
from ..nets.feedforward import HybridCode, HybridEncoder
from ..nets.pixel_loss import pixel_loss
from . import parser
from .augment import degrade, wild
from .avatar import AvatarModel, begin_renderer
from .datasets import Batch, HeadsDataset, mirrored_order
from .generator import REFRESH_STEPS, forward, parameter_groups
from .loop import Run, TrainOptions, load_average
from .losses import psnr, region_weights, weight_map
from .reader import Reader
from .sheets import save_sheet

SETTINGS = {
    "widths": [24, 48, 96, 160],
    "shrink": 2,
    "windows": [[80, 64, 64, 128], [156, 80, 80, 96]],  # eyes with brows; mouth; 6 pixels of slack around them
}
TUNE = 1e-3  # the renderer's learning rate
PERCEPTUAL = 0.15  # weight of the parser's feature distance, once pictures have 128² pixels
CODES = 0.85  # share of the budget in which the encoder learns from known codes alone, not through pictures
# (from this share of the budget, picture side, augmented pictures, pictures of their people as they are)
STAGES = ((0.0, 128, 24, 8), (CODES, 128, 10, 10), (0.93, 256, 5, 5))


@torch.no_grad()
def statistics(model: AvatarModel, data: HeadsDataset) -> tuple[Tensor, Tensor, Tensor]:
    """(mean of w over the training people [512], its deviation [512], deviation of α [32])."""
    device = model.identity_mean.device
    w = model.latent(torch.from_numpy(data.identities()[::4]).to(device))
    alpha = model.expression(torch.from_numpy(data.expressions()).to(device))
    return w.mean(0), w.std(0) + 1e-2, alpha.std(0) + 1e-3


def code_loss(code: HybridCode, truth: Batch, alpha: Tensor, encoder: HybridEncoder) -> Tensor:
    """Smooth L1 of pose and α in their standard units; of α the square up to one (see `reader`)."""
    pose = F.smooth_l1_loss(code.pose / encoder.pose_scale, truth.pose / encoder.pose_scale, beta=0.2)
    return pose + F.smooth_l1_loss(code.alpha / encoder.alpha_scale, alpha / encoder.alpha_scale)


@torch.no_grad()
def evaluate(model: AvatarModel, encoder: HybridEncoder, data: HeadsDataset, side: int = 256) -> dict[str, float]:
    """Held-out people, true crops: PSNR of re-rendered pairs, pose error in degrees, correlation of α."""
    rng = np.random.default_rng(2)
    quality, pose_error, found, true = [], [], [], []
    device = model.identity_mean.device
    for part in data.held_out(96):
        driving, source = (data.batch(r).to(device) for r in (part, data.siblings(part, rng)))
        x = driving.pictures(256)
        code, person = encoder(x), encoder(source.pictures(256))
        output = model.render(person.w_id, code.pose, code.alpha, side)
        quality.append(psnr(output, driving.pictures(side)))
        pose_error.append((code.pose - driving.pose).abs())
        found.append(code.alpha)
        true.append(model.expression(driving.expression))
    error, a, b = torch.cat(pose_error).mean(0), torch.cat(found), torch.cat(true)
    a, b = a - a.mean(0), b - b.mean(0)
    correlation = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-6)
    return {
        "psnr": float(torch.cat(quality).mean()),
        "yaw_error": float(error[0]),
        "pitch_error": float(error[1]),
        "alpha_correlation": float(correlation.mean()),
    }


@torch.no_grad()
def sheet(model: AvatarModel, encoder: HybridEncoder, data: HeadsDataset, path: Path) -> None:
    """Contact sheet: identity frames, driving frames, rendered combinations of held-out people."""
    rng = np.random.default_rng(3)
    groups = []
    device = model.identity_mean.device
    for _ in range(3):
        part = rng.choice(data.validation_rows, 8)
        driving, source = (data.batch(r).to(device) for r in (part, data.siblings(part, rng)))
        code, person = encoder(driving.pictures(256)), encoder(source.pictures(256))
        output = model.render(person.w_id, code.pose, code.alpha, 256)
        groups += [source.pictures(256), driving.pictures(256), output]
    save_sheet(groups, path)


def renderer(options: TrainOptions, data: HeadsDataset) -> AvatarModel:
    """The renderer to begin with: the starting pack's own where it is to stay as it is, or the work folder's."""
    if options.keep_renderer:
        model = begin_renderer(options, data.identities()).eval().requires_grad_(False)
    else:
        model = AvatarModel(data.identities().shape[1])
        load_average(model, options.work / "generator.checkpoint.pt", "avatar")
    return model.to(options.device)


@torch.no_grad()
def in_units(encoder: HybridEncoder, alpha_std: Tensor) -> None:
    """Let the head of α speak in these units [32], and say the same as before: another data set has other spreads."""
    ratio = encoder.alpha_scale / alpha_std
    encoder.alpha_head.weight.mul_(ratio[:, None])
    encoder.alpha_head.bias.mul_(ratio)
    encoder.alpha_scale.copy_(alpha_std)


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget from `work/generator.checkpoint.pt`, or from the pack to go on from.

    Resumes `work/encoder.checkpoint.pt`, which then holds the renderer that fits this encoder.
    """
    if options.keep_renderer and options.start is None:
        raise OptionError("to keep the renderer as it is, say of which pack: --start PACK")
    data = HeadsDataset(options.data)
    torch.manual_seed(1)
    model = renderer(options, data)
    encoder = HybridEncoder(**SETTINGS)  # type: ignore[arg-type]
    w_mean, w_std, alpha_std = statistics(model, data)
    encoder.latent_avg.copy_(w_mean)
    encoder.latent_std.copy_(w_std)
    encoder.alpha_scale.copy_(alpha_std)
    options.begin(encoder, "feedforward")
    encoder.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    in_units(encoder, alpha_std)
    reader = Reader(encoder.motion_size, torch.from_numpy(data.expressions())).to(options.device)
    ours = [*encoder.parameters(), *reader.parameters()]
    tuned = [] if options.keep_renderer else parameter_groups(model, TUNE)
    optimizer = torch.optim.Adam([{"params": ours, "lr": 1.5e-3}, *tuned], betas=(0.9, 0.99))
    modules: dict[str, nn.Module] = {"avatar": model, "hybrid": encoder, "reader": reader}
    run = Run("encoder", options.work, modules, optimizer, options.minutes)
    distance = parser.feature_distance(options)
    weights = region_weights(data.meta["class_names"]).to(options.device)
    mirror = mirrored_order(data.meta.get("expression_names", []))
    rng = run.rng
    for step in run.steps():
        if step % REFRESH_STEPS == REFRESH_STEPS - 1:
            data.refresh()
        fraction = run.fraction
        side, count, others = next(rest for start, *rest in reversed(STAGES) if fraction >= start)
        rows = data.draw(options.batch(count), rng)
        count = len(rows)
        plain = data.siblings(rows[: options.batch(others)], rng)
        driving, source = (data.batch(r).to(options.device) for r in (rows, plain))
        if mirror and fraction < CODES and rng.random() < 0.5:  # later the picture must be that of a known person
            driving = driving.mirrored(mirror)
        x = wild(driving.pictures(256), driving.labels, rng)
        y = source.pictures(256)
        y = degrade(y, rng) if rng.random() < 0.3 else y
        with options.autocast():
            motion_features, person = encoder.features(torch.cat([x, y]).contiguous(memory_format=torch.channels_last))
            code = encoder.code(motion_features, person)
            expression = torch.cat([driving.expression, source.expression])
            reading = reader.loss(motion_features, expression)
        motion = HybridCode(code.w_id[:count], code.pose[:count], code.alpha[:count])
        still = HybridCode(code.w_id[count:], code.pose[count:], code.alpha[count:])
        with torch.no_grad():
            alpha_x, alpha_y = model.expression(driving.expression), model.expression(source.expression)
            w_true = model.latent(source.identity)[:, None]
        supervised = code_loss(motion, driving, alpha_x, encoder) + 0.5 * code_loss(still, source, alpha_y, encoder)
        near = ((still.w_id - w_true) / encoder.latent_std).square().mean()
        supervised = supervised + reading
        if fraction < CODES:
            loss = supervised + near
        else:
            target, weight = driving.pictures(side), weight_map(driving.labels, weights, side)
            output = model.render(still.w_id, motion.pose, motion.alpha, side, options.dtype)
            loss = pixel_loss(output, target, weight) + 0.5 * supervised + 0.05 * near
            if distance is not None and side >= 128:
                apart = distance(output.clamp(-1, 1), target).mean()
                loss = loss + PERCEPTUAL * apart
                run.log(0, perceptual=float(apart.detach()))
            run.log(0, psnr=float(psnr(output.detach(), target).mean()))
            if tuned and step % 2 == 0:  # keep the renderer true to its parameters as well
                part = slice(0, max(1, count // 2))
                few = Batch(*(field[part] for field in driving))
                straight = forward(model, few, side, options.dtype)
                loss = loss + pixel_loss(straight, target[part], weight[part])
        run.update(loss, limit=2.0)
        pose_error = (motion.pose.detach() - driving.pose).abs().mean()
        run.log(
            count,
            side=side,
            pose=float(pose_error),
            codes=float(supervised.detach()),
            near=float(near.detach()),
            reading=float(reading.detach()),
        )
    run.load_averages()
    sheet(model, encoder, data, options.work / "encoder.png")
    return evaluate(model, encoder, data)
