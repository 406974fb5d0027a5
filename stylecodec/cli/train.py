"""`stylecodec train`: one command per network, one that does all in order, and the renderer of their data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from ..errors import OptionError
from .arguments import CommandParser, add_command, add_json
from .output import DONE, print_json
from .photographs import EXAMPLES as PHOTOGRAPH_EXAMPLES
from .photographs import add_photograph_commands
from .render import render_arguments

# Order of `all` (the parser's features judge the encoder's pictures), with minutes of two CPU cores by default; a GPU
# needs about a tenth.
NETWORKS: dict[str, float] = {
    "parser": 15.0,
    "generator": 120.0,
    "encoder": 120.0,
    "sharpen": 30.0,
    "landmarks": 20.0,
    "identity": 15.0,
    "inversion": 20.0,
    "upper": 20.0,
}
EXAMPLES = """
stylecodec train render dataset --geometry ict/ --out heads256/ --shards 200
stylecodec train render dataset --geometry ict/ --out heads1024/ --size 1024 --renders 2 --shards 20
stylecodec train generator --data heads256/ --work run/ --minutes 120
stylecodec train all --data heads256/ --large heads1024/ --work run/ --scale 1.0 --pack my-pack/
stylecodec train export --work run/ --pack my-pack/
stylecodec train encoder --data heads256/ --work more/ --start my-pack/ --keep-renderer --minutes 20
stylecodec train export --work more/ --pack better-pack/ --base my-pack/
stylecodec train encoder --pack ffhq-1024 --work ffhq-encoder/ --minutes 600"""
MORE = """

`render dataset` and every training command resume where they were stopped; contact sheets and figures.json appear in
the work folder."""


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES + PHOTOGRAPH_EXAMPLES + MORE)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    add_command(commands, "render", "render heads: data sets, clips, contact sheets", render_arguments)
    for name in NETWORKS:
        what = "train the top layers" if name == "upper" else f"train the {name} network"
        add_command(commands, name, what, _network_arguments(name))
    add_command(commands, "all", "train every network in order and export the pack", _all_arguments)
    add_command(commands, "export", "write the trained networks as a model pack", _export_arguments)
    add_photograph_commands(commands)


def _network_arguments(name: str) -> Callable[[CommandParser], None]:
    def fill(parser: CommandParser) -> None:
        own = "\nstylecodec train encoder --pack ffhq-1024 --work run/ --minutes 600" if name == "encoder" else ""
        parser.end_with(f"stylecodec train {name} --data heads256/ --work run/{own}")
        _common(parser, required=name != "encoder")
        parser.add_argument(
            "--minutes", type=float, default=NETWORKS[name], help="budget over all resumed runs (%(default)s)"
        )
        if name == "generator":
            parser.add_argument(
                "--keep-codes", action="store_true", help="train pictures alone: codes keep their meaning"
            )
        if name == "encoder":
            parser.add_argument("--pack", metavar="NAME|DIR", help="pack that gets an encoder, from its samples")
            parser.add_argument("--keep-renderer", action="store_true", help="leave the renderer of --start as it is")
        parser.set_defaults(run=_train, network=name)

    return fill


def _all_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec train all --data heads256/ --large heads1024/ --work run/ --pack my-pack/")
    _common(parser)
    parser.add_argument("--large", type=Path, help="data set of 1024² renders for the top layers")
    parser.add_argument("--sharpen", action="store_true", help="adversarially, which may tint irises")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every default budget (%(default)s)")
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    parser.set_defaults(run=_train_all)


def _export_arguments(parser: CommandParser) -> None:
    from ..packs.card import DRAWN_PACK

    parser.end_with("stylecodec train export --work more/ --pack better-pack/ --base my-pack/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    parser.add_argument(
        "--blend", type=Path, help="pack with whose encoder the trained one is averaged, weight by weight"
    )
    parser.add_argument("--base", type=Path, help="pack that gives the networks that were not trained in --work")
    parser.add_argument("--name", default=DRAWN_PACK, help="name of the pack (%(default)s)")
    parser.add_argument("--version", default="1", help="version of the pack (%(default)s)")
    add_json(parser)
    parser.set_defaults(run=_export)


def _common(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--data", type=Path, required=required, help="folder of rendered heads")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and sheets")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes that share the work, on a CPU one per core (%(default)s)"
    )
    parser.add_argument("--start", type=Path, help="pack to go on from where there is no checkpoint yet")
    parser.add_argument("--batch-scale", type=float, default=1.0, help="multiplies batch sizes (%(default)s)")


def _train(arguments: argparse.Namespace) -> int:
    if getattr(arguments, "pack", None) is not None:
        return _train_for_pack(arguments)
    if arguments.data is None:
        raise OptionError("training an encoder needs --data, rendered heads, or --pack, whose samples teach it")
    _train_one(arguments, arguments.network, arguments.minutes, arguments.data)
    return DONE


def _train_for_pack(arguments: argparse.Namespace) -> int:
    """An encoder for a pack, from its own samples."""
    from ..packs.registry import pick_device
    from ..training.pack_encoder import PackTraining, train

    if arguments.data is not None or arguments.start is not None or arguments.keep_renderer:
        raise OptionError("with --pack the encoder learns from the pack's own samples: leave --data and --start out")
    if not arguments.minutes > 0:
        raise OptionError(f"training takes more than 0 minutes, not {arguments.minutes}")
    device = pick_device(arguments.device)
    figures = train(PackTraining(arguments.pack, arguments.work, arguments.minutes, device, arguments.batch_scale))
    print(f"encoder of {arguments.pack}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}")
    return DONE


def _train_all(arguments: argparse.Namespace) -> int:
    from ..training.export import FIGURES, export

    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / FIGURES
    done = json.loads(path.read_text()) if path.is_file() else {}
    for name, minutes in NETWORKS.items():
        data = arguments.large if name == "upper" else arguments.data
        if data is None or name in done or (name == "sharpen" and not arguments.sharpen):
            continue
        _train_one(arguments, name, minutes * arguments.scale, data)
    export(arguments.work, arguments.pack)
    return DONE


def _train_one(arguments: argparse.Namespace, name: str, minutes: float, data: Path) -> None:
    from ..packs.registry import pick_device
    from ..training.loop import TrainOptions
    from ..training.runs import train_network

    options = TrainOptions(
        data,
        arguments.work,
        minutes,
        pick_device(arguments.device),
        arguments.batch_scale,
        arguments.start,
        keep_renderer=getattr(arguments, "keep_renderer", False),
        keep_codes=getattr(arguments, "keep_codes", False),
    )
    train_network(name, options, arguments.processes)


def _export(arguments: argparse.Namespace) -> int:
    from ..training.export import export

    names = arguments.name, arguments.version
    pack = export(arguments.work, arguments.pack, *names, arguments.blend, arguments.base)
    if arguments.json:
        return print_json({"folder": str(arguments.pack), "name": pack.name, "digest": pack.digest.hex()})
    print(f"{arguments.pack}: pack {pack.name}, digest {pack.digest.hex()[:16]}")
    return DONE


COMMANDS = {"train": _arguments}
