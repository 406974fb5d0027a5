"""How good is a pack through the whole codec: video -> .stc -> video, on rendered people it never saw.

    python -m stylecodec.training.heads clips --geometry ict/ --out clips/ --identities 1000000 ... --seconds 2.4
    python benchmarks/held_out.py clips/ --pack avatar-1024 --short 40 --write-card

For each clip (`clip_<id>.mp4` beside its truth `clip_<id>.npz`) the default encoder and decoder run on the files. The
input is aligned as the encoder saw it, the output decoded aligned, both 256². Measured: PSNR; error of the packets'
yaw and pitch; correlation over time between the true landmark tracks (mouth and eye opening) or the true gaze and the
same quantity measured on the output by the pack's landmark net (`..._of_input`: what that net reaches on the input,
the ceiling of this measurement). `sent_...` is the correlation between the true jaw, lids and gaze and those that the α
of the packets stand for, read off by a linear map that was fitted on the expression net's own α of the short clips'
true expressions. `--short N`: the first N clips are too short for a correlation; they enter PSNR and pose alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import EncodeOptions
from stylecodec.face.align import Aligner, crops
from stylecodec.face.landmarks import make_landmarker
from stylecodec.media.video import VideoReader
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.packs.writing import update_card
from stylecodec.training.datasets import scaled_expression

Floats = NDArray[np.float64]
Readout = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
SIDE = 256


def tracks(points: Floats) -> dict[str, Floats]:
    """Landmarks [n, 83, 2] -> quantities [n] in units of the eye distance (gaze: of the eye's width)."""
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    unit = np.linalg.norm(right - left, axis=1)
    across = (right - left) / unit[:, None]
    down = np.stack([-across[:, 1], across[:, 0]], 1)

    def gap(a: int, b: int) -> Floats:
        return np.asarray(np.linalg.norm(points[:, a] - points[:, b], axis=1) / unit, np.float64)

    sideways, upwards = [], []
    for iris, (a, b) in ((81, (36, 39)), (82, (42, 45))):
        middle, width = (points[:, a] + points[:, b]) / 2, np.linalg.norm(points[:, a] - points[:, b], axis=1)
        offset = points[:, iris] - middle
        sideways.append((offset * across).sum(1) / width)
        upwards.append(-(offset * down).sum(1) / width)
    return {
        "mouth": gap(62, 66),
        "eyes": (gap(37, 41) + gap(38, 40) + gap(43, 47) + gap(44, 46)) / 4,
        "gaze_yaw": np.mean(sideways, 0),
        "gaze_pitch": np.mean(upwards, 0),
    }


def correlation(a: Floats, b: Floats) -> float:
    """Pearson; nan where one of them hardly moves."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-4 and b.std() > 1e-6 else float("nan")


def batches(frames: list[NDArray[np.uint8]], size: int = 16) -> Iterator[torch.Tensor]:
    for start in range(0, len(frames), size):
        stack = np.stack(frames[start : start + size])
        yield torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.no_grad()
def landmarks(frames: list[NDArray[np.uint8]], pack: ModelPack) -> Floats:
    net = pack.landmarks("cpu")
    side = net.input_size
    found = [net(torch.nn.functional.interpolate(x, size=(side, side), mode="area")) for x in batches(frames)]
    return torch.cat(found).double().numpy()


def quantities(expression: Floats, pack: ModelPack) -> dict[str, Floats]:
    """Expression vectors [n, 55] (gaze in degrees) -> what is asked about: jaw, lids, gaze [n] each."""
    names = list(pack.card.training["expression_inputs"])
    column = {name: expression[:, k] for k, name in enumerate(names)}
    return {
        "mouth": column["jawOpen"],
        "eyes": -(column["eyeBlink_L"] + column["eyeBlink_R"]) / 2,
        "gaze_yaw": column["gaze_yaw"],
        "gaze_pitch": column["gaze_pitch"],
    }


@torch.no_grad()
def fit_readout(truths: list[Floats], pack: ModelPack) -> Readout:
    """Read jaw, lids and gaze off α: least squares on the expression net's own α of known expressions (other clips)."""
    expression = np.concatenate(truths)
    scaled = torch.from_numpy(scaled_expression(expression.astype(np.float32)))
    alpha = pack.network("expression", "cpu")(scaled).double().numpy()
    wanted = quantities(expression, pack)
    design = np.c_[alpha, np.ones(len(alpha))]
    penalty = 1e-3 * np.trace(design.T @ design) / design.shape[1] * np.eye(design.shape[1])
    weights = {n: np.linalg.solve(design.T @ design + penalty, design.T @ v) for n, v in wanted.items()}
    return lambda a: {n: np.c_[a, np.ones(len(a))] @ w for n, w in weights.items()}


def measure(
    clip: Path, pack: ModelPack, work: Path, readout: Readout | None
) -> tuple[dict[str, float], list[NDArray[np.uint8]]]:
    """Figures of one clip, and a strip of input over output pictures."""
    truth = np.load(clip.with_suffix(".npz"), allow_pickle=False)
    stream = work / f"{clip.stem}.stc"
    options = EncodeOptions(pack=pack.folder, device="cpu")
    began = time.perf_counter()
    report = api.encode(clip, stream, options)
    encode_seconds = time.perf_counter() - began
    reader = VideoReader(clip)
    landmarker = make_landmarker("pack", pack.landmarks("cpu"), pack.card.alignment)
    aligner = Aligner(landmarker, alignment=pack.card.alignment)
    track = aligner.track(frame for _, frame in reader.frames())
    inputs = list(crops((frame for _, frame in reader.frames()), track, SIDE))
    began = time.perf_counter()
    with Decoder.open(stream, device="cpu", pack=pack, size=SIDE, pose="aligned", as_numpy=True) as decoder:
        outputs = [np.asarray(frame) for frame in decoder]
    decode_seconds = time.perf_counter() - began
    error = np.stack(inputs).astype(np.float32) - np.stack(outputs)
    figures = {
        "psnr": float(np.mean([10 * np.log10(255**2 / max(1e-9, float(np.mean(e**2)))) for e in error])),
        "frames": len(outputs),
        "held": report.held,
        "encode_fps": len(outputs) / encode_seconds,
        "decode_fps_256": len(outputs) / decode_seconds,
    }
    with StreamFile.open(stream) as file:
        packets = file.packets(0, file.frame_count)
    pose = truth["pose"][: len(packets)]
    figures["yaw_error"] = float(np.abs(packets[:, 0] - pose[:, 0]).mean())
    figures["pitch_error"] = float(np.abs(packets[:, 1] - pose[:, 1]).mean())
    figures["roll_error"] = float(np.abs(packets[:, 2] - pose[:, 2]).mean())
    true, found = tracks(truth["landmarks"].astype(np.float64)), tracks(landmarks(outputs, pack))
    seen = tracks(landmarks(inputs, pack))
    gaze = truth["expression"][:, -2:].astype(np.float64)
    for name in ("mouth", "eyes"):
        figures[f"{name}_correlation"] = correlation(true[name], found[name])
        figures[f"{name}_correlation_of_input"] = correlation(true[name], seen[name])
    for k, name in enumerate(("gaze_yaw", "gaze_pitch")):
        figures[f"{name}_correlation"] = correlation(gaze[:, k], found[name])
        figures[f"{name}_correlation_of_input"] = correlation(gaze[:, k], seen[name])
    sent = readout(packets[:, 3:].astype(np.float64)) if readout is not None else {}
    meant = quantities(truth["expression"].astype(np.float64), pack)
    for name, values in sent.items():
        figures[f"sent_{name}_correlation"] = correlation(meant[name], values)
    picks = np.linspace(0, len(outputs) - 1, 8).astype(int)
    strip = [np.hstack([inputs[i] for i in picks]), np.hstack([outputs[i] for i in picks])]
    return figures, strip


def summary(rows: dict[str, dict[str, float]], short: set[str]) -> dict[str, Any]:
    """Mean and worst clip of every figure; correlations over the long clips only."""
    out: dict[str, Any] = {"clips": len(rows), "long_clips": len(rows) - len(short)}
    low_is_bad = ("psnr", "correlation")
    for key in next(iter(rows.values())):
        if key in ("frames",):
            continue
        chosen = {n: r[key] for n, r in rows.items() if not ("correlation" in key and n in short)}
        values = {n: v for n, v in chosen.items() if not np.isnan(v)}
        if values:
            worst = min if any(word in key for word in low_is_bad) or "fps" in key else max
            out[key] = {
                "mean": round(float(np.mean(list(values.values()))), 3),
                "worst": round(worst(values.values()), 3),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--pack", default="avatar-1024")
    parser.add_argument("--short", type=int, default=0, help="how many of the first clips are short")
    parser.add_argument("--limit", type=int, help="only so many clips, evenly chosen")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/held_out.json"))
    parser.add_argument("--sheet", type=Path, help="write a contact sheet PNG")
    parser.add_argument("--write-card", action="store_true", help="put the summary into the pack's card")
    arguments = parser.parse_args()
    pack = open_pack(arguments.pack)
    clips = sorted(arguments.clips.glob("clip_*.mp4"), key=lambda p: int(p.stem.split("_")[1]))
    short = {p.stem for p in clips[: arguments.short]}
    if arguments.limit:
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, arguments.limit).astype(int)]
    truths = [np.load(p.with_suffix(".npz"), allow_pickle=False)["expression"] for p in clips if p.stem in short]
    readout = fit_readout(truths, pack) if truths and pack.has("expression") else None
    rows, strips = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            rows[clip.stem], strip = measure(clip, pack, Path(folder), readout)
            strips += strip
            words = " ".join(f"{k}={v:.2f}" for k, v in rows[clip.stem].items() if "fps" not in k)
            print(f"{clip.stem}: {words}", flush=True)
    result = summary(rows, short & set(rows))
    print(json.dumps(result, indent=2))
    content = {"pack": pack.digest.hex(), "torch": torch.__version__, "summary": result, "clips": rows}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.sheet:
        from PIL import Image

        Image.fromarray(np.vstack(strips)).save(arguments.sheet)
    if arguments.write_card:
        update_card(pack.folder, figures={**pack.card.figures, "held_out": result})


if __name__ == "__main__":
    main()
