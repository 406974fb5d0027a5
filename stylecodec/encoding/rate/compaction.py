"""A clip's packets and identity in the compact profile, as exact as the quality asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ...bitstream import Identity, Quantiser, nearest_code
from ...bitstream.compact.quantiser import step_of
from ...decoding.latents import LatentDecoder
from ...decoding.personal import TunedPack
from ...decoding.render import Renderer
from ...errors import LimitExceeded
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..options import DEFAULT_QUALITY
from .rounding import coarse_levels, rounded_levels, row_metrics
from .sensitivity import PROBE_SIZE, Metrics, picture_metrics, pictures, probed_frames, style_weights
from .trellis import compact_packets

PACKET_MARGIN = 1.0  # dB that packets are better than asked for, as only some frames are looked at
# An identity is looked at alone, and is as far from the person by itself as its latent is: its error may be larger.
IDENTITY_QUALITY = 43.0  # dB, at the default quality
PERSONAL_QUALITY = 48.0  # dB, where a personalised generator comes nearer to the person than the pack's own
QUALITY_SHARE = 0.25  # of the decibels that other qualities ask for more or less
IDENTITY_STEP = 0.5  # of the latent's RMS: the step tried first
PLAIN_STEP = 0.1  # of the latent's RMS, where nothing is tried: pictures agree to 49 dB and more, in some 3 kB
LOOKS = 8  # at most; three or four do for most
CODES_PER_DB = 1.0  # by so many codes the step grows for 1 dB more of error, roughly
COARSE_SHARE = 0.5  # of the bytes that an identity takes by itself: for the coarse one of a progressive stream
THRIFT = 2.0 ** (np.arange(2, 40) / 2)  # of rounding.coarse_levels: tried one after the other, until it takes no more
ROUNDING = "rounding the identity"  # the stage's name in reports of progress


@dataclass(frozen=True)
class CompactClip:
    """What the compact profile holds of a clip."""

    quantiser: Quantiser
    packets: NDArray[np.float32]  # [n, 35], the very numbers a reader will see
    identity: Identity  # predicted from a coarse one, its base, where that was asked for


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
    `identity_quality`. metrics: of these packets, if known already. progressive: with a coarse
    identity that is sent first.
    """
    if metrics is None:
        metrics = picture_metrics(pack, device, identity, packets)
    quantiser, values = compact_packets(packets, metrics, quality + PACKET_MARGIN, group_frames, progress)
    rounded = compact_identity(identity, packets, pack, device, quality, progress, progressive)
    return CompactClip(quantiser, values, rounded)


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
    rounded = [
        compact_identity(one, packets[shown], pack, device, quality, progress, steps)
        for (one, shown), steps in zip(people, progressive or [False] * len(people), strict=True)
    ]
    return CompactPeople(quantiser, values, tuple(rounded))


def compact_identity(
    identity: Identity,
    packets: NDArray[np.floating],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    progress: ProgressCallback = silent,
    progressive: bool = False,
) -> Identity:
    """The identity with the largest step found that changes the pictures of some frames little enough.

    Its levels are those of rounding.rounded_levels. Raw as it is where no step serves. progressive: the very same
    latent as a refinement of a coarse one, its base, in half of its bytes; without a base where there is nothing to
    refine.
    """
    roundings = _Roundings(identity, packets, pack, device)
    whole = roundings.coarsest(quality, progress)
    if whole is None:
        return identity
    return roundings.refining(whole) if progressive else whole


def plainly_rounded(latent: NDArray[np.float16]) -> Identity:
    """A latent [18, 512] in fine steps, at once: no picture is looked at. Raw where it takes too many levels."""
    exact = latent.astype(np.float64)
    code = nearest_code(max(PLAIN_STEP * float(np.sqrt(np.mean(exact**2))), 1e-4))
    levels = np.rint(exact / step_of(code)).astype(np.int32)
    try:
        return Identity(levels * step_of(code), step_code=code)
    except LimitExceeded:
        return Identity(latent)


class _Roundings:
    """An identity in steps of any size, and what its pictures in some of the frames then look like."""

    def __init__(
        self, identity: Identity, packets: NDArray[np.floating], pack: ModelPack, device: torch.device
    ) -> None:
        self._latents, self._renderer = LatentDecoder(pack, device), Renderer(pack, device, PROBE_SIZE, "float32")
        self._shown = torch.from_numpy(np.asarray(packets, np.float32)[probed_frames(len(packets))])
        self._wanted = self._pictures(identity)
        weights = style_weights(self._latents, self._renderer, identity, self._shown[0])
        self._metrics = row_metrics(self._latents.generator, weights)
        self._latent = identity.latent.astype(np.float64)
        self._personal = isinstance(pack, TunedPack)

    def refining(self, whole: Identity) -> Identity:
        """A rounded identity as a refinement of a coarse one; without a base where that takes no fewer bytes."""
        for thrift in THRIFT:
            base = self._coarse(whole, float(thrift))
            if len(bytes(base)) <= COARSE_SHARE * len(bytes(whole)):
                refined = replace(whole, base=base)
                return refined if len(bytes(refined)) < len(bytes(whole)) else whole
        return whole

    def _coarse(self, whole: Identity, thrift: float) -> Identity:
        """What is seen most of a rounded identity, in the same steps; thrift: of rounding.coarse_levels."""
        assert whole.step_code is not None
        step = step_of(whole.step_code)
        levels = np.rint(whole.latent.astype(np.float64) / step).astype(np.int32)
        return Identity(coarse_levels(levels, self._metrics, thrift) * step, step_code=whole.step_code)

    def coarsest(self, quality: float, progress: ProgressCallback) -> Identity | None:
        """In the largest steps found whose pictures agree to `identity_quality` with the exact ones; None: in none."""
        allowed = (2 * 10 ** (-identity_quality(quality, self._personal) / 20)) ** 2
        code = nearest_code(max(IDENTITY_STEP * float(np.sqrt(np.mean(self._latent**2))), 1e-4))
        best, best_code = None, -1
        for look in range(LOOKS):
            try:
                levels = rounded_levels(self._latent, self._metrics, step_of(code))
                tried = Identity(levels * step_of(code), step_code=code)
            except LimitExceeded:  # more levels than the form has
                break
            error = float((self._pictures(tried) - self._wanted).square().mean())
            spare = math.floor(CODES_PER_DB * 10 * math.log10(allowed / max(error, 1e-12)))
            if look + 1 < LOOKS:
                progress(Progress(ROUNDING, look + 1, LOOKS, "steps"))
            if error <= allowed:
                best, best_code = tried, code
            code = min(max(code + (max(1, spare) if error <= allowed else spare), 0), 255)
            if code <= best_code:
                break
        progress(Progress(ROUNDING, LOOKS, LOOKS, "steps"))
        return best

    def _pictures(self, identity: Identity) -> torch.Tensor:
        return pictures(self._latents, self._renderer, identity, self._shown).clamp(-1, 1)


def identity_quality(quality: float, personal: bool = False) -> float:
    """PSNR in dB of the pictures of a rounded identity against those of the exact one, for a quality of the packets.

    personal: whether the generator is personalised.
    """
    usual = PERSONAL_QUALITY if personal else IDENTITY_QUALITY
    return usual + QUALITY_SHARE * (quality - DEFAULT_QUALITY)
