"""Does the square follow the head, and does it stand still with it? Known motion, and the picture itself.

    python -m benchmarks.square clip.mp4 [clip2.mp4 ...] --seconds 3

Each clip shows one person whose head moves little. Two questions, by the encoder's own aligner:

- follow: the clip as if the camera was shaken: every frame is turned by up to 15 degrees at 1.5 Hz, and moved by 0.6
  eye distances at 2 Hz, with half of that across at 0.9 Hz; then written as H.264. The square of the shaken clip should
  be that of the clip as it is, moved likewise. Reported is what it is off: roll (RMS, worst, degrees) and centre (RMS
  across and down, worst, in eye distances).
- still: how the square of the clip as it is moves over the head. Squares are cut out and the rigid part of the face
  (forehead, eyes, nose) is registered to its mean over the clip, to hundredths of a pixel: a robust similarity with
  brightness and contrast. Reported are RMS of the way in pixels of a square of 512 and of the roll in degrees, as a
  whole and `fast`: less what is slower than about 1 Hz. Slow ways come with turning heads and with the frown and are no
  trembling.

`raw` is the same without smoothing over time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec.errors import StylecodecError
from stylecodec.face.align import AlignedTrack, Aligner, laid
from stylecodec.face.landmarks import make_landmarker
from stylecodec.face.warp import Frame, warp
from stylecodec.geometry import Similarity
from stylecodec.media.video import VideoReader
from stylecodec.media.writer import VideoWriter
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

Floats = NDArray[np.float64]

ROLL, RISE, SWAY = (15.0, 1.5), (0.6, 2.0), (0.3, 0.9)  # degrees or eye distances, Hz
EYES_PER_SIDE = 0.235  # eye distances in the side of a square, about
FILLING = (90, 90, 90)  # grey levels of what a shaken picture does not show
SIDE = 256  # of the cut squares that are registered
SHOWN = 512  # of the square in whose pixels the ways are told
RIGID = (0.5, 0.45, 0.22, 0.17)  # ellipse in the square: centre and half axes; brows to the tip of the nose
BLUR, STEPS = 1.5, 8  # pixels before registering, Gauss–Newton steps
OUTLIER = 8.0  # grey levels: scale of the Geman–McClure weights
SLOW = 0.19  # seconds, sigma of the Gaussian that is taken off: half the power at 1 Hz


@dataclass(frozen=True)
class Way:
    """[n] each: moves across and down in pixels, turn in degrees."""

    across: Floats
    down: Floats
    turn: Floats

    def fast(self, rate: float) -> Way:
        """Less what is slower than about 1 Hz."""
        return Way(
            *(v - gaussian_filter1d(v, SLOW * rate, mode="nearest") for v in (self.across, self.down, self.turn))
        )

    @property
    def pixels(self) -> float:
        """RMS of the way."""
        return float(np.sqrt(np.mean(self.across**2 + self.down**2)))

    @property
    def degrees(self) -> float:
        """RMS of the turn."""
        return float(np.sqrt(np.mean(self.turn**2)))


def shake(seconds: float, eyes: float, size: tuple[int, int]) -> Similarity:
    """The camera's motion at a time; `eyes`: pixels of an eye distance; size: width and height of the picture."""
    turn, rise, sway = (of * np.sin(2 * np.pi * rate * seconds) for of, rate in (ROLL, RISE, SWAY))
    middle = np.asarray(size) / 2
    turned = Similarity(1.0, float(turn))
    tx, ty = middle - turned.apply(middle) + eyes * np.array([sway, rise])
    return Similarity(1.0, float(turn), float(tx), float(ty))


def shaken(frame: Frame, motion: Similarity) -> Frame:
    """A frame [H, W, 3] moved."""
    back = motion.inverse().matrix
    height, width = frame.shape[:2]
    moved = Image.fromarray(frame).transform(
        (width, height), Image.Transform.AFFINE, tuple(back.flatten()), Image.Resampling.BICUBIC, fillcolor=FILLING
    )
    return np.asarray(moved, np.uint8)


def astray(found: AlignedTrack, truth: AlignedTrack, motions: Sequence[Similarity]) -> dict[str, float]:
    """How far squares are from known ones moved by known motions, in degrees and in eye distances."""
    count = min(len(found), len(truth), len(motions))
    pairs = list(zip(motions[:count], truth.squares[:count], strict=True))
    centre = np.array([motion.apply(square[:2]) for motion, square in pairs])
    roll = np.array([motion.rotation_deg + square[3] for motion, square in pairs])
    off = (found.squares[:count, :2] - centre) / (EYES_PER_SIDE * truth.squares[:count, 2:3])
    wrong = found.roll_deg[:count] - roll
    across, down = np.sqrt(np.mean(off**2, axis=0))
    return {
        "roll": float(np.sqrt(np.mean(wrong**2))),
        "roll_worst": float(np.abs(wrong).max()),
        "across": float(across),
        "down": float(down),
        "worst": float(np.abs(off).max()),
    }


def registered(pictures: Sequence[Frame]) -> Way:
    """How the rigid part of the face moves in pictures [S, S, 3] of it, against its mean over all of them."""
    grey = np.stack([gaussian_filter(np.asarray(p, np.float64).mean(axis=2), BLUR) for p in pictures])
    side = grey.shape[1]
    mean = grey.mean(axis=0)
    down, across = np.indices(mean.shape)
    cx, cy, rx, ry = np.array(RIGID) * side
    x, y = across + 0.5 - cx, down + 0.5 - cy
    inside = (x / rx) ** 2 + (y / ry) ** 2 < 1
    slope_y, slope_x = np.gradient(mean)
    x, y, gx, gy, level = (v[inside] for v in (x, y, slope_x, slope_y, mean))
    columns = np.column_stack([gx * x + gy * y, gy * x - gx * y, gx, gy, level, np.ones_like(level)])
    ways = np.array([_moved(one, level, columns, (x, y), (cx, cy)) for one in grey])
    return Way(ways[:, 2], ways[:, 3], np.rad2deg(ways[:, 1]))


def _moved(
    picture: Floats, level: Floats, columns: Floats, at: tuple[Floats, Floats], middle: tuple[float, float]
) -> Floats:
    """[4]: growth, turn in radians, across, down of one picture against the mean (forward additive, its slopes)."""
    (x, y), p, light = at, np.zeros(4), np.array([1.0, 0.0])
    for _ in range(STEPS):
        px = x + p[0] * x - p[1] * y + p[2] + middle[0] - 0.5
        py = y + p[1] * x + p[0] * y + p[3] + middle[1] - 0.5
        seen = map_coordinates(picture, [py, px], order=1, mode="nearest")
        error = seen - light[0] * level - light[1]
        weight = (OUTLIER**2 / (OUTLIER**2 + error**2)) ** 2
        weighted = columns * weight[:, None]
        step = np.linalg.solve(weighted.T @ columns, weighted.T @ error)
        p -= step[:4]
        light += step[4:]
    return p


class Bench:
    """One pack's aligner on clips; every clip is measured once."""

    def __init__(self, pack: ModelPack, seconds: float) -> None:
        landmarker = make_landmarker("pack", pack.landmarks("cpu"), pack.alignment)
        self.aligner, self.alignment = Aligner(landmarker, alignment=pack.alignment), pack.alignment
        self.seconds = seconds

    def squares(self, clip: Path) -> dict[str, AlignedTrack]:
        """Those of a clip, steady and raw."""
        reader = VideoReader(clip)
        seen = self.aligner.measured(self.frames(reader))
        return {
            name: laid(seen, float(reader.rate), self.alignment, steady)
            for name, steady in (("steady", True), ("raw", False))
        }

    def frames(self, reader: VideoReader) -> Iterator[Frame]:
        """The part of a clip that is looked at."""
        return (frame for _, frame in reader.frames(0.0, self.seconds))

    def rows(self, clip: Path, folder: Path) -> list[dict[str, Any]]:
        """The clip's figures, smoothed and raw."""
        reader = VideoReader(clip)
        rate = float(reader.rate)
        plain = self.squares(clip)
        moving = folder / f"{clip.stem}.mp4"
        motions = self.write_shaken(reader, moving, EYES_PER_SIDE * float(np.median(plain["steady"].squares[:, 2])))
        followed, rows = self.squares(moving), []
        for name in followed:
            way = registered([warp(f, plain[name][k], SIDE) for k, f in enumerate(self.frames(reader))])
            fast, scale = way.fast(rate), SHOWN / SIDE
            rows.append(
                {
                    "clip": clip.stem,
                    "filter": name,
                    **astray(followed[name], plain["steady"], motions),
                    "still_px": way.pixels * scale,
                    "still_deg": way.degrees,
                    "fast_px": fast.pixels * scale,
                    "fast_deg": fast.degrees,
                }
            )
        return rows

    def write_shaken(self, reader: VideoReader, path: Path, eyes: float) -> list[Similarity]:
        """The clip shaken, as a video; the motion of each frame."""
        motions, rate, writer = [], Fraction(reader.rate), None
        for number, frame in enumerate(self.frames(reader)):
            height, width = (side - side % 2 for side in frame.shape[:2])
            motions.append(shake(number / float(rate), eyes, (width, height)))
            writer = writer or VideoWriter(path, width, height, rate)
            writer.write(shaken(frame[:height, :width], motions[-1]))
        if writer is not None:
            writer.close()
        return motions


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit code 1 when a clip failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="videos of one head that moves little")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip (default: %(default)s)")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="pack to align by (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "square.json", help="file (default: %(default)s)")
    given = parser.parse_args(arguments)
    pack = open_pack(given.pack)
    origin = provenance(pack, vars(given), given.clips, rooms=["face", "media", "nets", "packs"])
    bench, rows, failed = Bench(pack, given.seconds), [], []
    with tempfile.TemporaryDirectory() as folder:
        for clip in given.clips:
            try:
                rows += bench.rows(clip, Path(folder))
            except StylecodecError as error:
                failed.append({"clip": clip.stem, "error": str(error)})
    print(table(rows + failed))
    save(given.results, origin, {"seconds": given.seconds, "clips": rows, "failed": failed})
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
