"""From an encoded clip to the bytes of a stream. Nothing is rendered or measured here.

    EncodedClip ─► header, identity, personalised generator, background, groups of frames, sound ─► bytes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bitstream import (
    DEFAULT_TIME_SCALE,
    MAX_GROUP_FRAMES,
    Attachment,
    AudioChunk,
    AudioConfig,
    CropGeometry,
    Identity,
    IdentityReference,
    Profile,
    Quantiser,
    StreamHeader,
    StreamWriter,
    TimedGroup,
    mux,
)
from ..bitstream.background import Background
from ..bitstream.delta import GeneratorDelta, Personalization
from ..decoding.personal import TunedPack
from ..face.align import AlignedTrack
from ..packs.store import ModelPack
from .identity.cards import IdentityCard
from .identity.people_in_clip import PeopleInClip, Stretch
from .identity.selection import IdentityChoice
from .options import EncodeOptions
from .paper.report import PaperReport
from .personalization.clip import TunedClip

AT_ONCE = "the identity is sent at once: there is one group of frames to it, or nothing to refine"
RAW_GROUP_SECONDS = 1.0
COMPACT_GROUP_SECONDS = 2.0  # the framing of a group weighs as much as some of its frames
# Frame times that stray from the constant rate by more than this share of a frame are written one by one.
RATE_TOLERANCE = 0.75


@dataclass(frozen=True)
class ShownPerson:
    """One of several people of a clip, with an identity of their own."""

    choice: IdentityChoice
    fit_steps: int  # of the optimiser that fitted the identity's latent
    compacted: Identity | None = None  # the identity as a compacted clip sends it

    @property
    def identity(self) -> Identity:
        """The identity to send."""
        return self.compacted or Identity(self.choice.latent)


@dataclass(frozen=True)
class EncodedClip:
    """A clip as numbers."""

    packets: NDArray[np.float16] | NDArray[np.float32]  # [n, 35] yaw, pitch, roll in degrees, alpha 0..31
    seconds: NDArray[np.float64]  # [n] from the first frame
    rate: Fraction  # frames per second
    held: int  # frames without a face, which repeat their neighbour
    choice: IdentityChoice
    fit_steps: int  # of the optimiser that fitted the identity's latent
    crop: CropGeometry | None  # the mean square that the crops were taken from
    pack: ModelPack  # that renders it, with a personalised generator where there is one
    tuned: TunedClip | None = None  # when the generator was personalised to this very clip
    card: IdentityCard | None = None  # when the identity was given
    background: Background | None = None  # what is to be put behind the head
    track: AlignedTrack | None = None  # the squares that the crops were taken from, where they are known
    quantiser: Quantiser | None = None  # of a compacted clip, whose packets it holds exactly
    compacted: Identity | None = None  # the identity as a compacted clip sends it
    people: PeopleInClip | None = None  # who is seen when, where that was looked at
    paper: PaperReport | None = None  # what the paper preset tells of its work
    persons: tuple[ShownPerson, ...] = ()  # these people, where each has an identity; `choice` is then the first one's

    @property
    def identity(self) -> Identity:
        """The identity to send, or the first of several."""
        if self.persons:
            return self.persons[0].identity
        if self.compacted is not None:
            return self.compacted
        return Identity(self.choice.latent) if self.card is None else self.card.identity

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Who is seen when; one person all the time where that was not looked at."""
        return (Stretch(0, len(self.packets), 0),) if self.people is None else self.people.stretches

    @property
    def shown(self) -> tuple[Stretch, ...]:
        """Which identity is shown when: that of each person, or one all the time."""
        return self.stretches if self.persons else (Stretch(0, len(self.packets), 0),)

    def group_counts(self, step: int) -> list[int]:
        """How many groups of at most `step` frames show each identity."""
        counts = [0] * max(len(self.persons), 1)
        for one in self.shown:
            counts[one.person] += -(-(one.end - one.first) // step)
        return counts

    def identity_of(self, person: int) -> Identity:
        """The identity to send for one of several people, or the one for all."""
        return self.persons[person].identity if self.persons else self.identity

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames from which on there is another identity."""
        return self.people.cuts if self.persons and self.people is not None else ()

    @property
    def notes(self) -> list[str]:
        """What a user should know of who is seen and how it was encoded, as sentences."""
        told = [] if self.paper is None else self.paper.notes
        if self.people is None or self.people.count < 2:
            return told
        shown_as = "all shown as one (--split auto: an identity for each)"
        if self.persons:
            shown_as = "each with an identity of their own, the generator tuned to none (--split off: one for all)"
        elif self.card is not None:
            shown_as = "all shown as the one identity that was given"
        return [*told, self.people.note(self.seconds, shown_as)]

    def people_report(self) -> list[dict[str, Any]]:
        """For JSON: when each person is seen, and of which frames their identity was made."""
        alone = (ShownPerson(self.choice, self.fit_steps),)
        found = []
        for person in range(1 + max(one.person for one in self.stretches)):
            own = [[one.first, one.end - one.first] for one in self.stretches if one.person == person]
            shown = (self.persons or alone)[person if self.persons else 0]
            choice = shown.choice
            identity = {
                "frame": choice.frame,
                "similarity": round(choice.similarity, 4),
                "averaged": choice.averaged,
                "candidates": choice.candidates,
                "steps": shown.fit_steps,
            }
            frames = sum(count for _, count in own)
            found.append({"first_frame": own[0][0], "frames": frames, "stretches": own, "identity": identity})
        return found

    @property
    def known(self) -> bool:
        """Whether receivers may know the identity already."""
        return self.card is not None and not self.card.fresh

    @property
    def delta(self) -> GeneratorDelta | None:
        """What the personalised generator differs by from the pack's."""
        return self.pack.delta if isinstance(self.pack, TunedPack) else None

    @property
    def variable_rate(self) -> bool:
        """Whether frame times do not follow the rate."""
        strays = np.abs(self.seconds - np.arange(len(self.seconds)) / float(self.rate))
        return bool(strays.max() > RATE_TOLERANCE / float(self.rate))


@dataclass(frozen=True)
class WrittenStream:
    """What was written, known without reading it again."""

    header: StreamHeader
    duration_seconds: float  # until the last frame ends, a nominal frame after it begins
    bytes: dict[str, int]  # by part; all but "total" add up to the stream
    notes: tuple[str, ...] = ()  # what could not be done as it was asked for, as sentences


def group_frames(rate: Fraction, options: EncodeOptions) -> int:
    """Frames of a group, for a rate in frames per second."""
    usual = COMPACT_GROUP_SECONDS if options.profile == "compact" else RAW_GROUP_SECONDS
    seconds = usual if options.group_seconds is None else options.group_seconds
    return min(max(round(rate * Fraction(seconds)), 1), MAX_GROUP_FRAMES)


class ClipWriter:
    """One clip as a stream; frame times are written when they do not follow the rate.

    The clip must be compacted where the options ask for the compact profile, and only there (ValueError).

    Usage:
        writer = ClipWriter(clip, options)
        for portion in writer.portions():
            file.write(portion)
        written = writer.written
    """

    def __init__(
        self,
        clip: EncodedClip,
        options: EncodeOptions,
        audio: AudioConfig | None = None,
        sound: Iterable[AudioChunk] = (),
    ) -> None:
        if (clip.quantiser is not None) != (options.profile == "compact"):
            raise ValueError(f"the profile is {options.profile}, so the clip must be compacted or not accordingly")
        self.clip, self.options, self.sound = clip, options, sound
        self.carries = options.delta == "carry" or (options.delta == "auto" and clip.tuned is not None)
        self.header = StreamHeader(
            rate=clip.rate,
            width=clip.pack.card.resolution,
            height=clip.pack.card.resolution,
            profile=Profile.RAW if clip.quantiser is None else Profile.COMPACT,
            pack_name=clip.pack.name,
            pack_digest=clip.pack.digest,
            indices=clip.pack.indices,
            crop=clip.crop,
            time_scale=DEFAULT_TIME_SCALE if clip.variable_rate else 0,
            quantiser=clip.quantiser,
        )
        self._refined = any(clip.identity_of(one.person).base is not None for one in clip.shown)
        self._writer = StreamWriter(self.header, audio, predicts=self._refined)

    def portions(self) -> Iterator[bytes]:
        """The stream, to be joined in this order."""
        clip, identity = self.clip, self.clip.identity
        wanted = clip.delta is not None or self.options.delta == "name"
        named = clip.known and wanted and not self.carries
        sent = IdentityReference(identity.digest) if named else identity.base or identity
        yield from mux(self._writer, sent, self._groups(), self.sound, self._attached(identity))

    @property
    def written(self) -> WrittenStream:
        """What the portions so far hold."""
        seconds = float(len(self.clip.seconds) / self.clip.rate)
        if self.header.variable_rate:
            seconds = int(self._ticks()[-1]) / self.header.time_scale + float(1 / self.clip.rate)
        at_once = self.options.progressive and not self._refined
        notes = (AT_ONCE,) if at_once else ()
        return WrittenStream(self.header, seconds, self._writer.byte_account(), notes)

    def _attached(self, identity: Identity) -> Iterator[tuple[int, Attachment]]:
        """The personalised generator, or its name where the receiver is to know it, before the first frame."""
        clip = self.clip
        if clip.delta is not None:
            one = Personalization.carried(identity.digest, clip.delta)
            yield 0, one if self.carries else one.named
        if clip.background is not None:
            yield 0, clip.background

    def _ticks(self) -> NDArray[np.int64]:
        """The frames' times [n] in units of the default time scale; they increase."""
        ticks = np.rint(self.clip.seconds * DEFAULT_TIME_SCALE).astype(np.int64)
        # Subtracting the frame number turns "increase" into "do not decrease" for accumulate.
        numbers = np.arange(len(ticks))
        return np.asarray(np.maximum.accumulate(ticks - numbers) + numbers, np.int64)

    def _groups(self) -> Iterator[TimedGroup]:
        clip, step, ticks = self.clip, group_frames(self.clip.rate, self.options), self._ticks()
        several, begun = self._refined or bool(clip.persons), set[int]()
        for one in clip.shown:
            identity = clip.identity_of(one.person)
            for start in range(one.first, one.end, step):
                part = slice(start, min(start + step, one.end))
                pts = ticks[part] if self.header.variable_rate else None
                seconds = start / float(clip.rate) if pts is None else float(pts[0]) / DEFAULT_TIME_SCALE
                coarse = None if one.person in begun else identity.base
                begun.add(one.person)
                yield TimedGroup(seconds, clip.packets[part], pts, coarse or identity if several else None)


def stream_bytes(
    clip: EncodedClip,
    options: EncodeOptions,
    audio: AudioConfig | None = None,
    sound: Iterable[AudioChunk] = (),
) -> Iterator[bytes]:
    """The clip as a stream, portion by portion; see ClipWriter."""
    return ClipWriter(clip, options, audio, sound).portions()
