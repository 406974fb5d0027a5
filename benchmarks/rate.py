"""Where do the bytes go, and how many are a second?

    python -m benchmarks.rate clips/*.mp4 --pack avatar-1024
    python -m benchmarks.rate streams/*.stc

Videos are encoded first, with default options and sound. Each stream's bytes are listed by part; then its packets and
sound are repeated to 10, 60 and 600 s in real streams, since the identity is paid once. How the compact profile spends
its bytes, and what it costs in quality, `compact.py` tells. Writes results/rate.json.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.looping import account, looped_stream
from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.encoding.options import OFF, EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack

PARTS = ("header", "identity", "packets", "audio", "index", "other")
LENGTHS = (10.0, 60.0, 600.0)


def streams(paths: Sequence[Path], pack: str, device: str, work: Path) -> Iterator[tuple[str, Path]]:
    """(name, .stc file) of every input; videos are encoded into `work`."""
    for path in paths:
        if path.suffix == ".stc":
            yield path.stem, path
        else:
            stream = work / f"{path.stem}.stc"
            api.encode(path, stream, EncodeOptions(pack=pack, device=device, likeness=OFF))
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


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="videos with a face, or .stc files")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "rate.json")
    arguments = parser.parse_args(argv)
    origin = provenance(open_pack(arguments.pack), vars(arguments), arguments.inputs)
    parts: list[dict[str, Any]] = []
    lengths: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in streams(arguments.inputs, arguments.pack, arguments.device, Path(folder)):
            with StreamFile.open(path) as stream:
                frames = stream.frame_count
                parts.append(bytes_row(name, stream.byte_account(), stream.duration_seconds, frames))
                lengths += length_rows(name, stream, LENGTHS)
    print(f"bytes by part\n{table(parts)}")
    print(f"\nkbit/s of streams of this length (packets and sound repeated)\n{table(lengths)}")
    save(arguments.out, origin, {"bytes": parts, "kbps": lengths})


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
