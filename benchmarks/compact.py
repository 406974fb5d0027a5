"""How small is the compact profile, how exact, and where are its bytes?

    python -m benchmarks.compact clips/*.mp4
    python -m benchmarks.compact streams/*.stc --every 1

Videos are encoded with the raw profile first; .stc files must be raw. For each clip and each quality the packets and
the identity are quantised as the encoder does it, written as a stream, and each is rendered at 256² with the other raw,
beside both raw: every --every-th frame, the mean and the worst PSNR. At the default quality the coded packets are held
against general compressors and against the order-0 entropy of the same integers. Writes results/compact.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import lzma
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray

from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.bitstream import Identity, Profile, StreamFile, StreamHeader, StreamWriter, compact_header
from stylecodec.bitstream.compact.coding import code_rows
from stylecodec.bitstream.compact.prediction import Predictor
from stylecodec.bitstream.compact.quantiser import Levels, Quantiser
from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.render import Renderer
from stylecodec.encoding.options import OFF, EncodeOptions
from stylecodec.encoding.rate.compaction import CompactClip, compact_clip
from stylecodec.encoding.rate.sensitivity import picture_metrics, pictures
from stylecodec.encoding.write import group_frames
from stylecodec.errors import OptionError, StylecodecError
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.registry import pick_device
from stylecodec.packs.store import ModelPack, open_pack

QUALITIES = (40.0, 44.0, 48.0, 52.0, 56.0, 64.0)
SIDE = 256
ZSTD_LEVEL = 19
FRAMING = 28  # bytes of a chunk and of the head of a group

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Clip:
    """The raw packets of a stream and what belongs to them."""

    name: str
    header: StreamHeader
    identity: Identity
    packets: NDArray[np.float32]  # [n, 35]

    @property
    def step(self) -> int:
        """Frames of a compact group by default."""
        return group_frames(self.header.rate, EncodeOptions(profile="compact"))


def clips(paths: Sequence[Path], pack: str, device: str, work: Path) -> Iterator[Clip]:
    """Every input as raw packets; videos are encoded into `work`."""
    for path in paths:
        stream_path = path
        if path.suffix != ".stc":
            stream_path = work / f"{path.stem}.stc"
            raw = EncodeOptions(pack=pack, device=device, profile="raw", audio=False, likeness=OFF)
            api.encode(path, stream_path, raw)
        with StreamFile.open(stream_path) as stream:
            if stream.header.profile != Profile.RAW:
                raise OptionError(f"{path} is not a raw stream")
            packets = stream.packets(0, stream.frame_count)
            header = dataclasses.replace(stream.header, time_scale=0)
            yield Clip(path.stem, header, stream.identities[0], packets)


def written(clip: Clip, made: CompactClip) -> dict[str, int]:
    """The bytes by part of the whole compact stream, without sound."""
    writer = StreamWriter(compact_header(clip.header, made.quantiser))
    data = writer.start() + writer.identity(made.identity)
    for start in range(0, len(made.packets), clip.step):
        data += writer.group(made.packets[start : start + clip.step])
    with StreamFile.open(io.BytesIO(data + writer.finish())) as stream:
        assert np.array_equal(stream.packets(0, stream.frame_count), made.packets)
        return stream.byte_account()


class Yardstick:
    """Pictures of raw packets, rendered once, and the PSNR of others against them."""

    def __init__(self, clip: Clip, pack: ModelPack, device: torch.device, every: int) -> None:
        self._latents, self._renderer = LatentDecoder(pack, device), Renderer(pack, device, SIDE, "float32")
        self._frames = np.arange(0, len(clip.packets), every)
        self._wanted = self._levels(clip.identity, clip.packets)

    def psnr(self, identity: Identity, packets: NDArray[np.float32]) -> NDArray[np.float64]:
        """dB of each frame compared, 8-bit pictures against 8-bit pictures."""
        found = zip(self._levels(identity, packets), self._wanted, strict=True)
        return np.array([picture_psnr(np.moveaxis(a, 0, -1), np.moveaxis(b, 0, -1)) for a, b in found])

    def _levels(self, identity: Identity, packets: NDArray[np.float32]) -> NDArray[np.float32]:
        shown = torch.from_numpy(np.ascontiguousarray(packets[self._frames]))
        images = pictures(self._latents, self._renderer, identity, shown)
        return ((images + 1) * 127.5).clamp(0, 255).round().cpu().numpy()


class Meter:
    """Stands in for a range coder and adds up the information of every decision, by kind and by the row's place."""

    def __init__(self, states: list[str]) -> None:
        self.bits_of: dict[str, float] = defaultdict(float)
        self._names = states

    def bit(self, states: list[int], at: int, bit: bool | int) -> bool | int:
        chance = states[at] / 65536
        self.bits_of[self._names[at]] -= float(np.log2(1 - chance if bit else chance))
        states[at] += -(states[at] >> 6) if bit else 65536 - states[at] >> 6
        return bit

    def bits(self, value: int, count: int) -> int:
        self.bits_of["even bits"] += count
        return value


def where(levels: Levels, quantiser: Quantiser, step: int) -> dict[str, float]:
    """Bytes per frame by kind of decision; those of the first frame of each group apart."""
    names = ["is zero"] * 96 + ["size"] * 144 + ["sign"] * 9
    whole, first = Meter(names), Meter(names)
    for start in range(0, len(levels), step):
        rows = levels[start : start + step].tolist()
        for meter, part in ((whole, rows), (first, rows[:1])):
            predictor = Predictor(quantiser.rest, quantiser.terms)
            code_rows(meter, predictor, quantiser.spread, len(part), part, 0)  # type: ignore[arg-type]
    per_frame = 1 / 8 / len(levels)
    first_frames = sum(first.bits_of.values())
    kinds = ("is zero", "size", "sign", "even bits")
    result = {kind: (whole.bits_of[kind] - first.bits_of[kind]) * per_frame for kind in kinds}
    groups = -(-len(levels) // step)
    return result | {"first frames": first_frames * per_frame, "framing": groups * FRAMING / len(levels)}


def entropy(numbers: NDArray[np.integer[Any]]) -> float:
    """Order-0 entropy of each column's numbers, in bytes per row: the table of their frequencies comes for free."""
    total = 0.0
    for column in numbers.T:
        counts = np.unique(column, return_counts=True)[1]
        total -= float(np.sum(counts * np.log2(counts / len(column))))
    return total / 8 / len(numbers)


def compressors(clip: Clip, levels: Levels) -> dict[str, float]:
    """Bytes per frame of general compressors, on the whole clip at once, and of entropy bounds on the same integers."""
    zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
    raw = clip.packets.astype("<f2").tobytes()
    wide = np.ascontiguousarray(levels.T, "<i2")
    changes = np.diff(wide, axis=1, prepend=0).astype("<i2")
    narrow = changes.astype("i1").tobytes() if np.abs(changes).max() < 128 else changes.tobytes()
    sizes = {
        "raw": len(raw),
        "raw zstd": len(zstd(raw)),
        "raw xz": len(lzma.compress(raw, preset=9)),
        "levels zstd": len(zstd(wide.tobytes())),
        "delta zstd": len(zstd(narrow)),
        "delta xz": len(lzma.compress(narrow, preset=9)),
    }
    result = {name: size / len(levels) for name, size in sizes.items()}
    differences = np.diff(levels, axis=0, prepend=levels[:1])
    return result | {"levels order 0": entropy(levels), "delta order 0": entropy(differences)}


def row_of(clip: Clip, quality: float, made: CompactClip, yardstick: Yardstick) -> dict[str, Any]:
    """One point of the quality curve."""
    account, frames = written(clip, made), len(clip.packets)
    psnr = yardstick.psnr(clip.identity, made.packets)
    per_frame = account["packets"] / frames
    return {
        "clip": clip.name,
        "quality": quality,
        "frames": frames,
        "bytes_per_frame": per_frame,
        "kbps": per_frame * 8 * float(clip.header.rate) / 1000,
        "identity": account["identity"],
        "header": account["header"],
        "psnr": float(psnr.mean()),
        "worst": float(psnr.min()),
        "identity_psnr": float(yardstick.psnr(made.identity, clip.packets).mean()),
    }


def mean_rows(curve: Rows, quality: float) -> dict[str, Any]:
    """All clips at one quality: the mean over clips, the worst frame of all."""
    rows = [row for row in curve if row["quality"] == quality]
    kept = ("bytes_per_frame", "kbps", "identity", "header", "identity_psnr")
    means = {key: float(np.mean([row[key] for row in rows])) for key in kept}
    psnr = [row["psnr"] for row in rows]
    worst = min(row["worst"] for row in rows)
    return {"quality": quality, **means, "psnr": float(np.mean(psnr)), "worst_clip": min(psnr), "worst_frame": worst}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compact", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="videos with a face, or raw .stc files")
    parser.add_argument("--every", type=int, default=8, help="render every Nth frame (default: %(default)s; 1: all)")
    parser.add_argument("--quality", type=float, nargs="+", default=list(QUALITIES))
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "compact.json")
    arguments = parser.parse_args(argv)
    pack, device = open_pack(arguments.pack), pick_device(arguments.device)
    origin = provenance(pack, vars(arguments), arguments.inputs)
    usual = EncodeOptions().quality
    curve: Rows = []
    sizes: Rows = []
    places: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips(arguments.inputs, arguments.pack, arguments.device, Path(folder)):
            yardstick = Yardstick(clip, pack, device, arguments.every)
            metrics = picture_metrics(pack, device, clip.identity, clip.packets)
            for quality in sorted({*arguments.quality, usual}):
                made = compact_clip(clip.packets, clip.identity, pack, device, quality, clip.step, metrics)
                curve.append(row_of(clip, quality, made, yardstick))
                if quality == usual:
                    levels = made.quantiser.levels(made.packets)
                    ours = {"ours": curve[-1]["bytes_per_frame"]}
                    sizes.append({"clip": clip.name, **compressors(clip, levels), **ours})
                    places.append({"clip": clip.name, **where(levels, made.quantiser, clip.step)})
    means = [mean_rows(curve, quality) for quality in sorted({row["quality"] for row in curve})]
    print(f"quality curve: bytes of packets and their framing\n{table(curve)}")
    print(f"\nmean over the clips\n{table(means)}")
    print(f"\nbytes per frame at quality {usual:g}; all but ours without framing and not by group\n{table(sizes)}")
    print(f"\nwhere the bytes per frame are\n{table(places)}")
    content: dict[str, Any] = {"every": arguments.every, "curve": curve, "means": means}
    save(arguments.out, origin, content | {"default_quality": usual, "sizes": sizes, "where": places})


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
