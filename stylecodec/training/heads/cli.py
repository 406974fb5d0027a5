"""Command line of the head renderer: dataset, clips, sheet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stylecodec.errors import StylecodecError
from stylecodec.training.heads import clips, sheets
from stylecodec.training.heads.dataset import Plan, render_dataset


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stylecodec train render", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--geometry", type=Path, required=True, help="folder with ict.npz, maps.npz, ao.npz")
    common.add_argument("--out", type=Path, required=True)

    data = commands.add_parser("dataset", parents=[common], help="shards of stills with their truth (resumes)")
    data.add_argument("--shards", type=int, required=True)
    data.add_argument("--first-shard", type=int, default=0)
    data.add_argument("--processes", type=int, default=1)
    data.add_argument("--size", type=int, default=256)
    data.add_argument("--first-identity", type=int, default=0)
    data.add_argument("--renders", type=int, default=9, help="pictures per identity")

    clip = commands.add_parser("clips", parents=[common], help="talking clips: .mp4 and .npz of each identity")
    clip.add_argument("--identities", type=int, nargs="+", required=True)
    clip.add_argument("--seconds", type=float, default=4.0)
    clip.add_argument("--rate", type=int, default=25)
    clip.add_argument("--size", type=int, default=512)
    clip.add_argument("--frame", type=float, default=1.5, help="crop scale; 1.08 is the aligned crop")

    sheet = commands.add_parser("sheet", parents=[common], help="contact sheets as PNG")
    sheet.add_argument("--kind", choices=sheets.KINDS, default="identities")
    sheet.add_argument("--identity", type=int, default=0)
    sheet.add_argument("--size", type=int, default=224)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, or 1 after printing what went wrong."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "dataset":
            plan = Plan(
                args.geometry, args.out, args.shards, args.first_shard, args.size, args.renders, args.first_identity
            )
            render_dataset(plan, args.processes)
        elif args.command == "clips":
            clips.write_clips(args.geometry, args.out, args.identities, args.seconds, args.rate, args.size, args.frame)
        else:
            sheets.write_sheet(args.geometry, args.out, args.kind, args.identity, args.size)
    except StylecodecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
