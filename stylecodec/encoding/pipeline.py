"""The stages of encoding in their order, and nothing else.

    aligned frames ─┬► analyse ─┬► motion (yaw, pitch, roll, α) ─► smooth ─► correct ─► refine ─► fill ─┬─► compact
                    │           ├► landmark features ────────────────────────┘                          │
                    │           └► candidates ─► select ─► fit ─► identity ─────┴─► personalise ────────┤
                    └► background ──────────────────────────────────────────────────────────────────────┘

Of a clip that shows one person after another all this is done for each by themselves, and joined before it is
compacted. Frames pass in batches and are forgotten; the identity is known only when all have passed, and must go
first. To personalise and to refine, which `fast` does for a fully personalised generator alone, the clip is read again.
The `paper` preset has stages of its own in place of those before `compact` (paper/clip.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from ..bitstream import CropGeometry
from ..decoding.personal import TunedPack
from ..packs.registry import pick_device
from ..packs.store import ModelPack
from ..progress import ProgressCallback, silent
from .analysis import analyse_clip
from .background import background_of
from .frames import AlignedFrame
from .front_end import FacesInClip
from .identity.cards import IdentityCard
from .identity.fitting import fit_to_candidates
from .identity.selection import IdentityChoice, select
from .motion.landmark_correction import correct_by_landmarks
from .motion.pixel_correction import correct_by_pixels
from .motion.refinement import refine_clip
from .options import FULL, OFF, PAPER, EncodeOptions
from .paper.clip import encode_paper
from .personalization.clip import personalize_clip
from .personalization.crop_registration import register_crops
from .rate.compaction import compact_clip, compact_people
from .write import EncodedClip, ShownPerson, group_frames


def encode_clip(
    faces: FacesInClip,
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    source_size: tuple[int, int] | None = None,
    card: IdentityCard | None = None,
    total: int | None = None,
    progress: ProgressCallback = silent,
) -> EncodedClip:
    """All stages: a clip whose face has been found, ready to be written.

    rate: frames per second. source_size: width and height of the source in pixels. card: an identity to use in place
    of the clip's own. total: number of frames, for reports of progress.
    Raises MediaError for a clip without frames, FaceNotFound for one without a face, PackMismatch for a card of another
    pack, PackNotFound for a network that the pack lacks, OptionError for a checkpoint of other work.
    """
    clip = faces.clip
    if card is not None:
        registration = register_crops(clip, card, pack, options, progress)
        clip, card = registration.clip, registration.card
    if faces.split:
        encoded = encode_people(faces, pack, options, rate, source_size, total, progress)
    else:
        encoded = encode_frames(clip, pack, options, rate, source_size, card, total, progress)
    background = background_of(clip, pack, options, progress)
    encoded = replace(encoded, background=background, track=clip.track, people=faces.people)
    return compacted(encoded, options, progress) if options.profile == "compact" else encoded


def encode_frames(
    frames: Iterable[AlignedFrame],
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    source_size: tuple[int, int] | None = None,
    card: IdentityCard | None = None,
    total: int | None = None,
    progress: ProgressCallback = silent,
    cuts: Sequence[int] = (),
) -> EncodedClip:
    """The stages from aligned frames to packets, not compacted; arguments and errors as of `encode_clip`.

    frames: passed once, and again from the beginning to personalise and to refine (in any preset but `fast`, and on a
    personalised generator). cuts: frames before which nothing is smoothed with what follows.
    """
    if options.preset == PAPER:
        return encode_paper(frames, pack, options, rate, source_size, total, progress)
    device = pick_device(options.device)
    sigma = options.smoothing * float(rate) if options.smooth else 0.0
    # A personalised generator shows in pixels what the person does, and refinement sees it there.
    refines_tuned = options.wanted_likeness == FULL or (card is not None and card.delta is not None)
    corrects = options.landmark_correction.enabled and not refines_tuned
    keyframes = card is None and options.fit.keyframes
    found = analyse_clip(frames, pack, device, options, corrects, keyframes, total, progress)
    motion, fit_steps = found.motion.smoothed(sigma, cuts), 0
    if card is None:
        choice = select(found.candidates, pack, device, options)
        fitted = fit_to_candidates(choice.latent, found.fit_frames, pack, device, options.fit, progress)
        choice, fit_steps = replace(choice, latent=fitted.latent), fitted.steps
    else:
        choice = IdentityChoice(card.identity.latent, -1, 0.0, 1, 0)
        pack = pack if card.delta is None else TunedPack(pack, card.delta)
    if found.features is not None:
        motion = correct_by_landmarks(
            motion, found.features, choice.latent, pack, device, options.landmark_correction, sigma, progress, cuts
        )
    tuned = None
    if options.tunes:
        tuned = personalize_clip(frames, motion, choice.latent, pack, device, options, progress)
        pack, choice, motion = tuned.pack, replace(choice, latent=tuned.result.latent), tuned.corrected(motion)
    if options.refines or refines_tuned:
        known = set() if tuned is None else set(tuned.rows.tolist())
        motion = refine_clip(frames, motion, choice.latent, pack, device, options, known, progress)
    elif tuned is not None and options.pixel_correction.enabled:
        motion = correct_by_pixels(frames, motion, choice.latent, pack, device, options.pixel_correction, progress)
    held, geometry = len(motion) - len(motion.faces), found.squares.geometry(source_size)
    packets = motion.filled().packets
    return EncodedClip(packets, found.seconds, rate, held, choice, fit_steps, geometry, pack, tuned, card)


def encode_people(
    faces: FacesInClip,
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    source_size: tuple[int, int] | None = None,
    total: int | None = None,
    progress: ProgressCallback = silent,
) -> EncodedClip:
    """The stages of `encode_frames` for each person by themselves, as if nobody else were there; then joined."""
    clip, people = faces.clip, faces.people
    each = [
        encode_frames(
            clip.only(people.shown(k)), pack, _of_person(options, k), rate, None, None, total, progress, people.cuts
        )
        for k in range(people.count)
    ]
    packets = each[0].packets.copy()
    for person, one in enumerate(each):
        shown = people.shown(person)
        packets[shown] = one.packets[shown]
    square = clip.track.mean
    crop = None if source_size is None else CropGeometry(*source_size, *square.center, square.side)
    held = len(packets) - sum(len(one.packets) - one.held for one in each)
    persons = tuple(ShownPerson(one.choice, one.fit_steps) for one in each)
    return replace(each[0], packets=packets, held=held, crop=crop, people=people, persons=persons)


def _of_person(options: EncodeOptions, person: int) -> EncodeOptions:
    """The options with a checkpoint of the person's own; a generator is personalised to one, so to none of several."""
    checkpoint = None if options.checkpoint is None else f"{os.fspath(options.checkpoint)}.{person}"
    return replace(options, likeness=OFF, tune=None, checkpoint=checkpoint)


def compacted(clip: EncodedClip, options: EncodeOptions, progress: ProgressCallback = silent) -> EncodedClip:
    """The clip as the compact profile holds it, as exact as the quality asks for; an identity that is known stays."""
    device, step = pick_device(options.device), group_frames(clip.rate, options)
    refined = [options.progressive and count > 1 for count in clip.group_counts(step)]
    if clip.persons and clip.people is not None:
        shown = [(person.identity, clip.people.shown(k)) for k, person in enumerate(clip.persons)]
        joined = compact_people(
            clip.packets, shown, clip.pack, device, options.quality, step, clip.cuts, progress, refined
        )
        rounded = zip(clip.persons, joined.identities, strict=True)
        persons = tuple(replace(person, compacted=identity) for person, identity in rounded)
        return replace(clip, packets=joined.packets, quantiser=joined.quantiser, persons=persons)
    made = compact_clip(
        clip.packets, clip.identity, clip.pack, device, options.quality, step, None, progress, refined[0]
    )
    identity = None if clip.known else made.identity  # one that is known keeps its digest
    return replace(clip, packets=made.packets, quantiser=made.quantiser, compacted=identity)
