"""`stylecodec models indices`: which StyleSpace channels of a pack move a face (Eq. 5 of 2203.14512)."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, OutputError
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_work
from .output import DONE, print_json

if TYPE_CHECKING:
    from ..encoding.paper.indices import IndexTable
    from ..packs.store import ModelPack

EXAMPLES = """
stylecodec models indices ffhq-1024 --out ./ffhq-mine --name ffhq-mine
stylecodec models indices ffhq-1024 --out ./ffhq-mine --clips talk.mp4 grin.mp4 --people 2
stylecodec models indices avatar-1024 --json

Every channel is perturbed by itself on one face. Those that change mouth, jaw, lids, gaze or brows most, and the rest
little, are looked at on several: random ones of the pack, and of clips. Of these the 32 that move landmarks of the face
most, and little else, go onto the card of a copy of the pack, with their sensitivities and how far each goes. A stream
names its channels, so the copy is another pack."""
FRAMES_PER_CLIP = 2


def indices_arguments(parser: CommandParser) -> None:
    """Fill the parser of `models indices`."""
    parser.end_with(EXAMPLES)
    parser.add_argument("pack", metavar="NAME|DIR", help="name or folder of a pack")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the copy whose card gets the indices")
    parser.add_argument("--name", metavar="NAME", help="name of the copy (default: that of its folder)")
    parser.add_argument(
        "--clips", type=Path, nargs="+", default=[], metavar="VIDEO", help="faces of videos to look at, inverted"
    )
    parser.add_argument("--people", type=int, default=3, metavar="N", help="random faces to look at (default: 3)")
    parser.add_argument(
        "--side", type=int, choices=(64, 128, 256), default=128, help="pixels per side (default: %(default)s)"
    )
    add_work(parser)
    parser.set_defaults(run=_indices)


def _indices(arguments: argparse.Namespace) -> int:
    from ..encoding.paper.indices import IndexOptions, find_indices
    from ..packs.registry import pick_device
    from ..packs.store import open_pack

    if not 1 <= arguments.people <= 64:
        raise OptionError(f"indices are searched on 1 to 64 random faces, not {arguments.people}")
    if arguments.out is not None and arguments.out.exists():
        raise OutputError(f"{arguments.out} exists already; name another folder for the copy")
    pack, place = open_pack(arguments.pack), pick_device(arguments.device)
    pack.require(("generator", "flow"), "the search of indices")
    begun = time.process_time()
    with ProgressDisplay(arguments.progress) as progress:
        latents = _latents(arguments.clips, pack, place)
        options = IndexOptions(people=arguments.people, side=arguments.side)
        table = find_indices(pack, place, options, latents, progress)
    seconds = time.process_time() - begun
    if arguments.out is not None:
        _write(pack, table, arguments.out, arguments.name or arguments.out.name)
    facts = _facts(table, pack, seconds)
    if arguments.json:
        return print_json(facts)
    for row in facts["indices"]:
        print(
            f"{row['index']:<8}{row['feature']:<7}Γ {row['gamma']:.5f}  whole {row['whole']:.5f}  "
            f"inside {row['inside']:.2f}  reach {row['reach']:.2f}"
        )
    print(
        f"{table.channels:,} channels on {table.faces} faces, {table.pictures:,} pictures, {seconds:.0f} CPU seconds; "
        f"{facts['on_card']} of the 32 are on the card of {pack.name}, of whose 32 {facts['card_screened']} were among "
        f"the {len(table.screened)} that show enough to be looked at on all faces"
    )
    if arguments.out is not None:
        print(f"written to {arguments.out}")
    return DONE


def _facts(table: IndexTable, pack: ModelPack, seconds: float) -> dict[str, Any]:
    """The table as JSON."""
    columns = zip(table.indices, table.features, table.gammas, table.whole, table.inside, table.reach, strict=True)
    rows = [
        {
            "index": f"{layer}_{channel}",
            "feature": feature,
            "gamma": float(gamma),
            "whole": float(whole),
            "inside": float(inside),
            "reach": float(reach),
        }
        for (layer, channel), feature, gamma, whole, inside, reach in columns
    ]
    return {
        "pack": pack.name,
        "indices": rows,
        "on_card": len(set(table.indices) & set(pack.indices)),
        "card_screened": len(set(table.screened) & set(pack.indices)),
        "channels": table.channels,
        "faces": table.faces,
        "pictures": table.pictures,
        "cpu_seconds": round(seconds, 1),
    }


def _write(pack: ModelPack, table: IndexTable, folder: Path, name: str) -> None:
    """A copy of the pack with the indices on its card."""
    import shutil
    import tempfile

    from ..packs.writing import update_card

    if folder.exists():
        raise OutputError(f"{folder} exists already; name another folder for the copy")
    calibration = {**pack.card.calibration, **table.calibrations(f"stylecodec models indices, {table.faces} faces")}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            copy = staging / "pack"
            shutil.copytree(pack.folder, copy, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
            update_card(copy, name=name, indices=table.indices, calibration=calibration)
            copy.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"the pack {folder} cannot be written: {error.strerror or error}") from error


def _latents(clips: list[Path], pack: ModelPack, place: Any) -> Any:
    """Inversions [m, 18, 512] of some frames of each video; None without videos."""
    from ..encoding.front_end import front_end_for
    from ..encoding.options import EncodeOptions
    from ..encoding.paper.indices import inverted
    from ..face.warp import warp
    from ..media.video import VideoReader

    crops = []
    for clip in clips:
        front_end, reader = front_end_for(pack, EncodeOptions(device=str(place))), VideoReader(clip)
        step = max(1, reader.frame_count // FRAMES_PER_CLIP)
        some = [frame for number, (_, frame) in enumerate(reader.frames()) if number % step == step // 2]
        crops += [warp(frame, front_end.still(frame), 256) for frame in some[:FRAMES_PER_CLIP]]
    return inverted(crops, pack, place) if crops else None
