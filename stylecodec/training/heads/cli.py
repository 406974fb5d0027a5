"""`stylecodec train render ...`: dataset, clips, sheet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from stylecodec.training.heads import clips, sheets
from stylecodec.training.heads.assets import INDICES
from stylecodec.training.heads.dataset import IDENTITIES_PER_SHARD, Plan, render_dataset

EXAMPLES = """examples:
  stylecodec train render dataset --geometry ict/ --out heads256/ --shards 188 --processes 2
  stylecodec train render clips --geometry ict/ --out clips/ --identities 1000000 1000001 --seconds 2.4
  stylecodec train render sheet --geometry ict/ --out glasses.png --kind glasses

exit codes: 0 done; 1 it failed; 2 wrong usage; 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stylecodec train render",
        description="Render heads with their truth.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--geometry", type=Path, required=True, help=f"folder with ict.npz, maps.npz, ao.npz and {INDICES}"
    )
    common.add_argument("--out", type=Path, required=True, help="folder, or the sheet's file")

    def command(name: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, parents=[common], help=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )

    data = command("dataset", "shards of stills with their truth (resumes)")
    data.add_argument("--shards", type=int, required=True, help=f"files of {IDENTITIES_PER_SHARD} people each")
    data.add_argument("--first-shard", type=int, default=0, help="number of the first file")
    data.add_argument("--processes", type=int, default=1, help="that share the work")
    data.add_argument("--size", type=int, default=256, help="pixels per side")
    data.add_argument("--first-identity", type=int, default=0, help="number of the first person of shard 0")
    data.add_argument("--renders", type=int, default=9, help="pictures per identity")

    clip = command("clips", "talking clips: .mp4 and .npz of each identity")
    clip.add_argument("--identities", type=int, nargs="+", required=True, help="numbers of people")
    clip.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    clip.add_argument("--rate", type=int, default=25, help="frames per second")
    clip.add_argument("--size", type=int, default=512, help="pixels per side")
    clip.add_argument("--frame", type=float, default=clips.WIDE, help="crop scale; 1.08 is the aligned crop")

    sheet = command("sheet", "contact sheets as PNG")
    sheet.add_argument("--kind", choices=sheets.KINDS, default="identities", help="what is shown")
    sheet.add_argument("--identity", type=int, default=0, help="number of the first person")
    sheet.add_argument("--size", type=int, default=224, help="pixels per side of a picture")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run `stylecodec train render` with these arguments."""
    args = _parser().parse_args(argv)
    if args.command == "dataset":
        plan = Plan(
            args.geometry, args.out, args.shards, args.first_shard, args.size, args.renders, args.first_identity
        )
        render_dataset(plan, args.processes)
    elif args.command == "clips":
        clips.write_clips(args.geometry, args.out, args.identities, args.seconds, args.rate, args.size, args.frame)
    else:
        sheets.write_sheet(args.geometry, args.out, args.kind, args.identity, args.size)
