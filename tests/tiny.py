"""What tests stand on: a tiny random model pack that keeps every size the stream fixes (18 rows, 512, 1024²), a
stand-in for the face detector, and clips."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stylecodec.encoding.personalization import delta_coding
from stylecodec.encoding.rate import compaction, sensitivity
from stylecodec.errors import FaceNotFound
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.geometry import Alignment, CropTransform
from stylecodec.media import VideoWriter, encode_opus
from stylecodec.nets.feedforward import HybridEncoder
from stylecodec.nets.styleflow import HeadPoseFlow
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.card import Pose
from stylecodec.packs.store import ModelPack
from stylecodec.packs.writing import NetworkSource, write_pack

TINY_CHANNELS = {"4": 4, "8": 4, "16": 4, "32": 4, "64": 4, "128": 2, "256": 2, "512": 1, "1024": 1}
TINY_INDICES = tuple((layer, channel) for layer in (2, 3, 5, 6, 8, 9, 11, 12) for channel in range(4))
GENERATOR_PARAMS = {"resolution": 1024, "channels": TINY_CHANNELS, "mapping_layers": 1, "normalize_z": False}
FLOW_PARAMS = {"hidden": [8], "attributes": 2, "attribute_scale": [30.0, 20.0], "steps": 2}
FEEDFORWARD_PARAMS = {"widths": [4, 4, 4, 4, 4], "features": 16}


def tiny_networks(seed: int = 0) -> dict[str, NetworkSource]:
    """Random networks of the smallest useful widths; the feed-forward heads differ from frame to frame."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(**GENERATOR_PARAMS)  # type: ignore[arg-type]
        flow = HeadPoseFlow(**FLOW_PARAMS)  # type: ignore[arg-type]
        feedforward = HybridEncoder(**FEEDFORWARD_PARAMS)  # type: ignore[arg-type]
    return {
        "generator": NetworkSource(generator, GENERATOR_PARAMS, licence="MIT"),
        "flow": NetworkSource(flow, FLOW_PARAMS),
        "feedforward": NetworkSource(feedforward, FEEDFORWARD_PARAMS),
    }


def write_tiny_pack(folder: Path, seed: int = 0, name: str = "tiny-1024") -> ModelPack:
    return write_pack(
        folder,
        tiny_networks(seed),
        name=name,
        version="0.0",
        licence="MIT",
        resolution=1024,
        indices=TINY_INDICES,
        alignment=Alignment(1.08, 0.035),
        pose=Pose(rows=9, yaw=(-40.0, 40.0), pitch=(-22.0, 22.0)),
        training={"made_by": "tests/tiny.py", "seed": seed},
    )


@contextmanager
def coarse_probes() -> Iterator[None]:
    """Within, how codes and deltas show is measured in few frames of 64² pixels and not in more of 256² and 128²: where
    it is not asked how well a stream is rounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "PROBED_FRAMES", 1)
        for module in (sensitivity, compaction):
            patch.setattr(module, "PROBE_SIZE", 64)
        for name, value in (("PROBE_SIDE", 64), ("PROBES", 4), ("JUDGED", 2)):
            patch.setattr(delta_coding, name, value)
        yield


class FixedFace:
    """A front end that sees the same face in the middle of every frame but the `lost` ones; roll grows by 0.5°."""

    def __init__(self, lost: Iterable[int] = ()) -> None:
        self.lost = set(lost)

    def track(self, frames: Iterable[NDArray[np.uint8]], rate: float) -> AlignedTrack:
        squares, found = [], []
        for number, frame in enumerate(frames):
            square = self.still(frame)
            squares.append((*square.center, square.side, number / 2))
            found.append(number not in self.lost)
        if not any(found):
            raise FaceNotFound(f"no face was found in any of the {len(found)} frames")
        report = AlignReport(len(found), found.count(False), found.index(True), 1, 0, 0)
        return AlignedTrack(np.array(squares), np.array(found), report)

    def split(self, track: AlignedTrack, cuts: Sequence[int], rate: float) -> AlignedTrack:
        """The same, but for the shots."""
        return replace(track, shot_starts=(0, *cuts))

    def still(self, image: NDArray[np.uint8]) -> CropTransform:
        height, width = image.shape[:2]
        return CropTransform((width / 2, height / 2), 0.9 * min(width, height))


def write_clip(path: Path, frames: int = 20, rate: Fraction = Fraction(25), sound: bool = True, size: int = 96) -> Path:
    """A video of coloured stripes that move, with a tone."""
    track = None
    if sound:
        wav = path.with_suffix(".wav")
        seconds = frames / rate
        times = np.arange(int(16_000 * seconds)) / 16_000
        samples = (8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
        with wave.open(str(wav), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())
        track = encode_opus(wav, 16_000)
        wav.unlink()
    x = np.arange(size)
    with VideoWriter(path, size, size, rate, track) as writer:
        for number in range(frames):
            stripes = np.stack([127 + 100 * np.sin((x + number * k) / (3 + k)) for k in (1, 2, 3)], axis=1)
            writer.write(np.broadcast_to(stripes, (size, size, 3)).astype(np.uint8).copy())
    return path
