"""Where do the bytes go, and how many are a second?

    python -m benchmarks.rate clips/*.mp4 --pack avatar-1024
    python -m benchmarks.rate streams/*.stc

Videos are encoded first, with sound. Each stream's bytes are listed by part; then its packets and sound are repeated
to 10, 60 and 600 s in real streams, since the identity is paid once. Last, general compressors on the packets hint at
what an entropy-coded profile has to gain without loss: the codec has no such profile yet. Writes results/rate.json.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from benchmarks.looping import account, looped_stream
from benchmarks.measuring import RESULTS, machine, save, table
from stylecodec import api
from stylecodec.bitstream import StreamFile, group_frames
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import StylecodecError

PARTS = ("header", "identity", "packets", "audio", "index", "other")
LENGTHS = (10.0, 60.0, 600.0)
ZSTD_LEVEL = 19


def streams(paths: Sequence[Path], pack: str, device: str, work: Path) -> Iterator[tuple[str, Path]]:
    """(name, .stc file) of every input; videos are encoded into `work`."""
    for path in paths:
        if path.suffix == ".stc":
            yield path.stem, path
        else:
            stream = work / f"{path.stem}.stc"
            api.encode(path, stream, EncodeOptions(pack=pack, device=device))
            yield path.stem, stream


def bytes_row(name: str, bytes_by_part: dict[str, int], seconds: float, frames: int) -> dict[str, Any]:
    """A stream's bytes by part, its kbit/s, and bytes per frame of the packets with their framing."""
    return {
        "clip": name,
        "seconds": seconds,
        "frames": frames,
        **{part: bytes_by_part[part] for part in PARTS if part != "other" or bytes_by_part[part]},
        "total": bytes_by_part["total"],
        "packet_bytes_per_frame": bytes_by_part["packets"] / frames,
        "kbps": kbps(bytes_by_part["total"], seconds),
    }


def kbps(count: int, seconds: float) -> float:
    """Bytes in so many seconds as kbit/s."""
    return count * 8 / seconds / 1000


def length_rows(name: str, stream: StreamFile, lengths: Sequence[float]) -> list[dict[str, Any]]:
    """kbit/s by part at each length."""
    rows = []
    for length in lengths:
        parts, seconds = account(looped_stream(stream, length))
        rates = {part: kbps(parts[part], seconds) for part in ("packets", "audio", "identity", "total")}
        rest = rates["total"] - rates["packets"] - rates["audio"] - rates["identity"]
        rows.append({"clip": name, "seconds": length, **rates, "rest": rest})
    return rows


def planes(packets: NDArray[np.float16]) -> bytes:
    """Packets [n, 35] parameter by parameter, differences in time of the 16-bit patterns, high bytes before low.

    The patterns are read as signed magnitudes, which keep the order of the numbers; the differences wrap around. So
    nothing is lost but the sign of zero.
    """
    bits = np.ascontiguousarray(packets.T, "<f2").view("<u2").astype(np.int32)
    ordered = np.where(bits & 0x8000, 0x8000 - bits, bits)
    steps = np.diff(ordered, axis=1, prepend=0).astype("<i2")
    folded = ((steps.astype(np.int32) << 1) ^ (steps.astype(np.int32) >> 15)).astype("<u2")
    return (folded >> 8).astype(np.uint8).tobytes() + (folded & 0xFF).astype(np.uint8).tobytes()


def compressed(packets: NDArray[np.float16], step: int) -> dict[str, float]:
    """Bytes per frame of packets [n, 35]: as they are, and through general compressors.

    "by group" compresses each `step` frames on their own, as a stream must whose groups stand alone.
    """
    raw = packets.astype("<f2")
    groups = [raw[start : start + step] for start in range(0, len(raw), step)]
    zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
    sizes = {
        "raw": raw.nbytes,
        "zstd": len(zstd(raw.tobytes())),
        "zstd by group": sum(len(zstd(group.tobytes())) for group in groups),
        "xz": len(lzma.compress(raw.tobytes(), preset=9)),
        "planes zstd": len(zstd(planes(raw))),
        "planes zstd by group": sum(len(zstd(planes(group))) for group in groups),
        "planes xz": len(lzma.compress(planes(raw), preset=9)),
    }
    return {name: size / len(packets) for name, size in sizes.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="videos with a face, or .stc files")
    parser.add_argument("--pack", default="avatar-1024")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "rate.json")
    arguments = parser.parse_args(argv)
    parts: list[dict[str, Any]] = []
    lengths: list[dict[str, Any]] = []
    coded: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in streams(arguments.inputs, arguments.pack, arguments.device, Path(folder)):
            with StreamFile.open(path) as stream:
                frames = stream.frame_count
                parts.append(bytes_row(name, stream.byte_account(), stream.duration_seconds, frames))
                lengths += length_rows(name, stream, LENGTHS)
                packets = stream.packets(0, frames).astype(np.float16)
                coded.append({"clip": name, **compressed(packets, group_frames(stream.header.rate))})
    print(f"bytes by part\n{table(parts)}")
    print(f"\nkbit/s of streams of this length (packets and sound repeated)\n{table(lengths)}")
    print(f"\nbytes per frame of the packets, without loss (a hint, not a feature)\n{table(coded)}")
    content = {"machine": machine(), "bytes": parts, "kbps": lengths, "packet_bytes_per_frame": coded}
    save(arguments.out, content)


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
