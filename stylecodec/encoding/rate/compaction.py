"""A clip's packets and identity in the compact profile, as exact as the quality asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...bitstream import Identity, Quantiser, nearest_code
from ...decoding.latents import LatentDecoder
from ...decoding.render import Renderer
from ...errors import LimitExceeded
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from .sensitivity import PROBE_SIZE, Metrics, picture_metrics, pictures, probed_frames
from .trellis import compact_packets

# The errors of packets and identity add up: these margins, in dB, make their sum what was asked for.
PACKET_MARGIN, IDENTITY_MARGIN = 1.0, 7.0
IDENTITY_STEP = 0.1  # of the latent's RMS: the step tried first
LOOKS = 6
ROUNDING = "rounding the identity"  # the stage's name in reports of progress


@dataclass(frozen=True)
class CompactClip:
    """What the compact profile holds of a clip."""

    quantiser: Quantiser
    packets: NDArray[np.float32]  # [n, 35], the very numbers a reader will see
    identity: Identity


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
) -> CompactClip:
    """Quantise packets [n, 35] and identity so that pictures agree with those of the originals to about `quality` dB.

    The pictures are meant as they are before they are rounded to 8 bits. metrics: of these packets, if known already.
    """
    if metrics is None:
        metrics = picture_metrics(pack, device, identity, packets)
    quantiser, values = compact_packets(packets, metrics, quality + PACKET_MARGIN, group_frames, progress)
    return CompactClip(quantiser, values, compact_identity(identity, packets, pack, device, quality, progress))


def compact_people(
    packets: NDArray[np.floating],
    people: Sequence[tuple[Identity, NDArray[np.bool_]]],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    group_frames: int,
    cuts: Sequence[int],
    progress: ProgressCallback = silent,
) -> CompactPeople:
    """`compact_clip` for several people: each identity with the frames [n] that show it, and one quantiser for all.

    cuts: frames from which on another is seen, and a group begins.
    """
    metrics = [picture_metrics(pack, device, identity, packets[shown]) for identity, shown in people]
    share = [float(shown.mean()) for _, shown in people]
    mean = Metrics(*(np.average(np.stack(kind), axis=0, weights=share) for kind in zip(*metrics, strict=True)))
    quantiser, values = compact_packets(packets, mean, quality + PACKET_MARGIN, group_frames, progress, cuts)
    rounded = [compact_identity(one, packets[shown], pack, device, quality, progress) for one, shown in people]
    return CompactPeople(quantiser, values, tuple(rounded))


def compact_identity(
    identity: Identity,
    packets: NDArray[np.floating],
    pack: ModelPack,
    device: torch.device,
    quality: float,
    progress: ProgressCallback = silent,
) -> Identity:
    """The identity with the largest step found that changes the pictures of some frames less than the quality allows.

    Raw as it is where no step serves.
    """
    latents, renderer = LatentDecoder(pack, device), Renderer(pack, device, PROBE_SIZE, "float32")
    shown = torch.from_numpy(np.asarray(packets, np.float32)[probed_frames(len(packets))])
    wanted = pictures(latents, renderer, identity, shown).clamp(-1, 1)
    allowed = (2 * 10 ** (-(quality + IDENTITY_MARGIN) / 20)) ** 2
    rms = float(np.sqrt(np.mean(identity.latent.astype(np.float64) ** 2)))
    code, stride, best = nearest_code(max(IDENTITY_STEP * rms, 1e-4)), 8, None
    for look in range(LOOKS):  # steps of an octave until the border is passed, then halves of it
        try:
            tried = Identity(identity.latent, step_code=code)
        except LimitExceeded:  # more levels than the form has
            break
        error = float((pictures(latents, renderer, tried, shown).clamp(-1, 1) - wanted).square().mean())
        if error <= allowed:
            best = tried
        stride = stride if best is None else stride // 2 or 1
        code += stride if error <= allowed else -stride
        progress(Progress(ROUNDING, look + 1, LOOKS, "steps"))
    return best or identity
