"""Personalisation: the generator is fine-tuned to a clip, its codes with it (pivotal tuning, 2106.05744; paper 4.1).

    feed-forward codes, identity ─► codes  pose, α and the latent alone; the generator is the pack's
                                  ─► weights  synthesis network, latent and codes together; pivots held, other people
                                  │           and the upper layers kept as they were
                                  ─► delta  what changed, rounded; it is what the receiver will have
                                  └► settle  codes alone, on the rounded generator and the rounded latent

Each stage has its share of a budget in steps or minutes. With a checkpoint the work can be taken up where it stopped,
and goes on when the budget has grown. On a CPU several worker processes can share the first two stages: each has the
codes of every so manieth frame, all have the same generator and latent.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import distributed
from ...bitstream.delta import GeneratorDelta
from ...decoding.latents import Anchor
from ...decoding.personal import TunedPack, apply_delta, differences, tunable
from ...decoding.regions import Regions
from ...decoding.render import pick_dtype
from ...metrics.psnr import psnr as psnr_of
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..differentiable import DifferentiableRenderer, RowAdam, at_side, coarse_side, cosine_decay, shuffled
from ..frames import Crop, FrameCodes, evenly_spaced, to_input
from ..identity_loss import IdentityOfPictures
from ..losses import LossWeights, ReconstructionLoss
from ..options import TuneOptions
from .budget import CODES, RECENT, SETTLE, STAGES, WEIGHTS, TuningState, rounding_seconds, spent, spent_of_stage
from .checkpoint import Checkpoint
from .delta_coding import Measured, fitted, measure
from .locality import LocalityLoss, UpperLayerLoss, latent_deviation
from .optimizers import GeneratorOptimizer

PERSONALISING = "personalising"  # the stage's name in reports of progress
CONSTANT_SHARE = 0.6  # of the weights stage, after which the step size begins to fall
JUDGED_FRAMES = 24  # by which the PSNR is judged on the way
SAVE_SECONDS = 60.0
MAP_SIDE = 128  # at which weights and head masks are kept


def progress_event(share: float, psnr: float) -> Progress:
    """The share of the budget that is spent, and the PSNR in dB of the head, NaN before it is known."""
    return Progress(PERSONALISING, 100 * share, 100.0, "%", "" if math.isnan(psnr) else f"{psnr:.1f} dB")


@dataclass(frozen=True)
class Personalized:
    """What came out: to be sent, and how good it is on the tuned frames (PSNR in dB of the head, per frame [n])."""

    latent: NDArray[np.float16]  # [18, 512]
    delta: GeneratorDelta
    codes: FrameCodes
    psnr_before: NDArray[np.float32]  # by the generator before its delta was rounded
    psnr: NDArray[np.float32]  # by the rounded one, codes settled
    history: tuple[dict[str, float], ...]
    steps: int
    seconds: float  # of the stages, those before a resumption included
    measured: Measured  # of the generator before rounding, for other ways of coding it


class Personalizer:
    """Tunes a pack's generator to crops of one person.

    crops: uint8 [256, 256, 3], in the order of time; codes: theirs, by the feed-forward encoder; latent [18, 512].
    """

    def __init__(
        self,
        pack: ModelPack,
        crops: Sequence[Crop],
        codes: FrameCodes,
        latent: NDArray[np.float16],
        options: TuneOptions,
        device: torch.device,
        checkpoint: Checkpoint | None = None,
        progress: ProgressCallback = silent,
        begun: float | None = None,
    ) -> None:
        """begun: time.time() at which the work began; None: now."""
        self._begun = time.time() if begun is None else begun
        self.pack, self.options, self.device = pack, options, device
        self.crops = torch.from_numpy(np.stack(crops))
        # The frames whose codes move in this process.
        self.own = torch.arange(distributed.rank(), len(self.crops), distributed.size())
        self.codes_given = codes
        dtype = pick_dtype(options.precision, device)
        self.base = pack.generator(device)
        self.before = DifferentiableRenderer(pack, device, dtype)
        self.generator = copy.deepcopy(self.base)
        self.renderer = DifferentiableRenderer(TunedPack(pack, generator=self.generator), device, dtype)
        self.tuned = {name: p for name, p in tunable(self.generator) if "noise_strength" not in name}
        start = self.renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        self.start, self.table = start, RowAdam(self.renderer.units.bound_(start.clone()))
        self.pivot = torch.from_numpy(np.array(latent, np.float32)).to(device)
        self.latent = RowAdam(self.pivot.reshape(1, -1))
        self.deviation = latent_deviation(self.before)
        self.optimizer = GeneratorOptimizer(self.tuned, options.weight_rate, options.filter_rate)
        losses = LossWeights(features=options.features, structure=options.structure)
        self.loss = ReconstructionLoss(pack, device, losses)
        self.identity = IdentityOfPictures(crops, device) if options.identity else None
        self.random = torch.Generator().manual_seed(self._seed(0))
        self.locality = LocalityLoss(self.before, self.loss, self.random)
        self.upper = UpperLayerLoss(self.before, options.side, self.random)
        self.weight, self.head = self._maps()
        self.batches = self._batches()
        self.at = TuningState()
        self.checkpoint = checkpoint or Checkpoint(None, "")
        self.progress = progress
        self._saved = time.monotonic()
        self._set_up = time.time() - self._begun  # seconds
        self._durations: deque[float] = deque(maxlen=RECENT)  # of the last steps

    # --- the stages ---------------------------------------------------------------------------------------

    def run(self) -> Personalized:
        """All stages."""
        self.tune()
        return self._settled()

    def finish(self) -> Personalized:
        """What is left when workers have done what they can share."""
        self._resume()
        return self._settled()

    def tune(self) -> None:
        """The stages that workers can share; what they found is in the checkpoint."""
        self._resume()
        if self.at.stage == SETTLE and self._fraction(WEIGHTS) + self.at.skipped < 1:  # the budget is a larger one now
            self.at.stage = WEIGHTS
        if self.at.stage == CODES:
            self._stage(CODES, self._codes_step)
        if self.at.stage == WEIGHTS:
            self._train(True)
            self._stage(WEIGHTS, self._weights_step)
            self._train(False)
            self.save()

    def _codes_step(self, fraction: float) -> None:
        """Pose, α and the latent against the pack's generator."""
        rate = cosine_decay(fraction)
        self._step(coarse_side(self.options.side), self.options.code_rate * rate, self.options.identity_rate * rate)

    def _weights_step(self, fraction: float) -> None:
        """Everything together."""
        options, step = self.options, self.at.steps[WEIGHTS]
        fraction = min(fraction + self.at.skipped, 1.0)
        fall = 1.0 if fraction < CONSTANT_SHARE else cosine_decay((fraction - CONSTANT_SHARE) / (1 - CONSTANT_SHARE))
        rate = min(1.0, (step + 1) / 20) * fall
        coarse = fraction < options.coarse
        side = coarse_side(options.side) if coarse else options.side
        self.optimizer.clear()
        self._step(side, options.code_rate / 5 * rate, options.identity_rate / 5 * rate, step)
        if not coarse and options.upper and step % options.upper_every == 0:
            frame = int(self.own[torch.randint(len(self.own), (1,), generator=self.random)])
            with torch.no_grad():
                anchor = self.renderer.anchor(self._latent())
            loss = self.upper(self.renderer, anchor, self.table.values[frame : frame + 1])
            (options.upper * loss).backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.tuned.values())
        torch.nn.utils.clip_grad_norm_(self.tuned.values(), 1.0)
        self.optimizer.step(rate)
        if options.decay:
            self._decay(options.decay * options.weight_rate * rate)
        if step and step % options.look_steps == 0:
            self._judge(side, fraction)

    def _settled(self) -> Personalized:
        """Round what is sent, and let the codes get used to it."""
        psnr_before = self.psnr()
        anchor = self._anchor()
        codes = self.table.values[evenly_spaced(len(self.crops), JUDGED_FRAMES)]
        changes = differences(self.generator, self.base)
        if not changes:  # a budget too small for a single step of the generator
            name, parameter = next(iter(self.tuned.items()))
            changes = {name: torch.zeros_like(parameter.detach(), device="cpu")}
        exact = DifferentiableRenderer(TunedPack(self.pack, generator=self.generator), self.device)
        measured = measure(exact, anchor, codes, self.base, self.pack.digest, changes)
        noise_db = float(psnr_before.mean()) + self.options.delta_margin
        delta = fitted(measured, self.options.delta_bytes, noise_db)
        latent = self._latent().reshape(self.pivot.shape).detach().cpu().numpy().astype(np.float16)
        rounded = apply_delta(self.base, delta)
        tuned = TunedPack(self.pack, generator=rounded)
        self.renderer = DifferentiableRenderer(tuned, self.device, self.renderer.dtype)
        self.latent = RowAdam(torch.from_numpy(latent.astype(np.float32)).to(self.device).reshape(1, -1))
        self._stage(SETTLE, lambda fraction: self._step(self.options.side, self._settling(fraction), 0.0))
        psnr = self.psnr()
        pose, alpha = (value.cpu().numpy() for value in self.renderer.units.split(self.table.values))
        codes_found = FrameCodes(self.codes_given.w_id, pose, alpha)
        steps, seconds = sum(self.at.steps.values()), sum(self.at.seconds.values())
        history = tuple(self.at.history)
        return Personalized(latent, delta, codes_found, psnr_before, psnr, history, steps, seconds, measured)

    def _settling(self, fraction: float) -> float:
        return self.options.code_rate / 10 * cosine_decay(fraction)

    # --- one step ------------------------------------------------------------------------------------------

    def _step(self, side: int, code_rate: float, identity_rate: float, step: int | None = None) -> None:
        """A step of the codes and the latent; gradients of the generator are left to be used."""
        rows = next(self.batches)
        place = rows.to(self.device)
        codes, latent = self.table.take(place), self.latent.take(place.new_zeros(1))
        anchor = self.renderer.anchor(latent.reshape(self.pivot.shape))
        target, weight = self._pictures(rows, side), at_side(self.weight[rows], side).to(self.device, torch.float32)
        output = self.renderer.render(anchor, codes, side)
        loss = self.loss(output, target, weight)
        if self.identity is not None:
            loss = loss + self.options.identity * self.identity(output, place)
        loss = loss + self.options.codes_prior * (codes - self.start[place]).square().mean()
        wander = (latent.reshape(self.pivot.shape) - self.pivot) / self.deviation
        loss = loss + self.options.identity_prior * wander.square().mean()
        if step is not None and self.options.locality and step % self.options.locality_every == 0:
            theirs = self.locality(self.renderer, self._latent(), self.table.values[place], side)
            loss = loss + self.options.locality * theirs
        loss.backward()  # type: ignore[no-untyped-call]
        assert codes.grad is not None
        self.table.step(place, codes.grad * len(rows), code_rate)
        self.renderer.units.bound_(self.table.values)
        if identity_rate:
            distributed.average_gradients([latent])
            assert latent.grad is not None
            self.latent.step(place.new_zeros(1), latent.grad, identity_rate * self.deviation)

    @torch.no_grad()
    def _decay(self, share: float) -> None:
        base = dict(tunable(self.base))
        for name, parameter in self.tuned.items():
            parameter.lerp_(base[name], share)

    def _judge(self, side: int, fraction: float) -> None:
        """Judge the PSNR, and where it does not grow any more, let the step size begin to fall."""
        distributed.gather_rows(self.table.values)
        rows = evenly_spaced(len(self.crops), JUDGED_FRAMES)
        self.at.psnr = distributed.agree(math.nan if distributed.rank() else float(self.psnr(rows, side).mean()))
        self.at.history.append({"step": self.at.steps[WEIGHTS], "side": side, "psnr": self.at.psnr})
        looks = [entry["psnr"] for entry in self.at.history if entry["side"] == side]
        recent = self.options.plateau_looks
        if fraction >= CONSTANT_SHARE or len(looks) <= recent:
            return
        if max(looks[-recent:]) < looks[-recent - 1] + self.options.plateau_db:
            finer = self.options.coarse if fraction < self.options.coarse else CONSTANT_SHARE
            self.at.skipped += finer - fraction

    # --- pictures --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def psnr(self, rows: Sequence[int] | None = None, side: int | None = None) -> NDArray[np.float32]:
        """PSNR in dB of the head for frames `rows` (all of them), at `side` pixels (those of the last steps)."""
        side = self.options.side if side is None else side
        chosen = torch.arange(len(self.crops)) if rows is None else torch.tensor(list(rows))
        anchor, found = self._anchor(), []
        for part in torch.split(chosen, self.options.batch):
            codes = self.table.values[part.to(self.device)]
            output = self.renderer.render(anchor, codes, side, reference=False)
            head = at_side(self.head[part], side).to(self.device, torch.float32)
            found.append(psnr_of(output, self._pictures(part, side), head).cpu())
        return np.asarray(torch.cat(found).numpy(), np.float32)

    def _pictures(self, rows: Tensor, side: int) -> Tensor:
        """The crops of rows [n] as float32 [n, 3, side, side]."""
        stacked = self.crops[rows].to(self.device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        return at_side(stacked, side)

    def _latent(self) -> Tensor:
        return self.latent.values.reshape(self.pivot.shape)

    @torch.no_grad()
    def _anchor(self) -> Anchor:
        return self.renderer.anchor(self._latent())

    @torch.no_grad()
    def _maps(self) -> tuple[Tensor, Tensor]:
        """Weights and head masks of all crops, float16 [n, 1, S, S]; at half size, which is enough for them."""
        regions = Regions(self.pack, self.device)
        weights = torch.zeros(len(self.crops), 1, MAP_SIDE, MAP_SIDE, dtype=torch.float16)
        heads = torch.zeros_like(weights)
        for rows in torch.split(self.own, self.options.batch):
            pictures = to_input([self.crops[row].numpy() for row in rows], self.device)
            found = regions.weights_and_head(pictures)
            weights[rows], heads[rows] = (at_side(maps, MAP_SIDE).half().cpu() for maps in found)
        distributed.gather_rows(weights)
        distributed.gather_rows(heads)
        return weights, heads

    # --- budget and checkpoint ---------------------------------------------------------------------------------

    def _stage(self, name: str, step: Callable[[float], None]) -> None:
        """Steps until the stage's share of the budget is spent."""
        self.at.stage = name
        begun, before = time.monotonic(), self.at.seconds[name]
        while (fraction := distributed.agree(self._fraction(name))) + (self.at.skipped if name == WEIGHTS else 0.0) < 1:
            step(fraction)
            self.at.steps[name] += 1
            seconds = before + time.monotonic() - begun
            self._durations.append(seconds - self.at.seconds[name])
            self.at.seconds[name] = seconds
            self._tell()
            if name != SETTLE and distributed.agree(time.monotonic() - self._saved) > SAVE_SECONDS:
                self.save()
        if name != SETTLE:
            self.at.stage = STAGES[STAGES.index(name) + 1]

    def _fraction(self, name: str) -> float:
        """Share of a stage's budget that is spent."""
        return spent_of_stage(name, self.at, self.options, self._aside())

    def _aside(self) -> float:
        """Seconds of the budget for set-up, by workers and again by who finishes their work, and for rounding."""
        set_up = self._set_up * (1 if distributed.size() == 1 else 2)
        frames = max(self.options.batch // distributed.size(), 1)
        return set_up + rounding_seconds(self._durations, frames, self.options.side)

    def _tell(self) -> None:
        self.progress(progress_event(spent(self.at, self.options, self._aside()), self.at.psnr))

    def _train(self, on: bool) -> None:
        for parameter in self.tuned.values():
            parameter.requires_grad_(on)

    def save(self) -> None:
        """Write the checkpoint."""
        self._saved = time.monotonic()
        for value in self.table.state().values():
            distributed.gather_rows(value)
        if distributed.rank():
            return
        tensors: dict[str, Tensor] = {f"generator.{name}": p for name, p in self.tuned.items()}
        tensors |= {f"weights.{key}": value for key, value in self.optimizer.state().items()}
        tensors |= {f"table.{key}": value for key, value in self.table.state().items()}
        tensors |= {f"latent.{key}": value for key, value in self.latent.state().items()}
        tensors |= {"given.start": self.start, "given.pivot": self.pivot}
        self.checkpoint.store(tensors, asdict(self.at))

    def _resume(self) -> None:
        found = self.checkpoint.load()
        if found is None:
            return
        tensors, facts = found
        self.at = TuningState(**{name: facts[name] for name in asdict(self.at)})
        with torch.no_grad():
            for name, parameter in self.tuned.items():
                parameter.copy_(tensors[f"generator.{name}"])
        # What the networks make of the same clip differs a little from machine to machine.
        self.start.copy_(tensors["given.start"])
        self.pivot.copy_(tensors["given.pivot"])
        for part, prefix in ((self.optimizer, "weights."), (self.table, "table."), (self.latent, "latent.")):
            part.load({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self.random.manual_seed(self._seed(sum(self.at.steps.values())))
        self.batches = self._batches()

    def _seed(self, steps: int) -> int:
        return self.options.seed + steps + 1_000_003 * distributed.rank()

    def _batches(self) -> Iterator[Tensor]:
        """Rows of the frames of a step, of those whose codes move here."""
        count = min(max(self.options.batch // distributed.size(), 1), len(self.own))
        return (self.own[rows] for rows in shuffled(len(self.own), count, self.random))
