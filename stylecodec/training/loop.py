"""What every training loop shares: a time budget, checkpoints to resume from, averaged weights, progress lines."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .. import distributed
from ..decoding.render import pick_dtype
from ..errors import OptionError, StylecodecError
from ..packs.store import ModelPack, open_pack
from .checkpoint import Saved, checkpoint_of, load_state, save_state

State = dict[str, Tensor]
MODULES, AVERAGES, OPTIMIZER = "modules ", "averages ", "optimizer "  # groups of a checkpoint, before their names
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's mallopt


@dataclass(frozen=True)
class TrainOptions:
    """What every training command is told."""

    data: Path  # folder of rendered heads
    work: Path  # checkpoints, sheets, figures
    minutes: float  # budget, counted over resumed runs
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_scale: float = 1.0  # multiplies every batch size: a GPU takes 8 and more
    start: Path | None = None  # a pack whose networks the training goes on from, where it has no checkpoint
    keep_renderer: bool = False  # the encoder is trained for the starting pack's renderer, which does not change
    keep_codes: bool = False  # the generator's pictures are trained, what W+, pose and α say stays as in the pack

    @property
    def dtype(self) -> torch.dtype:
        """Of feature maps: bfloat16 where the device is fast in it; latents, losses and weights stay float32."""
        return pick_dtype("bfloat16", self.device)

    def batch(self, size: int) -> int:
        """A loop's own batch size, scaled."""
        return max(1, round(size * self.batch_scale))

    def begin(self, module: nn.Module, role: str, adapt: Callable[[State], State] = dict) -> None:
        """Take the weights of the starting pack's network, if there is such a pack and it has that role.

        `adapt` may bring a state to the shapes of today; OptionError where it does not fit then.
        """
        if self.start is not None and (pack := open_pack(self.start)).has(role):
            module.load_state_dict(weights_of(pack, role, module, adapt))

    def autocast(self) -> torch.autocast:
        """Mixed precision for the convolutional nets."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def weights_of(pack: ModelPack, role: str, like: nn.Module, adapt: Callable[[State], State] = dict) -> State:
    """The state of a pack's network, which is to fit the module `like`; OptionError where it does not."""
    state = adapt(pack.network(role, "cpu").state_dict())
    if {name: value.shape for name, value in state.items()} != {n: v.shape for n, v in like.state_dict().items()}:
        raise OptionError(f"the {role} network of the pack {pack.folder} is built otherwise than the one trained here")
    return state


class Average:
    """Moving average of a module's state over the last twenty-fifth of the steps so far."""

    HORIZON = 0.04  # of the steps so far, at most 1,000 steps

    def __init__(self, module: nn.Module) -> None:
        self.state: dict[str, Tensor] = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Blend in the current weights."""
        decay = 1 - 1 / min(1 + self.HORIZON * step, 1000)
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


class Budget:
    """Minutes of work, counted over all resumed runs; `fraction` is 0 at the start and 1 at the end."""

    def __init__(self, minutes: float, spent_seconds: float = 0.0) -> None:
        self.minutes, self._before, self._start = minutes, spent_seconds, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds worked, earlier runs included."""
        return self._before + time.monotonic() - self._start

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent."""
        return self.spent / (60 * self.minutes)


def cosine(fraction: float, warm: float = 0.01, hold: float = 0.7, floor: float = 0.03) -> float:
    """Learning-rate factor: a short rise, a plateau, then a cosine fall to `floor`."""
    if fraction < warm:
        return max(fraction / warm, 0.02)
    if fraction < hold:
        return 1.0
    x = min((fraction - hold) / (1 - hold), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.tensor(x * torch.pi))))


class Run:
    """One resumable training run in `folder`: modules, their averages, one optimiser.

    `steps()` yields the step number until the budget is spent, sets the learning rate, keeps the averages, prints a
    progress line every `report_seconds` and writes a checkpoint every `save_seconds` and at the end.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        minutes: float,
        report_seconds: float = 20.0,
        save_seconds: float = 120.0,
    ) -> None:
        self.name, self.folder, self.modules, self.optimizer = name, folder, modules, optimizer
        self.averages = {key: Average(module) for key, module in modules.items()}
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.report_seconds, self.save_seconds = report_seconds, save_seconds
        self.step, self.seen, self.figures = 0, 0, {}  # type: int, int, dict[str, float]
        self._recent: dict[str, list[float]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.path = checkpoint_of(folder, name)
        spent = self._resume()
        self.budget = Budget(minutes, spent)
        self.fraction = self.budget.fraction  # of the budget, the same in every worker
        self.rng = np.random.default_rng([self.step, distributed.rank()])
        torch.manual_seed(1000 * distributed.rank() + self.step % 1000)

    def _resume(self) -> float:
        if not self.path.is_file():
            return 0.0
        saved = load_state(self.path)
        for key, module in self.modules.items():
            module.load_state_dict(saved.get(f"{MODULES}{key}"))
            state = self.averages[key].state
            for name, value in saved.get(f"{AVERAGES}{key}").items():
                state[name].copy_(value)
        saved.get_optimizer(OPTIMIZER, self.optimizer)
        self.step, self.seen, spent = int(saved.numbers["step"]), int(saved.numbers["seen"]), saved.numbers["seconds"]
        print(f"{self.name}: resuming at step {self.step:,} ({spent / 60:.1f} minutes spent)", flush=True)
        return spent

    def save(self) -> None:
        """Write the checkpoint."""
        if distributed.rank():
            return
        saved = Saved({"step": self.step, "seen": self.seen, "seconds": self.budget.spent})
        for key, module in self.modules.items():
            saved.put(f"{MODULES}{key}", module.state_dict())
            saved.put(f"{AVERAGES}{key}", self.averages[key].state)
        saved.put_optimizer(OPTIMIZER, self.optimizer)
        save_state(self.path, saved)

    def update(self, loss: Tensor, limit: float = 1.0) -> None:
        """One step of the optimiser down `loss`, gradients averaged over the workers and clipped to norm `limit`.

        A group of parameters that the loss does not reach at all (the same group in every process) stays as it is.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        groups = [group["params"] for group in self.optimizer.param_groups]
        parameters = [p for group in groups if any(p.grad is not None for p in group) for p in group]
        distributed.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        self.optimizer.step()

    def log(self, images: int, **figures: float) -> None:
        """Count `images` and remember figures for the next progress line."""
        self.seen += images
        for key, value in figures.items():
            self._recent.setdefault(key, []).append(value)

    def steps(self) -> Iterator[int]:
        """Step numbers until the budget is spent."""
        last_report = last_save = time.monotonic()
        seen_before = self.seen
        while True:
            self.fraction = distributed.agree(self.budget.fraction)
            if self.fraction >= 1 and self.step > 0:  # one step at least, so that there is something to save
                break
            for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                group["lr"] = base * cosine(self.fraction)
            yield self.step
            self.step += 1
            for key, module in self.modules.items():
                self.averages[key].update(module, self.step)
            now = time.monotonic()
            if now - last_report > self.report_seconds:
                rate = (self.seen - seen_before) / (now - last_report)
                self._report(rate)
                last_report, seen_before = now, self.seen
            if now - last_save > self.save_seconds:
                self.save()
                last_save = now
        self.save()

    def _report(self, rate: float) -> None:
        self.figures = {key: sum(values) / len(values) for key, values in self._recent.items()}
        self._recent.clear()
        if distributed.rank():
            return
        words = "  ".join(f"{key} {value:.4g}" for key, value in self.figures.items())
        left = self.budget.minutes - self.budget.spent / 60
        print(
            f"{self.name}  step {self.step:,}  {self.seen:,} images  {rate:.0f}/s  {words}  {left:.1f} min left",
            file=sys.stdout,
            flush=True,
        )

    def load_averages(self) -> None:
        """Put the averaged weights into the modules, in eval mode."""
        for key, module in self.modules.items():
            module.load_state_dict(self.averages[key].state)
            module.eval()


def average_of(checkpoint: Path, key: str) -> State:
    """The averaged weights of module `key` in a run's checkpoint."""
    if not checkpoint.is_file():
        raise StylecodecError(f"{checkpoint} is missing: train that network first")
    return load_state(checkpoint).get(f"{AVERAGES}{key}")


def load_average(module: nn.Module, checkpoint: Path, key: str) -> None:
    """Load the averaged weights of module `key` from a run's checkpoint, in eval mode."""
    module.load_state_dict(average_of(checkpoint, key))
    module.eval()


def keep_memory() -> None:
    """Let malloc keep what large tensors give back: handing it to the system and fetching it again takes half the time
    of a training step on a CPU. Of glibc alone; elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 << 20)
