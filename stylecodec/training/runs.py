"""One training run of one network, by its name, in as many processes as asked for."""

from __future__ import annotations

import importlib
import json
from functools import partial

from .. import distributed
from .export import note
from .loop import TrainOptions


def train_network(name: str, options: TrainOptions, processes: int = 1) -> None:
    """Train the network whose loop is training/NAME.py, note its held-out figures in the work folder and print them."""
    distributed.run(partial(_train, name, options, processes), processes)


def _train(name: str, options: TrainOptions, processes: int) -> None:
    figures = importlib.import_module(f".{name}", __package__).train(options)
    if distributed.rank():
        return
    note(options, name, figures, processes)
    print(f"{name}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}", flush=True)
