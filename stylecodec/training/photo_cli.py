"""The commands of `stylecodec train` that learn from photographs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ..packs.card import DEFAULT_PACK
from ..packs.registry import pick_device
from ..packs.store import open_pack
from ..progress import ProgressDisplay
from . import photo_encoder, photo_generator
from .loop import keep_memory
from .photo_export import export, note
from .photo_loop import PhotoOptions
from .photos import Limits, prepare, summary
from .widen import parse_widths

TRAINED = {"photo-generator": photo_generator, "photo-encoder": photo_encoder}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `stylecodec train`."""
    squares = commands.add_parser("photos", help="prepare a folder of photographs: aligned squares, contact sheets")
    squares.add_argument("--images", type=Path, required=True, help="folder of photographs, searched with its folders")
    squares.add_argument("--out", type=Path, required=True, help="folder to write; an interrupted run goes on there")
    squares.add_argument("--pack", default=DEFAULT_PACK, help="pack whose alignment the squares have (%(default)s)")
    squares.add_argument("--json", action="store_true", help="print the counts as JSON")
    for name in TRAINED:
        one = commands.add_parser(name, help=f"train a pack's {name.removeprefix('photo-')} on prepared photographs")
        one.add_argument("--photos", type=Path, required=True, help="folder of `stylecodec train photos`")
        one.add_argument("--work", type=Path, required=True, help="folder for checkpoints and sheets")
        one.add_argument("--start", default=DEFAULT_PACK, help="pack to go on from, a name or a folder (%(default)s)")
        one.add_argument("--minutes", type=float, default=120.0, help="budget over all resumed runs (%(default)s)")
        one.add_argument("--steps", type=int, help="end after so many steps, whatever the budget")
        one.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
        one.add_argument("--bfloat16", action="store_true", help="feature maps in bfloat16: on hardware that has it")
        if name == "photo-generator":
            one.add_argument("--widths", default="", help="other numbers of feature maps, such as 64=96,128=48,256=24")
            one.add_argument("--mirror", action="store_true", help="learn every photograph in a mirror as well")
    out = commands.add_parser("photo-export", help="write a pack with what was trained on photographs")
    out.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    out.add_argument("--base", default=DEFAULT_PACK, help="pack that training went on from (%(default)s)")
    out.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    out.add_argument("--name", required=True, help="name of the pack")
    out.add_argument("--version", default="1", help="version of the pack (%(default)s)")
    out.add_argument("--photographs", required=True, help="where the photographs come from and their licence")


def run(arguments: argparse.Namespace) -> bool:
    """Run one of the commands; False where the command is none of them."""
    if arguments.command == "photos":
        with ProgressDisplay() as progress:
            squares = prepare(
                arguments.images,
                arguments.out,
                open_pack(arguments.pack),
                Limits(),
                lambda stage, done, total: progress(stage, done, total, unit="photographs"),
            )
        counts = summary(squares)
        lines = (f"{count:6,}  {what}" for what, count in counts.items())
        print(json.dumps(counts) if arguments.json else "\n".join(lines))
    elif arguments.command == "photo-export":
        a = arguments
        pack = export(a.work, a.pack, a.base, a.name, a.version, a.photographs)
        print(f"{a.pack}: pack {pack.name}, digest {pack.digest.hex()[:16]}")
    elif arguments.command in TRAINED:
        _train(arguments)
    else:
        return False
    return True


def _train(arguments: argparse.Namespace) -> None:
    device = pick_device(arguments.device)
    options = PhotoOptions(
        arguments.photos,
        arguments.work,
        arguments.start,
        arguments.minutes,
        arguments.steps,
        parse_widths(getattr(arguments, "widths", "")),
        getattr(arguments, "mirror", False),
        device,
        torch.bfloat16 if arguments.bfloat16 else torch.float32,
    )
    keep_memory()
    figures = TRAINED[arguments.command].train(options)
    unit = "gpu_minutes" if device.type == "cuda" else "core_minutes"
    count = 1 if device.type == "cuda" else torch.get_num_threads()
    note(options, arguments.command.replace("-", "_"), {unit: arguments.minutes * count, **figures})
    print(f"{arguments.command}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}")
