"""What a live stream costs on the wire: latency against bytes for groups of N frames.

    python -m benchmarks.live_wire talk.stc
    python -m benchmarks.live_wire raw.stc small.stc

Every stream is sent through the transport of `stylecodec send`, frame by frame, without a network in between. Each
datagram is counted with its RTP (12), UDP (8) and IPv4 (20) headers, by what it carries. `frames` and `sound` are the
stream itself, `joining` is header and identity reference every 2 s, `headers` are those of its datagrams; their sum is
what a receiver costs that holds the identity already (`--no-latent`). `latent` is the identity itself every 10 s, with
its own headers. Needs no torch. Writes results/live_wire.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stylecodec.bitstream import ChunkType, StreamFile
from stylecodec.bitstream.chunks import pack_chunk
from stylecodec.bitstream.layout import ChunkFlag
from stylecodec.bitstream.live import LATENT_SECONDS, REPEAT_SECONDS, bursts
from stylecodec.bitstream.live.transport import HEADER_BYTES, UDP_IPV4_BYTES, Packetizer, bare_chunk, wire_bytes
from stylecodec.errors import StylecodecError

from .measuring import RESULTS, save, table
from .provenance import provenance

GROUPS = (1, 2, 3, 5, 10, 25, 50)
PARTS = {ChunkType.GROUP: "frames", ChunkType.AUDIO: "sound"}


def wire(stream: StreamFile, group: int) -> dict[str, Any]:
    """kbit/s on the wire, by part, of a stream sent in groups of so many frames."""
    packetizer = Packetizer(1)
    kinds = dict.fromkeys(("frames", "sound", "joining"), 0)
    datagrams = 0
    for burst in bursts(stream, group, send_latent=False):
        datagrams += len(packetizer.packets(burst.chunks, burst.seconds))
        for chunk in burst.chunks:
            kinds[PARTS.get(ChunkType(chunk[4]), "joining")] += len(bare_chunk(chunk))
    seconds = stream.duration_seconds
    kinds["headers"] = datagrams * (HEADER_BYTES + UDP_IPV4_BYTES + 1)
    row: dict[str, Any] = {"N": group, "delay ms": float(1000 * group / stream.header.rate)}
    row |= {name: 8 * count / seconds / 1000 for name, count in kinds.items()}
    row["latent held"] = sum(row[name] for name in kinds)
    chunk = pack_chunk(ChunkType.IDENTITY, bytes(stream.identity_for(0)), ChunkFlag.MANDATORY)
    row["latent"] = 8 * wire_bytes(packetizer.packets([chunk], 0)) / LATENT_SECONDS / 1000
    row["latent sent"] = row["latent held"] + row["latent"]
    row["datagrams/s"] = datagrams / seconds
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("streams", nargs="+", metavar="IN.stc")
    parser.add_argument("--out", type=Path, default=RESULTS / "live_wire.json")
    arguments = parser.parse_args()
    origin = provenance(None, vars(arguments), map(Path, arguments.streams), rooms=["bitstream"])
    results = {}
    for path in arguments.streams:
        with StreamFile.open(path) as stream:
            rows = [wire(stream, group) for group in GROUPS if group <= stream.frame_count]
            name = f"{Path(path).stem} ({stream.header.profile.name.lower()})"
        print(f"\n{name}, kbit/s\n{table(rows)}")
        results[name] = rows
    repeats = {"header_seconds": REPEAT_SECONDS, "latent_seconds": LATENT_SECONDS}
    save(arguments.out, origin, {"repeats": repeats, "kbps": results})


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
