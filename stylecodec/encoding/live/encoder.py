"""Frames in one at a time, bursts of a live stream out: `LiveEncoder`. No I/O, no clock.

    frame ─► Square ─► analyse ─► CausalMotion ─► (CausalCorrection) ─► LiveSender ─► bursts
                          └► IdentityFinder ─► first guess, then a fitted identity ┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from ...bitstream import (
    DEFAULT_TIME_SCALE,
    MAX_GROUP_FRAMES,
    AudioChunk,
    AudioConfig,
    Identity,
    Profile,
    StreamHeader,
)
from ...bitstream.delta import Personalization
from ...bitstream.live import Burst, LiveSender
from ...face.causal import LiveAligner
from ...face.landmarks import make_landmarker
from ...face.warp import Frame, warp
from ...geometry import CropTransform
from ...nets.isolation import isolated
from ...packs.registry import pick_device
from ...packs.store import ModelPack
from ..frames import CROP_SIZE, FrameCodes
from ..front_end import landmark_network
from ..identity.cards import IdentityCard
from ..motion.feedforward import analyse
from .correction import CausalCorrection
from .identity import IdentityFinder
from .motion import CausalMotion, LivePacket, Packet, packet_of
from .options import LiveOptions
from .quantising import pack_quantiser

GROUP_SLACK = 0.004  # seconds: cameras are not punctual

Told = Callable[[str, float], None]
"""Is told the seconds that a stage of one frame took: "align", "analyse", "correct"."""


class LiveFrontEnd(Protocol):
    """Finds the face in frames that come one at a time: face.causal.LiveAligner, or a stand-in."""

    def __call__(self, seconds: float, frame: Frame) -> CropTransform | None:
        """The square in the next frame; None without a face."""
        ...


def live_front_end(pack: ModelPack, options: LiveOptions) -> LiveFrontEnd:
    """The front end with the landmarks that the options name, aligned as the pack's networks were trained."""
    choice, net = landmark_network(pack, options.landmarks, options.device)
    landmarker = make_landmarker(choice, net, pack.alignment)
    return LiveAligner(landmarker, alignment=pack.alignment, rate=float(options.rate))


@dataclass(frozen=True)
class LiveBurst:
    """Chunks to be sent now. frames: the frames whose packets are in them, in order."""

    burst: Burst
    frames: tuple[LivePacket, ...]


@dataclass
class LiveCounts:
    """What became of the frames so far."""

    frames: int = 0  # given
    sent: int = 0  # whose packets are in bursts; the rest came before an identity, or waits
    held: int = 0  # of these, without a face: they repeat the frame before
    sightings: int = 0  # frames that show a face
    identities: int = 0  # sent: 1 for the first guess or the card
    fitted: bool = False  # the identity that is sent is no first guess


class LiveEncoder:
    """One face, from frames that come one at a time.

        encoder = LiveEncoder(pack, options, live_front_end(pack, options), card, executor)
        for seconds, frame in camera:
            for one in encoder.frame(seconds, frame): ...  # of one.burst.chunks
        for one in encoder.close(): ...

    card: who is seen; nothing is fitted then. Without one a first guess is sent after `guess_seconds` of a face, and
    frames before are not sent. executor: where a better identity is fitted and the correction is measured; None: there
    is only the first guess, and the correction is measured at once. audio: the sound's configuration. told: see Told.
    Raises PackNotFound for a pack without a feed-forward encoder.
    """

    def __init__(
        self,
        pack: ModelPack,
        options: LiveOptions,
        front_end: LiveFrontEnd,
        card: IdentityCard | None = None,
        executor: Executor | None = None,
        audio: AudioConfig | None = None,
        told: Told | None = None,
    ) -> None:
        self.pack, self.options, self.counts = pack, options, LiveCounts()
        self.identity: Identity | None = None
        self._device = pick_device(options.device)
        self._front_end, self._executor, self._audio = front_end, executor, audio
        self._told = told or (lambda stage, seconds: None)
        self._motion = CausalMotion(options.smoothing, options.look_ahead)
        self._sender: LiveSender | None = None
        self._origin: float | None = None  # the source's time of stream time 0
        self._ticks, self._seen = -1, False
        self._grouped: deque[LivePacket] = deque()
        self._interval = float(1 / options.rate)  # seconds between the last two frames
        self._latest: float | None = None  # seconds of the last frame
        self._correction: CausalCorrection | None = None
        self._card = card
        with isolated():
            quantiser = None if card is None else card.quantiser
            self._quantiser = quantiser or pack_quantiser(pack, self._device, options.quality)
            analyse([np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)], pack, self._device)  # the first one takes longer
            self._finder = None if card is not None else IdentityFinder(pack, self._device, options, executor)
            self._known: Identity | None = None if card is None else card.identity

    @property
    def origin(self) -> float | None:
        """The source's time of stream time 0; None before the first frame that is sent."""
        return self._origin

    @property
    def face(self) -> bool:
        """Whether the last frame showed the face."""
        return self._seen

    @property
    def guessed(self) -> bool:
        """Whether the identity was guessed here, and not given."""
        return self._card is None

    def frame(self, seconds: float, frame: Frame) -> Iterator[LiveBurst]:
        """The next frame [H, W, 3] uint8 RGB, at a time of the source that increases; what is to be sent now."""
        self.counts.frames += 1
        with isolated():
            ready = self._motion.frame(seconds, self._packet(seconds, frame))
        yield from self._sent(ready)

    def sound(self, chunk: AudioChunk) -> None:
        """Audio, whose time counts from `origin`, to be sent with the next group; it is dropped before the first."""
        if self._sender is not None and self._audio is not None:
            self._sender.audio(chunk)

    def close(self) -> Iterator[LiveBurst]:
        """The rest, at the end of the source."""
        yield from self._sent(self._motion.flush())
        if self._sender is not None:
            yield from self._bursts(self._sender.flush())
        if self._finder is not None:
            self._finder.stop()

    @property
    def failure(self) -> str | None:
        """Why no better identity than the first guess comes, where fitting it failed."""
        return None if self._finder is None else self._finder.failure

    # --- a frame to a packet ----------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = perf_counter()
        yield
        self._told(stage, perf_counter() - begun)

    def _packet(self, seconds: float, frame: Frame) -> Packet | None:
        with self._timed("align"):
            square = self._front_end(seconds, frame)
            crop = None if square is None else warp(frame, square, CROP_SIZE)
        self._seen = square is not None
        if square is None or crop is None:
            return None
        self.counts.sightings += 1
        with self._timed("analyse"):
            codes = analyse([crop], self.pack, self._device)
        found = None if self._finder is None else self._finder.frame(seconds, crop, codes)
        if found is not None:
            self._known, self.counts.fitted = found.identity, found.fitted
            self._correction = None
        if self.options.correct and self._known is not None and (self._card is None or self._card.delta is None):
            with self._timed("correct"):
                codes = self._corrected(crop, codes)
        return packet_of(codes.pose[0], square.roll_deg, codes.alpha[0])

    def _corrected(self, crop: Frame, codes: FrameCodes) -> FrameCodes:
        if self._correction is None:
            assert self._known is not None
            self._correction = CausalCorrection(
                self._known.latent, self.pack, self._device, self.options.correction, self._executor
            )
        return self._correction(crop, codes)

    # --- packets to bursts ------------------------------------------------------------------------------------

    def _sent(self, ready: list[LivePacket]) -> Iterator[LiveBurst]:
        if self._known is None:
            return  # nobody knows yet who it is
        if ready and self._sender is None:
            self._origin = ready[0].seconds
            self._sender = self._begun(self._known)
            yield from self._bursts(self._sender.start())
        assert self._sender is not None or not ready
        if ready and self._sender is not None and self._known is not self.identity:
            if self.identity is not None:
                yield from self._bursts(self._sender.change_identity(self._known))
            self.identity = self._known
            self.counts.identities += 1
        for one in ready:
            assert self._sender is not None
            assert self._origin is not None
            self._ticks = max(self._ticks + 1, round((one.seconds - self._origin) * DEFAULT_TIME_SCALE))
            self._interval = one.seconds - self._latest if self._latest is not None else self._interval
            self._latest = one.seconds
            self._grouped.append(one)
            self.counts.held += one.held
            yield from self._bursts(self._sender.frame(one.packet, self._ticks))
            if self._group_is_full():
                yield from self._bursts(self._sender.flush())

    def _group_is_full(self) -> bool:
        """Whether the frames that wait last as long as a group does; at what rate they come is not known before."""
        if not self._grouped:
            return False
        lasts = self._grouped[-1].seconds - self._grouped[0].seconds + self._interval
        return lasts >= self.options.group_seconds - GROUP_SLACK

    def _bursts(self, bursts: Iterator[Burst]) -> Iterator[LiveBurst]:
        for burst in bursts:
            assert self._sender is not None
            done = len(self._grouped) - self._sender.waiting
            frames = tuple(self._grouped.popleft() for _ in range(done))
            self.counts.sent += len(frames)
            yield LiveBurst(burst, frames)

    def _begun(self, identity: Identity) -> LiveSender:
        compact = self.options.profile == "compact"
        header = StreamHeader(
            rate=self.options.rate,
            width=self.pack.card.resolution,
            height=self.pack.card.resolution,
            profile=Profile.COMPACT if compact else Profile.RAW,
            pack_name=self.pack.name,
            pack_digest=self.pack.digest,
            indices=self.pack.indices,
            time_scale=DEFAULT_TIME_SCALE,
            live=True,
            quantiser=self._quantiser if compact else None,
        )
        delta = None if self._card is None else self._card.delta
        personal = {} if delta is None else {identity.digest: Personalization.carried(identity.digest, delta)}
        return LiveSender(header, identity, self._audio, group_frames=MAX_GROUP_FRAMES, personal=personal)
