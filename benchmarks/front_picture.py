"""Make the picture of the README: input, output, personalised output and puppet, five moments of a clip.

python -m benchmarks.front_picture examples/talk.mp4 examples/portrait.png examples/front.png --minutes 6
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylecodec import api
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import FULL, OFF, EncodeOptions, TuneOptions
from stylecodec.media.video import VideoReader
from stylecodec.packs.card import DEFAULT_PACK

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
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--minutes", type=float, help="of personalisation; without it there is no such row")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stream, puppet, own = (Path(folder) / f"{name}.stc" for name in ("talk", "puppet", "own"))
        report = api.encode(arguments.clip, stream, EncodeOptions(pack=arguments.pack, likeness=OFF))
        api.puppet(arguments.portrait, stream, puppet)
        streams = {"decoded": stream, "puppet": puppet}
        if arguments.minutes:
            tune = TuneOptions(minutes=arguments.minutes)
            tuned = api.encode(arguments.clip, own, EncodeOptions(pack=arguments.pack, likeness=FULL, tune=tune))
            streams["own"] = own
        picks = np.linspace(0.08, 0.92, MOMENTS) * report.frames
        numbers = [int(p) for p in picks]
        frames = [frame for _, frame in VideoReader(arguments.clip).frames()]
        side = min(frames[0].shape[:2])
        inputs = [np.asarray(Image.fromarray(frames[n][:side, :side]).resize((SIDE, SIDE), 1)) for n in numbers]
        rendered = {}
        for name, path in streams.items():
            with Decoder.open(path, size=SIDE, as_numpy=True) as decoder:
                rendered[name] = [np.asarray(decoder[n]) for n in numbers]
    per_frame = report.bytes["packets"] / report.frames
    rows = [
        column("input", inputs),
        column(f"decoded: one identity latent, {per_frame:.0f} bytes per frame", rendered["decoded"]),
        column("puppet: the same stream, another identity", rendered["puppet"]),
    ]
    if "own" in rendered:
        delta = f"--likeness {FULL}, {tuned.bytes['personalization'] / 1000:,.0f} kB more, once per person"
        rows.insert(2, column(delta, rendered["own"]))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(arguments.out, optimize=True)
    print(f"{arguments.out}: frames {numbers}, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
