"""Does memory grow with the length of a clip?

    python -m benchmarks.memory clip.mp4 --pack avatar-1024

The clip is repeated to 10 s and to 60 s; `stylecodec encode` and `stylecodec decode` run on both as processes of their
own, and the kernel's high-water mark of each one's resident memory (VmHWM) is read until it ends. Exits with 1 when a
command needs more than --tolerance MiB more for the longest clip than for the shortest. Linux only.
Writes results/memory_<machine>.json.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, machine_name, save, table
from benchmarks.provenance import provenance
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack

INTERVAL = 0.02  # seconds between two looks
COMMAND = (sys.executable, "-m", "stylecodec")


@dataclass(frozen=True)
class Usage:
    """Of one process: its highest resident memory in MiB, its seconds, its exit code and what it said."""

    peak_mib: float
    seconds: float
    code: int
    output: str


def high_water(status: str) -> int:
    """VmHWM in KiB of the text of /proc/<pid>/status; 0 when it has none (a process that has ended)."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.M)
    return int(found[1]) if found else 0


def run(command: Sequence[str]) -> Usage:
    """Run a command to its end and watch its memory."""
    begun, highest = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                highest = max(highest, high_water(status.read_text()))
            except OSError:  # it has just ended
                break
            time.sleep(INTERVAL)
        code = process.wait()
        output.seek(0)
        return Usage(highest / 1024, time.perf_counter() - begun, code, output.read().strip())


def measure(clip: Path, seconds: float, arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Encode and decode the clip, repeated to so many seconds."""
    long, stream = work / f"{seconds:g}.mp4", work / f"{seconds:g}.stc"
    # In a process of its own, so that nothing of it stays in this one.
    code = (
        f"from pathlib import Path; from benchmarks.looping import looped_clip; "
        f"print(looped_clip(Path({str(clip)!r}), Path({str(long)!r}), {seconds}))"
    )
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    frames, common = int(made.stdout), ["--pack", str(arguments.pack), "--device", arguments.device, "--no-progress"]
    rows = []
    for name, parts in (
        ("encode", ["encode", long, stream]),
        (f"decode --size {arguments.size}", ["decode", stream, work / "out.mp4", "--size", arguments.size]),
    ):
        usage = run([*COMMAND, *map(str, parts), *common])
        if usage.code:
            raise SystemExit(f"stylecodec {name} failed on {long.name}: {usage.output}")
        rate = frames / usage.seconds
        rows.append({"command": name, "seconds": seconds, "frames": frames, "peak_mib": usage.peak_mib, "fps": rate})
        print(f"{name}, {seconds:g} s: {usage.peak_mib:.0f} MiB, {usage.seconds:.0f} s", flush=True)
    return rows


def growth(rows: Sequence[dict[str, Any]], tolerance: float) -> list[dict[str, Any]]:
    """Per command, the highest memory for the shortest and the longest clip, and the verdict."""
    verdicts = []
    for name in dict.fromkeys(row["command"] for row in rows):
        runs = sorted((row for row in rows if row["command"] == name), key=lambda row: float(row["seconds"]))
        grown = runs[-1]["peak_mib"] - runs[0]["peak_mib"]
        verdicts.append(
            {
                "command": name,
                "shortest_mib": runs[0]["peak_mib"],
                "longest_mib": runs[-1]["peak_mib"],
                "growth_mib": grown,
                "verdict": "flat" if grown <= tolerance else "grows",
            }
        )
    return verdicts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path, help="a video with a face")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60])
    parser.add_argument("--size", type=int, default=1024, help="of the decoded picture")
    parser.add_argument("--tolerance", type=float, default=48, help="MiB of growth that count as flat")
    parser.add_argument("--out", type=Path, help="the JSON file")
    arguments = parser.parse_args(argv)
    origin = provenance(open_pack(arguments.pack), vars(arguments), [arguments.clip])
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for s in arguments.seconds for row in measure(arguments.clip, s, arguments, Path(folder))]
    verdicts = growth(rows, arguments.tolerance)
    print(f"\n{table(rows)}\n\n{table(verdicts)}")
    out = arguments.out or RESULTS / f"memory_{machine_name(origin['machine'])}.json"
    save(out, origin, {"clip": arguments.clip.name, "device": arguments.device, "runs": rows, "growth": verdicts})
    return any(row["verdict"] == "grows" for row in verdicts)


if __name__ == "__main__":
    raise SystemExit(main())
