"""How much do landmark features seem to miss where nothing is missing? It sets their noise floor.

    python -m benchmarks.noise_floor clips/

Rendered people (`stylecodec train render clips`; others than any benchmark judges by) are encoded without the face
mesh, as the encoder reads their codes well. What those of the avatar then lack of the person's, medians aside, is
the mesh's own error, and what the avatar cannot show: RMS over the frames of each clip, the mean over clips, and a
fifth more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from stylecodec.encoding.differentiable import DifferentiableRenderer
from stylecodec.encoding.frames import AlignedClip, Motion, smooth, to_input
from stylecodec.encoding.front_end import front_end_for
from stylecodec.encoding.motion.landmark_correction import RenderedFeatures, residual
from stylecodec.encoding.options import EncodeOptions, LandmarkCorrectionOptions
from stylecodec.encoding.pipeline import encode_frames
from stylecodec.media.video import VideoReader
from stylecodec.metrics.landmark_features import NAMES, FeatureReader
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

MORE = 1.2
CPU = torch.device("cpu")


def lack(path: Path, pack: ModelPack) -> np.ndarray:
    """RMS [17] of what the landmark features lack in a clip."""
    uncorrected = LandmarkCorrectionOptions(enabled=False)
    reader, options = VideoReader(path), EncodeOptions(device="cpu", audio=False, landmark_correction=uncorrected)
    track = front_end_for(pack, options).track((frame for _, frame in reader.frames()), float(reader.rate))
    frames = list(AlignedClip(reader.frames, track))
    clip = encode_frames(frames, pack, options, reader.rate)
    there = [k for k, frame in enumerate(frames) if frame.crop is not None]
    features = FeatureReader(pack, CPU)(to_input([frame.crop for frame in frames if frame.crop is not None], CPU))
    wanted = torch.from_numpy(smooth(features.numpy(), options.smoothing * float(reader.rate)))
    renderer, codes = DifferentiableRenderer(pack, CPU), Motion(np.asarray(clip.packets, np.float16)).codes(there)
    latent = torch.from_numpy(clip.identity.latent.astype(np.float32))
    rendered = RenderedFeatures(renderer, latent, options.landmark_correction.side)
    units = renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    return np.asarray(residual(wanted, rendered(units)).square().mean(dim=0).sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise_floor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, help="folder of clip_<id>.mp4")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="name or folder of a pack (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "noise_floor.json")
    arguments = parser.parse_args()
    pack = open_pack(arguments.pack)
    found: dict[str, np.ndarray] = {}
    clips = sorted(arguments.clips.glob("clip_*.mp4"))
    origin = provenance(pack, vars(arguments), clips)
    for path in clips:
        found[path.stem] = lack(path, pack)
        print(path.stem, flush=True)
    floor = MORE * np.mean(list(found.values()), axis=0)
    print(table([{"feature": name, "noise_floor": round(float(floor[k]), 3)} for k, name in enumerate(NAMES)]))
    values = dict(zip(NAMES, floor.tolist(), strict=True))
    save(arguments.results, origin, {"clips": sorted(found), "noise_floor": values})


if __name__ == "__main__":
    main()
