"""`stylecodec train ...`: one command per network, and one that does all in order."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..nets import team
from ..packs.card import DEFAULT_PACK
from ..packs.registry import pick_device
from . import photo_cli
from .export import FIGURES, export, note
from .loop import TrainOptions

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
EXAMPLES = r"""examples:
  stylecodec train render dataset --geometry ict/ --out heads256/ --shards 200
  stylecodec train render dataset --geometry ict/ --out heads1024/ --size 1024 --renders 2 --shards 20
  stylecodec train generator --data heads256/ --work run/ --minutes 120
  stylecodec train all --data heads256/ --large heads1024/ --work run/ --scale 1.0 --pack my-pack/
  stylecodec train export --work run/ --pack my-pack/
  stylecodec train encoder --data heads256/ --work more/ --start my-pack/ --keep-renderer --minutes 20
  stylecodec train export --work more/ --pack better-pack/ --base my-pack/
  stylecodec train photos --images portraits/ --out squares/
  stylecodec train photo-generator --photos squares/ --start my-pack/ --work people/ --widths 64=96,128=48,256=24
  stylecodec train photo-export --work people/ --base my-pack/ --pack people-pack/ --name people-1024 \
      --photographs "SFHQ-T2I (David Beniaguev, MIT)"
  stylecodec train photo-encoder --photos squares/ --start people-pack/ --work people/

`render dataset` and every training command resume where they were stopped; contact sheets and figures.json appear in
the work folder. Exit codes: 0 done; 1 it failed; 2 wrong usage; 130 interrupted.
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `stylecodec train`."""
    top = argparse.ArgumentParser(
        prog="stylecodec train",
        description="Train a model pack on synthetic heads and photographs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("render", help="render heads: data sets, clips, contact sheets")
    for name, minutes in NETWORKS.items():
        one = commands.add_parser(name, help=f"train the {name} network" if name != "upper" else "train the top layers")
        _common(one)
        one.add_argument("--minutes", type=float, default=minutes, help="budget over all resumed runs (%(default)s)")
        if name == "generator":
            one.add_argument("--keep-codes", action="store_true", help="train pictures alone: codes keep their meaning")
        if name == "encoder":
            one.add_argument("--keep-renderer", action="store_true", help="leave the renderer of --start as it is")
    every = commands.add_parser("all", help="train every network in order and export the pack")
    _common(every)
    every.add_argument("--large", type=Path, help="data set of 1024² renders for the top layers")
    every.add_argument("--sharpen", action="store_true", help="adversarially, which may tint irises")
    every.add_argument("--scale", type=float, default=1.0, help="multiplies every default budget (%(default)s)")
    every.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    out = commands.add_parser("export", help="write the trained networks as a model pack")
    out.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    out.add_argument("--pack", type=Path, required=True, help="folder of the pack to write")
    out.add_argument("--blend", type=Path, help="pack with whose encoder the trained one is averaged, weight by weight")
    out.add_argument("--base", type=Path, help="pack that gives the networks that were not trained in --work")
    out.add_argument("--name", default=DEFAULT_PACK, help="name of the pack (%(default)s)")
    out.add_argument("--version", default="1", help="version of the pack (%(default)s)")
    photo_cli.add(commands)
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, required=True, help="folder of rendered heads")
    command.add_argument("--work", type=Path, required=True, help="folder for checkpoints and sheets")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    command.add_argument(
        "--processes", type=int, default=1, help="processes of a team, on a CPU one per core (%(default)s)"
    )
    command.add_argument("--start", type=Path, help="pack to go on from where there is no checkpoint yet")
    command.add_argument("--batch-scale", type=float, default=1.0, help="multiplies batch sizes (%(default)s)")


def train_one(name: str, options: TrainOptions, processes: int = 1) -> None:
    """Train one network in a team of processes and note its held-out figures."""
    team.run(partial(_train, name, options, processes), processes)


def _train(name: str, options: TrainOptions, processes: int) -> None:
    figures = importlib.import_module(f"stylecodec.training.{name}").train(options)
    if team.rank():
        return
    note(options, name, figures, processes)
    print(f"{name}: {json.dumps({key: round(value, 4) for key, value in figures.items()})}", flush=True)


def _options(arguments: argparse.Namespace, minutes: float, data: Path) -> TrainOptions:
    return TrainOptions(
        data,
        arguments.work,
        minutes,
        pick_device(arguments.device),
        arguments.batch_scale,
        arguments.start,
        keep_renderer=getattr(arguments, "keep_renderer", False),
        keep_codes=getattr(arguments, "keep_codes", False),
    )


def main(argv: Sequence[str]) -> int:
    """Run `stylecodec train` with these arguments; returns the exit code."""
    if argv[:1] == ["render"]:
        importlib.import_module("stylecodec.training.heads.cli").main(argv[1:])
        return 0
    arguments = parser().parse_args(argv)
    if photo_cli.run(arguments):
        return 0
    if arguments.command == "export":
        names = arguments.name, arguments.version
        pack = export(arguments.work, arguments.pack, *names, arguments.blend, arguments.base)
        print(f"{arguments.pack}: pack {pack.name}, digest {pack.digest.hex()[:16]}")
        return 0
    if arguments.command == "all":
        arguments.work.mkdir(parents=True, exist_ok=True)
        path = arguments.work / FIGURES
        done = json.loads(path.read_text()) if path.is_file() else {}
        for name, minutes in NETWORKS.items():
            data = arguments.large if name == "upper" else arguments.data
            if data is None or name in done or (name == "sharpen" and not arguments.sharpen):
                continue
            train_one(name, _options(arguments, minutes * arguments.scale, data), arguments.processes)
        export(arguments.work, arguments.pack)
        return 0
    train_one(arguments.command, _options(arguments, arguments.minutes, arguments.data), arguments.processes)
    return 0
