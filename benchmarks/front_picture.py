"""Make the picture of the README: input, output with and without a likeness, and puppet, five moments of a clip.

python -m benchmarks.front_picture examples/talk.mp4 examples/portrait.png examples/front.png
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylecodec import api
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import OFF, EncodeOptions
from stylecodec.media.video import VideoReader
from stylecodec.packs.card import DEFAULT_PACK

SIDE, MOMENTS = 256, 5


def column(title: str, frames: list[np.ndarray]) -> np.ndarray:
    """Frames [SIDE, SIDE, 3] beside each other under a title."""
    row = np.hstack(frames)
    head = Image.new("RGB", (row.shape[1], 30), "white")
    ImageDraw.Draw(head).text((4, 5), title, fill="black", font=ImageFont.load_default(size=18))
    return np.vstack([np.asarray(head), row])


def _per_frame(report: api.EncodeReport) -> float:
    return report.bytes["packets"] / report.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: Path(folder) / f"{name}.stc" for name in ("decoded", "plain", "puppet")}
        usual = EncodeOptions(pack=arguments.pack)
        report = api.encode(arguments.clip, streams["decoded"], usual)
        plain = api.encode(arguments.clip, streams["plain"], replace(usual, likeness=OFF))
        api.puppet(arguments.portrait, streams["plain"], streams["puppet"])
        picks = np.linspace(0.08, 0.92, MOMENTS) * report.frames
        numbers = [int(p) for p in picks]
        frames = [frame for _, frame in VideoReader(arguments.clip).frames()]
        side = min(frames[0].shape[:2])
        inputs = [np.asarray(Image.fromarray(frames[n][:side, :side]).resize((SIDE, SIDE), 1)) for n in numbers]
        rendered = {}
        for name, path in streams.items():
            with Decoder.open(path, size=SIDE, as_numpy=True) as decoder:
                rendered[name] = [np.asarray(decoder[n]) for n in numbers]
    once = [sum(one.bytes[part] for part in ("identity", "personalization")) / 1000 for one in (report, plain)]
    rows = [
        column("input", inputs),
        column(f"decoded: {once[0]:.0f} kB once, {_per_frame(report):.0f} bytes per frame", rendered["decoded"]),
        column(f"--likeness {OFF}: {once[1]:.1f} kB once, {_per_frame(plain):.0f} bytes per frame", rendered["plain"]),
        column("puppet: the same stream, another identity", rendered["puppet"]),
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(arguments.out, optimize=True)
    print(f"{arguments.out}: frames {numbers}, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
