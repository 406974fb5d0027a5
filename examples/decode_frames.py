"""Decode frames of a stream into a numpy array, by number and by time, and save some as a picture.

python examples/decode_frames.py talk.stc strip.png
"""

import sys

import numpy as np
from PIL import Image

import stylecodec


def main(stream: str, picture: str) -> None:
    with stylecodec.Decoder.open(stream, device="auto", size=256, as_numpy=True) as decoder:
        print(f"{len(decoder)} frames at {decoder.fps:g} per second on {decoder.device}")
        first, last = decoder[0], decoder[-1]  # uint8 [256, 256, 3]
        middle = decoder.at(len(decoder) / decoder.fps / 2)  # by time: only its group is read
        clip = np.stack(list(decoder.frames(0, 8)))  # rendered in batches
        print(f"the first {len(clip)} frames are an array of {clip.shape} {clip.dtype}")
    Image.fromarray(np.concatenate([first, middle, last], axis=1)).save(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
