"""Train a pack's generator on photographs of people, starting from what it learnt from drawn heads.

A photograph has no known latent, pose or α: each has a free W+ and free codes, which begin where the pack's own
encoder sees them and move along with the generator (GLO, 1707.05776). What W+, pose and α mean is held by the old
generator: the mapping, the flow and the expression net stay, and every second step drawn people with random codes must
look as before.

    photograph ─► encoder, once ─► W+ and codes + what was learnt ─► generator ─► like the photograph, where it has any,
                                                                                  and every second step the same person
    random w, random codes ─► generator ─► like the old generator's picture
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..encoding.differentiable import DifferentiableRenderer, RowAdam, shuffled
from ..encoding.losses import LossWeights, ReconstructionLoss
from ..encoding.personalization.locality import latent_deviation, random_people
from ..encoding.personalization.optimizers import GeneratorOptimizer
from ..errors import StylecodecError
from ..files import atomic_write
from ..packs.store import ModelPack, open_pack
from .checkpoint import Saved, load_state, save_state
from .loop import Average
from .photo_data import Photographs, PixelWeights, cached, filled_outside, halved, identity_of_photographs
from .photo_fit import fit
from .photo_loop import PhotoOptions, PhotoTrainer
from .sheets import save_sheet
from .widen import widened

RATE, FILTER_RATE = 1e-3, 6e-3  # of Adam and of Muon
LATENT_RATE, CODE_RATE = 0.08, 0.05  # of W+ in units of its deviation over people, and of codes in theirs
LATENT_PRIOR, CODE_PRIOR = 0.01, 0.02
LOSS = LossWeights(features=0.5, structure=0.5)
IDENTITY = 2.0  # weight of L_ID, in every second step, in which no people are drawn
CODE_SPREAD = 0.7  # of the random codes of drawn people, in units
DRAWN = 4  # people drawn for every second step
STAGES = ((0.0, 128, 8), (0.85, 256, 4))  # from this share of the budget: side, photographs
WARM_STEPS = 100
FIT_STEPS = 120
HELD_OUT_FITTED = 24
ROWS, W_DIM = 18, 512
LATENTS = "latents.safetensors"  # in the work folder: what the photographs were fitted by


class Beginning:
    """Where the photographs' W+ float16 [m, 18, 512] and codes in units [m, 34] begin: as an earlier training left them
    in the work folder, by name, else where the pack's encoder sees them. Computed once, kept in the work folder."""

    def __init__(
        self, photos: Photographs, pack: ModelPack, renderer: DifferentiableRenderer, options: PhotoOptions
    ) -> None:
        self.remembered = 0  # of them an earlier training knew
        rows = torch.arange(len(photos) * (2 if options.mirror else 1))
        path = options.work / f"beginning_{photos.digest}_{len(rows)}.npz"
        known = cached(path, ("latents", "codes"))
        if known is None:
            known = self._look(photos, pack, renderer, rows)
            self.remembered = recall(options.work / LATENTS, photos, known)
            with atomic_write(path) as file:
                np.savez(file, latents=known[0].numpy(), codes=known[1].numpy())
        self.latents, self.codes = known

    @staticmethod
    @torch.no_grad()
    def _look(photos: Photographs, pack: ModelPack, renderer: DifferentiableRenderer, rows: Tensor) -> list[Tensor]:
        encoder = pack.feedforward(renderer.device)
        latents, codes = [], []
        for few in torch.split(rows, 16):
            code = encoder(photos.pictures(few).to(renderer.device))
            latents.append(code.w_id.half().cpu())
            codes.append(renderer.units.bound_(renderer.units.units(code.pose, code.alpha)).cpu())
        return [torch.cat(latents), torch.cat(codes)]


def recall(path: Path, photos: Photographs, beginning: list[Tensor]) -> int:
    """Put into W+ and codes of photographs [m] what an earlier training fitted to those of the same name; how many.

    Of a photograph that it knew without its mirror image only the first half [n] is taken.
    """
    if not path.is_file():
        return 0
    latents, codes, names = fitted_latents(path)
    known = {bytes(name.tolist()): row for row, name in enumerate(names)}
    pairs = [(row, known[key]) for row, key in enumerate(map(bytes, photos.names.tolist())) if key in known]
    for shift, other in ((0, 0), (len(photos), len(names))):
        if pairs and shift < len(beginning[0]) and other < len(latents):
            mine, theirs = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
            beginning[0][mine + shift], beginning[1][mine + shift] = latents[theirs + other], codes[theirs + other]
    return len(pairs)


class GeneratorTrainer(PhotoTrainer):
    """The generator, the photographs' latents and codes, and one step of them all."""

    name = "generator"

    def __init__(self, options: PhotoOptions) -> None:
        super().__init__(options)
        self.pack = open_pack(options.start)
        self.photos = Photographs(options.photos, held_out=False)
        self.before = DifferentiableRenderer(self.pack, options.device, options.dtype)
        self.renderer = renderer_with(self.before, widened(self.before.generator, options.widths))
        self.generator = self.renderer.generator
        self.generator.train_rgb_per_pixel()
        self.start = Beginning(self.photos, self.pack, self.before, options)
        self.weights = PixelWeights(self.photos, self.pack, options.work)
        self.identity = identity_of_photographs(self.photos, options.work, options.device)
        self.deviation = latent_deviation(self.before)
        self.loss = ReconstructionLoss(self.pack, options.device, LOSS)
        self.latents = RowAdam(torch.zeros(len(self.start.codes), ROWS * W_DIM))
        self.codes = RowAdam(torch.zeros_like(self.start.codes))
        self.optimizer = GeneratorOptimizer(trained(self.generator), RATE, FILTER_RATE)
        self.average = Average(self.generator)
        self.resume()
        self.random = torch.Generator().manual_seed(1 + self.step)
        self._batches = {n: iter(shuffled(len(self.start.codes), n, self.random)) for _, _, n in STAGES}
        self._drawn = self._apart = 0.0

    def photo_loss(self, rows: Tensor, side: int, latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """How far the renderings of photographs (rows [n]) are from them, where they have pixels; the renderings."""
        anchor = self.renderer.anchor(self.start.latents[rows].float() + latents.view(-1, ROWS, W_DIM) * self.deviation)
        output = self.renderer.render(anchor, self.start.codes[rows] + codes, side)
        valid = halved(self.photos.validity(rows), side)
        target = filled_outside(halved(self.photos.pictures(rows), side), valid, output)
        return self.loss(output, target, self.weights(rows, side) * valid), output

    def drawn_loss(self, side: int) -> Tensor:
        """How far drawn people with random codes are from the old generator's pictures of them."""
        with torch.no_grad():
            w = random_people(self.before.generator, DRAWN, self.random)
            codes = CODE_SPREAD * torch.randn(DRAWN, self.start.codes.shape[1], generator=self.random)
            anchor = self.before.anchor(w[:, None].expand(-1, ROWS, -1))
            wanted = self.before.render(anchor, codes, side, reference=False)
        return self.loss(self.renderer.render(anchor, codes, side), wanted, wanted.new_ones(DRAWN, 1, side, side))

    def one_step(self) -> dict[str, float]:
        """Move the generator and some photographs' latents and codes."""
        side, count = next((side, n) for start, side, n in reversed(STAGES) if self.fraction >= start)
        rows, share = next(self._batches[count]), self.share(WARM_STEPS)
        latents, codes = self.latents.take(rows), self.codes.take(rows)
        photo, output = self.photo_loss(rows, side, latents, codes)
        total = photo + LATENT_PRIOR * latents.square().mean() + CODE_PRIOR * codes.square().mean()
        if self.step % 2 == 0:
            drawn = self.drawn_loss(side)
            total = total + drawn
            self._drawn = float(drawn.detach())
        else:
            apart = self.identity(output, rows)
            total = total + IDENTITY * apart
            self._apart = float(apart.detach())
        self.optimizer.clear()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(share)
        assert latents.grad is not None
        assert codes.grad is not None
        self.latents.step(rows, latents.grad * count, LATENT_RATE * share)
        self.codes.step(rows, codes.grad * count, CODE_RATE * share)
        self.average.update(self.generator, self.step)
        return {"photo": float(photo.detach()), "drawn": self._drawn, "identity": self._apart}

    def keep(self, saved: Saved) -> None:
        """The generator, its average, the optimiser, latents and codes."""
        saved.put("generator", self.generator.state_dict())
        saved.put("average", self.average.state)
        saved.put("optimizer", self.optimizer.state())
        saved.put("latents", self.latents.state())
        saved.put("codes", self.codes.state())
        save_state(self.options.work / LATENTS, self.fitted())

    def restore(self, saved: Saved) -> None:
        """All of that."""
        self.generator.load_state_dict(saved.get("generator"))
        self.average.state = saved.get("average")
        self.optimizer.load(saved.get("optimizer"))
        self.latents.load(saved.get("latents"))
        self.codes.load(saved.get("codes"))

    def fitted(self) -> Saved:
        """W+ float16 [m, 18, 512] and codes [m, 34] in units of the photographs, as they are now."""
        latents = self.start.latents.float() + self.latents.values.view(-1, ROWS, W_DIM) * self.deviation
        saved = Saved({"step": self.step})
        codes = self.start.codes + self.codes.values
        saved.put("photographs", {"latents": latents.half(), "codes": codes, "names": self.photos.names})
        return saved


def fitted_latents(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """W+ float16 [m, 18, 512], codes [m, 34] and names uint8 [n, 16] of a generator's training, m being n or 2 n.

    StylecodecError where there are none.
    """
    state = load_state(path).get("photographs")
    if state.keys() != {"latents", "codes", "names"} or state["latents"].shape[1:] != (ROWS, W_DIM):
        raise StylecodecError(f"{path} does not hold the latents of photographs")
    return state["latents"], state["codes"], state["names"]


def renderer_with(renderer: DifferentiableRenderer, generator: nn.Module) -> DifferentiableRenderer:
    """The same renderer with another generator, the rest shared."""
    other = copy.copy(renderer)
    other.latents = copy.copy(renderer.latents)
    other.generator = other.latents.generator = generator  # type: ignore[assignment]
    return other


def trained(generator: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained: all but the mapping and the noise; the rest is frozen."""
    found = {}
    for name, parameter in generator.named_parameters():
        moves = not name.startswith("mapping.") and "noise" not in name
        parameter.requires_grad_(moves)
        if moves:
            found[name] = parameter
    return found


def train(options: PhotoOptions) -> dict[str, float]:
    """Train within the budget; writes `work/generator.png` and returns the figures of held-out photographs."""
    trainer = GeneratorTrainer(options)
    trainer.train()
    return evaluate(trainer)


def evaluate(trainer: GeneratorTrainer) -> dict[str, float]:
    """Held-out photographs, fitted with the averaged weights: PSNR at 128², of the head, SSIM, identity distance."""
    trainer.generator.load_state_dict(trainer.average.state)
    photos = Photographs(trainer.options.photos, held_out=True, most=HELD_OUT_FITTED)
    found = fit(photos, trainer.pack, trainer.renderer, FIT_STEPS)
    save_sheet([found.targets[:12], found.outputs[:12]], trainer.options.work / "generator.png")
    return found.figures
