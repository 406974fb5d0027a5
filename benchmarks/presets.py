"""What each way of encoding gives: its time, its bytes, and how alike the picture is. The README's table is made of it.

    python -m benchmarks.presets examples/talk.mp4
    python -m benchmarks.presets examples/talk.mp4 clips/*.mp4 --ways fast balanced --seconds 3
    python -m benchmarks.presets clips/*.mp4 --ways quick --seconds 3
    python -m benchmarks.presets clips/*.mp4 --ways personalized --seconds 10 --minutes 15

Each clip goes through the whole codec with default options, file to file. Rows are kept by clip and way in
results/presets.json; a new run replaces its own and leaves the others with the provenance that they have.

    cpu_seconds     of all cores, the start-up of the networks not counted; they hold on a busy machine as well
    once, stream    bytes that are paid once (header, identity, personalised generator, index), and those that grow with
                    time (packets, sound)
    psnr, ssim      of the head that the pack's face parser sees in the input, aligned at 256², input against output
    identity        dlib's face-recognition distance between input and output: above 0.6, dlib sees another person
    tracks          what of the input's movements the output follows, by dlib's 68 points (see `landmark_tracks`)
    decode_ms       CPU milliseconds per frame of `decode` to 1024² with H.264; of the first way of each clip
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import personal_figures as figures
from benchmarks.landmark_tracks import Yardstick
from benchmarks.likeness import Frame
from benchmarks.measuring import RESULTS, as_json, table
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.front_end import front_end_for
from stylecodec.encoding.options import FULL, OFF, PRESETS, QUICK, TUNING, EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.face.align import crops
from stylecodec.media.video import VideoReader
from stylecodec.metrics.tracks import compare, face_tracks
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

FILE = RESULTS / "presets.json"
PERSONALIZED = "personalized"
ONCE = ("header", "identity", "personalization", "background", "index", "other")
STREAM = ("packets", "audio")
SIDE = figures.SIDE


def cpu_seconds() -> float:
    """Of this process and its children that have ended, so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def options_of(way: str, pack: ModelPack, seconds: float | None, minutes: float, processes: int) -> EncodeOptions:
    """Default options for one way of encoding."""
    usual = EncodeOptions(pack=pack.folder, device="cpu", duration=seconds)
    if way == PERSONALIZED:
        return replace(usual, likeness=FULL, tune=replace(TUNING[FULL], minutes=minutes, processes=processes))
    if way == QUICK:
        return replace(usual, likeness=QUICK)
    return replace(usual, preset=way, likeness=OFF)


def inputs_of(
    clip: Path, pack: ModelPack, seconds: float | None, start: float = 0.0
) -> tuple[list[Frame], list[bool]]:
    """The aligned squares of 256² that the encoder sees, and in which frames a face was found."""
    reader, front_end = VideoReader(clip), front_end_for(pack, EncodeOptions(device="cpu"))
    track = front_end.track((frame for _, frame in reader.frames(start, seconds)), float(reader.rate))
    squares = list(crops((frame for _, frame in reader.frames(start, seconds)), track, SIDE))
    return squares, [bool(found) for found in track.found]


def outputs_of(stream: Path, pack: ModelPack) -> list[Frame]:
    """What the decoder makes of a stream, as aligned squares of 256²."""
    with Decoder.open(stream, device="cpu", pack=pack, size=SIDE, pose="aligned", as_numpy=True) as decoder:
        return [np.asarray(frame, np.uint8) for frame in decoder]


def quality(inputs: Sequence[Frame], outputs: Sequence[Frame], pack: ModelPack, yardstick: Yardstick) -> dict[str, Any]:
    """How alike input and output are, and what the output follows."""
    found: dict[str, Any] = figures.likeness(inputs, outputs, figures.head_masks(inputs, pack))
    found["identity"] = figures.identity_distance(inputs, outputs)["mean"]
    points = [yardstick(list(frames)) for frames in (inputs, outputs)]
    if points[0] is not None and points[1] is not None:
        found["tracks"] = compare(face_tracks(points[0]), face_tracks(points[1]))
    return found


def measure(
    clip: Path, ways: Sequence[str], arguments: argparse.Namespace, pack: ModelPack
) -> Iterator[dict[str, Any]]:
    """The rows of one clip, one after the other."""
    squares, there = inputs_of(clip, pack, arguments.seconds)
    inputs = [square for square, found in zip(squares, there, strict=True) if found]
    yardstick = Yardstick()
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            options = options_of(way, pack, arguments.seconds, arguments.minutes, arguments.processes)
            origin, stream = provenance(pack, options, [clip]), Path(folder) / f"{way}.stc"
            begun, used = perf_counter(), cpu_seconds()
            report = api.encode(clip, stream, options)
            row: dict[str, Any] = {"clip": clip.stem, "way": way}
            row |= {"minutes": arguments.minutes} if way == PERSONALIZED else {}
            row |= {"frames": report.frames, "clip_seconds": report.duration_seconds}
            row |= {"cpu_seconds": cpu_seconds() - used, "wall_seconds": perf_counter() - begun}
            row |= {"once": sum(report.bytes.get(part, 0) for part in ONCE)}
            row |= {"stream": sum(report.bytes[part] for part in STREAM), "bytes": report.bytes}
            outputs = [picture for picture, found in zip(outputs_of(stream, pack), there, strict=True) if found]
            row |= quality(inputs, outputs, pack, yardstick)
            if way == ways[0]:
                used = cpu_seconds()
                api.decode(stream, Path(folder) / "out.mp4", device="cpu")
                row["decode_ms"] = 1000 * (cpu_seconds() - used) / report.frames
            print(table([shown(row)]), flush=True)
            yield {**row, "provenance": origin}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of the printed table."""
    names = ("clip", "way", "cpu_seconds", "once", "stream", "psnr", "psnr_worst", "ssim", "identity")
    return {name: row[name] for name in names}


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by clip and way: the new ones in place of old ones of the same."""
    rows = {(row["clip"], row["way"]): row for row in (*old, *new)}
    return [rows[key] for key in sorted(rows)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.presets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+", help="videos of one person each")
    parser.add_argument("--ways", nargs="+", choices=(*PRESETS, QUICK, PERSONALIZED), default=list(PRESETS))
    parser.add_argument("--seconds", type=float, help="of each clip (default: all)")
    minutes = TUNING[FULL].minutes
    parser.add_argument("--minutes", type=float, default=minutes, help="for personalising (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that share personalising (default: %(default)s)")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--results", type=Path, default=FILE)
    arguments = parser.parse_args(argv)
    pack, failed = open_pack(arguments.pack), 0
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    for clip in arguments.clips:
        try:
            for row in measure(clip, arguments.ways, arguments, pack):
                known = json.loads(arguments.results.read_text())["rows"] if arguments.results.is_file() else []
                arguments.results.write_text(as_json({"rows": merged(known, [row])}) + "\n")
        except StylecodecError as error:
            failed += 1
            print(f"failed: {clip.name}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
