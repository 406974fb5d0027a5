"""Make docs/front.png, the picture of the README: input, output and puppet, side by side, five moments of a clip.

python benchmarks/front_picture.py examples/talk.mp4 examples/portrait.png docs/front.png
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylecodec import api
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import EncodeOptions
from stylecodec.media.video import VideoReader

SIDE, MOMENTS = 256, 5


def column(title: str, frames: list[np.ndarray]) -> np.ndarray:
    """Frames [SIDE, SIDE, 3] beside each other under a title."""
    row = np.hstack(frames)
    head = Image.new("RGB", (row.shape[1], 30), "white")
    ImageDraw.Draw(head).text((4, 5), title, fill="black", font=ImageFont.load_default(size=18))
    return np.vstack([np.asarray(head), row])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", default="avatar-1024")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stream, puppet = Path(folder) / "talk.stc", Path(folder) / "puppet.stc"
        report = api.encode(arguments.clip, stream, EncodeOptions(pack=arguments.pack))
        api.puppet(arguments.portrait, stream, puppet)
        picks = np.linspace(0.08, 0.92, MOMENTS) * report.frames
        numbers = [int(p) for p in picks]
        frames = [frame for _, frame in VideoReader(arguments.clip).frames()]
        side = min(frames[0].shape[:2])
        inputs = [np.asarray(Image.fromarray(frames[n][:side, :side]).resize((SIDE, SIDE), 1)) for n in numbers]
        rendered = []
        for path in (stream, puppet):
            with Decoder.open(path, size=SIDE, as_numpy=True) as decoder:
                rendered.append([np.asarray(decoder[n]) for n in numbers])
    per_frame = report.bytes["packets"] / report.frames
    rows = [
        column("input", inputs),
        column(f"decoded: one identity latent, {per_frame:.0f} bytes per frame", rendered[0]),
        column("puppet: the same stream, another identity", rendered[1]),
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(arguments.out, optimize=True)
    print(f"{arguments.out}: frames {numbers}, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
