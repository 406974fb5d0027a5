"""How well does a pack show people whom it was not trained on: held-out photographs, encoded and fitted.

    stylecodec train photos --images portraits/ --out squares/
    python -m benchmarks.photographs squares/ --pack my-pack/ --sheet sheet.png

The photographs are those that `stylecodec train photos` holds out by the digest of their file. Measured at 128², where
the photograph has pixels of its own: PSNR, PSNR of the head, SSIM; and the distance of dlib's descriptors at 256².
- feed_forward: W+, pose and α as the pack's encoder sees them in one pass;
- fitted: the same after so many steps of gradient descent on W+ and codes, the generator left as it is.
- drawn: random people of the pack's mapping with random expressions, which the pack's encoder must read off them:
  mean errors of yaw and pitch in degrees, mean correlation of α. With `--against` the PSNR of these pictures against
  those of the pack from which the training went on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, save
from benchmarks.provenance import provenance
from stylecodec.decoding.latents import ANGLES
from stylecodec.encoding.differentiable import SIZE, DifferentiableRenderer
from stylecodec.encoding.personalization.locality import CODE_DEVIATION, random_people
from stylecodec.metrics.psnr import psnr
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.packs.writing import update_card
from stylecodec.training.loop import keep_memory
from stylecodec.training.photo_data import Photographs
from stylecodec.training.photo_encoder import Expressions
from stylecodec.training.photo_fit import fit
from stylecodec.training.photos import INDEX
from stylecodec.training.sheets import save_sheet

STEPS = 160
DRAWN, AT_ONCE = 96, 8  # drawn people, and how many at a time
COLUMNS = 12  # of the sheet


def measured(pack: ModelPack, photos: Photographs, steps: int, sheet: Path | None) -> dict[str, dict[str, float]]:
    """Figures of one pack, feed-forward and fitted; the sheet shows photographs, feed-forward, fitted."""
    scene = DifferentiableRenderer(pack, torch.device("cpu"))
    alone, fitted = (fit(photos, pack, scene, count) for count in (0, steps))
    if sheet is not None:
        parts = (alone.targets, alone.outputs, fitted.outputs)
        columns = min(COLUMNS, len(photos))
        starts = range(0, len(photos) - columns + 1, columns)
        save_sheet([part[start : start + columns] for start in starts for part in parts], sheet)
    results = {"feed_forward": alone.figures, "fitted": fitted.figures}
    return {name: {key: round(value, 3) for key, value in figures.items()} for name, figures in results.items()}


@torch.no_grad()
def drawn(pack: ModelPack, against: ModelPack | None) -> dict[str, float]:
    """What the training has left of drawn people: see the module."""
    random, rng = torch.Generator().manual_seed(7), np.random.default_rng(7)
    expressions = Expressions(pack) if pack.has("expression") else None
    scene, encoder = DifferentiableRenderer(pack, torch.device("cpu")), pack.feedforward("cpu")
    other = None if against is None else DifferentiableRenderer(against, torch.device("cpu"))
    seen, true, likeness = [], [], []
    for _ in range(DRAWN // AT_ONCE):
        w = random_people(scene.generator, AT_ONCE, random)[:, None].expand(-1, scene.generator.rows, -1)
        codes = CODE_DEVIATION * torch.randn(AT_ONCE, SIZE, generator=random)
        if expressions is not None:
            codes[:, ANGLES:] = expressions(AT_ONCE, rng) / scene.units.scale[ANGLES:]
        codes = scene.units.bound_(codes)
        pictures = scene.render(scene.anchor(w), codes, 256).clamp(-1, 1)
        code = encoder(pictures)
        seen.append(torch.cat([code.pose, code.alpha], dim=1))
        true.append(torch.cat(scene.units.split(codes), dim=1))
        if other is not None:
            likeness.append(psnr(other.render(other.anchor(w), codes, 256), pictures))
    a, b = torch.cat(seen), torch.cat(true)
    error = (a - b)[:, :ANGLES].abs().mean(0)
    a, b = a - a.mean(0), b - b.mean(0)
    correlation = ((a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-6))[ANGLES:].mean()
    found = {"yaw_error": error[0], "pitch_error": error[1], "alpha_correlation": correlation}
    if likeness:
        found["psnr_against"] = torch.cat(likeness).mean()
    return {key: round(float(value), 3) for key, value in found.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure a pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of `stylecodec train photos`")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="name or folder (%(default)s)")
    parser.add_argument("--against", help="pack from which the training went on, name or folder")
    parser.add_argument("--count", type=int, default=24, help="photographs (%(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the fit (%(default)s)")
    parser.add_argument("--out", type=Path, help="figures (results/photographs_PACK.json)")
    parser.add_argument("--sheet", type=Path, help="contact sheet: photographs, feed-forward, fitted")
    parser.add_argument("--write-card", action="store_true", help="put the figures on the pack's card")
    arguments = parser.parse_args(argv)
    keep_memory()
    pack = open_pack(arguments.pack)
    origin = provenance(pack, vars(arguments), [arguments.photos / INDEX])
    photos = Photographs(arguments.photos, held_out=True, most=arguments.count)
    against = open_pack(arguments.against) if arguments.against else None
    results = {**measured(pack, photos, arguments.steps, arguments.sheet), "drawn": drawn(pack, against)}
    print(f"{pack.name}: {json.dumps(results)}", flush=True)
    found = {"photographs": len(photos), "steps": arguments.steps, **results}
    save(arguments.out or RESULTS / f"photographs_{pack.name}.json", origin, found)
    if arguments.write_card:
        update_card(pack.folder, figures={**pack.card.figures, "photographs": found})


if __name__ == "__main__":
    main()
