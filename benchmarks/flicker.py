"""Does a still face stay still, and is there a grid in it? One picture, with and without noise, through the codec.

    python -m benchmarks.flicker face.jpg clip.mp4 --frames 60 --size 256 1024

Of a video its middle frame is taken. The picture is repeated, given fresh Gaussian noise in every frame, compressed as
H.264 as a camera would, encoded with default options and decoded aligned. Reported is the mean absolute change from
frame to frame in grey levels (0..255) of the aligned input and of the output at each size; the noise is the input's.
`grid` is how far the lattice of the generator's up-sampling stands out of the output's spectrum, in decibels: a few
where there is none.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import OFF, EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.media import Frame, VideoReader, is_picture, read_image
from stylecodec.media.writer import VideoWriter
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

RATE = Fraction(25)
PERIODS = (2, 4, 8)  # pixels, of the lattices that up-sampling by twos may leave
AROUND, GRID_FRAMES = 12, 4  # frequencies either side that a lattice's is held against; frames looked at


def picture_of(path: Path) -> Frame:
    """A still, or the middle frame of a video, cut to even sides."""
    if is_picture(path):
        image = read_image(path)
    else:
        reader = VideoReader(path)
        middle = reader.frame_count // 2
        image = next(frame for k, (_, frame) in enumerate(reader.frames()) if k == middle)
    height, width = (side - side % 2 for side in image.shape[:2])
    return image[:height, :width]


def still_clip(image: Frame, path: Path, frames: int, noise: float) -> None:
    """Write `frames` frames of one picture with Gaussian noise of `noise` grey levels."""
    rng = np.random.default_rng(0)
    height, width = image.shape[:2]
    with VideoWriter(path, width, height, RATE) as writer:
        for _ in range(frames):
            noisy = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
            writer.write(np.clip(np.round(noisy), 0, 255).astype(np.uint8))


def change(frames: Sequence[Frame]) -> float:
    """Mean absolute difference of neighbouring frames in grey levels."""
    return float(np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in pairwise(frames)]))


def grid(frames: Sequence[Frame]) -> float:
    """Power of rows or columns at periods of 2, 4, 8 pixels over that of the frequencies around, dB: the worst."""
    grey = np.mean(frames, axis=-1)
    found = []
    for lines in (grey, grey.swapaxes(1, 2)):
        count = lines.shape[-1]
        spectrum = np.square(np.abs(np.fft.rfft(lines * np.hanning(count)))).mean(axis=(0, 1))
        for period in PERIODS:
            at = count // period
            near = np.r_[spectrum[at - AROUND : at - 3], spectrum[at + 4 : at + AROUND + 1]]
            found.append(10 * np.log10(spectrum[at - 1 : at + 2].max() / np.median(near)))
    return float(max(found))


def measure(
    image: Frame, pack: ModelPack, work: Path, frames: int, noise: float, sizes: Sequence[int]
) -> dict[str, float]:
    """Change from frame to frame of the source, and that and the grid of the output at each size."""
    clip, stream = work / "still.mp4", work / "still.stc"
    still_clip(image, clip, frames, noise)
    api.encode(clip, stream, EncodeOptions(pack=pack.folder, device="cpu", audio=False, likeness=OFF))
    out = {"noise": noise, "input": change([frame for _, frame in VideoReader(clip).frames()])}
    for size in sizes:
        with Decoder.open(stream, device="cpu", pack=pack, size=size, pose="aligned", as_numpy=True) as decoder:
            shown = [np.asarray(frame) for frame in decoder]
        out |= {f"output_{size}": change(shown), f"grid_{size}": grid(shown[:GRID_FRAMES])}
    return out


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flicker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="stills and videos")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 2.0], help="grey levels (%(default)s)")
    parser.add_argument("--size", type=int, nargs="*", default=[256], help="of the decoded frames (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "flicker.json")
    arguments = parser.parse_args(argv)
    pack = open_pack(arguments.pack)
    origin = provenance(pack, vars(arguments), arguments.inputs)
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.inputs:
            try:
                image = picture_of(path)
                for noise in arguments.noise:
                    found = measure(image, pack, Path(folder), arguments.frames, noise, arguments.size)
                    rows.append({"face": path.stem, **found})
            except StylecodecError as error:
                failures[path.stem] = str(error)
    print(table(rows))
    for name, sentence in failures.items():
        print(f"failed: {name}: {sentence}")
    save(arguments.results, origin, {"frames": arguments.frames, "rows": rows, "failures": failures})
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
