"""The golden figures of examples/talk.mp4, to which tests/test_embedded_pack.py holds the codec.

    python -m benchmarks.golden             measure, and say how far the figures are from the golden ones
    python -m benchmarks.golden --write     make what is measured the golden figures

A short stretch of the clip, in which the mouth speaks and the eyes blink, goes through the default encoder, with fewer
steps for the identity, and the decoder. Write the figures anew when the pack changes, or when a change of the codec is
meant to change them; say so in the commit. Nothing else writes them.

Networks differ in their last digits from CPU to CPU, and the fit of the identity makes more of it; hence the
tolerances. The one of the identity's bytes is wide because its step is looked for in leaps: one CPU may stop a leap
before another (4,293 and 5,227 bytes were seen of the same code, with PSNR 0.02 dB apart).
What is exact on every machine, bytes to numbers, is tested by the vectors of format_spec/.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import as_json
from benchmarks.presets import inputs_of, outputs_of
from benchmarks.provenance import ROOT, provenance
from benchmarks.yardstick import read_by_mesh
from stylecodec import api
from stylecodec.encoding.options import OFF, EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.media import Frame
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.metrics.ssim import mean_ssim
from stylecodec.metrics.tracks import following
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack

CLIP = ROOT / "examples" / "talk.mp4"
FILE = ROOT / "tests" / "golden" / "talk.json"
START, SECONDS = 1.76, 0.48  # a blink, and speech
STEPS = 8  # of the identity's fit
TRACKS = ("mouth_open", "eyes_open")

#: How far a figure may be from the golden one: (a share of it, or an amount).
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "identity_bytes": (0.3, 0),
    "packets_bytes": (0.05, 2),
    "psnr": (0, 0.2),
    "psnr_worst": (0, 0.4),
    "ssim": (0, 0.005),
    **dict.fromkeys(TRACKS, (0, 0.03)),
}


def options() -> EncodeOptions:
    """What the stretch is encoded with."""
    return EncodeOptions(
        device="cpu",
        start=START,
        duration=SECONDS,
        audio=False,
        likeness=OFF,
        identity_candidates=4,
        identity_average=4,
        fit=FitOptions(steps=STEPS, precision="float32"),  # not every CPU multiplies bfloat16
        landmark_correction=LandmarkCorrectionOptions(precision="float32"),
    )


@dataclass(frozen=True)
class Coded:
    """What was written, and the stretch before and after the codec: n aligned squares, uint8 [256, 256, 3]."""

    report: api.EncodeReport
    inputs: list[Frame]
    outputs: list[Frame]


def coded(stream: Path) -> Coded:
    """The stretch encoded into the file `stream` by today's code and pack, and decoded."""
    pack = open_pack(DEFAULT_PACK)
    report = api.encode(CLIP, stream, options())
    inputs, _ = inputs_of(CLIP, pack, SECONDS, START)
    return Coded(report, inputs, outputs_of(stream, pack))


def measure(made: Coded) -> dict[str, float]:
    """The figures: bytes; PSNR and SSIM; correlation of tracks that the face mesh reads off input and output."""
    inputs, outputs = made.inputs, made.outputs
    psnr = [picture_psnr(a, b) for a, b in zip(inputs, outputs, strict=True)]
    figures = {
        "frames": float(len(outputs)),
        "identity_bytes": float(made.report.bytes["identity"]),
        "packets_bytes": float(made.report.bytes["packets"]),
        "psnr": float(np.mean(psnr)),
        "psnr_worst": min(psnr),
        "ssim": float(np.mean([mean_ssim(a, b) for a, b in zip(inputs, outputs, strict=True)])),
    }
    mine, theirs = read_by_mesh(inputs), read_by_mesh(outputs)
    return figures | {track: following(mine[track], theirs[track])["correlation"] for track in TRACKS}


def differences(found: Mapping[str, float], golden: Mapping[str, float]) -> list[str]:
    """What is further from the golden figures than its tolerance, as sentences."""
    out = []
    for name, (share, amount) in TOLERANCES.items():
        allowed = max(share * abs(golden[name]), amount)
        if not abs(found[name] - golden[name]) <= allowed:  # NaN is no agreement
            out.append(f"{name} is {found[name]:.4g}, golden {golden[name]:.4g}, at most {allowed:.3g} apart")
    if found["frames"] != golden["frames"]:
        out.append(f"{found['frames']:g} frames, golden {golden['frames']:g}")
    return out


def read() -> dict[str, Any]:
    """The golden file: {"provenance": …, "figures": …}."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.golden", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="make what is measured the golden figures")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(coded(Path(folder) / "talk.stc"))
    print(as_json(figures))
    if arguments.write:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        origin = provenance(open_pack(DEFAULT_PACK), options(), [CLIP])
        FILE.write_text(as_json({"provenance": origin, "figures": figures}) + "\n")
        return 0
    wrong = differences(figures, read()["figures"])
    print("\n".join(wrong) or "all figures are the golden ones")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
