"""Sending live: frames and audio to the chunks of a live stream, group by group. No I/O (SPEC 6 and 11).

    frames, audio ──► LiveSender ──► bursts of chunks ──► transport.Packetizer ──► datagrams

Header, audio configuration, identity and what a renderer needs are repeated for receivers that join later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...errors import OptionError
from .. import audio_timeline
from ..attached import background, personalizations
from ..audio import AudioChunk, AudioConfig
from ..background import Background
from ..chunks import pack_chunk
from ..delta import Personalization
from ..events import Attachment
from ..file import StreamFile
from ..header import StreamHeader
from ..identity import Identity
from ..layout import AUDIO_CLOCK, MAX_GROUP_FRAMES, ChunkFlag, ChunkType
from ..writer import StreamWriter
from .transport import MAX_BARE_BYTES

REPEAT_SECONDS = 2.0  # header, audio configuration and identity reference: a few hundred bytes
LATENT_SECONDS = 10.0  # the identity itself: 18 KB
ATTACHED_SECONDS = 60.0  # personalised generator and background: 0.1 to 1 MB
_NEVER = Fraction(1 << 62)
_FRAMING = 9  # at most so many bytes of a bare chunk surround its payload


@dataclass(frozen=True)
class Burst:
    """Chunks to be sent at one moment. seconds: the stream time at which to send them, at the earliest."""

    seconds: Fraction
    chunks: tuple[bytes, ...]


class LiveSender:
    """Frames in one by one, chunks out, in groups of `group_frames`: N frames are N / rate seconds of delay.

    repeat: seconds of stream time after which header and audio configuration are sent again, for new receivers.
    latent_repeat: the same for the identity, 6 to 18 KB; None: it is sent once. refer: name the identity by its digest
    with every header, for receivers that know it. send_latent: whether to send the identity itself.
    personal: personalised generators by the digest of their identity; their names are sent with every header.
    background: what is behind the head. Generators and background are sent before the first group that needs them and
    again after attached_repeat seconds (None: once), unless they are too long (`fits`). send_delta: False only names
    the generators.
    Raises OptionError for options outside their range, and what StreamWriter raises.

        sender = LiveSender(header, identity, group_frames=1)
        for burst in sender.start(): ...
        for packet in camera:                        # 35 numbers
            for burst in sender.frame(packet): ...   # of burst.chunks
        for burst in sender.flush(): ...
    """

    def __init__(
        self,
        header: StreamHeader,
        identity: Identity,
        audio: AudioConfig | None = None,
        *,
        group_frames: int = 1,
        repeat: float = REPEAT_SECONDS,
        latent_repeat: float | None = LATENT_SECONDS,
        refer: bool = True,
        send_latent: bool = True,
        personal: Mapping[bytes, Personalization] | None = None,
        background: Background | None = None,
        attached_repeat: float | None = ATTACHED_SECONDS,
        send_delta: bool = True,
    ) -> None:
        if not 1 <= group_frames <= MAX_GROUP_FRAMES:
            raise OptionError(f"a group has 1 to {MAX_GROUP_FRAMES} frames, not {group_frames}")
        if not (refer or send_latent):
            raise OptionError("an identity is sent or referred to")
        if any(s is not None and not 0 < s < math.inf for s in (repeat, latent_repeat, attached_repeat)):
            raise OptionError("the time after which something is sent again is above 0 seconds, and finite")
        self._writer = StreamWriter(header, audio, live=True)
        self._identity = identity
        self._size = group_frames
        self._repeat = Fraction(repeat)
        self._latent_repeat = None if latent_repeat is None or not send_latent else Fraction(latent_repeat)
        self._refer, self._send_latent = refer, send_latent
        self._packets: list[npt.ArrayLike] = []
        self._pts: list[int] = []
        self._audio: list[bytes] = []
        self._next_repeat = self._next_latent = Fraction(0)
        self._personal, self._background = personal or {}, background
        self._attached_repeat = None if attached_repeat is None else Fraction(attached_repeat)
        self._send_delta = send_delta
        self._next_attached: dict[bytes, Fraction] = {}  # by digest of the delta, b"" of the background

    def start(self) -> Iterator[Burst]:
        """The chunks that come before the first frame."""
        self._writer.start()  # datagrams need no prologue, and `_introduction` writes the header
        yield Burst(Fraction(0), self._introduction(Fraction(0)))

    @property
    def waiting(self) -> int:
        """Frames that wait until their group is full."""
        return len(self._packets)

    def frame(self, packet: npt.ArrayLike, pts: int | None = None) -> Iterator[Burst]:
        """The next frame, [35], with its time in ticks where the rate is variable; the burst that it completes."""
        self._packets.append(packet)
        if pts is not None:
            self._pts.append(pts)
        if len(self._packets) == self._size:
            yield self._burst()

    def audio(self, chunk: AudioChunk) -> None:
        """Audio, to be sent with the next group."""
        self._audio.append(self._writer.audio(chunk))

    def change_identity(self, identity: Identity) -> Iterator[Burst]:
        """Another identity from the next frame on."""
        yield from self.flush()
        self._identity = identity
        self._next_repeat = self._next_latent = Fraction(0)

    def flush(self) -> Iterator[Burst]:
        """A burst of the frames that do not fill a group, if there are any."""
        if self._packets or self._audio:
            yield self._burst()

    def _burst(self) -> Burst:
        rate, scale = self._writer.header.rate, self._writer.header.time_scale
        pts = self._pts or None
        chunks: list[bytes] = []
        end = Fraction(self._writer.frame_count + len(self._packets)) / rate
        if pts:
            end = Fraction(pts[-1], scale) + 1 / rate
        if end >= self._next_repeat:
            chunks += self._introduction(end)
        chunks += self._audio
        if self._packets:
            chunks.append(self._writer.group(np.array(self._packets), pts))
        self._packets, self._pts, self._audio = [], [], []
        return Burst(end, tuple(chunks))

    def _introduction(self, now: Fraction) -> tuple[bytes, ...]:
        """Header, audio configuration, identity, generator and background; the long ones only when they are due."""
        header, config = self._writer.header, self._writer.audio_config
        chunks = [pack_chunk(ChunkType.HEADER, bytes(header), ChunkFlag.MANDATORY)]
        if config is not None:
            chunks.append(pack_chunk(ChunkType.AUDIO_CONFIG, bytes(config)))
        if self._refer:
            chunks.append(self._writer.reference(self._identity, mandatory=not self._send_latent))
        if self._send_latent and now >= self._next_latent:
            chunks.append(self._writer.identity(self._identity))
            self._next_latent = _NEVER if self._latent_repeat is None else now + self._latent_repeat
        elif not self._refer:
            self._writer.use_identity(self._identity)
        chunks += self._attached(now)
        self._next_repeat = now + self._repeat
        return tuple(chunks)

    def _attached(self, now: Fraction) -> Iterator[bytes]:
        """The personalised generator or its name, and the background when it is due."""
        one = self._personal.get(self._identity.digest)
        if one is not None:
            carried = self._send_delta and fits(one) and self._due(one.digest, now)
            yield pack_chunk(ChunkType.GENERATOR_DELTA, bytes(one if carried else one.named))
        if self._background is not None and fits(self._background) and self._due(b"", now):
            yield pack_chunk(ChunkType.BACKGROUND, bytes(self._background))

    def _due(self, what: bytes, now: Fraction) -> bool:
        """Whether to send a generator or the background now; if so, its next time is set."""
        if now < self._next_attached.get(what, now):
            return False
        self._next_attached[what] = _NEVER if self._attached_repeat is None else now + self._attached_repeat
        return True


def fits(attachment: Attachment) -> bool:
    """Whether it is short enough for a live stream."""
    return len(bytes(attachment)) + _FRAMING <= MAX_BARE_BYTES


def needs(stream: StreamFile, send_delta: bool = True) -> list[str]:
    """What receivers of a stream must know already, or do without, one plain sentence each."""
    sentences = [
        f"the personalised generator {one.digest.hex()[:16]} is only named: receivers need the person's identity card "
        "(stylecodec identity import)"
        for one in personalizations(stream).values()
        if one.delta is None or not send_delta or not fits(one)
    ]
    behind = background(stream)
    if behind is not None and not fits(behind):
        sentences.append("the background is too large for a live stream and is left out")
    return sentences


def bursts(stream: StreamFile, group_frames: int = 1, **options: object) -> Iterator[Burst]:
    """A recorded stream as a live one. options: the keyword arguments of LiveSender.

    Raises FormatError where the stream is damaged or names an identity that is not known.
    """
    header = replace(stream.header, live=True)
    identity = stream.identity_for(0)
    given = {"personal": personalizations(stream), "background": background(stream)} | options
    sender = LiveSender(header, identity, stream.audio_config, group_frames=group_frames, **given)  # type: ignore[arg-type]
    yield from sender.start()
    packets = audio_timeline.timed_packets(stream.audio_chunks())
    waiting = next(packets, None)
    for group in stream.groups():
        wanted = stream.identity_for(group.first_frame)
        if wanted.digest != identity.digest:
            yield from sender.change_identity(wanted)
            identity = wanted
        for row in range(len(group)):
            pts = None if group.pts is None else int(group.pts[row])
            frame = group.first_frame + row
            end = (frame + 1) / header.rate if pts is None else Fraction(pts, header.time_scale) + 1 / header.rate
            if sender.waiting + 1 == group_frames:
                ready = []
                while waiting is not None and waiting.end <= end * AUDIO_CLOCK:
                    ready.append(waiting)
                    waiting = next(packets, None)
                for chunk in audio_timeline.in_chunks(ready):
                    sender.audio(chunk)
            yield from sender.frame(group.packets[row], pts)
    rest = ([] if waiting is None else [waiting]) + list(packets)
    for chunk in audio_timeline.in_chunks(rest):
        sender.audio(chunk)
    yield from sender.flush()
