"""How fast is the bitstream alone, and does streaming hold its memory?

    python -m benchmarks.bitstream_speed
    python -m benchmarks.bitstream_speed talk.stc --minutes 120

Packets of the given stream (or made-up ones that move as a head does) are repeated to `--frames` frames with sound, and
written and read in both profiles: packets and MB per second of processor time, on one core. Then a stream of
`--minutes` goes through StreamReader.feed in portions of 1,400 bytes as it is written, and the memory of Python and
numpy is noted along the way: it must not grow. Needs no torch. Writes results/bitstream_speed-MACHINE.json.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    FrameGroup,
    Identity,
    Profile,
    StreamFile,
    StreamHeader,
    StreamReader,
    StreamWriter,
    compact_header,
    plain_quantiser,
)

from .measuring import RESULTS, machine_name, save, table
from .provenance import provenance

GROUP = 25
PORTION = 1400
OPUS = (bytes([8]) * 30,) * 50  # a second of 20 ms packets, 12 kbit/s


def source(path: Path | None) -> tuple[StreamHeader, Identity, NDArray[np.float32]]:
    """Header, identity and packets [n, 35] of a stream, or made-up ones."""
    if path is not None:
        with StreamFile.open(path) as stream:
            return stream.header, stream.identity_for(0), stream.packets(0, stream.frame_count)
    rng = np.random.default_rng(1)
    packets = np.cumsum(rng.normal(0, 0.1, (1000, 35)), axis=0) * np.where(np.arange(35) < 3, 3.0, 0.5)
    indices = tuple((i % 26, 3 * i) for i in range(32))
    header = StreamHeader(Fraction(25), 1024, 1024, Profile.RAW, "avatar-1024", bytes(32), indices)
    return header, Identity(rng.normal(size=(18, 512)).astype(np.float16)), packets.astype(np.float32)


def profiles(header: StreamHeader, packets: NDArray[np.float32]) -> dict[str, StreamHeader]:
    """The header in both profiles, at constant rate."""
    plain = StreamHeader(**{**vars(header), "profile": Profile.RAW, "quantiser": None, "time_scale": 0})
    quantiser = header.quantiser or plain_quantiser(packets, GROUP)
    return {"raw": plain, "compact": compact_header(plain, quantiser)}


def written(header: StreamHeader, identity: Identity, packets: NDArray[np.float32], frames: int) -> Iterator[bytes]:
    """A stream of so many frames, a second at a time."""
    writer = StreamWriter(header, AudioConfig())
    yield writer.start() + writer.identity(identity)
    for first in range(0, frames, GROUP):
        rows = np.arange(first, min(first + GROUP, frames)) % len(packets)
        seconds = first / GROUP
        yield writer.audio(AudioChunk(round(48_000 * seconds) - 312, OPUS)) + writer.group(packets[rows])
    yield writer.finish()


def read(data: bytes) -> int:
    """The frames of a stream, fed in large portions."""
    reader = StreamReader()
    frames = 0
    for at in range(0, len(data), 1 << 16):
        frames += sum(len(event) for event in reader.feed(data[at : at + (1 << 16)]) if isinstance(event, FrameGroup))
    reader.close()
    return frames


def seek(data: bytes, frames: int, times: int) -> None:
    """Open a file and take single frames all over it."""
    with StreamFile.open(io.BytesIO(data)) as stream:
        for k in range(times):
            stream.packets(k * 7919 % frames, k * 7919 % frames + 1)


def cpu_seconds(call: Callable[[], object], runs: int = 5) -> float:
    """Processor time of one call, the median of a few after one that does not count.

    One thread does all the work, so that this holds on a busy machine as well.
    """
    call()
    taken = []
    for _ in range(runs):
        begun = process_time()
        call()
        taken.append(process_time() - begun)
    return statistics.median(taken)


def speed(header: StreamHeader, identity: Identity, packets: NDArray[np.float32], frames: int) -> list[dict[str, Any]]:
    """Rows of the table for one profile."""
    data = b"".join(written(header, identity, packets, frames))
    name, rows = header.profile.name.lower(), []
    for what, call in (
        ("write", lambda: sum(map(len, written(header, identity, packets, frames)))),
        ("read", lambda: read(data)),
    ):
        seconds = cpu_seconds(call)
        rates = {"packets/s": frames / seconds, "MB/s": len(data) / 1e6 / seconds}
        rows.append({"profile": name, "what": what, **rates})
    seconds = cpu_seconds(lambda: seek(data, frames, 20))
    rows.append({"profile": name, "what": "single frames, open to close", "packets/s": 20 / seconds, "MB/s": None})
    return rows


def streaming(
    header: StreamHeader, identity: Identity, packets: NDArray[np.float32], minutes: float
) -> list[dict[str, Any]]:
    """Memory traced while a long stream is written and fed, at ten points on the way."""
    total = round(minutes * 60 * GROUP)
    reader, rows, frames, count = StreamReader(), [], 0, 0
    marks = iter([total * k // 10 for k in range(1, 11)])
    mark = next(marks)
    tracemalloc.start()
    for part in written(StreamHeader(**{**vars(header), "live": True}), identity, packets, total):
        for at in range(0, len(part), PORTION):
            events = reader.feed(part[at : at + PORTION])
            frames += sum(len(event) for event in events if isinstance(event, FrameGroup))
        count += len(part)
        if frames >= mark:
            now, peak = tracemalloc.get_traced_memory()
            memory = {"KiB held": now >> 10, "peak KiB": peak >> 10}
            rows.append({"minute": frames / GROUP / 60, "MB fed": count / 1e6, **memory})
            tracemalloc.reset_peak()
            mark = next(marks, total + 1)
    tracemalloc.stop()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", nargs="?", type=Path, metavar="IN.stc")
    parser.add_argument("--frames", type=int, default=1500, help="of the streams timed (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="of the stream fed (default: %(default)s)")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    inputs = [] if arguments.stream is None else [arguments.stream]
    origin = provenance(None, vars(arguments), inputs, rooms=["bitstream"])
    header, identity, packets = source(arguments.stream)
    headers = profiles(header, packets)
    raw = [row for h in headers.values() for row in speed(h, identity, packets, arguments.frames)]
    print(table(raw))
    memory = streaming(headers["raw"], identity, packets, arguments.minutes)
    print(f"\n{arguments.minutes:g} minutes through feed, raw\n{table(memory)}")
    out = arguments.out or RESULTS / f"bitstream_speed-{machine_name(origin['machine'])}.json"
    save(out, origin, {"speed": raw, "streaming": memory})


if __name__ == "__main__":
    main()
