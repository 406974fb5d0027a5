"""Write a pack whose generator or encoder went on learning from photographs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..errors import StylecodecError
from ..files import atomic_write
from ..nets.stylegan2 import Generator
from ..packs.card import SHIPPED_ROLES
from ..packs.store import ModelPack, embedded_pack, open_pack
from ..packs.writing import NetworkSource, write_pack
from .checkpoint import checkpoint_of, load_state
from .export import LICENCE, runs_of
from .photo_loop import PhotoOptions
from .widen import widened, widths_of

FIGURES = "photo_figures.json"
# Role in a pack: names of the checkpoints that may hold it, the last training first.
ROLES = {"generator": ("sharpen", "generator"), "feedforward": ("encoder",)}
DATA = "on photographs of people who do not exist"


def note(options: PhotoOptions, name: str, figures: dict[str, float]) -> None:
    """Add a run's held-out figures to `work/photo_figures.json`, from where the card has them."""
    path = options.work / FIGURES
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    known[name] = {key: round(value, 4) for key, value in figures.items()}
    with atomic_write(path) as file:
        file.write((json.dumps(known, indent=2) + "\n").encode())


def trained_generator(pack: ModelPack, checkpoint: Path) -> Generator:
    """The averaged generator of a checkpoint, whose widths may be others than the pack's."""
    state = load_state(checkpoint).get("average")
    before = pack.generator("cpu")
    found = {
        size: state[f"blocks.{number}.to_rgb.weight"].shape[1]
        for number, size in enumerate(before.resolutions)
        if f"blocks.{number}.to_rgb.weight" in state
    }
    if found.keys() != set(before.resolutions):
        raise StylecodecError(f"{checkpoint} holds no generator of {before.resolution} pixels")
    generator = widened(before, found)
    generator.load_state_dict(state)
    return generator


def last_checkpoint(work: Path, role: str) -> Path | None:
    """The checkpoint in `work` of the last training of a role; None where it was not trained."""
    paths = [checkpoint_of(work, name) for name in ROLES[role]]
    return next((path for path in paths if path.is_file()), None)


def networks(pack: ModelPack, work: Path, source: str) -> dict[str, NetworkSource]:
    """Every network of the pack by its role, those in whose place a checkpoint in `work` has another exchanged."""
    roles = dict.fromkeys((*pack.card.networks, *SHIPPED_ROLES))
    found = {role: NetworkSource.of(pack.provider(role), role) for role in roles}
    checkpoints = {role: path for role in ROLES if (path := last_checkpoint(work, role)) is not None}
    if not checkpoints:
        raise StylecodecError(f"{work} holds no network that was trained on photographs")
    if "generator" in checkpoints:
        generator = trained_generator(pack, checkpoints["generator"])
        channels = {str(size): width for size, width in widths_of(generator).items()}
        params = {**pack.card.networks["generator"].params, "channels": channels}
        found["generator"] = NetworkSource(generator, params, LICENCE, source)
    if "feedforward" in checkpoints:
        entry = pack.card.networks["feedforward"]
        encoder = pack.feedforward("cpu")
        encoder.load_state_dict(load_state(checkpoints["feedforward"]).get("average"))
        found["feedforward"] = NetworkSource(encoder, entry.params, LICENCE, source)
    return found


def export(work: Path, folder: Path, base: str, name: str, version: str, photographs: str) -> ModelPack:
    """Write the pack `base` with what was trained in `work` into `folder`, replacing a pack that is there.

    photographs: where they come from and their licence, for the card.
    """
    pack = open_pack(base)
    source = f"{pack.card.source.split(';')[0]}; {DATA}: {photographs}"
    figures = work / FIGURES
    measured: dict[str, Any] = json.loads(figures.read_text()) if figures.is_file() else {}
    runs = runs_of(pack)
    for name_of_run, found in measured.items():  # what went on from an earlier training of its kind adds to it
        spent = runs.get(name_of_run, {}).get("core_minutes", 0.0) + found.get("core_minutes", 0.0)
        runs[name_of_run] = {**found, "core_minutes": spent}
    training = {**pack.card.training, "runs": runs, "photographs": photographs}
    card = pack.card
    return write_pack(
        folder,
        networks(pack, work, source),
        overwrite=True,
        name=name,
        version=version,
        licence=LICENCE,
        source=source,
        resolution=card.resolution,
        indices=card.indices,
        alignment=card.alignment,
        pose=dataclasses.replace(card.pose),
        calibration={**embedded_pack().card.calibration, **card.calibration},
        training=training,
    )

