"""Encode a talking-head video and say where the bytes go.

python examples/encode_clip.py talk.mp4 talk.stc [PACK [LIKENESS]]

LIKENESS: off, quick (up to a minute of tuning the generator to the person, the default) or full.
"""

import sys

import stylecodec


def main(video: str, output: str, pack: str = "nobody-1024", likeness: str = "quick") -> None:
    report = stylecodec.encode(video, output, stylecodec.EncodeOptions(pack=pack, likeness=likeness))

    seconds = report.duration_seconds
    print(f"{report.frames} frames, {seconds:.2f} s, {report.held} without a face")
    for part, count in report.bytes.items():
        if count:
            print(f"  {part:<10}{count:>10,} bytes{count * 8 / seconds / 1000:10.2f} kbps")


if __name__ == "__main__":
    main(*sys.argv[1:])
