"""`stylecodec train render`: heads with their truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import CommandParser, add_command
from .output import DONE

EXAMPLES = """
stylecodec train render dataset --geometry ict/ --out heads256/ --shards 188 --processes 2
stylecodec train render clips --geometry ict/ --out clips/ --identities 1000000 1000001 --seconds 2.4
stylecodec train render sheet --geometry ict/ --out glasses.png --kind glasses"""


def render_arguments(parser: CommandParser) -> None:
    """The arguments of the command."""
    parser.end_with(EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    add_command(commands, "dataset", "shards of stills with their truth (resumes)", _dataset_arguments)
    add_command(commands, "clips", "talking clips: .mp4 and .npz of each identity", _clips_arguments)
    add_command(commands, "sheet", "contact sheets as PNG", _sheet_arguments)


def _common(parser: CommandParser, example: str) -> None:
    from ..training.heads.assets import INDICES

    parser.end_with(next(line for line in EXAMPLES.splitlines() if f"render {example} " in line))
    parser.add_argument(
        "--geometry", type=Path, required=True, help=f"folder with ict.npz, maps.npz, ao.npz and {INDICES}"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder, or the sheet's file")


def _dataset_arguments(parser: CommandParser) -> None:
    from ..training.heads.dataset import IDENTITIES_PER_SHARD

    _common(parser, "dataset")
    parser.add_argument("--shards", type=int, required=True, help=f"files of {IDENTITIES_PER_SHARD} people each")
    parser.add_argument("--first-shard", type=int, default=0, help="number of the first file (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that share the work (%(default)s)")
    parser.add_argument("--size", type=int, default=256, help="pixels per side (%(default)s)")
    parser.add_argument(
        "--first-identity", type=int, default=0, help="number of the first person of shard 0 (%(default)s)"
    )
    parser.add_argument("--renders", type=int, default=9, help="pictures per identity (%(default)s)")
    parser.set_defaults(run=_dataset)


def _clips_arguments(parser: CommandParser) -> None:
    from ..training.heads.clips import WIDE

    _common(parser, "clips")
    parser.add_argument("--identities", type=int, nargs="+", required=True, help="numbers of people")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip (%(default)s)")
    parser.add_argument("--rate", type=int, default=25, help="frames per second (%(default)s)")
    parser.add_argument("--size", type=int, default=512, help="pixels per side (%(default)s)")
    parser.add_argument(
        "--frame", type=float, default=WIDE, help="crop scale; 1.08 is the aligned crop (%(default)s)"
    )
    parser.set_defaults(run=_clips)


def _sheet_arguments(parser: CommandParser) -> None:
    from ..training.heads.sheets import KINDS

    _common(parser, "sheet")
    parser.add_argument("--kind", choices=KINDS, default="identities", help="what is shown (%(default)s)")
    parser.add_argument("--identity", type=int, default=0, help="number of the first person (%(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels per side of a picture (%(default)s)")
    parser.set_defaults(run=_sheet)


def _dataset(arguments: argparse.Namespace) -> int:
    from ..training.heads.dataset import Plan, render_dataset

    a = arguments
    plan = Plan(a.geometry, a.out, a.shards, a.first_shard, a.size, a.renders, a.first_identity)
    render_dataset(plan, a.processes)
    return DONE


def _clips(arguments: argparse.Namespace) -> int:
    from ..training.heads.clips import write_clips

    a = arguments
    write_clips(a.geometry, a.out, a.identities, a.seconds, a.rate, a.size, a.frame)
    return DONE


def _sheet(arguments: argparse.Namespace) -> int:
    from ..training.heads.sheets import write_sheet

    write_sheet(arguments.geometry, arguments.out, arguments.kind, arguments.identity, arguments.size)
    return DONE
