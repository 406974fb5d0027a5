"""What benchmarks.personal measures: heads by the parser's mask, other people, deltas, ordinary codecs beside them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.likeness import Floats, Frame, batches
from stylecodec.bitstream.delta import GeneratorDelta
from stylecodec.decoding.personal import TunedPack
from stylecodec.decoding.regions import Regions
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import FrameCodes
from stylecodec.encoding.personalization.delta_coding import CodingConfiguration, Measured, fitted
from stylecodec.encoding.personalization.locality import random_people
from stylecodec.face.recognition import FaceDescriptor
from stylecodec.media.codecs import Setting, VideoCodec, decoded_video, encode_video
from stylecodec.metrics.identity import identity_distances
from stylecodec.metrics.psnr import picture_psnr, psnr
from stylecodec.metrics.ssim import mean_ssim
from stylecodec.packs.store import ModelPack

CPU = torch.device("cpu")
SIDE = 256
BATCH = 8
PEOPLE = 48  # others on whom locality is measured
DESCRIBED = 20  # frames whose identity is compared
CONFIGURATIONS: dict[str, CodingConfiguration] = {
    "usual": CodingConfiguration(),
    "affine weights in rows": CodingConfiguration(affine="rows"),
    "no affine weights": CodingConfiguration(affine="none"),
    "one step for all": CodingConfiguration(uniform=True),
    "dead zone": CodingConfiguration(rounding=0.38),
    "convolutions of rank 16": CodingConfiguration(rank=16),
    "convolutions of rank 48": CodingConfiguration(rank=48),
}
LIMITS = (100_000, 200_000, 400_000, 700_000, 1_000_000, 1_400_000, 2_000_000, 3_000_000)


@torch.no_grad()
def head_masks(frames: Sequence[Frame], pack: ModelPack) -> Floats:
    """[n, 256, 256] of aligned crops: where the pack's parser sees the head."""
    regions = Regions(pack, CPU)
    parts = [regions.head(pictures)[:, 0] for pictures in batches(frames, BATCH)]
    found: Floats = torch.cat(parts).double().numpy()
    return found


def likeness(inputs: Sequence[Frame], outputs: Sequence[Frame], masks: Floats) -> dict[str, float]:
    """PSNR and SSIM of the head: mean and worst frame; PSNR of the whole square beside them."""
    rows = list(zip(inputs, outputs, masks, strict=True))
    psnr = [picture_psnr(a, b, m) for a, b, m in rows]
    ssim = [mean_ssim(a, b, m) for a, b, m in rows]
    whole = [picture_psnr(a, b) for a, b, _ in rows]
    return {
        "psnr": float(np.mean(psnr)),
        "psnr_worst": float(np.min(psnr)),
        "ssim": float(np.mean(ssim)),
        "psnr_square": float(np.mean(whole)),
        "frames": len(rows),
    }


def identity_distance(inputs: Sequence[Frame], outputs: Sequence[Frame]) -> dict[str, float]:
    """dlib's face-recognition distance between input and output frames, on pictures doubled in size."""
    chosen = np.unique(np.linspace(0, len(inputs) - 1, DESCRIBED).astype(int))
    found = identity_distances(FaceDescriptor(), ((inputs[k], outputs[k]) for k in chosen), enlarged=2)
    nan = float("nan")
    mean, worst = (float(np.mean(found)), float(np.max(found))) if found else (nan, nan)
    return {"mean": mean, "worst": worst, "frames": len(found)}


@torch.no_grad()
def locality(pack: ModelPack, tuned: TunedPack, seed: int = 7) -> dict[str, float]:
    """PSNR in dB of other people's pictures by the tuned generator against those by the pack's own."""
    random = torch.Generator().manual_seed(seed)
    before, after = DifferentiableRenderer(pack, CPU), DifferentiableRenderer(tuned, CPU)
    w = random_people(before.generator, PEOPLE, random)[:, None].expand(-1, before.generator.rows, -1)
    codes = 0.5 * torch.randn(PEOPLE, 34, generator=random)
    values = []
    for k in range(0, PEOPLE, BATCH):
        anchor, part = before.anchor(w[k : k + BATCH]), codes[k : k + BATCH]
        a, b = (renderer.render(anchor, part, SIDE, reference=False).clamp(-1, 1) for renderer in (before, after))
        values.append(psnr(a, b))
    found = torch.cat(values)
    return {"psnr": float(found.mean()), "psnr_worst": float(found.min()), "people": PEOPLE}


# --- the delta ------------------------------------------------------------------------------------------------


@torch.no_grad()
def rendered(pack: ModelPack, latent: NDArray[np.float16], codes: FrameCodes, rows: Sequence[int]) -> torch.Tensor:
    """The pictures [n, 3, 256, 256] of some of the codes."""
    renderer = DifferentiableRenderer(pack, CPU)
    anchor = renderer.anchor(torch.from_numpy(latent.astype(np.float32)))
    units = renderer.units.units(torch.from_numpy(codes.pose[rows]), torch.from_numpy(codes.alpha[rows]))
    few = (renderer.render(anchor, part, SIDE, reference=False) for part in torch.split(units, BATCH))
    return torch.cat(list(few)).clamp(-1, 1)


def delta_rows(
    measured: Measured,
    score: Callable[[GeneratorDelta], float],
    configurations: dict[str, CodingConfiguration] | None = None,
) -> list[dict[str, Any]]:
    """Bytes against PSNR for every coding configuration and limit; `score` renders a delta and tells the PSNR in dB."""
    rows: list[dict[str, Any]] = []
    for name, configuration in (configurations or CONFIGURATIONS).items():
        last = None
        for limit in LIMITS if name == "usual" else (400_000, 1_400_000):
            delta = fitted(measured, limit, 99.0, configuration)
            if last is not None and len(delta) <= last:
                break  # no finer than before: everything is exact by now
            last = len(delta)
            rows.append({"configuration": name, "limit": limit, "bytes": last, "psnr": score(delta)})
    return rows


# --- ordinary codecs ------------------------------------------------------------------------------------------


def search(low: int, high: int, good: Callable[[int], bool], want_low: bool) -> int | None:
    """The lowest (or highest) number of low..high that is good, where goodness changes once; None where none is."""
    best = None
    while low <= high:
        middle = (low + high) // 2
        if good(middle):
            best = middle
            low, high = (low, middle - 1) if want_low else (middle + 1, high)
        else:
            low, high = (middle + 1, high) if want_low else (low, middle - 1)
    return best


def codec_at(
    codec: VideoCodec, inputs: Sequence[Frame], masks: Floats, rate: Fraction, *, most: int | None, psnr: float | None
) -> dict[str, Any]:
    """An ordinary codec on the aligned squares: at `most` bytes the best it can, or the fewest bytes for `psnr` dB."""
    tried: dict[int, tuple[int, float]] = {}

    def run(crf: int) -> tuple[int, float]:
        if crf not in tried:
            video = encode_video(inputs, rate, codec, Setting(crf, threads=2))
            shown = decoded_video(io.BytesIO(video.data))
            quality = [picture_psnr(a, b, m) for a, b, m in zip(inputs, shown, masks, strict=True)]
            tried[crf] = len(video.data), float(np.mean(quality))
        return tried[crf]

    low, high = codec.scale
    if most is not None:
        crf = search(low, high, lambda c: run(c)[0] <= most, want_low=True)
    else:
        assert psnr is not None
        crf = search(low, high, lambda c: run(c)[1] >= psnr, want_low=False)
    if crf is None:
        return {"codec": codec.encoder, "crf": None, "kbps": None, "psnr": None}
    size, quality = tried[crf]
    return {"codec": codec.encoder, "crf": crf, "kbps": size * 8 / float(len(inputs) / rate) / 1000, "psnr": quality}
