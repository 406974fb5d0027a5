"""What every codec is given: the aligned squares of a clip at one size, without loss, with its sound.

    clip ─► face found once ─► squares at a constant scale ─► the frames of the rate and length asked for ─► FFV1

A long call plays these frames forth and back, so that no frame follows one that it does not resemble.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...encoding.options import EncodeOptions
from ...errors import MediaError, OptionError
from ...face.align import Aligner
from ...face.warp import Frame
from ...files import PathLike, atomic_write, file_digest
from ...media.audio import encode_opus
from ...media.codecs import decoded_video, lossless
from ...media.opus import OpusTrack, looped_track
from ...media.video import VideoReader
from ...progress import Progress, ProgressCallback
from ..faces import AlignedFaces, aligned, resized
from ..sources import Source, is_stream
from .options import RdOptions
from .store import Store, key_of, read_json, slug, write_json

SOURCE_SOUND = 64_000  # bits per second of the sound in a sequence's own file, before any codec
ENLARGED = 1.5  # times as many pixels as the source has of a face, from which that is said
LEAST_FRAMES = 4  # of a clip


@dataclass(frozen=True)
class Sequence:
    """One clip at one size. pictures [n]: numbers of the clip's pictures that its frames show; side: pixels of the
    source that a square spans; key: what it depends on."""

    name: str
    clip: str
    long: bool
    size: int
    path: Path
    rate: Fraction
    pictures: NDArray[np.intp]
    found: NDArray[np.bool_]
    side: float
    sound: OpusTrack | None
    notes: tuple[str, ...]
    key: str

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pictures) / float(self.rate)

    def faces(self, folder: Path) -> AlignedFaces:
        """Its squares, kept in a file of `folder`; MediaError where its own file is damaged."""
        count = len(self.pictures)
        crops = squares_of(decoded_video(self.path), count, self.size, self.path, folder)
        return AlignedFaces(np.arange(count) / float(self.rate), self.found, crops, np.zeros(count), self.side)


def squares_of(frames: Iterator[Frame], count: int, size: int, path: PathLike, folder: Path) -> NDArray[np.uint8]:
    """Decoded frames [count, size, size, 3], kept in a file of `folder`; MediaError where they are others."""
    crops = np.memmap(folder / f"{os.urandom(8).hex()}.rgb", np.uint8, "w+", shape=(count, size, size, 3))
    number = 0
    for number, frame in enumerate(frames, 1):
        height, width = frame.shape[:2]
        if (width, height) != (size, size) or number > count:
            raise MediaError(f"{path} is not {count} frames of {size}x{size}: frame {number} is {width}x{height}")
        crops[number - 1] = frame
    if number < count:
        raise MediaError(f"{path} has {number} frames in place of {count}")
    return crops


def sequence_name(clip: str, long: float | None, size: int) -> str:
    """What a clip at a size is called, as a long call of so many seconds if it is one."""
    return f"{clip}{'' if long is None else f'-{long:g}s'}-{size}"


def there_and_back(count: int, total: int) -> NDArray[np.intp]:
    """Numbers [total] of `count` pictures played forth and back, again and again: 0 1 2 1 0 1 …"""
    period = max(2 * (count - 1), 1)
    places = np.arange(total) % period
    return np.minimum(places, period - places) if count > 1 else np.zeros(total, np.intp)


class Clip:
    """A video on its way to sequences; its face is looked for once, when that is needed."""

    def __init__(self, path: PathLike, options: RdOptions, store: Store) -> None:
        if is_stream(path):
            raise OptionError(f"{path} is a stream: curves are measured of videos")
        self.path, self.name = Path(path), slug(Path(path).stem)
        self.options, self._store = options, store
        self._reader = VideoReader(path)
        self._digest = file_digest(path)
        self._faces: AlignedFaces | None = None

    @property
    def _duration(self) -> float | None:
        """Seconds that are looked at: no more than the frames that may be taken."""
        if self.options.duration is None and self.options.frame_counts:
            return float((max(self.options.frame_counts) + 1) / self.rate)
        return self.options.duration

    @cached_property
    def source(self) -> Source:
        """The stretch of the video that is measured."""
        reader, options = self._reader, self.options

        def read() -> Iterator[tuple[float, Frame]]:
            frames = reader.frames(options.start, self._duration)
            first: list[float] = []
            for seconds, frame in frames:
                first = first or [seconds]
                yield seconds - first[0], frame

        rate = round(float(reader.rate), 6)
        count = reader.count(options.start, self._duration)
        return Source(str(self.path), "video", read, rate, reader.width, reader.height, count, lambda: reader.notes)

    @property
    def rate(self) -> Fraction:
        """Frames per second of its sequences."""
        return self._reader.rate if self.options.fps is None else Fraction(self.options.fps)

    def sequence(
        self, size: int, long: float | None, aligner: Aligner, folder: Path, progress: ProgressCallback
    ) -> tuple[Sequence | None, str]:
        """At a size, as a long call of so many seconds if asked for; or None and why the clip is left out.

        folder: for its squares, as long as the clip is used. MediaError, FaceNotFound.
        """
        name = sequence_name(self.name, long, size)
        asked = {word: getattr(self.options, word) for word in ("start", "duration", "fps", "frame_counts")}
        key = key_of({"clip": self._digest, "size": size, "long": long, **asked})
        path = self._store.path("sequences", name, key, ".mkv")
        facts = path.with_suffix(".json")
        if not (path.exists() and facts.exists()):
            reason = self._make(path, facts, long, self._aligned(size, aligner, folder, progress), progress)
            if reason:
                return None, reason
        kept = read_json(facts)
        pictures = np.array(kept["pictures"], np.intp)
        return Sequence(
            name=name,
            clip=self.name,
            long=long is not None,
            size=size,
            path=path,
            rate=Fraction(kept["rate"]),
            pictures=pictures,
            found=np.array(kept["found"], bool),
            side=kept["side"],
            sound=self._sound(len(pictures), kept["played"], EncodeOptions().audio_bitrate, long),
            notes=tuple(kept["notes"]),
            key=key,
        ), ""

    def _make(
        self, path: Path, facts: Path, long: float | None, faces: AlignedFaces, progress: ProgressCallback
    ) -> str:
        """Write the sequence and what is to be known of it; why not, or ""."""
        notes = []
        played = _at_rate(faces.seconds, self.rate)
        if self.options.frame_counts:
            fitting = [count for count in self.options.frame_counts if count <= len(played)]
            if not fitting:
                wanted = " or ".join(map(str, self.options.frame_counts))
                rate = f"{float(self.rate):g} per second"
                return f"{self.path.name} has {len(played)} frames at {rate}; the conditions take {wanted}"
            played = played[: max(fitting)]
        if len(played) < LEAST_FRAMES:
            return f"{self.path.name} has {len(played)} frames: too few for a curve"
        if self.options.fps is not None and self.source.rate != self.options.fps:
            notes.append(f"brought from {self.source.rate:g} to {self.options.fps} frames per second by nearest frames")
        if faces.size > faces.side * ENLARGED:
            notes.append(f"the face's square spans {faces.side:.0f} pixels of the source, enlarged to {faces.size}")
        if not faces.found[played].all():
            notes.append(f"{int((~faces.found[played]).sum())} frames show no face and are not scored")
        shown = played if long is None else played[there_and_back(len(played), round(long * self.rate))]
        if long is not None:
            notes.append(f"{len(played)} frames of the clip, played forth and back for {long:g} s")
        sound = self._sound(len(shown), len(played), SOURCE_SOUND, long)
        with atomic_write(path) as file:
            lossless(
                file,
                (np.asarray(faces.crops[k]) for k in shown),
                self.rate,
                sound,
                lambda done: progress(Progress(f"writing {path.name}", done, len(shown))),
            )
        about: dict[str, Any] = {"rate": str(self.rate), "side": faces.side, "played": len(played)}
        about |= {"pictures": shown.tolist(), "found": faces.found[shown].tolist()}
        write_json(facts, {**about, "notes": [*self.source.notes(), *notes]})
        return ""

    def _aligned(self, size: int, aligner: Aligner, folder: Path, progress: ProgressCallback) -> AlignedFaces:
        if self._faces is None:
            self._faces = aligned(self.source, aligner, size, folder, progress)
        elif self._faces.size != size:
            self._faces = resized(self._faces, self.source, size, folder, progress)
        return self._faces

    def _sound(self, frames: int, played: int, bitrate: int, long: float | None) -> OpusTrack | None:
        """Mono Opus of the clip's stretch; of a long call, again and again."""
        if not self._reader.has_audio:
            return None
        track = encode_opus(self.path, bitrate, 1, self.options.start, float(played / self.rate), video=self._reader)
        return track if track is None or long is None else looped_track(track, float(frames / self.rate))


def _at_rate(seconds: NDArray[np.float64], rate: Fraction) -> NDArray[np.intp]:
    """For every frame of a constant rate the number of the nearest of these times, [n]."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else float(1 / rate)
    wanted = np.arange(max(1, round((seconds[-1] + step) * float(rate)))) / float(rate)
    after = np.clip(np.searchsorted(seconds, wanted), 0, len(seconds) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(seconds[after] - wanted) < np.abs(seconds[before] - wanted) + 1e-9, after, before)
