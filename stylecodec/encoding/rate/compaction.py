"""A clip's packets and identity in the compact profile, as exact as the quality asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...bitstream import Identity, Quantiser, nearest_code
from ...bitstream.compact.coding import predicted_levels
from ...bitstream.compact.modelling import DEFAULT_QUALITY
from ...bitstream.compact.quantiser import step_of
from ...decoding.latents import LatentDecoder
from ...decoding.personal import TunedPack
from ...decoding.render import Renderer
from ...errors import LimitExceeded
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from .rounding import rounded_levels, row_metrics
from .sensitivity import PROBE_SIZE, Metrics, picture_metrics, pictures, probed_frames, style_weights
from .trellis import compact_packets

PACKET_MARGIN = 1.0  # dB that packets are better than asked for, as only some frames are looked at
# An identity is looked at alone, and is as far from the person by itself as its latent is: its error may be larger.
IDENTITY_QUALITY = 43.0  # dB, at the default quality
PERSONAL_QUALITY = 48.0  # dB, where a personalised generator comes nearer to the person than the pack's own
QUALITY_SHARE = 0.25  # of the decibels that other qualities ask for more or less
IDENTITY_STEP = 0.5  # of the latent's RMS: the step tried first
LOOKS = 8  # at most; three or four do for most
CODES_PER_DB = 1.0  # by so many codes the step grows for 1 dB more of error, roughly
# The coarse identity of a progressive stream is so many dB worse. On examples/talk.mp4 it takes 45% of the bytes of the
# exact one, and both together 144%; with 8 dB it is 57% and 138%, with 12 dB 37% and 146%.
COARSE_LESS = 10.0
ROUNDING = "rounding the identity"  # the stage's name in reports of progress


@dataclass(frozen=True)
class CompactClip:
    """What the compact profile holds of a clip."""

    quantiser: Quantiser
    packets: NDArray[np.float32]  # [n, 35], the very numbers a reader will see
    identity: Identity  # predicted from a coarse one where that was asked for


@dataclass(frozen=True)
class CompactPeople:
    """What the compact profile holds of a clip of several people."""

    quantiser: Quantiser
    packets: NDArray[np.float32]  # [n, 35], the very numbers a reader will see
    identities: tuple[Identity, ...]


def compact_clip(
    packets: NDArray[np.floating],
    identity: Identity,
    pack: ModelPack,
    device: torch.device,
    quality: float,
    group_frames: int,
    metrics: Metrics | None = None,
    progress: ProgressCallback = silent,
    progressive: bool = False,
) -> CompactClip:
    """Quantise packets [n, 35], so that pictures agree with those of the originals to about `quality` dB, and identity.

    The pictures are meant as they are before they are rounded to 8 bits; those of the identity agree to about
    `identity_quality`. metrics: of these packets, if known already. progressive: predict the identity from
    a coarse one.
    """
    if metrics is None:
        metrics = picture_metrics(pack, device, identity, packets)
    quantiser, values = compact_packets(packets, metrics, quality + PACKET_MARGIN, group_frames, progress)
    compacted = progressive_identity if progressive else compact_identity
    return CompactClip(quantiser, values, compacted(identity, packets, pack, device, quality, progress))


def compact_people(
    packets: NDArray[np.floating],
    people: Sequence[tuple[Identity, NDArray[np.bool_]]],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    group_frames: int,
    cuts: Sequence[int],
    progress: ProgressCallback = silent,
    progressive: Sequence[bool] = (),
) -> CompactPeople:
    """`compact_clip` for several people: each identity with the frames [n] that show it, and one quantiser for all.

    cuts: frames from which on another is seen, and a group begins. progressive: for each person; none: for nobody.
    """
    metrics = [picture_metrics(pack, device, identity, packets[shown]) for identity, shown in people]
    share = [float(shown.mean()) for _, shown in people]
    mean = Metrics(*(np.average(np.stack(kind), axis=0, weights=share) for kind in zip(*metrics, strict=True)))
    quantiser, values = compact_packets(packets, mean, quality + PACKET_MARGIN, group_frames, progress, cuts)
    rounded = []
    for (one, shown), steps in zip(people, progressive or [False] * len(people), strict=True):
        compacted = progressive_identity if steps else compact_identity
        rounded.append(compacted(one, packets[shown], pack, device, quality, progress))
    return CompactPeople(quantiser, values, tuple(rounded))


def progressive_identity(
    identity: Identity,
    packets: NDArray[np.floating],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    progress: ProgressCallback = silent,
) -> Identity:
    """`compact_identity` as a refinement of a coarse one, its base, that is `COARSE_LESS` dB worse.

    Without a base where no step serves for one of the two.
    """
    coarse = compact_identity(identity, packets, pack, device, quality, progress, less=COARSE_LESS)
    base = None if coarse.step_code is None else coarse
    return compact_identity(identity, packets, pack, device, quality, progress, base)


def compact_identity(
    identity: Identity,
    packets: NDArray[np.floating],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    progress: ProgressCallback = silent,
    base: Identity | None = None,
    less: float = 0.0,
) -> Identity:
    """The identity with the largest step found that changes the pictures of some frames little enough.

    Its levels are those of rounding.rounded_levels. Raw as it is where no step serves. base: what to predict it from.
    less: dB that it may be worse than `identity_quality`.
    """
    latents, renderer = LatentDecoder(pack, device), Renderer(pack, device, PROBE_SIZE, "float32")
    shown = torch.from_numpy(np.asarray(packets, np.float32)[probed_frames(len(packets))])
    wanted = pictures(latents, renderer, identity, shown).clamp(-1, 1)
    metrics = row_metrics(latents.generator, style_weights(latents, renderer, identity, shown[0]))
    allowed = (2 * 10 ** ((less - identity_quality(quality, isinstance(pack, TunedPack))) / 20)) ** 2
    latent = identity.latent.astype(np.float64)
    code = nearest_code(max(IDENTITY_STEP * float(np.sqrt(np.mean(latent**2))), 1e-4))
    best, best_code = None, -1
    for look in range(LOOKS):
        try:
            prediction = None if base is None else predicted_levels(base.latent, code)
            levels = rounded_levels(latent, metrics, step_of(code), prediction)
            tried = Identity(levels * step_of(code), step_code=code, base=base)
        except LimitExceeded:  # more levels than the form has
            break
        error = float((pictures(latents, renderer, tried, shown).clamp(-1, 1) - wanted).square().mean())
        spare = math.floor(CODES_PER_DB * 10 * math.log10(allowed / max(error, 1e-12)))
        progress(Progress(ROUNDING, look + 1, LOOKS, "steps"))
        if error <= allowed:
            best, best_code = tried, code
        code = min(max(code + (max(1, spare) if error <= allowed else spare), 0), 255)
        if code <= best_code:
            break
    progress(Progress(ROUNDING, LOOKS, LOOKS, "steps"))
    return best or identity


def identity_quality(quality: float, personal: bool = False) -> float:
    """PSNR in dB of the pictures of a rounded identity against those of the exact one, for a quality of the packets.

    personal: whether the generator is personalised.
    """
    usual = PERSONAL_QUALITY if personal else IDENTITY_QUALITY
    return usual + QUALITY_SHARE * (quality - DEFAULT_QUALITY)
