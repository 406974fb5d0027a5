"""How much do marks seem to miss where nothing is missing? What `stylecodec.encoding.marks.DOUBT` is set by.

    python -m benchmarks.doubt clips/

Rendered people (`stylecodec train render clips`; others than any benchmark judges by) are encoded without the face
mesh, as the encoder reads their codes well. What the marks of the avatar then lack of the person's, medians aside, is
the mesh's own error, and what the avatar cannot show: RMS over the frames of each clip, the mean over clips, and a
fifth more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, machine, save, table
from benchmarks.real_clips import Recorded
from stylecodec.encoding.aligned_clip import AlignedClip
from stylecodec.encoding.motion.feedforward import smooth, to_input
from stylecodec.encoding.motion.landmark_correction import Shown, lacking
from stylecodec.encoding.motion.landmark_features import NAMES, MarkReader
from stylecodec.encoding.motion.refinement import Scene
from stylecodec.encoding.options import EncodeOptions, FollowOptions
from stylecodec.encoding.personalization.clip_passes import codes_of
from stylecodec.encoding.pipeline import encode_frames
from stylecodec.media.video import VideoReader
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

MORE = 1.2
CPU = torch.device("cpu")


def lack(path: Path, pack: ModelPack) -> np.ndarray:
    """RMS [17] of what the marks lack in a clip."""
    reader, options = VideoReader(path), EncodeOptions(device="cpu", audio=False, follow=FollowOptions(frames=0))
    track = Recorded(pack, "cpu").track((frame for _, frame in reader.frames()), float(reader.rate))
    frames = list(AlignedClip(reader.frames, track))
    clip = encode_frames(frames, pack, options, reader.rate)
    there = [k for k, frame in enumerate(frames) if frame.crop is not None]
    marks = MarkReader(pack, CPU)(to_input([frame.crop for frame in frames if frame.crop is not None], CPU))
    wanted = torch.from_numpy(smooth(marks.numpy(), options.smoothing * float(reader.rate)))
    scene, codes = Scene(pack, CPU), codes_of(np.asarray(clip.packets[there], np.float16))
    shown = Shown(scene, torch.from_numpy(clip.identity.latent.astype(np.float32)), options.follow.side)
    units = scene.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
    return np.asarray(lacking(wanted, shown(units)).square().mean(dim=0).sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.doubt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, help="folder of clip_<id>.mp4")
    parser.add_argument("--pack", default=DEFAULT_PACK, help="name or folder of a pack (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "doubt.json")
    arguments = parser.parse_args()
    pack = open_pack(arguments.pack)
    found: dict[str, np.ndarray] = {}
    for path in sorted(arguments.clips.glob("clip_*.mp4")):
        found[path.stem] = lack(path, pack)
        print(path.stem, flush=True)
    doubt = MORE * np.mean(list(found.values()), axis=0)
    print(table([{"mark": name, "doubt": round(float(doubt[k]), 3)} for k, name in enumerate(NAMES)]))
    facts = {"machine": machine(), "pack": pack.digest.hex(), "clips": sorted(found)}
    save(arguments.results, {**facts, "doubt": dict(zip(NAMES, doubt.tolist(), strict=True))})


if __name__ == "__main__":
    main()
