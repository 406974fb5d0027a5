"""The first paper's encoder (2203.14512): what its preset gives, and what each of its parts is worth.

    python -m benchmarks.paper clips/*.mp4
    python -m benchmarks.paper clips/*.mp4 --only ways ablations --seconds 2 --personalized
    python -m benchmarks.paper clips/d10.mp4 --only pose speed --frames 8
    python -m benchmarks.paper clips/*.mp4 --only ablations --restyle ./pack-with-restyle

Four questions, all by one command, on whole clips or on `--clips` of them, `--seconds` of each, `--frames` of those:

    ways        fast, balanced, paper through the whole codec, file to file; with --personalized each on a tuned
                generator as well (`paper` by PTI): PSNR and SSIM of the head, dlib's identity distance, tracks
    ablations   Table 1's: frames or inversions as targets, ReStyle for e4e (a pack that has it: --restyle), without
                PTI, and those that the paper does not tabulate: without inter-frame terms, without Eq. 8, to the letter
                (the identity not fitted)
    pose        Table 3's: the loss of Eq. 2 at the angles that it finds, against angles read directly off the face
                mesh, and those of the feed-forward encoder where the pack has one; with the inversions as S_t, as in
                the paper, and with the frames, whose distance to any picture of L_ID is mostly none of the pose's
                (`still`: the loss of a head that never turns)
    speed       CPU seconds per frame of Algorithm 1 line by line with its --epochs and of the fast path, on the same
                frames with the same targets and poses, and the loss of Eq. 9 that each ends with

Squares are laid by landmarks for every way, so that all see the same pictures. Worst beside mean. CPU seconds hold on a
busy machine roughly, wall-clock times do not and are not written. Rows are kept by clip, question and way in
results/paper.json as soon as they are there, and one of the same code, pack and options is not measured again: a run
that was stopped goes on where it was. The whole table on a slow machine: the twelve clips of
`stylecodec train render clips --identities 1000000 ... 1000011`, with --seconds 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.landmark_tracks import Yardstick
from benchmarks.measuring import RESULTS, as_json, table
from benchmarks.presets import cpu_seconds, inputs_of, outputs_of, quality
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.encoding.frames import to_input
from stylecodec.encoding.options import BALANCED, FAST, FULL, OFF, PAPER, TUNING, EncodeOptions
from stylecodec.encoding.paper.analysis import Chunk, ChunkSearch, Prepared
from stylecodec.encoding.paper.inversion import Inverter
from stylecodec.encoding.paper.losses import Before
from stylecodec.encoding.paper.rendering import rows_of
from stylecodec.encoding.paper.settings import FRAME, INVERSION, AttributeWeights, PaperOptions
from stylecodec.encoding.paper.survey import BLINK, rough_pose
from stylecodec.errors import StylecodecError
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

FILE = RESULTS / "paper.json"
WAYS, ABLATIONS, POSE, SPEED = "ways", "ablations", "pose", "speed"
QUESTIONS = (WAYS, ABLATIONS, POSE, SPEED)
TARGETS = (INVERSION, FRAME)
SUMMED = ("psnr", "ssim", "identity", "of_direct", "times", "loss_of_reference")  # figures of the summary
CPU = torch.device("cpu")


def ways_of(arguments: argparse.Namespace) -> dict[str, EncodeOptions]:
    """Options by the name of the way."""
    usual = EncodeOptions(device="cpu", duration=arguments.seconds, align="landmarks", audio=False)
    found = {way: replace(usual, preset=way, likeness=OFF) for way in (FAST, BALANCED, PAPER)}
    if arguments.personalized:
        tune = replace(TUNING[FULL], minutes=arguments.minutes)
        found |= {f"{way}, personalised": replace(found[way], likeness=FULL, tune=tune) for way in list(found)}
    return found


def ablations_of(arguments: argparse.Namespace) -> dict[str, EncodeOptions]:
    """Options by what is left out or changed."""
    usual = replace(ways_of(argparse.Namespace(**{**vars(arguments), "personalized": False}))[PAPER])
    paper = usual.paper
    changed = {
        "frames as targets": replace(paper, target=FRAME),
        "inversions as targets": replace(paper, target=INVERSION),
        "without inter-frame terms": replace(paper, weights=AttributeWeights(between=0.0)),
        "without Eq. 8": replace(paper, even_rates=True),
        "to the letter": replace(paper, fit=False),
    }
    found = {name: replace(usual, paper=one) for name, one in changed.items()}
    if arguments.personalized:
        found["with PTI"] = replace(usual, likeness=FULL)
    if arguments.restyle is not None:
        found["ReStyle for e4e"] = replace(usual, pack=arguments.restyle)
    return found


@dataclass(frozen=True)
class Measure:
    """One row of the table: its names, where it comes from, and how to get its figures."""

    question: str
    way: str
    clip: Path
    origin: dict[str, Any]
    figures: Callable[[], dict[str, Any]]

    @property
    def key(self) -> tuple[str, str, str]:
        """What `key_of` gives for its row."""
        return self.question, self.way, self.clip.stem

    def known(self, row: dict[str, Any] | None) -> bool:
        """Is this row of the same code, pack, options and clip?"""
        old = {} if row is None else row.get("provenance", {})
        return all(old.get(name) == self.origin[name] for name in ("code", "pack", "options", "inputs"))

    def row(self) -> dict[str, Any]:
        """Measured now."""
        names = {"question": self.question, "way": self.way, "clip": self.clip.stem}
        return {**names, **self.figures(), "provenance": self.origin}


def through(clip: Path, one: EncodeOptions, pack: ModelPack, seconds: float | None) -> dict[str, Any]:
    """Figures of one way of encoding a clip, file to file."""
    squares, there = inputs_of(clip, pack, seconds)
    inputs = [square for square, found in zip(squares, there, strict=True) if found]
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "out.stc"
        used = cpu_seconds()
        report = api.encode(clip, stream, one)
        row: dict[str, Any] = {"frames": report.frames, "bytes": report.bytes["total"]}
        row["cpu_seconds_per_frame"] = (cpu_seconds() - used) / report.frames
        outputs = [p for p, found in zip(outputs_of(stream, pack), there, strict=True) if found]
    row |= quality(inputs, outputs, pack, Yardstick())
    return row if report.paper is None else {**row, "paper": report.paper}


class Scene:
    """Some frames of a clip on their way through the paper's stages, for questions about one of them."""

    def __init__(self, clip: Path, pack: ModelPack, arguments: argparse.Namespace, paper: PaperOptions) -> None:
        squares, there = inputs_of(clip, pack, arguments.seconds)
        crops = [square for square, found in zip(squares, there, strict=True) if found][: arguments.frames]
        if not crops:
            raise StylecodecError(f"{clip} shows no face in its first frames")
        self.pictures = to_input(crops, CPU)
        inverter = Inverter(pack, CPU, paper.side_for(pack.indices))
        latents = inverter.latents(self.pictures)
        similarity = inverter.similarity(self.pictures, inverter.pictures(latents))
        latent = latents[int(similarity.argmax())].numpy().astype(np.float16)
        target = FRAME if paper.target not in (FRAME, INVERSION) else paper.target
        self.search = ChunkSearch(pack, inverter, latent, target, paper)
        masks = self.search.reader(self.pictures)
        opened = masks.lids > BLINK * masks.lids.median()
        with torch.no_grad():
            rough = rough_pose(pack.face_mesh(CPU)(self.pictures))
        self.chunk = Chunk(self.pictures, latents, opened, rough)
        self.prepared: Prepared = self.search.prepared(self.chunk)

    def loss(self, pose: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Eq. 9 [n] as Algorithm 1 leaves it, every frame after the one before."""
        search, count = self.search, len(alpha)
        styles = search.rendering.posed(search.pose.anchor, pose[:count])
        target = search.loss.target(self.prepared.pictures, self.prepared.masks, self.chunk.open.float())
        made = search.rendering.in_batches(styles, alpha, 8)
        pictures = target.pictures[:count]
        there = torch.ones(count)
        there[0] = 0
        before = Before(torch.cat([made[:1], made[:-1]]), torch.cat([pictures[:1], pictures[:-1]]), there)
        with torch.no_grad():
            return search.loss(made, target.rows(torch.arange(count)), before)


def pose_figures(clip: Path, pack: ModelPack, arguments: argparse.Namespace, target: str) -> dict[str, Any]:
    """Eq. 2's loss at the angles that it finds, and at those read directly."""
    scene = Scene(clip, pack, arguments, PaperOptions(target=target))
    search, found = scene.search, {}
    found["eq2"] = search.pose_losses(scene.prepared, search.poses(scene.prepared))
    direct = torch.from_numpy(scene.chunk.rough)
    found["mesh"] = search.pose_losses(scene.prepared, direct)
    found["still"] = search.pose_losses(scene.prepared, torch.zeros_like(direct))
    if pack.has("feedforward"):
        with torch.no_grad():
            found["feedforward"] = search.pose_losses(scene.prepared, pack.feedforward(CPU)(scene.pictures).pose)
    row: dict[str, Any] = {"frames": len(scene.pictures), "target": target}
    for name, losses in found.items():
        row |= {f"{name}_loss": float(losses.mean()), f"{name}_loss_worst": float(losses.max())}
    return {**row, "of_direct": row["eq2_loss"] / row["mesh_loss"]}


def speed_figures(clip: Path, pack: ModelPack, arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds per frame of the reference and of the fast path, and their losses."""
    paper = PaperOptions(target=arguments.target, epochs=arguments.epochs)
    scene = Scene(clip, pack, arguments, paper)
    search, count = scene.search, len(scene.pictures)
    pose = search.poses(scene.prepared)
    styles = search.rendering.posed(search.pose.anchor, pose)
    target = search.loss.target(scene.prepared.pictures, scene.prepared.masks, scene.chunk.open.float())
    begun = process_time()
    alpha, _ = search.attributes.solve(styles, target, None, search.guess(scene.chunk))
    fast = (process_time() - begun) / count
    few = min(count, arguments.reference_frames)
    found = float(scene.loss(pose, alpha)[:few].mean())
    search.loss.first = None
    begun = process_time()
    slow, _ = search.attributes.reference(rows_of(styles, slice(0, few)), target.rows(torch.arange(few)), None)
    spent = (process_time() - begun) / few
    reached = float(scene.loss(pose, slow).mean())
    return {
        "frames": count,
        "reference_frames": few,
        "fast_seconds": fast,
        "fast_loss": found,
        "reference_seconds": spent,
        "reference_loss": reached,
        "reference_epochs": arguments.epochs,
        "seconds_per_epoch": spent / arguments.epochs,
        "times": spent / fast,
        "loss_of_reference": found / reached,
        "target": search.target,
    }


def measures_of(clip: Path, pack: ModelPack, arguments: argparse.Namespace) -> Iterator[Measure]:
    """Every row that was asked for, of one clip."""
    for question, ways in ((WAYS, ways_of), (ABLATIONS, ablations_of)):
        for way, one in ways(arguments).items() if question in arguments.only else ():
            own = pack if one.pack == DEFAULT_PACK else open_pack(one.pack)
            one = replace(one, pack=own.folder)
            figures = partial(through, clip, one, own, arguments.seconds)
            yield Measure(question, way, clip, provenance(own, one, [clip]), figures)
    frames = {"seconds": arguments.seconds, "frames": arguments.frames}
    if POSE in arguments.only:
        for target in TARGETS:
            figures = partial(pose_figures, clip, pack, arguments, target)
            yield Measure(POSE, target, clip, provenance(pack, {**frames, "target": target}, [clip]), figures)
    if SPEED in arguments.only:
        reference = {"target": arguments.target, "few": arguments.reference_frames, "epochs": arguments.epochs}
        origin = provenance(pack, {**frames, **reference}, [clip])
        yield Measure(SPEED, "speed", clip, origin, partial(speed_figures, clip, pack, arguments))


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    """What a row is of."""
    return row["question"], row.get("way", ""), row["clip"]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The plain figures of a row, and the tracks' correlations."""
    plain = {name: value for name, value in row.items() if isinstance(value, int | float | str)}
    tracks = {name: values["correlation"] for name, values in row.get("tracks", {}).items()}
    return {**plain, **tracks}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and worst over clips of every question and way."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["question"], row.get("way", "")), []).append(row)
    found = []
    for (question, way), own in groups.items():
        names = [name for name in SUMMED if name in own[0]]
        line: dict[str, Any] = {"question": question, "way": way, "clips": len(own)}
        for name in names:
            values = [row[name] for row in own]
            worst = max(values) if name in ("identity", "of_direct", "loss_of_reference") else min(values)
            line |= {name: float(np.mean(values)), f"{name}_worst": worst}
        found.append(line)
    return found


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="videos of one person each")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--clips", type=int, help="how many of the videos (default: all)")
    parser.add_argument("--seconds", type=float, help="of each (default: all)")
    parser.add_argument("--frames", type=int, default=16, help="of each, for pose and speed (default: %(default)s)")
    parser.add_argument("--reference-frames", type=int, default=3, help="line by line (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=PaperOptions.epochs, help="N of the reference (default: %(default)s)"
    )
    parser.add_argument("--target", choices=(FRAME, INVERSION), default=FRAME, help="for speed (%(default)s)")
    parser.add_argument("--personalized", action="store_true", help="each way on a tuned generator as well")
    parser.add_argument("--minutes", type=float, default=TUNING[FULL].minutes, help="for that (default: %(default)s)")
    parser.add_argument("--restyle", type=Path, metavar="PACK", help="the same pack with ReStyle as its inversion")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--results", type=Path, default=FILE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = arguments_of(argv)
    pack, failed = open_pack(arguments.pack), 0
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    known: dict[tuple[str, str, str], dict[str, Any]] = {}
    if arguments.results.is_file():
        known = {key_of(row): row for row in json.loads(arguments.results.read_text())["rows"]}
    for clip in arguments.inputs[: arguments.clips]:
        try:
            for measure in measures_of(clip, pack, arguments):
                if measure.known(known.get(measure.key)):
                    continue
                row = known[measure.key] = measure.row()
                print(table([shown(row)]), flush=True)
                arguments.results.write_text(as_json({"rows": [known[key] for key in sorted(known)]}) + "\n")
        except StylecodecError as error:
            failed += 1
            print(f"failed: {clip.name}: {error}")
    for line in summary(list(known.values())):
        print(table([line]))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
