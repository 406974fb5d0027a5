"""Does the output follow the person? Landmark tracks of any input video against those of any output video.

    python -m benchmarks.landmark_tracks input.mp4 output.mp4
    python -m benchmarks.landmark_tracks a.mp4 a_out.mp4 b.mp4 b_out.mp4 --plots tracks/ --json

Works on the files alone, so any system can be scored: both videos are aligned by the same detector and the same five
points (constant scale, smoothed motion), dlib's 68-point predictor reads both, and frames are matched by time, so
sizes and frame rates may differ. Per pair and track: the correlation and, in brackets, the gain (the slope of output
over input); then the mean over the pairs. An output in which no face is seen follows nothing: 0. `scored` is the share
of the input's frames with a face that could be compared: less than all when the output ends early or shows no face in
some.
The tracks are defined in stylecodec.metrics.tracks. Needs nothing of a model pack.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measuring import RESULTS, as_json, save, table
from benchmarks.provenance import provenance
from stylecodec.errors import FaceNotFound, StylecodecError
from stylecodec.face.align import Aligner, crops
from stylecodec.face.detect import Box, FaceDetector
from stylecodec.face.landmarks import Dlib68, make_landmarker
from stylecodec.geometry import AVATAR_ALIGNMENT
from stylecodec.media import Frame, VideoReader
from stylecodec.metrics.tracks import NAMES, Floats, compare, face_tracks

SIDE = 256
SHOWN = 0.75  # intervals between frames that the last one of an output counts for
ENLARGED = 3  # times, before the predictor, which answers in whole pixels
LOOKED = 12  # frames of a clip in which the detector is asked for the face's box
Tracks = Mapping[str, Floats]


class Yardstick:
    """dlib's 68 points on aligned pictures."""

    def __init__(self) -> None:
        self.detector, self.predictor = FaceDetector(), Dlib68()

    def __call__(self, pictures: Sequence[Frame]) -> Floats | None:
        """Points [n, 68, 2], in pixels of enlarged pictures, of one aligned face; None when the detector sees none."""
        box = self.box(pictures)
        if box is None:
            return None
        return np.stack([self.predictor(enlarged(picture), box) for picture in pictures]).astype(np.float64)

    def box(self, pictures: Sequence[Frame]) -> Box | None:
        """Where the predictor starts, in pixels of enlarged pictures.

        The median of a few detections serves all frames, since the face stays in place in aligned pictures and a box
        that moves would move the points. Other boxes than the detector's own read brows worse (`benchmarks.yardstick`).
        """
        picks = np.unique(np.linspace(0, len(pictures) - 1, LOOKED).astype(int)) if pictures else ()
        seen = [found.box.as_tuple() for k in picks if (found := self.detector(pictures[k])) is not None]
        return Box(*(float(side) * ENLARGED for side in np.median(seen, axis=0))) if seen else None


def enlarged(picture: Frame) -> Frame:
    """A picture [H, W, 3] at ENLARGED times its size."""
    height, width = picture.shape[:2]
    size = (width * ENLARGED, height * ENLARGED)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.uint8)


@dataclass(frozen=True)
class Watched:
    """One video as the yardstick saw it: times [n] in seconds, tracks [n], which frames show a face [n]."""

    times: Floats
    tracks: Tracks
    found: NDArray[np.bool_]

    @property
    def interval(self) -> float:
        """Seconds between two frames, usually; of one frame alone, infinite: it is shown for as long as one looks."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else float("inf")


def aligner() -> Aligner:
    """The aligner of the yardstick, which needs nothing of a model pack."""
    return Aligner(make_landmarker("dlib5", None, AVATAR_ALIGNMENT), alignment=AVATAR_ALIGNMENT)


def watch(path: Path, yardstick: Yardstick, seconds: float | None = None) -> Watched:
    """Align and read a video of one face; without one, no frame is `found`. StylecodecError for what is no video."""
    reader = VideoReader(path)
    times: list[float] = []

    def timed() -> Iterator[Frame]:
        for time, frame in reader.frames(0.0, seconds):
            times.append(time)
            yield frame

    points = None
    with suppress(FaceNotFound):
        track = aligner().track(timed(), float(reader.rate))
        points = yardstick(list(crops((frame for _, frame in reader.frames(0.0, seconds)), track, SIDE)))
    at = np.array(times) - times[0]
    if points is None:
        return Watched(at, {name: np.zeros(len(at)) for name in NAMES}, np.zeros(len(at), bool))
    return Watched(at, face_tracks(points), track.found)


def nearest(times: Floats, wanted: Floats) -> NDArray[np.intp]:
    """For each of the wanted times [m] the frame of `times` [n] (rising) that is closest [m]."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    return np.where(wanted - times[before] <= times[np.minimum(after, len(times) - 1)] - wanted, before, after).clip(
        0, len(times) - 1
    )


@dataclass(frozen=True)
class Score:
    """What of an input an output follows: `compare`'s figures, the matched tracks, the share that could be compared."""

    following: dict[str, dict[str, float]]
    source: Tracks
    output: Tracks
    scored: float


def score(source: Watched, output: Watched) -> Score:
    """Compare the frames that are there, and show a face, in both; StylecodecError where the input shows none."""
    if not source.found.any():
        raise StylecodecError("no face is seen in the input")
    match = nearest(output.times, source.times)
    there = source.times <= output.times[-1] + SHOWN * output.interval
    keep = source.found & output.found[match] & there
    mine = {name: source.tracks[name][keep] for name in NAMES}
    theirs = {name: output.tracks[name][match][keep] for name in NAMES}
    scored = float(keep.sum() / source.found.sum())
    if not scored:
        return Score(unseen({name: source.tracks[name][source.found] for name in NAMES}), mine, theirs, scored)
    return Score(compare(mine, theirs), mine, theirs, scored)


def unseen(source: Tracks) -> dict[str, dict[str, float]]:
    """What an output follows in which no face is seen: nothing of whatever moves."""
    return compare(source, {name: np.zeros(len(source[name])) for name in NAMES})


def names_of(pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """What pairs are called: by the input, and the output where inputs are called alike; numbered if both are."""
    inputs = [source.stem for source, _ in pairs]
    names = [s.stem if inputs.count(s.stem) == 1 else f"{s.stem} {o.stem}" for s, o in pairs]
    return [name if names.count(name) == 1 else f"{name} {names[:k].count(name) + 1}" for k, name in enumerate(names)]


def means(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean correlation and gain of every track over the pairs in which the input moves; how many those are."""
    out = {}
    for name in NAMES:
        moved = [r[name] for r in results.values() if moves(r[name])]
        values = [known(r["correlation"]) for r in moved]
        out[name] = {
            "correlation": float(np.mean(values)) if values else float("nan"),
            "gain": float(np.mean([r["gain"] for r in moved])) if moved else float("nan"),
            "clips": float(len(moved)),
        }
    return out


def words(values: Mapping[str, float]) -> str:
    """`correlation (gain)`, 0 of what does not move at all, or a dash where the input hardly moves."""
    return f"{known(values['correlation']):+.2f} ({values['gain']:.2f})" if moves(values) else "–"


def moves(values: Mapping[str, float]) -> bool:
    """Does the input move in a track, so that an output can follow it?"""
    return values["gain"] == values["gain"]


def known(correlation: float) -> float:
    """A correlation, 0 where the output does not move."""
    return correlation if correlation == correlation else 0.0


def plot(title: str, tracks: Mapping[str, Tracks], rate: float, path: Path) -> None:
    """The tracks of one clip by who ("input", "output", …) over time, each less its median, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = dict(zip(tracks, ("black", "tab:red", "tab:blue", "tab:green"), strict=False))
    figure, axes = pyplot.subplots(len(NAMES), 1, sharex=True, figsize=(9, 10), dpi=80)
    for axis, track in zip(axes, NAMES, strict=True):
        for who, values in tracks.items():
            seconds = np.arange(len(values[track])) / rate
            axis.plot(seconds, values[track] - np.median(values[track]), color=colours[who], lw=0.9, label=who)
        axis.set_ylabel(track, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_title(title)
    if tracks:
        axes[0].legend(fontsize=7, ncols=3, loc="upper right")
    axes[-1].set_xlabel("seconds of frames with a face")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.landmark_tracks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", type=Path, nargs="+", help="input output [input output ...]")
    parser.add_argument("--seconds", type=float, help="of each clip (default: all)")
    parser.add_argument("--plots", type=Path, help="folder for one plot of the tracks per pair")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    example = RESULTS / "landmark_tracks.json"
    parser.add_argument("--results", type=Path, help=f"also write the figures as JSON, say {example}")
    arguments = parser.parse_args(argv)
    if len(arguments.videos) % 2:
        parser.error("give videos in pairs: input output [input output ...]")
    origin = provenance(None, vars(arguments), set(arguments.videos), rooms=["face", "media"])
    yardstick = Yardstick()
    scores: dict[str, Score] = {}
    failures: dict[str, str] = {}
    pairs = list(zip(arguments.videos[::2], arguments.videos[1::2], strict=True))
    for name, (source, output) in zip(names_of(pairs), pairs, strict=True):
        try:
            seen = watch(source, yardstick, arguments.seconds)
            found = scores[name] = score(seen, watch(output, yardstick, arguments.seconds))
        except StylecodecError as error:
            failures[name] = str(error)
            continue
        if arguments.plots and found.scored:
            arguments.plots.mkdir(parents=True, exist_ok=True)
            tracks = {"input": found.source, "output": found.output}
            plot(name, tracks, 1 / seen.interval, arguments.plots / f"{name}.png")
    results = {name: found.following for name, found in scores.items()}
    content: dict[str, Any] = {
        "pairs": {name: {**found.following, "scored": found.scored} for name, found in scores.items()},
        "mean": means(results),
        "failures": failures,
    }
    if arguments.json:
        print(as_json(content))
    else:
        shown = {**results, "mean": content["mean"]} if scores else {}
        rows = [{"clip": name, **{n: words(row[n]) for n in NAMES}} for name, row in shown.items()]
        for row, found in zip(rows, scores.values(), strict=False):
            row["scored"] = f"{found.scored:.0%}"
        print(table(rows))
        for name, sentence in failures.items():
            print(f"failed: {name}: {sentence}")
    if arguments.results:
        save(arguments.results, origin, content)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
