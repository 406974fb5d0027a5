"""How far do faces go? Every blendshape, drawn by the renderer, against what the avatar makes of it.

    python -m benchmarks.shapes --geometry ict/ [--pack folder/]

People that no network was trained on are rendered at rest and with one shape at a time. Of each picture the face mesh
reads the landmark features (`stylecodec.metrics.landmark_features`); a shape is how they change from rest, in
the mean over people, each in units of its deviation over shapes. What the avatar makes of it is projected on that: 1 is
as far as the renderer went, 0 is not at all. Once with α as the expression net gives them (what the generator can),
once with those that the feed-forward encoder reads off the picture (what it sees, and the generator can). The identity
is the encoder's, from the face at rest; nothing is fitted, nothing corrected by landmarks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.likeness import batches
from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.metrics.landmark_features import FeatureReader
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.training.datasets import scaled_expression
from stylecodec.training.heads.assets import load_assets
from stylecodec.training.heads.identities import HELD_OUT, sample_identity
from stylecodec.training.heads.model import HeadModel
from stylecodec.training.heads.renderer import Renderer

FAR = 0.8  # of each shape
FAINT = 0.25  # shapes that the features show less of than this share of the usual are left out
PEOPLE = tuple(HELD_OUT + 50 + k for k in (0, 3, 7, 11, 15, 19))
# fmt: off
SHEET = (
    "mouthLeft", "mouthRight", "jawLeft", "mouthPucker", "cheekPuff_L", "mouthSmile_R", "mouthFrown_L",
    "mouthStretch_R", "browInnerUp_L", "eyeSquint_L", "noseSneer_R",
)
# fmt: on
AT_ONCE = 8
Floats = NDArray[np.float32]


def drawn(renderer: Renderer, number: int) -> tuple[NDArray[np.uint8], Floats]:
    """Pictures uint8 [1 + K, 256, 256, 3] of a person at rest and with each shape, expressions [1 + K, K + 2]."""
    model = renderer.model
    pictures, expressions = [], []
    with renderer.person(sample_identity(number, model)) as person:
        for weights in np.vstack([np.zeros(len(model.names)), FAR * np.eye(len(model.names))]).astype(np.float32):
            picture = renderer.render(person, weights, (0.0, 0.0), 0.0, 0.0)
            pictures.append(picture.image)
            expressions.append(np.r_[picture.weights, picture.gaze])
    return np.stack(pictures), np.stack(expressions).astype(np.float32)


class Avatar:
    """A pack's networks, as far as they are needed."""

    def __init__(self, pack: ModelPack) -> None:
        self.encoder, self.avatar = pack.feedforward("cpu"), DifferentiableRenderer(pack, torch.device("cpu"))
        self.expression = pack.network("expression", "cpu")

    @torch.no_grad()
    def made_of(self, pictures: NDArray[np.uint8], expressions: Floats) -> tuple[Tensor, Tensor]:
        """What `drawn` gives -> renderings [1 + K, 3, 256, 256] of the expressions themselves, and of what is seen."""
        codes = [self.encoder(few) for few in batches(list(pictures), AT_ONCE)]
        w_id, pose = codes[0].w_id[0], torch.cat([code.pose for code in codes])
        wanted = self.expression(torch.from_numpy(scaled_expression(expressions)))
        seen = torch.cat([code.alpha for code in codes])
        return self._render(w_id, torch.zeros_like(pose), wanted), self._render(w_id, pose, seen)

    def _render(self, w_id: Tensor, pose: Tensor, alpha: Tensor) -> Tensor:
        anchor, codes = self.avatar.anchor(w_id), self.avatar.units.units(pose, alpha)
        few = (self.avatar.render(anchor, part, 256, reference=False) for part in torch.split(codes, AT_ONCE))
        return torch.cat(list(few)).clamp(-1, 1)


def gains(true: Floats, found: Floats) -> Floats:
    """How far each shape goes [K], from its changes of the features [K, m] in the truth and in what was found."""
    return np.asarray((true * found).sum(1) / np.maximum((true * true).sum(1), 1e-9))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--geometry", type=Path, required=True, help="folder with ict.npz, maps.npz, ao.npz")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="name or folder of a pack (%(default)s)")
    parser.add_argument("--people", type=int, default=len(PEOPLE), help="how many of the people (%(default)s)")
    parser.add_argument("--sheet", type=Path, help="PNG: some shapes, drawn, by the generator, by the whole loop")
    parser.add_argument("--results", type=Path, default=RESULTS / "shapes.json")
    arguments = parser.parse_args()
    pack = open_pack(arguments.pack)
    origin = provenance(pack, vars(arguments))
    renderer, avatar = Renderer(HeadModel(load_assets(arguments.geometry)), 256), Avatar(pack)
    names, reader = renderer.model.names, FeatureReader(pack, torch.device("cpu"))
    changes: list[list[Floats]] = []
    rows: list[NDArray[np.uint8]] = []
    for number in PEOPLE[: arguments.people]:
        pictures, expressions = drawn(renderer, number)
        kinds = (torch.cat(list(batches(list(pictures), AT_ONCE))), *avatar.made_of(pictures, expressions))
        changes.append([(m[1:] - m[:1]).numpy() for m in (reader(kind) for kind in kinds)])
        shown = [0, *(1 + names.index(name) for name in SHEET)]
        rows += [np.hstack(list(((k[shown] + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy())) for k in kinds]
        print(f"person {number}", flush=True)
    if arguments.sheet is not None:
        Image.fromarray(np.vstack(rows[:9])).save(arguments.sheet)
    true, generator, loop = np.mean(np.array(changes), axis=0)
    unit = true.std(axis=0) + 1e-6
    size = np.sqrt(((true / unit) ** 2).mean(axis=1))
    known, seen = (gains(true / unit, change / unit) for change in (generator, loop))
    found: list[dict[str, Any]] = [
        {"shape": name, "seen in the truth": float(size[k]), "generator": float(known[k]), "loop": float(seen[k])}
        for k, name in enumerate(names)
        if size[k] > FAINT
    ]
    mean = {key: float(np.mean([row[key] for row in found])) for key in ("generator", "loop")}
    print(table([*found, {"shape": "mean", "seen in the truth": float("nan"), **mean}]))
    save(arguments.results, origin, {"people": len(changes), "far": FAR, "shapes": found, "mean": mean})


if __name__ == "__main__":
    main()
