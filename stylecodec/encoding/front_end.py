"""What finds and aligns the face, and tells people apart, before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import OptionError
from ..face.align import AlignedTrack, Aligner
from ..face.landmarks import make_landmarker
from ..face.warp import Frame
from ..geometry import CropTransform
from ..packs.store import ModelPack
from ..progress import Progress, ProgressCallback, silent
from .ahead import ahead
from .frames import AlignedClip, Read
from .identity.people_in_clip import Describe, PeopleInClip, people_in_clip
from .identity.picture_changes import PictureChanges
from .options import EncodeOptions

READ_AHEAD = 4  # frames that wait to be looked at, while further ones are decoded
FINDING = "finding the face"  # the stage's name in reports of progress


class FrontEnd(Protocol):
    """Finds and aligns the face: face.align.Aligner, or a stand-in."""

    def track(self, frames: Iterable[Frame], rate: float) -> AlignedTrack:
        """The squares of all frames of a clip, `rate` of them per second; FaceNotFound when none shows a face."""
        ...

    def split(self, track: AlignedTrack, cuts: Sequence[int], rate: float) -> AlignedTrack:
        """The track of a clip with a shot that begins at each of these frames too."""
        ...

    def still(self, image: Frame) -> CropTransform:
        """The square of one picture; FaceNotFound."""
        ...


def front_end_for(pack: ModelPack, options: EncodeOptions) -> FrontEnd:
    """The front end with the landmarks that the options name, aligned as the pack's networks were trained."""
    choice, net = landmark_network(pack, options.landmarks, options.device)
    landmarker = make_landmarker(choice, net, pack.alignment)
    return Aligner(landmarker, alignment=pack.alignment, register=options.registers)


def landmark_network(pack: ModelPack, choice: str, device: str) -> tuple[str, Any]:
    """What `make_landmarker` takes for an option `landmarks`: its choice, and the pack's network where it needs one.

    "auto" is the pack's network, else its predictor, else dlib's five points.
    """
    if choice == "auto":
        choice = "pack" if pack.has("landmarks") else "predictor" if pack.has("predictor") else "dlib5"
    if choice == "pack":
        return choice, pack.landmarks(device)
    return choice, pack.predictor() if choice == "predictor" else None


@dataclass(frozen=True)
class FacesInClip:
    """The clip with its face found, and who is seen in it."""

    clip: AlignedClip
    people: PeopleInClip
    split: bool  # whether each of several people is to have an identity of their own


def find_faces(
    read: Read,
    front_end: FrontEnd,
    rate: float,
    options: EncodeOptions,
    known: bool = False,
    total: int | None = None,
    progress: ProgressCallback = silent,
    describe: Describe | None = None,
    doubtful: Callable[[], Collection[float]] = frozenset,
) -> FacesInClip:
    """Track the face through a clip of `rate` frames per second, and tell people apart.

    known: whether the identity is given, which then serves all. total: number of frames, for reports of progress.
    describe: as of `people_in_clip`. doubtful: gives, when all frames have been read, the times of those that damage
    may have smeared: nobody is told from others by them. Where the clip is split, squares are aligned anew, nothing
    smoothed across a cut.
    Raises FaceNotFound, and OptionError for several people where a likeness was asked for.
    """
    changes, seconds = PictureChanges(rate), list[float]()
    clip = AlignedClip(read, front_end.track(changes.watch(_counted(read, seconds, total, progress)), rate))
    trusted = ~np.isin(seconds, list(doubtful()))
    people = people_in_clip(clip.only(trusted), changes.cuts(), rate, describe, progress)
    split = people.count > 1 and options.split == "auto" and not known
    if split and options.tunes and options.likeness is not None:
        longest = max(people.stretches, key=lambda stretch: stretch.end - stretch.first)
        begin, last = seconds[longest.first], seconds[longest.end - 1]
        raise OptionError(
            f"the clip shows {people.count} people, another from {seconds[people.cuts[0]]:.2f} s on, and a generator "
            f"is personalised to one: encode the longest stretch of one person (--start {begin:.3f} --duration "
            f"{last - begin + 1 / rate:.3f}), or all as one (--split off)"
        )
    if split:
        clip = AlignedClip(read, front_end.split(clip.track, people.cuts, rate))
    return FacesInClip(clip, people, split)


def _counted(
    read: Read, seconds: list[float], total: int | None, progress: ProgressCallback
) -> Iterator[Frame]:
    """The frames; their times go into `seconds`."""
    for done, (time, frame) in enumerate(ahead(read(), READ_AHEAD), 1):
        seconds.append(time)
        yield frame
        progress(Progress(FINDING, done, total))
