"""People of a corpus: who is in a clip, and one identity for all clips of a person.

The identity is chosen (Eq. 1) and fitted as that of one clip is, to frames of several of the person's clips. It goes to
a card, and the person's streams only name it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..bitstream import Identity, Profile, StreamHeader, StreamWriter
from ..clip_source import open_source
from ..encoding.analysis import analyse_clip
from ..encoding.frames import CROP_SIZE, AlignedFrame, evenly_spaced
from ..encoding.front_end import FrontEnd
from ..encoding.identity.fitting import fit_to_candidates
from ..encoding.identity.people_in_clip import Describe
from ..encoding.identity.selection import select
from ..encoding.options import EncodeOptions
from ..errors import FaceNotFound, MediaError, StylecodecError
from ..face.warp import warp
from ..files import atomic_write
from ..packs.store import ModelPack
from .clips import Clip
from .manifest import IDENTITIES

CLIPS_OF_PERSON = 8  # clips that an identity is fitted to, evenly spaced over a person's
FRAMES_OF_CLIP = 12  # of each of these
FRAMES_DESCRIBED = 5  # of a clip, to tell whom it shows

Copied = Callable[[Clip], AbstractContextManager[Path]]
"""Gives the file of a clip."""


@dataclass(frozen=True)
class Person:
    """Somebody, and their clips in order of name; when fitted, the card and the digest of the identity."""

    name: str
    clips: tuple[Clip, ...] = ()
    card: str | None = None  # path
    identity: str | None = None
    error: str | None = None  # why there is no card

    @property
    def fitted_to(self) -> tuple[Clip, ...]:
        """The clips that the identity is fitted to."""
        return tuple(self.clips[k] for k in evenly_spaced(len(self.clips), CLIPS_OF_PERSON))

    @property
    def slug(self) -> str:
        """A file name, different for different people."""
        digest = hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
        return f"{re.sub('[^A-Za-z0-9]+', '-', self.name).strip('-')[:40] or 'person'}-{digest}"

    def key(self, digest: str) -> str:
        """16 hex digits that change with the options and the sources that the identity is fitted to."""
        told = [digest, self.name]
        for clip in self.fitted_to:
            try:
                status = Path(clip.path).stat()
                told.append(f"{clip.name} {clip.member} {clip.start} {status.st_size} {status.st_mtime_ns}")
            except OSError:
                told.append(clip.name)
        return hashlib.sha256("\n".join(told).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Described:
    """A clip's face as the recognition network sees it, [128], or why there is none."""

    name: str
    vector: NDArray[np.float32] | None
    error: str | None = None


# --- who is it -------------------------------------------------------------------------------------------------


def describe_clip(
    name: str, path: Path, options: EncodeOptions, front_end: FrontEnd, describe: Describe
) -> Described:
    """The mean descriptor of a few frames; FaceNotFound, MediaError. describe: as of `people_in_clip`."""
    crops = [frame.crop for frame in _sampled(path, options, front_end, FRAMES_DESCRIBED) if frame.crop is not None]
    return Described(name, np.asarray(np.mean([describe(crop) for crop in crops], axis=0), np.float32))


def clustered(found: Sequence[Described], another: float) -> dict[str, str]:
    """{clip: person}: each clip, in order of name, joins the person whose mean descriptor is nearest, if that is nearer
    than `another`; else it is somebody new. Clips without a descriptor are nobody's."""
    sums: list[NDArray[np.float32]] = []
    counts: list[int] = []
    people: dict[str, str] = {}
    for one in sorted(found, key=lambda one: one.name):
        if one.vector is None:
            continue
        distances = [float(np.linalg.norm(one.vector - s / n)) for s, n in zip(sums, counts, strict=True)]
        best = int(np.argmin(distances)) if distances else -1
        if best < 0 or distances[best] >= another:
            best = len(sums)
            sums.append(np.zeros_like(one.vector))
            counts.append(0)
        sums[best], counts[best] = sums[best] + one.vector, counts[best] + 1
        people[one.name] = f"person-{best:05d}"
    return people


def grouped(clips: Iterable[Clip], people: Mapping[str, str]) -> tuple[Person, ...]:
    """The people of some clips, in order of name; people: {clip: person}."""
    of: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.name in people:
            of.setdefault(people[clip.name], []).append(clip)
    return tuple(Person(name, tuple(sorted(of[name], key=lambda clip: clip.name))) for name in sorted(of))


# --- one identity ----------------------------------------------------------------------------------------------


def identity_of(
    person: Person, copied: Copied, pack: ModelPack, options: EncodeOptions, front_end: FrontEnd, device: torch.device
) -> Identity:
    """The identity of somebody, fitted to frames of several clips; clips that cannot be read are passed over.

    FaceNotFound when no frame of them shows a face.
    """
    frames: list[AlignedFrame] = []
    failure: StylecodecError = FaceNotFound(f"there is no clip of {person.name}")
    for clip in person.fitted_to:
        times = replace(options, start=clip.start or options.start, duration=clip.duration or options.duration)
        try:
            with copied(clip) as path:
                frames += _sampled(path, times, front_end, FRAMES_OF_CLIP)
        except (MediaError, FaceNotFound) as error:
            failure = error
    if not frames:
        raise failure
    found = analyse_clip(frames, pack, device, options, False, options.fit.keyframes)
    choice = select(found.candidates, pack, device, options)
    return Identity(fit_to_candidates(choice.latent, found.fit_frames, pack, device, options.fit).latent)


def write_card(out: Path, person: Person, identity: Identity, pack: ModelPack) -> Person:
    """The person with the card that was written for the identity; OutputError."""
    place = out / IDENTITIES / f"{person.slug}.stid"
    place.parent.mkdir(parents=True, exist_ok=True)
    size = pack.card.resolution
    writer = StreamWriter(StreamHeader(Fraction(1), size, size, Profile.RAW, pack.name, pack.digest, pack.indices))
    with atomic_write(place) as file:
        file.write(writer.start() + writer.identity(identity) + writer.finish())
    return replace(person, card=str(place), identity=identity.digest.hex(), error=None)


def _sampled(path: Path, options: EncodeOptions, front_end: FrontEnd, count: int) -> list[AlignedFrame]:
    """About `count` frames with a face, evenly spaced over a clip, each aligned by itself; FaceNotFound."""
    reader = open_source(path, options)
    total = reader.count(options.start, options.duration) or 0
    wanted = set(evenly_spaced(max(total, 1), count))
    frames, failure = [], FaceNotFound("the video shows no frame")
    for number, (seconds, image) in enumerate(reader.frames(options.start, options.duration)):
        if number not in wanted:
            continue
        try:
            square = front_end.still(image)
        except FaceNotFound as error:
            failure = error
        else:
            frames.append(AlignedFrame(seconds, warp(image, square, CROP_SIZE), square))
    if not frames:
        raise failure
    return frames


def columns_of(clips: Iterable[Clip], column: str) -> Iterator[tuple[str, str]]:
    """(clip, person) by a column; clips whose table leaves it empty are nobody's."""
    for clip in clips:
        if clip.columns.get(column):
            yield clip.name, clip.columns[column]
