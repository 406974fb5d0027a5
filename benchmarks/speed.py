"""How fast are decoding and `fast` encoding, against video codecs and against what the machine can do at most?

    python -m benchmarks.speed clip.mp4 --pack avatar-1024
    python -m benchmarks.speed clip.mp4 --device cuda --batches 1 4 16 64 --compile --graphs

One run measures everything on one machine: the ceilings (matrix product, convolution, copy), the renderer at each
size, type, thread count and batch, where its time goes, the stages of encoding, both commands from file to file, and
H.264, H.265 and AV1 on the same pictures. Writes results/speed_<machine>.json.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import video_codecs
from benchmarks.ceiling import block_rows, ceiling, flops, threads, waiter
from benchmarks.measuring import RESULTS, Timing, busy, machine_name, save, table, time_call
from benchmarks.provenance import provenance
from benchmarks.render_variants import variant
from stylecodec import api
from stylecodec.bitstream import Identity, StreamFile
from stylecodec.decoding.options import PRECISIONS, DecodeOptions, Precision
from stylecodec.decoding.packets import PacketRenderer
from stylecodec.decoding.render import pick_dtype, restore_roll, to_uint8
from stylecodec.encoding.analysis import CPU_BATCH, CUDA_BATCH
from stylecodec.encoding.frames import CROP_SIZE
from stylecodec.encoding.identity.selection import CandidatePool, select
from stylecodec.encoding.motion.feedforward import analyse
from stylecodec.encoding.options import OFF, EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.face.align import AlignedTrack, Aligner
from stylecodec.face.detect import Box, Detection, FaceDetector
from stylecodec.face.landmarks import Dlib5, make_landmarker
from stylecodec.face.warp import warp
from stylecodec.media import Frame, VideoReader
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.registry import pick_device
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.processes import cores

Rows = list[dict[str, Any]]
Packets = NDArray[np.float32]

MOST_FRAMES = 120  # given to the video codecs: 1024² pictures are held in memory


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    pack: ModelPack
    device: torch.device
    sizes: Sequence[int]
    batches: Sequence[int]
    precisions: Sequence[Precision]
    thread_counts: Sequence[int]
    budget: float  # seconds per figure

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"


# --- decoding ---------------------------------------------------------------------------------------------


def render_time(plan: Plan, pictures: PacketRenderer, identity: Identity, packets: Packets) -> Timing:
    """One batch of packets to pictures in the device's memory."""
    part = np.resize(packets, (pictures.batch, packets.shape[1]))
    return time_call(lambda: list(pictures.render(identity, part)), plan.budget, wait=waiter(plan.device))


def decode_rows(plan: Plan, identity: Identity, packets: Packets, ceilings: Rows) -> Rows:
    """Frames a second of the renderer for every thread count, size, type and batch, beside the ceilings."""
    rows: Rows = []
    for count in plan.thread_counts:
        with threads(count):
            for size in plan.sizes:
                for precision in plan.precisions:
                    rows += batch_rows(plan, size, precision, identity, packets, ceilings)
    return rows


def batch_rows(
    plan: Plan, size: int, precision: Precision, identity: Identity, packets: Packets, ceilings: Rows
) -> Rows:
    """One row per batch."""
    count = torch.get_num_threads()
    most = next(row for row in ceilings if row["dtype"] == precision and row["threads"] == count)
    options = DecodeOptions(device=plan.device, size=size, batch=1, precision=precision)
    one = PacketRenderer(plan.pack, options)
    list(one.render(identity, packets[:1]))  # the identity's anchor is made once
    work = flops(lambda: list(one.render(identity, packets[:1])))
    rows: Rows = []
    for batch in plan.batches:
        pictures = PacketRenderer(plan.pack, replace(options, batch=batch))
        timing = render_time(plan, pictures, identity, packets)
        rate = timing.per_second(batch)
        rows.append(
            {
                "size": size,
                "dtype": precision,
                "threads": count,
                "batch": batch,
                "fps": rate,
                "fps_best": batch / timing.best,
                "gflop": work / 1e9,
                "gflops": rate * work / 1e9,
                "of_gemm": rate * work / 1e9 / most["gemm_gflops"],
                "of_conv": rate * work / 1e9 / most["conv_gflops"],
            }
        )
    return rows


def telling(rows: Rows) -> Rows:
    """Of each sweep over batches: batch 1, and the best batch."""
    kept: Rows = []
    for key in dict.fromkeys((r["size"], r["dtype"], r["threads"]) for r in rows):
        sweep = [r for r in rows if (r["size"], r["dtype"], r["threads"]) == key]
        best = max(sweep, key=lambda r: float(r["fps"]))
        kept += [r for r in sweep if r["batch"] == 1 and r is not best] + [best]
    return kept


@torch.inference_mode()
def stage_rows(plan: Plan, identity: Identity, packets: Packets) -> tuple[Rows, Rows]:
    """Where the decoder's time goes at full size and its own settings: by stage, and by block of the generator."""
    pictures = PacketRenderer(plan.pack, DecodeOptions(device=plan.device))
    batch, renderer, latents = pictures.batch, pictures.renderer, pictures.latents
    values = torch.from_numpy(np.resize(packets, (batch, packets.shape[1]))).to(plan.device)
    anchor = latents.anchor(torch.from_numpy(identity.latent.astype(np.float32))[None])
    styles = latents.styles(anchor, values[:, :2], values[:, 3:])
    images = renderer.pictures(styles)
    turned = restore_roll(images, values[:, 2])
    calls = {
        "pose flow and affine maps": lambda: latents.styles(anchor, values[:, :2], values[:, 3:]),
        "synthesis": lambda: renderer.pictures(styles),
        "roll": lambda: restore_roll(images, values[:, 2]),
        "to 8 bits": lambda: to_uint8(turned),
    }
    rows: Rows = []
    for name, call in calls.items():
        timing = time_call(call, plan.budget, wait=waiter(plan.device))
        rows.append({"stage": name, "ms_per_frame": 1000 * timing.median / batch})
    return rows, block_rows(renderer.generator, styles, renderer.noise, renderer.dtype, plan.budget / 2)


def render_variants(plan: Plan, names: Sequence[str], identity: Identity, packets: Packets) -> Rows:
    """The decoder's full size and own batch in other variants, beside its own ("as it is")."""
    rows: Rows = []
    for precision in plan.precisions:
        for name in ("as it is", *names):
            pictures = PacketRenderer(plan.pack, DecodeOptions(device=plan.device, precision=precision))
            row: dict[str, Any] = {"variant": name, "dtype": precision, "batch": pictures.batch}
            try:
                with variant(name, pictures.renderer):
                    row["fps"] = render_time(plan, pictures, identity, packets).per_second(pictures.batch)
            except Exception as error:  # a compiler that is missing, an operation that cannot be captured
                row["failed"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"
            rows.append(row)
    return rows


# --- encoding ---------------------------------------------------------------------------------------------


class Timed:
    """A detector that counts its seconds."""

    def __init__(self) -> None:
        self.detector, self.seconds, self.calls = FaceDetector(), 0.0, 0

    def __call__(self, frame: Frame, near: Box | None = None) -> Detection | None:
        begun = perf_counter()
        found = self.detector(frame, near)
        self.seconds += perf_counter() - begun
        self.calls += 1
        return found


def encode_stages(plan: Plan, clip: Path, limit: int) -> tuple[Rows, AlignedTrack, list[Frame]]:
    """Frames a second of each stage of `fast` encoding, run one after the other on at most `limit` frames."""
    pack, rows = plan.pack, []
    begun = perf_counter()
    reader = VideoReader(clip)
    frames = [frame for _, frame in islice(reader.frames(), limit)]
    reading = perf_counter() - begun
    count = len(frames)

    def row(stage: str, seconds: float, note: str = "") -> None:
        rows.append({"stage": stage, "fps": count / seconds, "ms_per_frame": 1000 * seconds / count, "note": note})

    detector = Timed()
    choice = "pack" if pack.has("landmarks") else "dlib5"
    net = pack.landmarks(plan.device) if choice == "pack" else None
    landmarker = make_landmarker(choice, net, pack.alignment)
    aligner = Aligner(landmarker, detector, alignment=pack.alignment, checker=Dlib5())
    begun = perf_counter()
    track = aligner.track(frames, float(reader.rate))
    tracking = perf_counter() - begun
    begun = perf_counter()
    crops = [warp(frame, track[number], CROP_SIZE) for number, frame in enumerate(frames)]
    warping = perf_counter() - begun
    batch = CUDA_BATCH if plan.gpu else CPU_BATCH
    analyse(crops[:batch], pack, plan.device)  # loads the net
    pool, begun = CandidatePool(EncodeOptions()), perf_counter()
    for start in range(0, count, batch):
        part = crops[start : start + batch]
        pool.offer(range(start, start + len(part)), part, analyse(part, pack, plan.device))
    analysing = perf_counter() - begun
    select(pool.candidates()[:1], pack, plan.device, EncodeOptions())  # loads the nets
    begun = perf_counter()
    chosen = select(pool.candidates(), pack, plan.device, EncodeOptions())
    choosing = perf_counter() - begun
    row("read the video", reading, "done twice: to track and to crop")
    row("detect the face", detector.seconds, f"{detector.calls} runs of the detector")
    row("landmarks and track", tracking - detector.seconds, choice)
    row("crop", warping)
    row("encoder net", analysing, f"batches of {batch}")
    row("choose the identity", choosing, f"once per clip: {choosing:.2f} s, {chosen.candidates} candidates")
    row("sum, reading twice", 2 * reading + tracking + warping + analysing + choosing)
    return rows, track, frames


# --- whole commands and alternatives ----------------------------------------------------------------------


def whole(plan: Plan, clip: Path, seconds: float, work: Path) -> tuple[Rows, Path]:
    """From file to file, as the commands do it: encode, and decode at every size."""
    stream = work / "clip.stc"
    options = EncodeOptions(pack=plan.pack.folder, device=str(plan.device), duration=seconds, likeness=OFF)
    encoded = api.encode(clip, stream, options)
    rows: Rows = [{"command": "encode", "frames": encoded.frames, "fps": encoded.frames / encoded.seconds_taken}]
    for size, precision in product(plan.sizes, plan.precisions):
        decode_options = DecodeOptions(size=size, device=plan.device, pack=plan.pack, precision=precision)
        report = api.decode(stream, work / "out.mp4", decode_options)
        rate = report.frames / report.seconds_taken
        command = f"decode --size {size} --precision {precision}"
        rows.append({"command": command, "frames": report.frames, "fps": rate})
    return rows, stream


def alternatives(plan: Plan, frames: list[Frame], track: AlignedTrack, rate: Any) -> Rows:
    """Video codecs on the aligned squares at full size (what we decode) and on the frames (what we encode)."""
    side, frames = plan.pack.card.resolution, frames[:MOST_FRAMES]
    squares = [warp(frame, track[number], side) for number, frame in enumerate(frames)]
    height, width = (n // 2 * 2 for n in frames[0].shape[:2])
    even = [np.ascontiguousarray(frame[:height, :width]) for frame in frames]
    rows: Rows = []
    for count in plan.thread_counts:
        for pictures in (squares, even):
            rows += video_codecs.compare(pictures, rate, count)
    return rows


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path, help="a video with a face")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 512, 256])
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 2 4 8; on a GPU 1 4 16 32 64")
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS[1:], help="default: float32 bfloat16; on a GPU float16 too"
    )
    parser.add_argument("--threads", type=int, nargs="+", help="default: all cores, and 1")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the clip")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds per figure")
    parser.add_argument("--compile", action="store_true", help="also try torch.compile")
    parser.add_argument("--graphs", action="store_true", help="also try a CUDA graph")
    parser.add_argument("--skip-alternatives", action="store_true")
    parser.add_argument("--out", type=Path, help="the JSON file")
    return parser.parse_args(argv)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The defaults of the device filled in."""
    device = pick_device(arguments.device)
    gpu = device.type == "cuda"
    return Plan(
        pack=open_pack(arguments.pack),
        device=device,
        sizes=arguments.sizes,
        batches=arguments.batches or ([1, 4, 16, 32, 64] if gpu else [1, 2, 4, 8]),
        precisions=arguments.precisions or (PRECISIONS[1:] if gpu else PRECISIONS[1:3]),
        thread_counts=arguments.threads or ([cores()] if gpu or cores() == 1 else [cores(), 1]),
        budget=arguments.budget,
    )


def show(title: str, rows: Rows, columns: Sequence[str] | None = None) -> None:
    print(f"\n{title}\n{table(rows, columns)}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = arguments_of(argv)
    plan = plan_of(arguments)
    gpu = torch.cuda.get_device_name(plan.device) if plan.gpu else None
    origin = provenance(plan.pack, vars(arguments), [arguments.clip], gpu=gpu)
    facts, result = origin["machine"], {"clip": arguments.clip.name}
    print(f"{facts['device']}, {facts['cores']} cores, torch {origin['versions']['torch']}, {origin['date']}")
    print(busy(facts) or "")
    ceilings: Rows = []
    for count in plan.thread_counts:
        with threads(count):
            ceilings += [ceiling(plan.device, pick_dtype(p, plan.device), plan.budget) for p in plan.precisions]
    show("the machine's ceilings", ceilings)
    torch.set_num_threads(max(plan.thread_counts))
    reader = VideoReader(arguments.clip)
    with tempfile.TemporaryDirectory() as folder:
        commands, stream = whole(plan, arguments.clip, arguments.seconds, Path(folder))
        show("whole commands, from file to file", commands)
        with StreamFile.open(stream) as file:
            identity, packets = file.identities[0], file.packets(0, file.frame_count)
    decoding = decode_rows(plan, identity, packets, ceilings)
    show("packets to pictures: batch 1 and the best batch; shares of the ceilings", telling(decoding))
    stages, blocks = stage_rows(plan, identity, packets)
    show(f"where a picture's time goes, {plan.pack.card.resolution}², as the decoder runs it", stages)
    show("its synthesis, block by block", blocks)
    names = ["contiguous maps"]
    names += ["torch.compile"] if arguments.compile else []
    names += ["CUDA graph"] if arguments.graphs and plan.gpu else []
    others = render_variants(plan, names, identity, packets)
    show("variants of rendering; the decoder keeps its maps channels_last", others)
    encoding, track, frames = encode_stages(plan, arguments.clip, max(1, int(arguments.seconds * reader.rate)))
    show(f"fast encoding by stage, {reader.width}x{reader.height}, {len(frames)} frames", encoding)
    result |= {"ceilings": ceilings, "commands": commands, "decode": decoding, "decode_stages": stages}
    result |= {"decode_blocks": blocks, "decode_variants": others, "encode_stages": encoding}
    if not arguments.skip_alternatives:
        result["alternatives"] = alternatives(plan, frames, track, reader.rate)
        show("video codecs on the same pictures (conversion from and to RGB included)", result["alternatives"])
    save(arguments.out or RESULTS / f"speed_{machine_name(facts)}.json", origin, result)


if __name__ == "__main__":
    try:
        main()
    except StylecodecError as error:
        raise SystemExit(f"error: {error}") from error
