"""The stages of encoding in their order, and nothing else.

    aligned frames ─┬► analyse ─┬► packets (yaw, pitch, roll, α) ─► smooth ─► follow ─► refine ─► hold ─┐
                    └► marks    └► candidates ─► select ─► fit ─► identity ─────┴─► personalise ────────┴─► bytes

Frames pass in batches and are forgotten. What grows with the clip is 35 half-precision numbers, 17 marks and one time
per frame (about 13 MB per hour at 25 frames per second): the identity is known only at the end and must go first.
To personalise and to refine, which `fast` does for a personalised generator alone, the clip is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from ..bitstream import (
    DEFAULT_TIME_SCALE,
    MAX_GROUP_FRAMES,
    PARAMS_PER_FRAME,
    AudioChunk,
    AudioConfig,
    ChunkType,
    CropGeometry,
    Identity,
    IdentityReference,
    Profile,
    StreamHeader,
    StreamWriter,
    TimedGroup,
    UnknownChunk,
    mux,
)
from ..bitstream.background import Background
from ..bitstream.delta import GeneratorDelta, Personalization
from ..decoding.personal import TunedPack
from ..errors import FaceNotFound, MediaError
from ..geometry import CropTransform
from ..packs.registry import pick_device
from ..packs.store import ModelPack
from .code_units import CodeUnits
from .identity.fitting import fit_identity
from .identity.keyframes import Extremes
from .identity.selection import CandidatePool, IdentityChoice, select
from .motion.feedforward import Crop, FrameCodes, analyse, smooth, to_input
from .motion.landmark_correction import follow
from .motion.landmark_features import NAMES, MarkReader
from .options import FITTING, FOLLOWING, EncodeOptions
from .personalization.clip_passes import TunedClip, personalize_clip, refine_clip
from .rate.compaction import compact_clip

CPU_BATCH = 8
CUDA_BATCH = 32
RAW_GROUP_SECONDS = 1.0
COMPACT_GROUP_SECONDS = 2.0  # the framing of a group weighs as much as some of its frames
# Frame times that stray from the constant rate by more than this share of a frame are written one by one.
RATE_TOLERANCE = 0.75


@dataclass(frozen=True)
class AlignedFrame:
    """One frame of the clip: its time, and the upright crop of the face, or None where there is no face."""

    seconds: float
    crop: Crop | None
    transform: CropTransform | None = None  # where the crop lies in the source; its roll is sent
    trace: bytes = b""  # pixels of the source's frame by which a clip is known again, whatever networks see in it


@dataclass(frozen=True)
class EncodedClip:
    """A clip as numbers."""

    packets: NDArray[np.float16] | NDArray[np.float32]  # [n, 35] yaw, pitch, roll in degrees, alpha 0..31
    seconds: NDArray[np.float64]  # [n] from the first frame
    held: int  # frames without a face, which repeat their neighbour
    choice: IdentityChoice
    crop: CropGeometry | None  # the mean square that the crops were taken from
    pack: ModelPack  # that renders it, with a personalised generator where there is one
    tuned: TunedClip | None = None  # when the generator was personalised to this very clip
    card: IdentityCard | None = None  # when the identity was given
    scene: Background | None = None  # what is to be put behind the head

    @property
    def identity(self) -> Identity:
        """The identity to send."""
        return Identity(self.choice.latent) if self.card is None else self.card.identity

    @property
    def known(self) -> bool:
        """Whether receivers may know the identity already."""
        return self.card is not None and not self.card.fresh

    @property
    def delta(self) -> GeneratorDelta | None:
        """What the personalised generator differs by from the pack's."""
        return self.pack.delta if isinstance(self.pack, TunedPack) else None


@dataclass(frozen=True)
class IdentityCard:
    """Somebody known: the latent, and the delta of the generator that was personalised to it, if one was."""

    identity: Identity
    delta: GeneratorDelta | None = None
    fresh: bool = False  # the latent was fitted anew, so no receiver knows it


Stage = Callable[[str, float, float | None], None]
"""Told the stage's name, what is done of it, and of how much: frames, steps, or for personalising the share of the
budget and the PSNR in dB so far, NaN before it is known."""


def encode_frames(
    frames: Iterable[AlignedFrame],
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    source_size: tuple[int, int] | None = None,
    progress: Callable[[int], None] | None = None,
    card: IdentityCard | None = None,
    tell: Stage | None = None,
) -> EncodedClip:
    """Encode a clip frame by frame.

    frames: passed once, and again from the beginning to personalise and to refine (in any preset but `fast`, and on a
    personalised generator). rate: frames per second, for smoothing. source_size: width and height of the source in
    pixels. `progress` is told the number of frames done, `tell` of the stages after that. card: an identity to use in
    place of the clip's own.
    Raises MediaError for a clip without frames, FaceNotFound for one without a face, PackMismatch for a card of
    another pack.
    """
    device = pick_device(options.device)
    size = options.batch or (CUDA_BATCH if device.type == "cuda" else CPU_BATCH)
    pool, squares = CandidatePool(options), _MeanSquare()
    extremes = Extremes(CodeUnits(pack, device), 0 if card is not None else options.fit.extremes)
    rows: list[NDArray[np.float16]] = []
    marks: list[NDArray[np.float32]] = []
    # A personalised generator shows in pixels what the person does, and refinement sees it there.
    own = options.personalize or (card is not None and card.delta is not None)
    reader = MarkReader(pack, device) if options.follow.frames and not own else None
    seconds: list[float] = []
    for batch in _batches(frames, size):
        first = len(seconds)
        seconds += [frame.seconds for frame in batch]
        rows.append(_packets(batch, first, pack, device, (pool, extremes), squares))
        marks.append(_marks(batch, reader, device))
        if progress is not None:
            progress(len(seconds))
    if not seconds:
        raise MediaError("the clip has no frames between its start and its end")
    candidates = pool.candidates()
    if not candidates:
        raise FaceNotFound(f"no face was found in the {len(seconds):,} frames of the clip")
    sigma = options.smoothing * float(rate)
    packets = _smoothed(np.concatenate(rows), sigma)
    stage = tell or (lambda name, done, of: None)
    if card is None:
        choice = select(candidates, pack, device, options)
        shown = partial(_shown, stage, FITTING, float(options.fit.steps))
        fitted = fit_identity(choice.latent, *_seen(pool, extremes), pack, device, options.fit, shown)
        choice = replace(choice, latent=fitted)
    else:
        choice = IdentityChoice(card.identity.latent, -1, 0.0, 1, 0)
        pack = pack if card.delta is None else TunedPack(pack, card.delta)
    if reader is not None:
        shown = partial(_shown, stage, FOLLOWING, float(len(packets)))
        found = np.concatenate(marks)
        packets = follow(packets, found, choice.latent, pack, device, options.follow, sigma, shown)
    refines = options.refines or isinstance(pack, TunedPack)
    tuned = None
    if options.personalize:
        told = partial(stage, "personalising")
        tuned = personalize_clip(frames, packets, choice.latent, pack, device, options, told)
        pack, choice = tuned.pack, replace(choice, latent=tuned.result.latent)
    if refines:
        shown = partial(_shown, stage, "refining", float(len(packets)))
        packets = refine_clip(frames, packets, choice.latent, pack, device, options, tuned, shown)
    packets, held = hold(packets)
    times = np.array(seconds) - seconds[0]
    return EncodedClip(packets, times, held, choice, squares.geometry(source_size), pack, tuned, card)


def _seen(*keepers: CandidatePool | Extremes) -> tuple[list[Crop], FrameCodes]:
    """The frames that either kept, in order of time: what the identity is fitted to."""
    by_frame = {one.frame: one for keeper in keepers for one in keeper.kept()}
    kept = [one for _, one in sorted(by_frame.items())]
    pose, alpha = np.stack([c.pose for c in kept]), np.stack([c.alpha for c in kept])
    return [c.crop for c in kept], FrameCodes(np.stack([c.w_id for c in kept]), pose, alpha)


def _shown(stage: Stage, name: str, total: float, done: int) -> None:
    stage(name, done, total)


def _packets(
    batch: list[AlignedFrame],
    first: int,
    pack: ModelPack,
    device: torch.device,
    keepers: tuple[CandidatePool | Extremes, ...],
    squares: _MeanSquare,
) -> NDArray[np.float16]:
    """Packets [n, 35] of a batch whose first frame has the number `first`; NaN for frames without a face."""
    packets = np.full((len(batch), PARAMS_PER_FRAME), np.nan, np.float16)
    found = [k for k, frame in enumerate(batch) if frame.crop is not None]
    crops = [frame.crop for frame in batch if frame.crop is not None]
    if found:
        codes: FrameCodes = analyse(crops, pack, device)
        for keeper in keepers:
            keeper.offer([first + k for k in found], crops, codes)
        transforms = [batch[k].transform for k in found]
        for transform in transforms:
            squares.add(transform)
        packets[found, :2] = codes.pose
        packets[found, 2] = [0.0 if transform is None else transform.roll_deg for transform in transforms]
        packets[found, 3:] = codes.alpha
    return packets


def _marks(batch: list[AlignedFrame], reader: MarkReader | None, device: torch.device) -> NDArray[np.float32]:
    """Marks [n, 17] of the crops of a batch; NaN for frames without a face, and if nothing is to be read."""
    marks = np.full((len(batch), len(NAMES)), np.nan, np.float32)
    found = [k for k, frame in enumerate(batch) if frame.crop is not None]
    if found and reader is not None:
        crops = [frame.crop for frame in batch if frame.crop is not None]
        marks[found] = reader(to_input(crops, device)).cpu().numpy()
    return marks


def _smoothed(packets: NDArray[np.float16], sigma_frames: float) -> NDArray[np.float16]:
    """Packets [n, 35] with pose and α smoothed over time; the roll is smooth already, rows of NaN stay."""
    there = ~np.isnan(packets[:, 0])
    filled, _ = hold(packets)
    calm = smooth(filled.astype(np.float32), sigma_frames).astype(np.float16)
    calm[:, 2], calm[~there] = packets[:, 2], np.nan
    return calm


def hold(packets: NDArray[np.float16]) -> tuple[NDArray[np.float16], int]:
    """Fill rows that are NaN with the last row that is not (the first such row before it), and count them."""
    there = ~np.isnan(packets[:, 0])
    source = np.maximum.accumulate(np.where(there, np.arange(len(packets)), -1))
    source[source < 0] = int(there.argmax())
    return packets[source], int((~there).sum())


def stream_bytes(
    clip: EncodedClip,
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    audio: AudioConfig | None = None,
    sound: Iterable[AudioChunk] = (),
) -> Iterator[bytes]:
    """The clip as a stream, portion by portion; frame times are written when they do not follow `rate`."""
    numbers = np.arange(len(clip.seconds))
    variable = bool(np.abs(clip.seconds - numbers / float(rate)).max() > RATE_TOLERANCE / float(rate))
    step = group_frames(rate, options)
    identity, quantiser = clip.identity, None
    if options.profile == "compact":
        device = pick_device(options.device)
        made = compact_clip(clip.packets, identity, clip.pack, device, options.quality, step)
        clip, quantiser = replace(clip, packets=made.packets), made.quantiser
        identity = identity if clip.known else made.identity  # one that is known keeps its digest
    header = StreamHeader(
        rate=rate,
        width=pack.card.resolution,
        height=pack.card.resolution,
        profile=Profile.RAW if quantiser is None else Profile.COMPACT,
        pack_name=pack.name,
        pack_digest=pack.digest,
        indices=pack.indices,
        crop=clip.crop,
        time_scale=DEFAULT_TIME_SCALE if variable else 0,
        quantiser=quantiser,
    )
    extras = _attached(clip, identity, options)
    named = clip.known and clip.delta is not None and not _carries(clip, options)
    sent = IdentityReference(identity.digest) if named else identity
    return mux(StreamWriter(header, audio), sent, _groups(clip, step, rate, variable), sound, extras)


def _carries(clip: EncodedClip, options: EncodeOptions) -> bool:
    """Whether the stream brings the personalised generator and its latent, or only names them."""
    return options.delta == "carry" or (options.delta == "auto" and clip.tuned is not None)


def _attached(clip: EncodedClip, identity: Identity, options: EncodeOptions) -> Iterator[tuple[int, UnknownChunk]]:
    """The personalised generator, or its name where the receiver is to know it, before the first frame."""
    if clip.delta is not None:
        one = Personalization.carried(identity.digest, clip.delta)
        data = bytes(one if _carries(clip, options) else one.named)
        yield 0, UnknownChunk(ChunkType.GENERATOR_DELTA, data, 0)
    if clip.scene is not None:
        yield 0, UnknownChunk(ChunkType.BACKGROUND, bytes(clip.scene), 0)


def group_frames(rate: Fraction, options: EncodeOptions) -> int:
    """Frames of a group."""
    usual = COMPACT_GROUP_SECONDS if options.profile == "compact" else RAW_GROUP_SECONDS
    seconds = usual if options.group_seconds is None else options.group_seconds
    return min(max(round(rate * Fraction(seconds)), 1), MAX_GROUP_FRAMES)


def _groups(clip: EncodedClip, step: int, rate: Fraction, variable: bool) -> Iterator[TimedGroup]:
    ticks = np.rint(clip.seconds * DEFAULT_TIME_SCALE).astype(np.int64)
    # Times must increase; subtracting the frame number turns "increase" into "do not decrease" for accumulate.
    numbers = np.arange(len(ticks))
    ticks = np.maximum.accumulate(ticks - numbers) + numbers
    for start in range(0, len(ticks), step):
        part = slice(start, start + step)
        if variable:
            yield TimedGroup(float(ticks[start]) / DEFAULT_TIME_SCALE, clip.packets[part], ticks[part])
        else:
            yield TimedGroup(start / float(rate), clip.packets[part])


def _batches(frames: Iterable[AlignedFrame], size: int) -> Iterator[list[AlignedFrame]]:
    waiting = iter(frames)
    while batch := list(islice(waiting, size)):
        yield batch


class _MeanSquare:
    """The mean of the squares that crops were taken from."""

    def __init__(self) -> None:
        self._sum = np.zeros(3)
        self._count = 0

    def add(self, transform: CropTransform | None) -> None:
        if transform is not None:
            self._sum += (*transform.center, transform.side)
            self._count += 1

    def geometry(self, source_size: tuple[int, int] | None) -> CropGeometry | None:
        """The mean, or None when nothing is known of the source."""
        if not self._count or source_size is None:
            return None
        x, y, side = (float(value) for value in self._sum / self._count)
        return CropGeometry(*source_size, x, y, side)
