"""Sharpen a pack's generator on photographs: adversarial and feature-matching terms beside those of likeness.

Sums of pixel errors ask for the mean of what the codes leave open, which is a blur. Here two patch discriminators
(1406.2661, 1711.11585; R1 of 1801.04406) look at photographs and at the generator's pictures of them, one at 256², one
at windows of 512², and ask for the detail that photographs have. Colours and shapes stay: pixels are compared as
before, but at half the side, structure and parser features at the full one, and drawn people must look as before.
W+ and codes of the photographs are those that the generator was trained with and do not move, nor does any layer below
64²: what codes mean stays.

    W+, codes ─► generator up to 256² ─► like the photograph, and to the first discriminator
                      └─► a window of 512² ─► the 256² picture's colours, to the second discriminator
                               └─► the same window at 1024²: the 512² one, enlarged
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoding.differentiable import DifferentiableRenderer, shuffled
from ..encoding.losses import LossWeights, ReconstructionLoss
from ..encoding.personalization.locality import random_people
from ..nets.perceptual import FeatureDistance
from ..nets.stylegan2 import Generator
from ..packs.store import open_pack
from .checkpoint import Saved
from .loop import Average
from .photo_data import Photographs, PixelWeights, filled_outside, halved, mirrored
from .photo_fit import Fitted, fit
from .photo_generator import CODE_SPREAD, FIT_STEPS, HELD_OUT_FITTED, ROWS, Beginning, renderer_with
from .photo_loop import PhotoOptions, PhotoTrainer
from .photos import read_square
from .sharpen import PatchDiscriminator, detail, gradient_penalty, matching, without_detail
from .sheets import save_sheet
from .upper import fit_colours
from .widen import blocks, widened

FIRST, SIDE = 64, 256  # the lowest resolution whose layers are tuned; the last one that is trained whole
WINDOW = 96  # side of a window of the 256² maps, which the layers above are trained on
EDGE = 4  # of these at a window's sides, which missing neighbours touch: not compared
BATCH, LARGE_BATCH, DRAWN = 4, 4, 2
RATE, CRITIC_RATE = 6e-4, 1e-3
LOSS = LossWeights(gradients=0.25, squares=0.5, structure=0.3, features=0.7)
DRAWN_LOSS = LossWeights(features=0.5, structure=0.5)
MATCHING = 0.5
ADVERSARIAL = 0.4  # gradient of the verdict at the last toRGB, as a share of that of all else (2012.09841, Eq. 7)
MOST_ADVERSARIAL = 2.0
MEASURED_EVERY = 10  # steps between two measurements of that share
EMPHASIS = 6.0
R1_WEIGHT, R1_EVERY = 1.0, 8
START = 0.03  # share of the budget in which the discriminators learn alone
WARM_STEPS = 30


class Critic:
    """A patch discriminator with its optimiser, and how much its verdict counts for the generator."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.net = PatchDiscriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=CRITIC_RATE, betas=(0.5, 0.99))
        self.device, self.dtype = device, dtype
        self.share = 0.0
        self.real: list[Tensor] = []

    def look(self, pictures: Tensor) -> list[Tensor]:
        """The net's maps in mixed precision."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            maps: list[Tensor] = self.net(pictures)
        return maps

    def learn(self, real: Tensor, fake: Tensor, step: int) -> float:
        """One step of telling photographs from pictures; the loss. The maps of `real` stay for `judge`."""
        self.real, on_fake = self.look(real), self.look(fake.detach())
        loss = F.softplus(on_fake[-1]).mean() + F.softplus(-self.real[-1]).mean()
        verdicts = float(loss.detach())
        if step % R1_EVERY == 0:
            loss = loss + R1_EVERY * R1_WEIGHT * gradient_penalty(self.net, real)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.real = [m.detach() for m in self.real]
        return verdicts

    def judge(self, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(feature matching with the photographs last learnt from, how much the pictures look made)."""
        self.net.requires_grad_(False)
        maps = self.look(fake)
        self.net.requires_grad_(True)
        return matching(maps[:-1], self.real[:-1]), F.softplus(-maps[-1]).mean()

    def measure(self, other: Tensor, verdict: Tensor, at: nn.Parameter) -> None:
        """Find the share that makes the verdict's gradient at a parameter ADVERSARIAL of that of the other terms."""
        (a,) = torch.autograd.grad(other, at, retain_graph=True)
        (b,) = torch.autograd.grad(verdict, at, retain_graph=True)
        found = float(a.norm() / b.norm().clamp_min(1e-8)) * ADVERSARIAL
        found = min(found, MOST_ADVERSARIAL)
        self.share = found if not self.share else 0.8 * self.share + 0.2 * found

    def keep(self, saved: Saved, name: str) -> None:
        """Into a checkpoint."""
        saved.put(name, self.net.state_dict())
        saved.put_optimizer(f"{name} optimizer", self.optimizer)
        saved.put(f"{name} share", {"value": torch.tensor(self.share)})

    def restore(self, saved: Saved, name: str) -> None:
        """Out of a checkpoint."""
        self.net.load_state_dict(saved.get(name))
        saved.get_optimizer(f"{name} optimizer", self.optimizer)
        self.share = float(saved.get(f"{name} share")["value"])


class LargeSquares:
    """Those of the photographs that have a square of 512², and their pixels. rows [m]: which of the photographs."""

    SIDE = 512

    def __init__(self, photos: Photographs) -> None:
        self.photos = photos
        sizes = [square.size >= self.SIDE for square in photos.squares]
        self.rows = torch.tensor([row for row, large in enumerate(sizes) if large], dtype=torch.int64)

    def pictures(self, rows: Tensor) -> Tensor:
        """Rows [n] of 0..2 count - 1 -> float32 [n, 3, 512, 512] in [-1, 1], those of the second half mirrored."""
        count = len(self.photos)
        names = [self.photos.squares[int(row) % count].name for row in rows]
        stack = torch.from_numpy(np.stack([read_square(self.photos.folder, name, self.SIDE) for name in names]))
        return mirrored(stack.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0), rows >= count)


class SharpenTrainer(PhotoTrainer):
    """The generator from FIRST² on, two critics, and one step of them all."""

    name = "sharpen"

    def __init__(self, options: PhotoOptions) -> None:
        super().__init__(options)
        self.pack = open_pack(options.start)
        self.photos = Photographs(options.photos, held_out=False)
        self.large = LargeSquares(self.photos)
        self.before = DifferentiableRenderer(self.pack, options.device, options.dtype)
        self.renderer = renderer_with(self.before, widened(self.before.generator, {}))
        self.generator = self.renderer.generator
        self.generator.train_rgb_per_pixel()
        self.start = Beginning(self.photos, self.pack, self.before, options)
        self.weights = PixelWeights(self.photos, self.pack, options.work)
        self.loss = ReconstructionLoss(self.pack, options.device, LOSS)
        self.drawn = ReconstructionLoss(self.pack, options.device, DRAWN_LOSS)
        self.critics = {size: Critic(options.device, options.dtype) for size in (SIDE, LargeSquares.SIDE)}
        self.optimizer = torch.optim.Adam(tuned(self.generator), lr=RATE, betas=(0.5, 0.99))
        self.average = Average(self.generator)
        self.resume()
        self.random = torch.Generator().manual_seed(1 + self.step)
        self.batches = iter(shuffled(len(self.start.codes), BATCH, self.random))
        self.large_batches = self._of_large()

    def _of_large(self) -> Iterator[Tensor]:
        """Rows of photographs with a square of 512², mirrored ones where there are latents of them."""
        rows = self.large.rows
        if len(self.start.codes) > len(self.photos):
            rows = torch.cat([rows, rows + len(self.photos)])
        for few in shuffled(len(rows), LARGE_BATCH, self.random):
            yield rows[few]

    def styles(self, rows: Tensor) -> list[Tensor]:
        """StyleSpace of photographs (rows [n]), one [n, C_l] per layer."""
        anchor = self.renderer.anchor(self.start.latents[rows].float())
        return self.renderer.styles(anchor, self.start.codes[rows])

    def maps(self, styles: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Feature maps and picture at 256²; gradients reach the tuned layers alone."""
        with torch.no_grad():
            x, image = self.generator.maps_at(FIRST // 2, styles, self.renderer.dtype)
        for size in self.sizes():
            x, image = self.generator.grow(size, x, image, styles, noise=False)
        return x, image

    def sizes(self) -> list[int]:
        """The resolutions that are tuned whole."""
        return [size for size in self.generator.resolutions if FIRST <= size <= SIDE]

    def photo_terms(self) -> tuple[Tensor, dict[str, float]]:
        """Terms of some photographs at 256²."""
        rows = next(self.batches)
        with torch.no_grad():
            styles = self.styles(rows)
        _, output = self.maps(styles)
        valid = self.photos.validity(rows)
        target = filled_outside(self.photos.pictures(rows), valid, output)
        critic = self.critics[SIDE]
        fake = torch.lerp(output.detach(), output, valid).clamp(-1.2, 1.2)
        verdicts = critic.learn(target.contiguous(), fake, self.step)
        if self.fraction <= START:
            return output.new_zeros(()), {"photo": 0.0, "critic": verdicts}
        likeness = self.loss(halved(output, SIDE // 2), halved(target, SIDE // 2), self.pixel_weights(rows, valid))
        match, verdict = critic.judge(fake)
        other = likeness + MATCHING * match
        if self.step % MEASURED_EVERY == 0 or not critic.share:
            critic.measure(other, verdict, self.rgb(SIDE))
        return other + critic.share * verdict, {"photo": float(likeness.detach()), "critic": verdicts}

    def pixel_weights(self, rows: Tensor, valid: Tensor) -> Tensor:
        """[n, 1, 128, 128]: how much pixels count, 0 where the photograph has none."""
        return self.weights(rows, SIDE // 2) * halved(valid, SIDE // 2)

    def drawn_terms(self) -> Tensor:
        """How far drawn people with random codes are from the old generator's pictures of them, at 256²."""
        with torch.no_grad():
            w = random_people(self.before.generator, DRAWN, self.random)
            codes = CODE_SPREAD * torch.randn(DRAWN, self.start.codes.shape[1], generator=self.random)
            anchor = self.before.anchor(w[:, None].expand(-1, ROWS, -1))
            wanted = self.before.render(anchor, codes, SIDE, reference=False)
            styles = self.before.styles(anchor, codes)
        _, output = self.maps(styles)
        return self.drawn(output, wanted, wanted.new_ones(DRAWN, 1, SIDE, SIDE))

    def large_terms(self) -> tuple[Tensor, dict[str, float]]:
        """Terms of windows at 512² and 1024²; the layers up to 256² stay."""
        rows = next(self.large_batches)
        with torch.no_grad():
            styles = self.styles(rows)
            x, image = self.generator.maps_at(SIDE, styles, self.renderer.dtype)
        at = [int(v) for v in torch.randint(0, SIDE - WINDOW + 1, (2,), generator=self.random)]
        cut = (..., slice(at[0], at[0] + WINDOW), slice(at[1], at[1] + WINDOW))
        window = image[cut]
        double = (..., slice(2 * at[0], 2 * (at[0] + WINDOW)), slice(2 * at[1], 2 * (at[1] + WINDOW)))
        real = self.large.pictures(rows)[double]
        x, larger = self.generator.grow(LargeSquares.SIDE, x[cut], window, styles, noise=False)
        inner = (..., slice(2 * EDGE, -2 * EDGE), slice(2 * EDGE, -2 * EDGE))
        target, fake = fit_colours(window, real)[inner].contiguous(), larger[inner]
        critic = self.critics[LargeSquares.SIDE]
        shown = emphasised(fake)
        verdicts = critic.learn(emphasised(target), shown, self.step)
        if self.fraction <= START:
            return fake.new_zeros(()), {"critic512": verdicts}
        match, verdict = critic.judge(shown)
        near = (halved(fake, fake.shape[-1] // 2) - halved(target, fake.shape[-1] // 2)).abs().mean()
        other = near + 0.3 * (fake - target).abs().mean() + MATCHING * match
        if self.step % MEASURED_EVERY <= 1 or not critic.share:
            critic.measure(other, verdict, self.rgb(LargeSquares.SIDE))
        total = other + critic.share * verdict
        if self.generator.resolution > LargeSquares.SIDE:
            _, largest = self.generator.grow(2 * LargeSquares.SIDE, x.detach(), larger.detach(), styles, noise=False)
            wanted = F.interpolate(larger.detach(), scale_factor=2, mode="bicubic", align_corners=False)
            edge = (..., slice(4 * EDGE, -4 * EDGE), slice(4 * EDGE, -4 * EDGE))
            total = total + (largest - wanted)[edge].abs().mean()
        return total, {"critic512": verdicts}

    def rgb(self, size: int) -> nn.Parameter:
        """The filter of toRGB at a resolution."""
        return blocks(self.generator)[self.generator.resolutions.index(size)].to_rgb.weight

    def one_step(self) -> dict[str, float]:
        """Move the generator and both critics."""
        total, figures = self.photo_terms()
        large, more = self.large_terms() if len(self.large.rows) >= LARGE_BATCH else (total.new_zeros(()), {})
        total = total + large
        learning = self.fraction > START
        if learning and self.step % 2 == 0:
            total = total + self.drawn_terms()
        if learning:
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * self.share(WARM_STEPS)
            self.optimizer.zero_grad()
            torch.autograd.backward(total)
            self.optimizer.step()
            self.average.update(self.generator, self.step)
        return {**figures, **more}

    def keep(self, saved: Saved) -> None:
        """The generator, its average, the critics and the optimisers."""
        saved.put("generator", self.generator.state_dict())
        saved.put("average", self.average.state)
        saved.put_optimizer("optimizer", self.optimizer)
        for size, critic in self.critics.items():
            critic.keep(saved, f"critic{size}")

    def restore(self, saved: Saved) -> None:
        """All of that."""
        self.generator.load_state_dict(saved.get("generator"))
        self.average.state = saved.get("average")
        saved.get_optimizer("optimizer", self.optimizer)
        for size, critic in self.critics.items():
            critic.restore(saved, f"critic{size}")


def emphasised(x: Tensor) -> Tensor:
    """Pictures [n, 3, S, S] with their finest detail EMPHASIS times as strong: at 512² it is faint beside the rest."""
    low = without_detail(x)
    return low + EMPHASIS * (x - low)


def tuned(generator: Generator) -> list[nn.Parameter]:
    """Weights and biases from FIRST² on; affine maps from W+ and all else are frozen."""
    generator.requires_grad_(False)
    found = [
        parameter
        for size, block in zip(generator.resolutions, blocks(generator), strict=True)
        for name, parameter in block.named_parameters()
        if size >= FIRST and "affine" not in name and "noise" not in name
    ]
    for parameter in found:
        parameter.requires_grad_(True)
    return found


def train(options: PhotoOptions) -> dict[str, float]:
    """Train within the budget; writes `work/sharpen.png` and returns the figures of held-out photographs."""
    trainer = SharpenTrainer(options)
    trainer.train()
    return evaluate(trainer)


def evaluate(trainer: SharpenTrainer) -> dict[str, float]:
    """Held-out photographs, fitted before and after: the figures of `photo_fit`, and detail and features of both."""
    trainer.generator.load_state_dict(trainer.average.state)
    photos = Photographs(trainer.options.photos, held_out=True, most=HELD_OUT_FITTED)
    found = fit(photos, trainer.pack, trainer.renderer, FIT_STEPS)
    before = fit(photos, trainer.pack, trainer.before, FIT_STEPS)
    save_sheet([found.targets[:8], before.outputs[:8], found.outputs[:8]], trainer.options.work / "sharpen.png")
    distance = FeatureDistance(trainer.pack.parser("cpu")) if trainer.pack.has("parser") else None
    figures = dict(found.figures)
    for name, one in (("before", before), ("after", found)):
        figures[f"detail_{name}"] = detail_of(one)
        if distance is not None:
            figures[f"features_{name}"] = float(distance(one.outputs, one.targets).mean())
    return figures


def detail_of(fitted: Fitted) -> float:
    """Energy of the finest detail at 256² in units of the photographs'."""
    return float(detail(fitted.outputs).sum() / detail(fitted.targets).sum())
