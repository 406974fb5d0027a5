"""How well does a pack show people whom it was not trained on: held-out photographs, encoded and fitted.

    stylecodec train photos --images portraits/ --out squares/
    python -m benchmarks.photographs squares/ --pack avatar-1024 my-pack/ --sheets sheets/

The photographs are those that `stylecodec train photos` holds out by the digest of their file. Measured at 128², where
the photograph has pixels of its own: PSNR, PSNR of the head, SSIM; and the distance of dlib's descriptors at 256².
- feed_forward: W+, pose and α as the pack's encoder sees them in one pass;
- fitted: the same after so many steps of gradient descent on W+ and codes, the generator left as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measuring import RESULTS, save
from benchmarks.provenance import provenance
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack
from stylecodec.packs.writing import update_card
from stylecodec.training.loop import keep_memory
from stylecodec.training.photo_data import Photographs
from stylecodec.training.photo_fit import fit
from stylecodec.training.sheets import save_sheet

STEPS = 160
COLUMNS = 12  # of the sheet


def measured(folder: Path, photos: Photographs, steps: int, sheet: Path | None) -> dict[str, dict[str, float]]:
    """Figures of one pack, feed-forward and fitted; the sheet shows photographs, feed-forward, fitted."""
    pack = open_pack(folder)
    scene = DifferentiableRenderer(pack, torch.device("cpu"))
    alone, fitted = (fit(photos, pack, scene, count) for count in (0, steps))
    if sheet is not None:
        parts = (alone.targets, alone.outputs, fitted.outputs)
        columns = min(COLUMNS, len(photos))
        starts = range(0, len(photos) - columns + 1, columns)
        save_sheet([part[start : start + columns] for start in starts for part in parts], sheet)
    results = {"feed_forward": alone.figures, "fitted": fitted.figures}
    return {name: {key: round(value, 3) for key, value in figures.items()} for name, figures in results.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure packs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of `stylecodec train photos`")
    parser.add_argument("--pack", nargs="+", default=[DEFAULT_PACK], help="names or folders (%(default)s)")
    parser.add_argument("--count", type=int, default=24, help="photographs (%(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the fit (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "photographs.json", help="figures (%(default)s)")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of each pack")
    parser.add_argument("--write-card", action="store_true", help="put the figures on the packs' cards")
    arguments = parser.parse_args(argv)
    keep_memory()
    photos = Photographs(arguments.photos, held_out=True, most=arguments.count)
    about = {"photographs": len(photos), "steps": arguments.steps}
    origin = provenance(open_pack(arguments.pack[0]), vars(arguments))
    results = {}
    for name in arguments.pack:
        pack = open_pack(name)
        sheet = arguments.sheets / f"photographs-{pack.name}.png" if arguments.sheets else None
        results[pack.name] = {"digest": pack.digest.hex(), **measured(name, photos, arguments.steps, sheet)}
        print(f"{pack.name}: {json.dumps(results[pack.name])}", flush=True)
        if arguments.write_card:
            figures = {key: value for key, value in results[pack.name].items() if key != "digest"}
            update_card(pack.folder, figures={**pack.card.figures, "photographs": {**about, **figures}})
    save(arguments.out, origin, {**about, "packs": results})


if __name__ == "__main__":
    main()
