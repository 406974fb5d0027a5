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
from ..metrics.psnr import psnr
from ..nets.feedforward import HybridCode, HybridEncoder
from ..nets.pixel_loss import pixel_loss
from . import parser
from .augment import degrade, wild
from .avatar import AvatarModel, begin_renderer
from .checkpoint import checkpoint_of
from .datasets import Batch, HeadsDataset, mirrored_order
from .generator import REFRESH_STEPS, forward, parameter_groups
from .loop import Run, TrainOptions, load_average
from .losses import region_weights, weight_map
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
        load_average(model, checkpoint_of(options.work, "generator"), "avatar")
    return model.to(options.device)


@torch.no_grad()
def in_units(encoder: HybridEncoder, alpha_std: Tensor) -> None:
    """Let the head of α speak in these units [32], and say the same as before: another data set has other spreads."""
    ratio = encoder.alpha_scale / alpha_std
    encoder.alpha_head.weight.mul_(ratio[:, None])
    encoder.alpha_head.bias.mul_(ratio)
    encoder.alpha_scale.copy_(alpha_std)


def begin_encoder(options: TrainOptions, model: AvatarModel, data: HeadsDataset) -> HybridEncoder:
    """The encoder to begin with, in the units of this data set."""
    encoder = HybridEncoder(**SETTINGS)  # type: ignore[arg-type]
    w_mean, w_std, alpha_std = statistics(model, data)
    encoder.latent_avg.copy_(w_mean)
    encoder.latent_std.copy_(w_std)
    encoder.alpha_scale.copy_(alpha_std)
    options.begin(encoder, "feedforward")
    encoder.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    in_units(encoder, alpha_std)
    return encoder


class EncoderTraining:
    """The networks of a run and the loss of one step.

    tuned: the renderer learns along with the encoder.
    """

    def __init__(self, options: TrainOptions, data: HeadsDataset, model: AvatarModel, tuned: bool) -> None:
        self.options, self.data, self.model, self.tuned = options, data, model, tuned
        self.encoder = begin_encoder(options, model, data)
        expressions = torch.from_numpy(data.expressions())
        self.reader = Reader(self.encoder.motion_size, expressions).to(options.device)
        self.distance = parser.feature_distance(options)
        self.weights = region_weights(data.meta["class_names"]).to(options.device)
        self.mirror = mirrored_order(data.meta.get("expression_names", []))

    def draw(self, fraction: float, count: int, others: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Frames [count] whose motion is read, and pictures of the same people [others] whose identity is."""
        rows = self.data.draw(self.options.batch(count), rng)
        plain = self.data.siblings(rows[: self.options.batch(others)], rng)
        driving, source = (self.data.batch(r).to(self.options.device) for r in (rows, plain))
        if self.mirror and fraction < CODES and rng.random() < 0.5:  # later the picture must be of a known person
            driving = driving.mirrored(self.mirror)
        return driving, source

    def read(
        self, driving: Batch, source: Batch, rng: np.random.Generator
    ) -> tuple[HybridCode, HybridCode, Tensor, Tensor]:
        """Codes of both batches; the loss of what is supervised, and how far the latents are from the true ones."""
        x = wild(driving.pictures(256), driving.labels, rng)
        y = source.pictures(256)
        y = degrade(y, rng) if rng.random() < 0.3 else y
        encoder, count = self.encoder, len(driving.pose)
        with self.options.autocast():
            motion_features, person = encoder.features(torch.cat([x, y]).contiguous(memory_format=torch.channels_last))
            code = encoder.code(motion_features, person)
            expression = torch.cat([driving.expression, source.expression])
            reading = self.reader.loss(motion_features, expression)
        motion = HybridCode(code.w_id[:count], code.pose[:count], code.alpha[:count])
        still = HybridCode(code.w_id[count:], code.pose[count:], code.alpha[count:])
        with torch.no_grad():
            alpha_x, alpha_y = self.model.expression(driving.expression), self.model.expression(source.expression)
            w_true = self.model.latent(source.identity)[:, None]
        supervised = code_loss(motion, driving, alpha_x, encoder) + 0.5 * code_loss(still, source, alpha_y, encoder)
        near = ((still.w_id - w_true) / encoder.latent_std).square().mean()
        return motion, still, supervised + reading, near

    def rendered(
        self, run: Run, driving: Batch, motion: HybridCode, still: HybridCode, side: int, straight: bool
    ) -> Tensor:
        """The loss of the renderings; straight: of renderings from the true parameters as well."""
        target, weight = driving.pictures(side), weight_map(driving.labels, self.weights, side)
        output = self.model.render(still.w_id, motion.pose, motion.alpha, side, self.options.dtype)
        loss = pixel_loss(output, target, weight)
        if self.distance is not None and side >= 128:
            apart = self.distance(output.clamp(-1, 1), target).mean()
            loss = loss + PERCEPTUAL * apart
            run.log(0, perceptual=float(apart.detach()))
        run.log(0, psnr=float(psnr(output.detach(), target).mean()))
        if straight:  # keep the renderer true to its parameters
            part = slice(0, max(1, len(target) // 2))
            few = Batch(*(field[part] for field in driving))
            loss = loss + pixel_loss(forward(self.model, few, side, self.options.dtype), target[part], weight[part])
        return loss

    def step(self, run: Run, step: int) -> None:
        """Draw, look, render, update."""
        fraction = run.fraction
        side, count, others = next(rest for start, *rest in reversed(STAGES) if fraction >= start)
        driving, source = self.draw(fraction, count, others, run.rng)
        motion, still, supervised, near = self.read(driving, source, run.rng)
        if fraction < CODES:
            loss = supervised + near
        else:
            straight = self.tuned and step % 2 == 0
            loss = self.rendered(run, driving, motion, still, side, straight) + 0.5 * supervised + 0.05 * near
        run.update(loss, limit=2.0)
        pose = float((motion.pose.detach() - driving.pose).abs().mean())
        run.log(len(driving.pose), side=side, pose=pose, codes=float(supervised.detach()), near=float(near.detach()))


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget from `work/generator.checkpoint.safetensors`, or from the pack to go on from.

    Resumes `work/encoder.checkpoint.safetensors`, which then holds the renderer that fits this encoder.
    """
    if options.keep_renderer and options.start is None:
        raise OptionError("to keep the renderer as it is, say of which pack: --start PACK")
    data = HeadsDataset(options.data)
    torch.manual_seed(1)
    model = renderer(options, data)
    training = EncoderTraining(options, data, model, tuned=not options.keep_renderer)
    encoder, reader = training.encoder, training.reader
    ours = [*encoder.parameters(), *reader.parameters()]
    tuned = parameter_groups(model, TUNE) if training.tuned else []
    optimizer = torch.optim.Adam([{"params": ours, "lr": 1.5e-3}, *tuned], betas=(0.9, 0.99))
    modules: dict[str, nn.Module] = {"avatar": model, "hybrid": encoder, "reader": reader}
    run = Run("encoder", options.work, modules, optimizer, options.minutes)
    for step in run.steps():
        if step % REFRESH_STEPS == REFRESH_STEPS - 1:
            data.refresh()
        training.step(run, step)
    run.load_averages()
    sheet(model, encoder, data, options.work / "encoder.png")
    return evaluate(model, encoder, data)
