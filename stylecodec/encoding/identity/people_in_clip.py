"""Who is seen when: the stretches of a clip that show one person each, told apart by a face recognition network.

    candidates: the picture changes (picture_changes.py), the face jumps, or comes back after a while
        └► a few crops of each stretch between them ─► descriptors ─► the nearest person so far, or a new one

A clip without a candidate costs nothing: no descriptor is made. A cut to the same person makes no new person, and
somebody who comes back is known again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...face.recognition import Descriptor, FaceDescriptor
from ...progress import Progress, ProgressCallback, silent
from ..frames import FACE_IN_CROP, AlignedClip, Crop, evenly_spaced
from ..options import ANOTHER_PERSON

TELLING_APART = "telling people apart"  # the stage's name in reports of progress
SAMPLES = 5  # crops of a stretch that are described: some may be blurred or turned away
LEAST_FACES = 3  # frames with a face that a stretch needs to be somebody's own
GAP_SECONDS = 0.5  # without a face, after which it may be another's
SAME_CUT = 3  # frames: a picture cut and a jump of the face that are nearer than this are one cut
TOLD = 5  # cuts that a note names

Describe = Callable[[Crop], Descriptor]


@dataclass(frozen=True)
class Stretch:
    """Frames first to end - 1, which show one person."""

    first: int
    end: int
    person: int  # 0 is seen first


@dataclass(frozen=True)
class PeopleInClip:
    """The stretches of a clip, in order of time and without gaps; neighbours show different people."""

    stretches: tuple[Stretch, ...]

    @property
    def count(self) -> int:
        """How many people there are."""
        return 1 + max(stretch.person for stretch in self.stretches)

    @property
    def cuts(self) -> tuple[int, ...]:
        """The frames at which another person appears."""
        return tuple(stretch.first for stretch in self.stretches[1:])

    def of(self, person: int) -> tuple[Stretch, ...]:
        """The stretches of one person."""
        return tuple(stretch for stretch in self.stretches if stretch.person == person)

    def shown(self, person: int) -> NDArray[np.bool_]:
        """[n]: is it this person that the frame shows?"""
        mask = np.zeros(self.stretches[-1].end, np.bool_)
        for stretch in self.of(person):
            mask[stretch.first : stretch.end] = True
        return mask

    def note(self, seconds: Sequence[float] | NDArray[np.float64], shown_as: str) -> str:
        """A sentence for the user. seconds: [n] of the frames; shown_as: what becomes of the people."""
        times = [f"{float(seconds[cut]):.1f}" for cut in self.cuts]
        if len(times) > TOLD:
            times = [*times[: TOLD - 1], f"{len(times) - TOLD + 1} more times"]
        when = times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"
        return f"at {when} s another person appears; {self.count} people, {shown_as}"


class CropDescriptor:
    """The descriptor of the face in an aligned crop."""

    def __init__(self) -> None:
        self._describe = FaceDescriptor()

    def __call__(self, crop: Crop) -> Descriptor:
        """crop: [256, 256, 3]."""
        return self._describe(crop, FACE_IN_CROP)


def people_in_clip(
    clip: AlignedClip,
    picture_cuts: Sequence[int],
    rate: float,
    describe: Describe | None = None,
    progress: ProgressCallback = silent,
) -> PeopleInClip:
    """Who is seen in the frames of a clip, `rate` of them per second.

    picture_cuts: frames at which another scene begins, increasing. describe: tells faces apart; dlib's network when
    left out, which is loaded only when it is needed.
    """
    parts = _parts(clip, _candidates(clip, picture_cuts, rate))
    if len(parts) < 2:
        return PeopleInClip((Stretch(0, len(clip.track), 0),))
    samples = [_samples(clip, first, end) for first, end in parts]
    described = _described(clip, samples, describe or CropDescriptor(), progress)
    people: list[list[Descriptor]] = []
    stretches: list[Stretch] = []
    for (first, end), numbers in zip(parts, samples, strict=True):
        person = _join(people, [described[number] for number in numbers])
        if stretches and stretches[-1].person == person:
            stretches[-1] = replace(stretches[-1], end=end)
        else:
            stretches.append(Stretch(first, end, person))
    return PeopleInClip(tuple(stretches))


def _candidates(clip: AlignedClip, picture_cuts: Sequence[int], rate: float) -> list[int]:
    """Frames at which another person may appear, in order of time."""
    there = np.flatnonzero(clip.track.found)
    back = there[1:][np.diff(there) > GAP_SECONDS * rate].tolist()
    found = list(picture_cuts)
    for number in sorted([*clip.track.shot_starts, *back]):
        if all(abs(number - other) > SAME_CUT for other in found):
            found.append(number)
    return sorted(number for number in found if number > 0)


def _parts(clip: AlignedClip, candidates: Sequence[int]) -> list[tuple[int, int]]:
    """First frames and ends between candidates; those that hardly show a face go with the one before, or after."""
    starts = [0]
    for first, end in pairwise([*candidates, len(clip.track)]):
        if clip.track.found[first:end].sum() >= LEAST_FACES:
            starts.append(first)
    if len(starts) > 1 and clip.track.found[: starts[1]].sum() < LEAST_FACES:
        del starts[1]
    return list(pairwise([*starts, len(clip.track)]))


def _samples(clip: AlignedClip, first: int, end: int) -> list[int]:
    """Frames of a stretch to look at, evenly spaced; none of the very edge, where pictures may be mixed."""
    there = first + np.flatnonzero(clip.track.found[first:end])
    inner = there[1:-1]
    return [int(inner[k]) for k in evenly_spaced(len(inner), SAMPLES)]


def _described(
    clip: AlignedClip, samples: Sequence[Sequence[int]], describe: Describe, progress: ProgressCallback
) -> dict[int, Descriptor]:
    """The descriptors of the sampled frames, by number."""
    wanted = np.zeros(len(clip.track), np.bool_)
    wanted[[number for numbers in samples for number in numbers]] = True
    last = int(np.flatnonzero(wanted)[-1])
    found: dict[int, Descriptor] = {}
    for number, frame in zip(range(last + 1), clip.only(wanted), strict=False):
        if frame.crop is not None:
            found[number] = describe(frame.crop)
            progress(Progress(TELLING_APART, len(found), int(wanted.sum()), "faces"))
    return found


def _join(people: list[list[Descriptor]], seen: list[Descriptor]) -> int:
    """Whose descriptors these are; they are added to that person's, or are those of a new one."""
    apart = [float(np.median([FaceDescriptor.distance(a, b) for a in known for b in seen])) for known in people]
    if not apart or min(apart) >= ANOTHER_PERSON:
        people.append(list(seen))
        return len(people) - 1
    person = int(np.argmin(apart))
    people[person] += seen
    return person
