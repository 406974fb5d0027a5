"""Train a pack's feed-forward encoder on photographs, through the pack's generator, which stays as it is.

    photographs ─► light changed ─► damaged, moved ─► encoder ─► generator ─► like the photograph:
                                                                              pixels, parser features, face mesh,
                                                                              the same person
    latents of photographs and of drawn people, other codes ─► generator ─► damaged ─► encoder ─► these codes again

Of photographs nobody knows the codes; what the face mesh measures of lids, lips and brows must be the same in the
rendering. Of what the generator itself drew all codes are known, and with latents that photographs were fitted by it
looks nearly like a photograph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..encoding.differentiable import DifferentiableRenderer, shuffled
from ..encoding.losses import LossWeights, ReconstructionLoss
from ..encoding.personalization.locality import latent_deviation, random_people
from ..metrics.landmark_features import NAMES, features_of
from ..nets.feedforward import HybridCode, HybridEncoder
from ..packs.store import ModelPack, embedded_pack, open_pack
from . import augment
from .checkpoint import Saved
from .datasets import scaled_expression
from .heads.tracks import random_expression, random_gaze
from .loop import Average
from .photo_data import Photographs, PixelWeights, filled_outside, halved, identity_of_photographs
from .photo_fit import fit
from .photo_generator import LATENTS, fitted_latents
from .photo_loop import PhotoOptions, PhotoTrainer
from .sheets import save_sheet

RATE, PERSON_RATE = 2e-4, 6e-4  # of Adam; the heads for W+ have the longer way to go
SIDE = 128  # of renderings that are compared with photographs
PHOTOS, PLAIN, WILD = 4, 4, 4  # per step: photographs; generated pictures as they are; with another look
NEW, POOL = 2, 1500  # of the generated ones are drawn anew; the others come from so many that were drawn last
LOSS = LossWeights(features=0.5, structure=0.5)
LANDMARKS, IDENTITY, PRIOR, KNOWN, LATENT = 1.0, 1.0, 0.02, 2.0, 0.5  # what the terms count
LANDMARKS_MOST = 4.0  # standard deviations beyond which a wrong feature pulls no more
LIGHT = 0.15  # standard deviation of the gain of a photograph, which the rendering is to show as well
GAZE_WEIGHT = 0.3  # irises of renderings are soft
CODE_SPREAD = (1.2, 0.9)  # of random pose and α, in units
OVERSHOT = 1.05  # by which the angles may leave the pack's range before they are bounded, so that gradients come back
NEAR = 0.4  # of that, around the codes of photographs
EXPRESSIVE = 0.5  # share of generated pictures whose α is that of a random expression
HABIT = 0.3  # of a photograph's α, on top of it: people are not quite at rest where drawn heads are
LIMIT = 5.0  # norm of gradients
WARM_STEPS = 50
HELD_OUT_SEEN = 71
ROWS = 18


class Generated(NamedTuple):
    """Pictures [n, 3, 256, 256] with the W+ [n, 18, 512] and codes [n, 34] in units that they were drawn by."""

    pictures: Tensor
    latents: Tensor
    codes: Tensor


class EncoderTrainer(PhotoTrainer):
    """The encoder and one step of it."""

    name = "encoder"

    def __init__(self, options: PhotoOptions) -> None:
        super().__init__(options)
        self.pack = open_pack(options.start)
        self.photos = Photographs(options.photos, held_out=False)
        self.renderer = DifferentiableRenderer(self.pack, options.device, options.dtype)
        self.renderer.generator.requires_grad_(False)
        self.renderer.generator.train_rgb_per_pixel()
        self.deviation = latent_deviation(self.renderer)
        # Batch norm stays as it is: batches are small and half of them generated.
        self.encoder = self.pack.feedforward(options.device).requires_grad_(True).eval()
        self.latents, self.codes = self._known()
        self.loss = ReconstructionLoss(self.pack, options.device, LOSS)
        self.weights = PixelWeights(self.photos, self.pack, options.work)
        self.identity = identity_of_photographs(self.photos, options.work, options.device)
        self.expressions = Expressions(self.pack) if self.pack.has("expression") else None
        self.pool: list[Generated] = []
        self.mesh = embedded_pack().face_mesh(options.device)
        self.landmarks = photo_landmarks(self.photos.points)
        self.landmark_deviation = self.landmarks.std(0).clamp_min(1e-3)
        self.landmark_weight = torch.ones(len(NAMES))
        self.landmark_weight[[NAMES.index("gaze_across"), NAMES.index("gaze_down")]] = GAZE_WEIGHT
        self.optimizer = optimizer_of(self.encoder)
        self.average = Average(self.encoder)
        self.resume()
        self.random = torch.Generator().manual_seed(2 + self.step)
        self.rng = np.random.default_rng([3, self.step])
        self._batches = iter(shuffled(len(self.landmarks), PHOTOS, self.random))

    def _known(self) -> tuple[Tensor, Tensor]:
        """W+ [n, 18, 512] and codes [n, 34] of photographs: as the generator's training fitted them, where that is at
        hand, else as the encoder sees them."""
        path = self.options.work / LATENTS
        if path.is_file():
            return fitted_latents(path)[:2]
        with torch.no_grad():
            code = [self.encoder(self.photos.pictures(few)) for few in torch.split(torch.arange(len(self.photos)), 16)]
        joined = HybridCode(*(torch.cat(part) for part in zip(*code, strict=True)))
        return joined.w_id, self.renderer.units.units(joined.pose, joined.alpha)

    @torch.no_grad()
    def generated(self, count: int) -> Generated:
        """Drawn people, photographs' latents and mixtures of two, with codes of other photographs or random ones."""
        one, two = (torch.randint(len(self.latents), (count,), generator=self.random) for _ in range(2))
        share = torch.rand(count, 1, 1, generator=self.random)
        kind = torch.rand(count, generator=self.random)
        photographic = self.latents[one].float()
        mixed = torch.lerp(photographic, self.latents[two].float(), share)
        drawn = random_people(self.renderer.generator, count, self.random)[:, None].expand(-1, ROWS, -1)
        latents = torch.where((kind < 0.75)[:, None, None], mixed, drawn)
        latents = torch.where((kind < 0.4)[:, None, None], photographic, latents)
        free = torch.randn(count, self.codes.shape[1], generator=self.random)
        free[:, :2] *= CODE_SPREAD[0]
        free[:, 2:] *= CODE_SPREAD[1]
        codes = torch.where(torch.rand(count, 1, generator=self.random) < 0.5, self.codes[two] + NEAR * free, free)
        if self.expressions is not None:
            made = self.expressions(count, self.rng) / self.renderer.units.scale[2:]
            posed = torch.cat([free[:, :2], made + HABIT * self.codes[two][:, 2:]], dim=1)
            codes = torch.where(torch.rand(count, 1, generator=self.random) < EXPRESSIVE, posed, codes)
        codes = self.renderer.units.bound_(codes)
        pictures = self.renderer.render(self.renderer.anchor(latents), codes, 256, reference=False).clamp(-1, 1)
        return Generated(pictures, latents, codes)

    def drawn_again(self) -> Generated:
        """Generated pictures for one step: a few new ones, the rest of those before."""
        new = self.generated(NEW if self.pool else PLAIN + WILD)
        old = self.rng.choice(len(self.pool), min(PLAIN + WILD - len(new.codes), len(self.pool)), replace=False)
        parts = [new, *(self.pool[k] for k in old)]
        self.pool += [Generated(*(value[k : k + 1] for value in new)) for k in range(len(new.codes))]
        self.pool = self.pool[-POOL:]
        joined = Generated(*(torch.cat(values) for values in zip(*parts, strict=True)))
        order = torch.randperm(len(joined.codes), generator=self.random)
        return Generated(joined.pictures[order], joined.latents[order], joined.codes[order])

    def damaged(self, x: Tensor) -> Tensor:
        """What cameras, codecs, hands and alignment do to pictures."""
        x = augment.covered(x, self.rng)
        moved = augment.random_similarity(len(x), shift=0.03, scale=0.04, degrees=2.5, device=x.device)
        return augment.compressed(augment.degrade(augment.resample(x, moved), self.rng), self.rng)

    def bounded(self, code: HybridCode) -> Tensor:
        """Codes [n, 34] in units."""
        card = self.pack.card.pose
        low = torch.tensor([card.yaw[0], card.pitch[0]]) * OVERSHOT
        high = torch.tensor([card.yaw[1], card.pitch[1]]) * OVERSHOT
        return self.renderer.units.units(code.pose.clamp(low, high), code.alpha)

    def photo_loss(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures, landmark features, identity, and what codes cost, of photographs (rows [n])."""
        plain = self.photos.pictures(rows)
        valid = self.photos.validity(rows)
        lit = augment.light_from_the_side(plain) if self.rng.random() < 0.5 else plain
        lit = ((lit + 1) * (1 + LIGHT * torch.randn(len(lit), 1, 1, 1)) - 1).clamp(-1, 1)
        code = self.encoder(self.damaged(lit))
        codes = self.bounded(code)
        output = self.renderer.render(self.renderer.anchor(code.w_id), codes, SIDE)
        small, near = halved(lit, SIDE), halved(valid, SIDE)
        alike = self.loss(output, filled_outside(small, near, output), self.weights(rows, SIDE) * near)
        seen = features_of(self.mesh(F.interpolate(output, size=256, mode="bilinear").clamp(-1, 1)))
        wrong: Tensor = (seen - self.landmarks[rows]) / self.landmark_deviation
        wrong = wrong.clamp(-LANDMARKS_MOST, LANDMARKS_MOST).abs()
        return alike, (wrong * self.landmark_weight).mean(), self.identity(output, rows), codes.square().mean()

    def known_loss(self) -> Tensor:
        """Codes and latents of generated pictures; of those with another look the codes alone."""
        made = self.drawn_again()
        wild = augment.blotches(augment.light_from_the_side(augment.jitter_colour(made.pictures[PLAIN:])), self.rng)
        code = self.encoder(self.damaged(torch.cat([made.pictures[:PLAIN], wild.clamp(-1, 1)])))
        codes = self.renderer.units.units(code.pose, code.alpha)
        latents = ((code.w_id[:PLAIN] - made.latents[:PLAIN]) / self.deviation).abs().mean()
        known: Tensor = (codes - made.codes).abs().mean() + LATENT * latents
        return known

    def one_step(self) -> dict[str, float]:
        """Move the encoder."""
        alike, landmarks, apart, size = self.photo_loss(next(self._batches))
        known = self.known_loss()
        total = alike + LANDMARKS * landmarks + IDENTITY * apart + PRIOR * size + KNOWN * known
        for group, rate in zip(self.optimizer.param_groups, (RATE, PERSON_RATE), strict=True):
            group["lr"] = rate * self.share(WARM_STEPS)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), LIMIT)
        self.optimizer.step()
        self.average.update(self.encoder, self.step)
        terms = {"photo": alike, "landmarks": landmarks, "identity": apart, "known": known}
        return {name: float(value.detach()) for name, value in terms.items()}

    def keep(self, saved: Saved) -> None:
        """The encoder, its average, the optimiser."""
        saved.put("encoder", self.encoder.state_dict())
        saved.put("average", self.average.state)
        saved.put_optimizer("optimizer", self.optimizer)

    def restore(self, saved: Saved) -> None:
        """All of that."""
        self.encoder.load_state_dict(saved.get("encoder"))
        self.average.state = saved.get("average")
        saved.get_optimizer("optimizer", self.optimizer)


class Expressions:
    """α of random expressions and gazes, as the drawn heads have them."""

    def __init__(self, pack: ModelPack) -> None:
        self.net = pack.network("expression", "cpu")
        self.names = [str(name) for name in pack.card.training["expression_inputs"]][:-2]  # the gaze is the last two

    @torch.no_grad()
    def __call__(self, count: int, rng: np.random.Generator) -> Tensor:
        """[count, 32] in raw style units."""
        drawn = [np.r_[random_expression(rng, self.names), random_gaze(rng)] for _ in range(count)]
        found: Tensor = self.net(torch.from_numpy(scaled_expression(np.stack(drawn).astype(np.float32))))
        return found


def optimizer_of(encoder: HybridEncoder) -> torch.optim.AdamW:
    """Two groups: the shared layers with pose and α, and what W+ is read from."""
    person = [p for part in (encoder.person, encoder.w0_head, encoder.delta_head) for p in part.parameters()]
    known = {id(p) for p in person}
    rest = [p for p in encoder.parameters() if id(p) not in known]
    return torch.optim.AdamW([{"params": rest}, {"params": person}], RATE, (0.9, 0.99), weight_decay=1e-4)


def other_side(name: str) -> str:
    """What a landmark feature is called in a mirror."""
    side, _, rest = name.partition("_")
    return {"left": "right_", "right": "left_"}.get(side, f"{side}_") + rest


def photo_landmarks(points: Tensor) -> Tensor:
    """Points [n, 478, 2] -> landmark features [2 n, 17] of the photographs, then of the same in a mirror."""
    features = features_of(points)
    order = [NAMES.index(other_side(name)) for name in NAMES]
    signs = torch.tensor([-1.0 if "across" in name else 1.0 for name in NAMES])
    return torch.cat([features, features[:, order] * signs])


def evaluate(trainer: EncoderTrainer) -> dict[str, float]:
    """Held-out photographs, feed-forward alone, with the averaged weights: figures of `photo_fit.compared`; a sheet."""
    trainer.encoder.load_state_dict(trainer.average.state)
    photos = Photographs(trainer.options.photos, held_out=True, most=HELD_OUT_SEEN)
    found = fit(photos, trainer.pack, trainer.renderer, 0)
    save_sheet([found.targets[:12], found.outputs[:12]], trainer.options.work / "encoder.png")
    return found.figures


def train(options: PhotoOptions) -> dict[str, float]:
    """Train within the budget; writes `work/encoder.png` and returns the figures of held-out photographs."""
    trainer = EncoderTrainer(options)
    trainer.train()
    return evaluate(trainer)
