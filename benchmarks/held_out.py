"""How good is a pack through the whole codec: video -> .stc -> video, on rendered people it never saw.

    stylecodec train render clips --geometry ict/ --out clips/ --identities 1000000 ... --seconds 2.4
    python -m benchmarks.held_out clips/ --pack avatar-1024 --short 40 --write-card

For each clip (`clip_<id>.mp4` beside its truth `clip_<id>.npz`) the default encoder and decoder run on the files. The
input is aligned as the encoder saw it, the output decoded aligned, both 256². Measured:
- PSNR, SSIM, and an LPIPS-style distance on the features of the pack's face parser;
- error of the packets' yaw and pitch;
- correlation over time between the true mouth and eye opening and those that dlib's 68-point predictor reads off the
  output (`..._of_input`: the same reading of the input, the ceiling of this measurement);
- `sent_...`: correlation between the true gap of the lips, lids and gaze and those that the α of the packets stand for:
  a quadratic map, fitted on the expression net's own α of random expressions with noise where α hardly shows in the
  picture, reads the expression off them. Of that the gap of the lips is a linear function, the one that fits the true
  landmarks of all other clips best.
A clip in which a quantity hardly moves says nothing about it and is left out of its mean. `--short N`: the first N
clips are too short for a correlation; they enter PSNR and pose alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.landmark_tracks import Yardstick
from benchmarks.likeness import Floats, Frame, batches
from benchmarks.measuring import RESULTS, as_json, save
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.bitstream import PARAMS_PER_FRAME, Identity, StreamFile
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.front_end import front_end_for
from stylecodec.encoding.options import OFF, PRESETS, EncodeOptions, FitOptions
from stylecodec.encoding.rate.sensitivity import picture_metrics
from stylecodec.face.align import crops
from stylecodec.media.video import VideoReader
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.metrics.ssim import mean_ssim
from stylecodec.metrics.tracks import face_tracks
from stylecodec.nets.perceptual import FeatureDistance
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.packs.writing import update_card
from stylecodec.training.datasets import scaled_expression
from stylecodec.training.heads.tracks import random_expression, random_gaze

Readout = Callable[[Floats], Floats]  # α [n, 32] -> expression vectors [n, 55], gaze in degrees
SIDE = 256
OVERVIEW = 6  # clips on the small sheet
# Random expressions on which the readout is fitted, and how many at once. The lips' correlation hangs on which they
# are: with 18,000 it was 0.948 or 0.961, with these it is 0.950 to 0.957.
READOUT_FACES, AT_ONCE = 120_000, 12_000
# Noise on their α, RMS in standard deviations: a readout of exact α would amplify every error. It is shaped like the
# errors that pictures hide, large where α shows little; directions that show less than this share of the one that
# shows most are taken to show so much.
READOUT_NOISE, LEAST_SHOWN = 0.7, 0.1
# Standard deviations up to which a quantity does not move, so that nothing can follow it: gaps in eye distances,
# weights of the lids, degrees of gaze.
STILL = {"gap": 0.006, "mouth": 0.006, "eyes": 0.03, "gaze_yaw": 1.5, "gaze_pitch": 1.5}


def tracks(points: Floats) -> dict[str, Floats]:
    """Landmarks [n, >= 68, 2] -> gap of the lips and of the lids [n]."""
    found = face_tracks(points)
    return {"mouth": found["mouth_open"], "eyes": found["eyes_open"]}


@torch.no_grad()
def feature_distance(a: list[Frame], b: list[Frame], pack: ModelPack) -> float:
    """Mean LPIPS-style distance by the pack's face parser."""
    distance = FeatureDistance(pack.parser("cpu"))
    return float(torch.cat([distance(x, y) for x, y in zip(batches(a), batches(b), strict=True)]).mean())


def correlation(true: Floats, found: Floats, still: float) -> float:
    """Pearson; nan where the truth hardly moves (standard deviation up to `still`), 0 where only the other does not."""
    if true.std() <= still:
        return float("nan")
    return float(np.corrcoef(true, found)[0, 1]) if found.std() > 1e-6 else 0.0


def lip_gap(truths: Sequence[Mapping[str, NDArray[Any]]]) -> tuple[Floats, float]:
    """The gap of the lips as a linear function of the expression [55], and the R² of it within the clips."""
    within = [(t["expression"].astype(np.float64), tracks(t["landmarks"].astype(np.float64))["mouth"]) for t in truths]
    faces = np.concatenate([e - e.mean(0) for e, _ in within])
    gaps = np.concatenate([g - g.mean() for _, g in within])
    faces[:, -2:] = 0  # gaze does not open the mouth
    weights = np.linalg.solve(faces.T @ faces + 1e-4 * len(faces) * np.eye(faces.shape[1]), faces.T @ gaps)
    return weights, 1 - float(np.square(gaps - faces @ weights).sum() / np.square(gaps).sum())


def quantities(expression: Floats, mouth: Floats, pack: ModelPack) -> dict[str, Floats]:
    """Expression vectors [n, 55] (gaze in degrees) and the lips' gap [n] -> what is asked about, lids and gaze too."""
    names = list(pack.card.training["expression_inputs"])
    column = {name: expression[:, k] for k, name in enumerate(names)}
    return {
        "mouth": mouth,
        "eyes": -(column["eyeBlink_L"] + column["eyeBlink_R"]) / 2,
        "gaze_yaw": column["gaze_yaw"],
        "gaze_pitch": column["gaze_pitch"],
    }


def squares(alpha: Floats) -> Floats:
    """α [n, 32] -> 1, α and all products of two of them [n, 561]."""
    i, j = np.triu_indices(alpha.shape[1])
    return np.concatenate([np.ones((len(alpha), 1)), alpha, alpha[:, i] * alpha[:, j]], axis=1)


def hidden(pack: ModelPack, alpha: Floats, unit: Floats) -> Floats:
    """The root [32, 32] of a covariance that is large for what hardly shows; in deviations `unit` [32] of α [n, 32]."""
    generator = pack.generator("cpu")
    person = Identity(np.repeat(generator.mapping.w_avg.numpy()[None], generator.rows, axis=0).astype(np.float16))
    packets = np.zeros((60, PARAMS_PER_FRAME), np.float32)
    packets[:, 3:] = alpha[:60]
    shown = picture_metrics(pack, torch.device("cpu"), person, packets).perceptual[3:, 3:] * np.outer(unit, unit)
    least = LEAST_SHOWN * float(np.linalg.eigvalsh(shown)[-1])
    covariance = np.linalg.inv(shown + least * np.eye(len(shown)))
    root: Floats = np.linalg.cholesky(covariance * len(shown) * READOUT_NOISE**2 / np.trace(covariance))
    return root


@torch.no_grad()
def fit_readout(pack: ModelPack) -> Readout:
    """Read expressions off α: least squares on the expression net's own α of random expressions."""
    names, net = list(pack.card.training["expression_inputs"])[:-2], pack.network("expression", "cpu")
    rng = np.random.default_rng(7)

    def faces() -> tuple[Floats, Floats]:
        drawn = [np.r_[random_expression(rng, names), random_gaze(rng)] for _ in range(AT_ONCE)]
        expression = np.stack(drawn).astype(np.float32)
        return net(torch.from_numpy(scaled_expression(expression))).double().numpy(), expression.astype(np.float64)

    parts = (faces() for _ in range(READOUT_FACES // AT_ONCE))
    first = next(parts)
    unit = first[0].std(0) + 1e-6
    root = hidden(pack, first[0], unit)
    gram, right = np.zeros(()), np.zeros(())
    for alpha, expression in chain([first], parts):
        design = squares(alpha / unit + rng.standard_normal(alpha.shape) @ root.T)
        gram, right = gram + design.T @ design, right + design.T @ expression
    penalty = 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights: Floats = np.linalg.solve(gram + penalty, right)
    return lambda a: squares(a / unit) @ weights


def measure(
    clip: Path,
    truth: Mapping[str, NDArray[Any]],
    options: EncodeOptions,
    pack: ModelPack,
    work: Path,
    readout: Readout | None,
    gap: Floats,
    yardstick: Yardstick,
) -> tuple[dict[str, float], list[Frame]]:
    """Figures of one clip, and a strip of input over output pictures. gap: of the lips, by expression [55]."""
    stream = work / f"{clip.stem}.stc"
    report = api.encode(clip, stream, options)
    reader = VideoReader(clip)
    track = front_end_for(pack, options).track((frame for _, frame in reader.frames()), float(reader.rate))
    inputs = list(crops((frame for _, frame in reader.frames()), track, SIDE))
    with Decoder.open(stream, device="cpu", pack=pack, size=SIDE, pose="aligned", as_numpy=True) as decoder:
        outputs = [np.asarray(frame) for frame in decoder]
    figures = {
        "psnr": float(np.mean([picture_psnr(a, b) for a, b in zip(inputs, outputs, strict=True)])),
        "ssim": float(np.mean([mean_ssim(a, b) for a, b in zip(inputs, outputs, strict=True)])),
        "feature_distance": feature_distance(inputs, outputs, pack),
        "frames": len(outputs),
        "held": report.held,
    }
    with StreamFile.open(stream) as file:
        packets = file.packets(0, file.frame_count)
    pose = truth["pose"][: len(packets)]
    figures["yaw_error"] = float(np.abs(packets[:, 0] - pose[:, 0]).mean())
    figures["pitch_error"] = float(np.abs(packets[:, 1] - pose[:, 1]).mean())
    figures["roll_error"] = float(np.abs(packets[:, 2] - pose[:, 2]).mean())
    true = tracks(truth["landmarks"].astype(np.float64))
    for suffix, pictures in (("", outputs), ("_of_input", inputs)):
        points = yardstick(pictures)
        seen = {} if points is None else tracks(points)
        for name, values in true.items():
            figures[f"{name}_correlation{suffix}"] = (
                correlation(values, seen[name], STILL["gap"]) if seen else float("nan")
            )
    if readout is not None:
        meant = quantities(truth["expression"].astype(np.float64), true["mouth"], pack)
        expression = readout(packets[:, 3:].astype(np.float64))
        for name, values in quantities(expression, expression @ gap, pack).items():
            figures[f"sent_{name}_correlation"] = correlation(meant[name], values, STILL[name])
    picks = np.linspace(0, len(outputs) - 1, 8).astype(int)
    strip = [np.hstack([inputs[i] for i in picks]), np.hstack([outputs[i] for i in picks])]
    return figures, strip


def overview(strips: Sequence[Frame]) -> Image.Image:
    """OVERVIEW pairs of strips (input over output), spread over the clips, at half size."""
    pairs = np.linspace(0, len(strips) // 2 - 1, OVERVIEW).astype(int)
    chosen = np.vstack([strips[2 * k + row] for k in pairs for row in (0, 1)])
    return Image.fromarray(chosen).reduce(2)


def summary(rows: dict[str, dict[str, float]], short: set[str]) -> dict[str, Any]:
    """Mean and worst clip of every figure; correlations over the long clips only."""
    out: dict[str, Any] = {"clips": len(rows), "long_clips": len(rows) - len(short)}
    low_is_bad = ("psnr", "ssim", "correlation")
    for key in next(iter(rows.values())):
        if key in ("frames",):
            continue
        chosen = {n: r[key] for n, r in rows.items() if not ("correlation" in key and n in short)}
        values = {n: v for n, v in chosen.items() if not np.isnan(v)}
        if values:
            worst = min if any(word in key for word in low_is_bad) else max
            clips = {"clips": len(values)} if "correlation" in key else {}
            out[key] = clips | {
                "mean": round(float(np.mean(list(values.values()))), 3),
                "worst": round(worst(values.values()), 3),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--short", type=int, default=0, help="how many of the first clips are short")
    parser.add_argument("--limit", type=int, help="only so many clips, evenly chosen")
    parser.add_argument("--out", type=Path, default=RESULTS / "held_out.json")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet PNG")
    parser.add_argument("--overview", type=Path, help="write a small sheet of some clips, JPEG")
    parser.add_argument("--preset", choices=PRESETS, default=EncodeOptions().preset)
    parser.add_argument("--plain", action="store_true", help="the identity as the feed-forward encoder gives it")
    parser.add_argument("--write-card", action="store_true", help="put the summary into the pack's card")
    arguments = parser.parse_args()
    pack = open_pack(arguments.pack)
    fit = FitOptions(enabled=False) if arguments.plain else FitOptions()
    options = EncodeOptions(preset=arguments.preset, pack=pack.folder, device="cpu", likeness=OFF, fit=fit)
    clips = sorted(arguments.clips.glob("clip_*.mp4"), key=lambda p: int(p.stem.split("_")[1]))
    short = {p.stem for p in clips[: arguments.short]}
    if arguments.limit:
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, arguments.limit).astype(int)]
    origin = provenance(pack, vars(arguments), clips)
    truths = {clip: dict(np.load(clip.with_suffix(".npz"), allow_pickle=False)) for clip in clips}
    print(f"the lip gap is a linear function of the expression with R² = {lip_gap(list(truths.values()))[1]:.3f}")
    readout = fit_readout(pack) if pack.has("expression") else None
    rows, strips, yardstick = {}, [], Yardstick()
    with tempfile.TemporaryDirectory() as folder:
        for clip, truth in truths.items():
            gap, _ = lip_gap([known for other, known in truths.items() if other != clip] or [truth])
            rows[clip.stem], strip = measure(clip, truth, options, pack, Path(folder), readout, gap, yardstick)
            strips += strip
            words = " ".join(f"{k}={v:.2f}" for k, v in rows[clip.stem].items())
            print(f"{clip.stem}: {words}", flush=True)
    result = summary(rows, short & set(rows))
    print(as_json(result))
    save(arguments.out, origin, {"summary": result, "clips": rows})
    if arguments.sheet:
        Image.fromarray(np.vstack(strips)).save(arguments.sheet)
    if arguments.overview:
        overview(strips).save(arguments.overview, quality=88)
    if arguments.write_card:
        update_card(pack.folder, figures={**pack.card.figures, "held_out": result})


if __name__ == "__main__":
    main()
