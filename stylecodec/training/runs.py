"""One training run of one network, by its name, in as many processes as asked for."""

from __future__ import annotations

import importlib
import json
from functools import partial

import torch

from .. import distributed
from . import photo_encoder, photo_export, photo_generator, photo_sharpen
from .export import note
from .loop import TrainOptions, keep_memory
from .photo_loop import PhotoOptions


def train_network(name: str, options: TrainOptions, processes: int = 1) -> None:
    """Train the network whose loop is training/NAME.py, note its held-out figures in the work folder and print them."""
    distributed.run(partial(_train, name, options, processes), processes)


def _train(name: str, options: TrainOptions, processes: int) -> None:
    figures = importlib.import_module(f".{name}", __package__).train(options)
    if distributed.rank():
        return
    note(options, name, figures, processes)
    print(f"{name}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}", flush=True)


def train_on_photographs(name: str, options: PhotoOptions) -> None:
    """Train "generator" or "encoder" on photographs, or "sharpen" the generator; note the held-out figures in the work
    folder and print them."""
    keep_memory()
    trainings = {"generator": photo_generator.train, "encoder": photo_encoder.train, "sharpen": photo_sharpen.train}
    figures = trainings[name](options)
    unit = "gpu_minutes" if options.device.type == "cuda" else "core_minutes"
    count = 1 if options.device.type == "cuda" else torch.get_num_threads()
    photo_export.note(options, f"photo_{name}", {unit: options.minutes * count, **figures})
    print(f"photo-{name}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}", flush=True)
