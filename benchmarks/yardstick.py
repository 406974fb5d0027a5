"""How far can the yardstick be trusted? dlib's 68-point tracks of rendered people against the renderer's truth.

    python -m benchmarks.yardstick clips/ --short 40 --people talk.mp4 ... --geometry ict/

For the long clips of a folder as `benchmarks.held_out` takes it: `clip_<id>.mp4` beside its truth. The input alone is
read, no codec takes part. The predictor starts from a box, so other boxes than the detector's own are tried beside it:
larger, higher, and the mean of the points from several. So is another reader, MediaPipe's face mesh. Correlations over
time, mean over the clips that move. With --people, videos of which nobody knows the truth: there the two readers are
held against each other, on the input alone; where they disagree, no output can follow both to the letter. With
--geometry, the renderer's data, every clip gets a double: another rendered person who does exactly the same. What a
reader makes of the two is the most that it can say of an avatar with a face of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.landmark_tracks import ENLARGED, SIDE, Yardstick, aligner, enlarged, means
from benchmarks.likeness import batches
from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec.errors import StylecodecError
from stylecodec.face.align import crops
from stylecodec.face.detect import Box
from stylecodec.media import Frame, VideoReader
from stylecodec.metrics.tracks import MESH_AS_68, NAMES, Floats, compare, face_tracks
from stylecodec.packs.store import embedded_pack

OWN = "the detector's"  # what Yardstick reads by
# Times the side of the detector's box, and by how much of it higher; more than one: the mean of the points.
BOXES: Mapping[str, Sequence[tuple[float, float]]] = {
    OWN: ((1.0, 0.0),),
    "larger": ((1.15, 0.0),),
    "higher": ((1.0, 0.05),),
    "larger and higher": ((1.3, 0.1),),
    "mean of five": ((1.0, 0.0), (1.05, 0.0), (0.95, 0.0), (1.0, 0.03), (1.0, -0.03)),
}
MESH = "the face mesh"
DOUBLE = 100  # the double of person n is person n + 100


def moved(box: Box, scale: float, higher: float) -> Box:
    """`scale` times as large around its middle, and moved up by `higher` of its height."""
    left, top, right, bottom = box.as_tuple()
    half, middle = scale * (right - left) / 2, (left + right) / 2
    centre = (top + bottom) / 2 - higher * (bottom - top)
    return Box(middle - half, centre - half, middle + half, centre + half)


def read(pictures: Sequence[Frame], box: Box, yardstick: Yardstick) -> dict[str, dict[str, Floats]]:
    """The tracks by each kind of box."""
    large = [enlarged(picture) for picture in pictures]

    def points(scale: float, higher: float) -> Floats:
        return np.stack([yardstick.predictor(picture, moved(box, scale, higher)) for picture in large]).astype(float)

    return {kind: face_tracks(np.mean([points(*one) for one in many], axis=0)) for kind, many in BOXES.items()}


def read_by_mesh(pictures: Sequence[Frame]) -> dict[str, Floats]:
    """The tracks by the face mesh."""
    mesh = embedded_pack().face_mesh("cpu")
    with torch.no_grad():
        points = torch.cat([mesh(few)[:, list(MESH_AS_68)] for few in batches(pictures, 8)])
    return face_tracks(points.double().numpy())


def aligned(frames: Callable[[], Iterator[Frame]], rate: float) -> list[Frame]:
    """The aligned squares of a clip that is passed twice, `rate` frames per second."""
    return list(crops(frames(), aligner().track(frames(), rate), SIDE))


def of_file(path: Path) -> list[Frame]:
    """The aligned squares of a video."""
    reader = VideoReader(path)
    return aligned(lambda: (frame for _, frame in reader.frames()), float(reader.rate))


class Doubles:
    """Rendered people who do what others do."""

    def __init__(self, geometry: Path) -> None:
        from stylecodec.training.heads.assets import load_assets
        from stylecodec.training.heads.model import HeadModel
        from stylecodec.training.heads.renderer import Renderer

        self.renderer = Renderer(HeadModel(load_assets(geometry)), 512)

    def __call__(self, number: int, frames: int, rate: float) -> list[Frame]:
        """The aligned squares of somebody else's performance of the clip of person `number`."""
        from stylecodec.training.heads.clips import render_clip

        clip = render_clip(self.renderer, number + DOUBLE, frames, rate, seed=number)
        return aligned(lambda: iter(clip.frames), rate)


def read_by_both(what: str, pictures: Sequence[Frame], yardstick: Yardstick) -> dict[str, dict[str, Floats]]:
    """The tracks by dlib and by the face mesh; StylecodecError, which names `what`, where dlib sees no face."""
    points = yardstick(pictures)
    if points is None:
        raise StylecodecError(f"{what}: the detector sees no face in the aligned pictures")
    return {OWN: face_tracks(points), MESH: read_by_mesh(pictures)}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.yardstick",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, help="folder of clip_<id>.mp4 with clip_<id>.npz")
    parser.add_argument("--short", type=int, default=0, help="the first N clips are too short for a correlation")
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="videos of which nobody knows the truth")
    parser.add_argument("--geometry", type=Path, help="the renderer's data, to draw a double of every clip")
    parser.add_argument("--results", type=Path, default=RESULTS / "yardstick.json")
    arguments = parser.parse_args()
    yardstick = Yardstick()
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {kind: {} for kind in (*BOXES, MESH)}
    doubles = None if arguments.geometry is None else Doubles(arguments.geometry)
    doubled: dict[str, dict[str, dict[str, dict[str, float]]]] = {OWN: {}, MESH: {}}
    clips = sorted(arguments.clips.glob("clip_*.mp4"))[arguments.short :]
    origin = provenance(None, vars(arguments), [*clips, *arguments.people], rooms=["face", "media", "nets"])
    for path in clips:
        pictures = of_file(path)
        box = yardstick.box(pictures)
        if box is None:
            print(f"{path.name}: the detector sees no face")
            continue
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as truth:
            true = face_tracks(truth["landmarks"].astype(np.float64))
            number, rate = int(truth["identity_id"]), float(truth["rate"])
        mine = read(pictures, box, yardstick) | {MESH: read_by_mesh(pictures)}
        for kind, tracks in mine.items():
            found[kind][path.stem] = compare(true, tracks)
        if doubles is not None:
            theirs = doubles(number, len(pictures), rate)
            for kind, tracks in read_by_both(f"the double of {path.name}", theirs, yardstick).items():
                doubled[kind][path.stem] = compare(mine[kind], tracks)
        print(path.name, flush=True)
    mean = {kind: means(clips) for kind, clips in found.items()}
    print(table([{"reader": kind, **correlations(values)} for kind, values in mean.items()]))
    ceiling = {kind: means(rows) for kind, rows in doubled.items() if rows}
    if ceiling:
        print("\na person against another who does exactly the same")
        print(table([{"reader": kind, **correlations(values)} for kind, values in ceiling.items()]))
    people = {path.stem: agreement(path, yardstick) for path in arguments.people}
    if people:
        print("\nthe face mesh against dlib, on the input alone")
        print(table([{"clip": name, **correlations(row)} for name, row in (people | {"mean": means(people)}).items()]))
    facts = {"enlarged": ENLARGED, "clips": len(found["larger"]), "boxes": mean, "people": people}
    save(arguments.results, origin, {**facts, "doubles": {"mean": ceiling, "clips": doubled}})


def correlations(row: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Those of a row of `compare`."""
    return {name: row[name]["correlation"] for name in NAMES}


def agreement(path: Path, yardstick: Yardstick) -> dict[str, dict[str, float]]:
    """How the tracks by the face mesh follow those by dlib; StylecodecError where dlib sees no face."""
    tracks = read_by_both(str(path), of_file(path), yardstick)
    return compare(tracks[OWN], tracks[MESH])


if __name__ == "__main__":
    main()
