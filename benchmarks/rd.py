r"""What do ordinary codecs take for the same squares at the same quality, and how long must a call be?

    python -m benchmarks.rd talk.mp4 clips/*.mp4 --seconds 3 --steps 200 --work rd/
    python -m benchmarks.rd clips/d3.mp4 --sizes 512 1024 --work rd/ --out benchmarks/results/rd_large.json
    python -m benchmarks.rd clips/d3.mp4 --long 60 --ways fast+quick@54 --codecs x264 x265 --work rd/ \
        --out benchmarks/results/rd_long.json

One run of `stylecodec rd`, whose report (index.html, every point, curves) lies in --work and is taken up again from
there; results/rd.json gets the figures of it that RESULTS.md and README.md show. Ours are `fast` without a likeness and
with the quick one, which is tuned for --steps, so that no figure hangs on the clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, save
from benchmarks.provenance import provenance
from benchmarks.report_rd import METRIC
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.evaluation.rd.comparing import ALL
from stylecodec.evaluation.rd.options import RdOptions, codec_of, usual_ways, way_of
from stylecodec.evaluation.rd.rate_distortion import rate_distortion
from stylecodec.evaluation.rd.report import RdReport
from stylecodec.packs.store import open_pack
from stylecodec.progress import ProgressDisplay

METRICS = (METRIC, "SSIM", "parser-distance")
CODECS = ("x264", "x265", "svtav1", "vp9")


def figures(report: RdReport) -> dict[str, Any]:
    """Of a report what is shown: no single frames, BD-rates over all clips, break-even lengths at the same PSNR."""
    points = []
    for point in report.points:
        facts = point.as_dict()
        scores = {name: score["mean"] for name, score in facts["scores"].items()}
        kept = ("clip", "long", "size", "seconds", "frames", "system", "setting", "bytes", "kbps", "kbps_running")
        untuned = {name: score["mean"] for name, score in facts.get("frames_not_tuned_on", {}).items()}
        points.append({name: facts[name] for name in kept} | {"scores": scores, "scores_not_tuned_on": untuned})
    return {
        "metrics": list(report.metrics),
        "left_out": list(report.left_out),
        "points": points,
        "bd_rates": [one.as_dict() for one in report.comparisons if one.clip == ALL],
        "break_even": [one.as_dict() for one in report.break_evens if one.metric == METRIC],
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each clip")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="of tuning the quick likeness")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256], metavar="N", help="pixels per side")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="as of `stylecodec rd --points` (default: the usual)")
    parser.add_argument("--codecs", nargs="+", default=CODECS, metavar="CODEC", help="as of `stylecodec rd --codecs`")
    parser.add_argument("--long", type=float, metavar="S", help="seconds of a long call made of each clip as well")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of the report")
    parser.add_argument("--out", type=Path, default=RESULTS / "rd.json")
    arguments = parser.parse_args(argv)
    usual = EncodeOptions()
    ways = [way_of(words, usual) for words in arguments.ways] if arguments.ways else usual_ways(usual)
    options = RdOptions(
        ways=tuple(way.tuned_for(arguments.steps) for way in ways),
        codecs=dict(codec_of(words) for words in arguments.codecs),
        sizes=tuple(arguments.sizes),
        metrics=METRICS,
        duration=arguments.seconds,
        long=arguments.long,
    )
    told = asdict(replace(options, ways=())) | vars(arguments) | {"ways": [way.name for way in options.ways]}
    origin = provenance(open_pack(usual.pack), told, arguments.clips)
    with ProgressDisplay() as shown:
        report = rate_distortion(arguments.clips, arguments.work, options, shown)
    save(arguments.out, origin, {"rd": figures(report)})


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
