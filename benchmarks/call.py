"""A live call, end to end: frames per second, latency by stage, memory over time.

    python -m benchmarks.call talk.mp4 --minutes 10 --identity me.stid
    python -m benchmarks.call talk.mp4 --minutes 2 --both

A clip is played again and again in real time through the sending side of `stylecodec call`, over loopback, to the
receiving side in a process of its own, which shows it on a page that nobody opens (--both: in the same process, as a
call in both directions has it). Every frame's time in the stream is its stamp: the sender notes when it came from the
source, the receiver when its picture was ready, by the one clock of the machine. Latencies are of all frames sent after
--warm seconds. Writes results/call.json. Linux only.

Stages: wait (for the encoder), align, analyse, correct; encode: these together with coding; group: from the begin of
encoding until the datagram, with the frame of look-ahead and what its group lasts; sent: from the source until then;
arrived: from then until the picture is ready, playout delay and rendering included; all: from the source until then.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import statistics
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from stylecodec.call.cores import share_cores
from stylecodec.call.options import PICTURE, PlayoutOptions, SourceOptions
from stylecodec.call.receive import receiving_side
from stylecodec.call.run import Call, ReceivingSide
from stylecodec.call.send import sending_side
from stylecodec.call.timings import Timings
from stylecodec.decoding.options import DecodeOptions
from stylecodec.encoding.live.options import LiveOptions
from stylecodec.errors import StylecodecError
from stylecodec.packs.store import open_pack

from .measuring import RESULTS, save, table
from .provenance import CALL, ROOMS, provenance

ALL = 1 << 20  # measurements of a stage: those of a whole run
LOOK = 5.0  # seconds between two looks at the memory
LOADING = 120.0  # seconds that the sending side may take before it begins, and to end
MATCH = 1000  # stamps are matched to the millisecond

Stamps = dict[int, float]


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch:
    """Looks at the memory of this process as long as the block lasts."""

    def __init__(self) -> None:
        self.mib: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            self.mib.append(resident_mib())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def receiver(size: int, delay: float, stamps: Stamps) -> ReceivingSide:
    """A receiving side that notes when pictures are ready."""

    def shown(seconds: float, now: float) -> None:
        stamps[round(seconds * MATCH)] = now

    options = DecodeOptions(size=size)
    return receiving_side("127.0.0.1:0", [], 0, options, playout=PlayoutOptions(delay), shown=shown)


def receive(pipe: Connection, size: int, delay: float, longest: float) -> None:
    """The process of the receiving side: tells its port, then, at the end, what it saw. longest: seconds it runs."""
    stamps: Stamps = {}
    side = receiver(size, delay, stamps)
    pipe.send(side.server.getsockname()[1])
    with Watch() as watch:
        facts = Call(None, side, once=True, duration=longest).run()
    pipe.send((stamps, facts["in"], watch.mib))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50 ms": 1000 * cuts[49], "p95 ms": 1000 * cuts[94], "worst ms": 1000 * max(values)}


def growth(mib: Sequence[float]) -> dict[str, float]:
    """Of memory: what it was, and by how much the last fifth lies above the second one."""
    fifth = len(mib) // 5
    if not fifth:
        return {}
    later, before = statistics.median(mib[-fifth:]), statistics.median(mib[fifth : 2 * fifth])
    return {"MiB": statistics.median(mib), "grown MiB": later - before}


def measure(arguments: argparse.Namespace, options: LiveOptions) -> dict[str, Any]:
    """One call."""
    share_cores()  # the other process loads torch after this; here it is loaded
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    came, went, ready = Stamps(), Stamps(), Stamps()

    def sent(seconds: float, arrived: float) -> None:
        stamp = round(seconds * MATCH)
        came[stamp], went[stamp] = arrived, time.monotonic()

    timings, said, receiving = Timings(ALL), list[str](), None
    here, there = mp.get_context("spawn").Pipe()
    longest = 60 * arguments.minutes + LOADING
    process = mp.get_context("spawn").Process(target=receive, args=(there, arguments.size, arguments.delay, longest))
    if arguments.both:
        receiving = receiver(arguments.size, arguments.delay, ready)
        port = receiving.server.getsockname()[1]
    else:
        process.start()
        port = here.recv()
    source = SourceOptions(play=str(arguments.clip), loop=True)
    sending = sending_side(
        f"127.0.0.1:{port}", source, options, arguments.identity, say=said.append, timings=timings, sent=sent
    )
    begun, rates = time.monotonic(), list[float]()

    def second(facts: dict[str, Any]) -> None:
        rates.append(facts["out"]["fps"])
        if len(rates) == int(arguments.warm):
            timings.clear()

    with Watch() as watch:
        facts = Call(sending, receiving, told=second, duration=60 * arguments.minutes).run()
    there_facts, there_mib = facts.get("in"), watch.mib
    if not arguments.both:
        ready, there_facts, there_mib = here.recv()
        process.join()
    warm = begun + arguments.warm
    stages = [{"stage": name, **percentiles(timings.values(name))} for name in STAGES]
    stamps = [stamp for stamp, arrived in came.items() if arrived >= warm]
    for name, since, until in (("sent", came, went), ("arrived", went, ready), ("all", came, ready)):
        stages.append({"stage": name, **percentiles([until[k] - since[k] for k in stamps if k in until])})
    kept = rates[int(arguments.warm) :]
    return {
        "seconds": facts["seconds"],
        "fps": {"mean": statistics.fmean(kept or [0.0]), "least in a second": min(kept, default=0.0)},
        "stages": [stage for stage in stages if len(stage) > 1],
        "out": {name: value for name, value in facts["out"].items() if name != "ms"},
        "in": there_facts,
        "memory": [{"side": "out", **growth(watch.mib)}, {"side": "in", **growth(there_mib)}],
        "mib": {"out": watch.mib, "in": there_mib},
        "said": said,
    }


STAGES = ("wait", "align", "analyse", "correct", "encode", "group")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="M")
    parser.add_argument("--warm", type=float, default=10.0, metavar="S", help="seconds that do not count")
    parser.add_argument("--identity", metavar="CARD", help="of the person; else it is guessed, and not fitted")
    parser.add_argument("--both", action="store_true", help="decode in the same process")
    parser.add_argument("--size", type=int, default=PICTURE, metavar="N", help="pixels per side, decoded")
    parser.add_argument("--delay", type=float, default=PlayoutOptions.delay, metavar="S")
    parser.add_argument("--group", type=float, default=LiveOptions.group_seconds, metavar="S")
    parser.add_argument("--correct", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "call.json")
    arguments = parser.parse_args()
    options = LiveOptions(fit_seconds=None, group_seconds=arguments.group, correct=arguments.correct)
    origin = provenance(open_pack(options.pack), vars(arguments), [arguments.clip], rooms=[*ROOMS, CALL])
    found = measure(arguments, options)
    fps = found["fps"]
    print(f"{fps['mean']:.1f} frames per second sent, {fps['least in a second']:.1f} in the slowest second")
    print(table(found["stages"]))
    print(table(found["memory"]))
    save(arguments.out, origin, {"call": found})


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
