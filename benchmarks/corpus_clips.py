"""Clips for `corpus.py`: cut from videos and changed, drawn by a pack's generator, and some that cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stylecodec.bitstream import Identity
from stylecodec.decoding.options import DecodeOptions
from stylecodec.decoding.packets import PacketRenderer
from stylecodec.encoding.personalization.locality import random_people
from stylecodec.media.audio import encode_opus
from stylecodec.media.video import VideoReader
from stylecodec.media.writer import VideoWriter
from stylecodec.packs.store import open_pack

Frame = NDArray[np.uint8]  # [H, W, 3]

LENGTHS = (4, 6, 8, 10)  # frames, in turn
LONGEST_SIDE = 320  # pixels
RATE = Fraction(25)
SOUND_BITRATE = 32_000
BAD = ("damaged", "gone", "huge", "loop", "no face")
"""What cannot be encoded, one of each."""

CHANGES: Sequence[tuple[str, Callable[[Frame], Frame]]] = (
    ("plain", lambda frame: frame),
    ("mirrored", lambda frame: frame[:, ::-1]),
    ("dimmed", lambda frame: (frame * 0.7).astype(np.uint8)),
    ("zoomed", lambda frame: _zoomed(frame, 0.85)),
    ("grey", lambda frame: np.repeat(frame.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)),
)


def write_clips(
    folder: Path, videos: Sequence[Path], count: int, rendered: int, pack: str, device: str = "cpu"
) -> list[Path]:
    """`count` clips, `rendered` of them drawn; the others cut from the videos in turn, each from another place."""
    folder.mkdir(parents=True)
    drawn = min(rendered, count)
    paths = []
    for number in range(count - drawn):
        turn, video = divmod(number, len(videos))
        name, change = CHANGES[turn % len(CHANGES)]
        length = LENGTHS[number % len(LENGTHS)]
        paths.append(folder / f"{number:04d}_{videos[video].stem}_{name}.mp4")
        _cut(videos[video], paths[-1], turn, length, change)
    for number, frames in zip(range(drawn), people(pack, device), strict=False):
        paths.append(folder / f"{count - drawn + number:04d}_drawn.mp4")
        _write(paths[-1], frames[: LENGTHS[number % len(LENGTHS)]], RATE)
    return paths


def _cut(video: Path, path: Path, turn: int, length: int, change: Callable[[Frame], Frame]) -> None:
    """A stretch of a video, with its sound; each turn begins elsewhere."""
    reader = VideoReader(video)
    seconds = length / float(reader.rate)
    whole = (reader.count() or length) / float(reader.rate)
    start = (turn * 0.37) % max(whole - seconds, 1e-3)
    frames = [change(_small(frame)) for _, frame in reader.frames(start, seconds)]
    sound = encode_opus(video, SOUND_BITRATE, 1, start, seconds, video=reader) if reader.has_audio else None
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width, height, reader.rate, sound) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))


def people(pack: str, device: str) -> Iterator[list[Frame]]:
    """Clips of people who do not exist, without end: they look around and change their faces slowly."""
    model = open_pack(pack)
    pictures = PacketRenderer(model, DecodeOptions(device=device, size=256, background="render"))
    generator, random = model.generator(device), torch.Generator().manual_seed(0)
    draw = np.random.default_rng(0)
    times = np.arange(max(LENGTHS)) / float(RATE)
    while True:
        w = random_people(generator, 1, random)[0]
        identity = Identity(w.expand(generator.rows, -1).cpu().numpy().astype(np.float16))
        packets = np.zeros((len(times), 35), np.float32)
        for column, size in ((0, 8.0), (1, 4.0), (2, 2.0)):
            packets[:, column] = size * np.sin(2 * np.pi * (draw.uniform(0.3, 0.8) * times + draw.uniform()))
        batches = [batch.cpu().numpy() for batch in pictures.render(identity, packets)]
        yield [_framed(frame) for batch in batches for frame in batch]


def write_bad_clips(folder: Path, paths: Path, pixels: int) -> Path:
    """One of each of BAD into the folder; the list `paths` names one that is gone."""
    whole = min(folder.glob("*.mp4"))
    (folder / "damaged.mp4").write_bytes(whole.read_bytes()[:500])
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    side = int(pixels**0.5) // 2 * 2 + 16
    _write(folder / "huge.mp4", [np.full((side, side, 3), 127, np.uint8)] * 2, RATE)
    _write(folder / "no face.mp4", [np.full((96, 96, 3), k * 9, np.uint8) for k in range(8)], RATE)
    paths.write_text("gone.mp4\n")
    return paths


def _write(path: Path, frames: Sequence[Frame], rate: Fraction) -> None:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width, height, rate) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))


def _small(frame: Frame) -> Frame:
    """At most LONGEST_SIDE pixels wide and high, both even."""
    height, width = frame.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = tuple(max(2, round(side * scale) // 2 * 2) for side in (width, height))
    return np.asarray(Image.fromarray(frame).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def _zoomed(frame: Frame, share: float) -> Frame:
    """The middle of a picture, at the same size."""
    height, width = frame.shape[:2]
    dx, dy = (round(side * (1 - share) / 2) for side in (width, height))
    middle = Image.fromarray(np.ascontiguousarray(frame[dy : height - dy, dx : width - dx]))
    return np.asarray(middle.resize((width, height), Image.Resampling.LANCZOS))


def _framed(frame: Frame) -> Frame:
    """An aligned square with room around it, as a camera would see the head."""
    side = frame.shape[0]
    edge = side // 8
    return np.pad(frame, ((edge, edge), (edge, edge), (0, 0)), mode="edge")
