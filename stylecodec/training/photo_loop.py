"""What the trainings on photographs share: options, the loop with its budget."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..decoding.render import pick_dtype
from .checkpoint import Saved, checkpoint_of, load_state, save_state

FLOOR = 0.05  # of the rates at the end


@dataclass(frozen=True)
class PhotoOptions:
    """What the training on photographs is told."""

    photos: Path  # folder of prepared photographs
    work: Path  # checkpoints, sheets, figures
    start: str  # pack to begin with, by name or folder
    minutes: float  # budget, counted over resumed runs
    steps: int | None = None  # end after so many, whatever the budget: to compare at equal steps
    widths: Mapping[int, int] = field(default_factory=dict)  # resolutions with another number of feature maps
    mirror: bool = False  # the generator learns every photograph in a mirror too, with latents and codes of its own
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Of feature maps: bfloat16 where the device is fast in it."""
        return pick_dtype("bfloat16", self.device)


def falling(fraction: float) -> float:
    """Factor of the rates: half a cosine from 1 to FLOOR."""
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))


class PhotoTrainer(ABC):
    """A resumable training within a budget of minutes: steps, progress lines, checkpoints.

    history: rows of seconds, steps and the means of the figures since the last line.
    """

    name: str  # of the network and its checkpoint
    report_seconds, save_seconds = 30.0, 180.0

    def __init__(self, options: PhotoOptions) -> None:
        torch.manual_seed(0)
        options.work.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.path = checkpoint_of(options.work, self.name)
        self.step, self.seconds = 0, 0.0
        self.history: list[list[float]] = []

    @abstractmethod
    def one_step(self) -> dict[str, float]:
        """Move everything once; figures of this step, always the same names."""

    @abstractmethod
    def keep(self, saved: Saved) -> None:
        """Put what is trained into a checkpoint."""

    @abstractmethod
    def restore(self, saved: Saved) -> None:
        """Take it out again."""

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent."""
        share = self.seconds / (60 * self.options.minutes)
        return max(share, self.step / self.options.steps) if self.options.steps else share

    def share(self, warm_steps: int) -> float:
        """Factor of the rates in this step: a short rise, then half a cosine."""
        return min(1.0, (self.step + 1) / warm_steps) * falling(self.fraction)

    def train(self) -> None:
        """Until the budget is spent; a checkpoint now and then and at the end."""
        begun, before = time.monotonic(), self.seconds
        reported = saved = begun
        recent: dict[str, list[float]] = {}
        while self.fraction < 1:
            for name, value in self.one_step().items():
                recent.setdefault(name, []).append(value)
            self.step += 1
            now = time.monotonic()
            self.seconds = before + now - begun
            if now - reported > self.report_seconds:
                self._report({name: sum(values) / len(values) for name, values in recent.items()})
                reported = now
                recent.clear()
            if now - saved > self.save_seconds:
                self.save()
                saved = now
        self.save()

    def _report(self, means: Mapping[str, float]) -> None:
        self.history.append([self.seconds, self.step, *means.values()])
        words = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        left = self.options.minutes - self.seconds / 60
        print(f"{self.name}  step {self.step:,}  {words}  {left:.1f} min left", flush=True)

    def save(self) -> None:
        """Write the checkpoint."""
        saved = Saved({"step": self.step, "seconds": self.seconds})
        self.keep(saved)
        if self.history:
            width = len(self.history[-1])
            saved.put("history", {"rows": torch.tensor([row for row in self.history if len(row) == width])})
        save_state(self.path, saved)

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if not self.path.is_file():
            return
        saved = load_state(self.path)
        self.restore(saved)
        self.history = saved.get("history").get("rows", torch.zeros(0, 0)).tolist()
        self.step, self.seconds = int(saved.numbers["step"]), saved.numbers["seconds"]
        print(f"{self.name}: resuming at step {self.step:,} ({self.seconds / 60:.1f} minutes spent)", flush=True)
