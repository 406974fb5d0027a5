"""The commands of `stylecodec train` that learn from photographs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .arguments import CommandParser, add_command, add_json
from .output import DONE, print_json

EXAMPLES = r"""
stylecodec train photos --images portraits/ --out squares/
stylecodec train photo-generator --photos squares/ --start my-pack/ --work people/ --widths 64=96,128=48,256=24
stylecodec train photo-export --work people/ --base my-pack/ --pack people-pack/ --name people-1024 \
    --photographs "SFHQ-T2I (David Beniaguev, MIT)"
stylecodec train photo-encoder --photos squares/ --start people-pack/ --work people/
stylecodec train photo-sharpen --photos squares/ --start people-pack/ --work people/ --minutes 60"""

TRAINED = {
    "generator": "train a pack's generator on prepared photographs",
    "encoder": "train a pack's encoder on prepared photographs",
    "sharpen": "sharpen a pack's generator on prepared photographs, after photo-generator",
}


def add_photograph_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `stylecodec train`."""
    add_command(commands, "photos", "prepare a folder of photographs: aligned squares, contact sheets", _squares)
    for name, what in TRAINED.items():
        add_command(commands, f"photo-{name}", what, _network(name))
    add_command(commands, "photo-export", "write a pack with what was trained on photographs", _export_arguments)


def _squares(parser: CommandParser) -> None:
    from ..packs.card import DEFAULT_PACK

    parser.end_with(EXAMPLES)
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs, searched with its folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an interrupted run goes on there")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="pack whose alignment the squares have (%(default)s)")
    add_json(parser)
    parser.set_defaults(run=_prepare)


def _network(name: str) -> Callable[[CommandParser], None]:
    def fill(parser: CommandParser) -> None:
        from ..packs.card import DEFAULT_PACK

        parser.end_with(EXAMPLES)
        parser.add_argument("--photos", type=Path, required=True, help="folder of `stylecodec train photos`")
        parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and sheets")
        parser.add_argument("--start", default=DEFAULT_PACK, help="pack to go on from, a name or folder (%(default)s)")
        parser.add_argument("--minutes", type=float, default=120.0, help="budget over all resumed runs (%(default)s)")
        parser.add_argument("--steps", type=int, help="end after so many steps, whatever the budget")
        parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
        if name == "generator":
            parser.add_argument("--widths", default="", help="other numbers of feature maps, such as 64=96,128=48")
        if name != "encoder":
            parser.add_argument("--mirror", action="store_true", help="learn every photograph in a mirror as well")
        parser.set_defaults(run=_train, network=name)

    return fill


def _export_arguments(parser: CommandParser) -> None:
    from ..packs.card import DEFAULT_PACK

    parser.end_with(EXAMPLES)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--base", default=DEFAULT_PACK, help="pack that training went on from (%(default)s)")
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    parser.add_argument("--name", required=True, help="name of the pack")
    parser.add_argument("--version", default="1", help="version of the pack (%(default)s)")
    parser.add_argument("--photographs", required=True, help="where the photographs come from and their licence")
    add_json(parser)
    parser.set_defaults(run=_export)


def _prepare(arguments: argparse.Namespace) -> int:
    from ..packs.store import open_pack
    from ..progress import Progress, ProgressDisplay
    from ..training.photos import Limits, prepare, summary

    with ProgressDisplay() as display:

        def tell(stage: str, done: int, total: int) -> None:
            display(Progress(stage, done, total, "photographs"))

        squares = prepare(arguments.images, arguments.out, open_pack(arguments.pack), Limits(), tell)
    counts = summary(squares)
    if arguments.json:
        return print_json(counts)
    for what, count in counts.items():
        print(f"{count:6,}  {what}")
    return DONE


def _train(arguments: argparse.Namespace) -> int:
    from ..packs.registry import pick_device
    from ..training.photo_loop import PhotoOptions
    from ..training.runs import train_on_photographs
    from ..training.widen import parse_widths

    options = PhotoOptions(
        arguments.photos,
        arguments.work,
        arguments.start,
        arguments.minutes,
        arguments.steps,
        parse_widths(getattr(arguments, "widths", "")),
        getattr(arguments, "mirror", False),
        pick_device(arguments.device),
    )
    train_on_photographs(arguments.network, options)
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    from ..training.photo_export import export

    names = arguments.name, arguments.version
    pack = export(arguments.work, arguments.pack, arguments.base, *names, arguments.photographs)
    if arguments.json:
        return print_json({"folder": str(arguments.pack), "name": pack.name, "digest": pack.digest.hex()})
    print(f"{arguments.pack}: pack {pack.name}, digest {pack.digest.hex()[:16]}")
    return DONE
