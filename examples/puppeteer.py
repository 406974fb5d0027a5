"""Make someone else say it: the identity of a picture or a stream, the motion and sound of another stream.

python examples/puppeteer.py portrait.jpg talk.stc puppet.mp4 [SIZE]
"""

import sys
from pathlib import Path

import stylecodec


def main(who: str, driving: str, video: str, size: str = "512") -> None:
    stream = Path(video).with_suffix(".stc")
    stylecodec.puppet(who, driving, stream)  # swaps one 18 KiB identity; no frame is rendered
    report = stylecodec.decode(stream, video, size=int(size))
    print(f"{video}: {report.frames} frames, {report.frames / report.seconds_taken:.1f} per second")


if __name__ == "__main__":
    main(*sys.argv[1:])
