"""Live streams: groups of N frames with no index, joined at any time, played on through loss. No I/O (SPEC 6 and 11).

    LiveSender    frames and sound ──► chunks, group by group; header, identity and the like again and again
    LiveReceiver  datagrams ──► bytes of chunks in order, as a StreamReader or a live Decoder takes them
    Playout       groups ──► one frame per tick: the one due, or the one before it held
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, OptionError
from .. import audio_timeline as sound
from ..attached import background, personalizations
from ..audio import AudioChunk, AudioConfig
from ..background import Background
from ..chunks import Prologue, pack_chunk
from ..delta import Personalization
from ..file import StreamFile
from ..groups import FrameGroup
from ..header import StreamHeader
from ..identity import Identity
from ..layout import AUDIO_CLOCK, MAX_GROUP_FRAMES, ChunkFlag, ChunkType
from ..writer import StreamWriter
from .transport import MAX_BARE_BYTES, Depacketizer, JitterBuffer, RtpPacket, goodbye_from

REPEAT_SECONDS = 2.0  # header, audio configuration and identity reference: a few hundred bytes
LATENT_SECONDS = 10.0  # the identity itself: 18 KB
ATTACHED_SECONDS = 60.0  # a personalised generator, the background: 0.1 to 1 MB
_NEVER = Fraction(1 << 62)
_FRAMING = 9  # most bytes of a bare chunk around its payload


@dataclass(frozen=True)
class Burst:
    """What is sent at one moment. seconds: of stream time, at the earliest."""

    seconds: Fraction
    chunks: tuple[bytes, ...]


class IdentityCache:
    """Identities by digest, the latest few, so that a stream can name one instead of sending it."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._held: OrderedDict[bytes, Identity] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, identity: Identity) -> None:
        """Keep an identity; the one unused for longest goes where there are too many."""
        self._held[identity.digest] = identity
        self._held.move_to_end(identity.digest)
        while len(self._held) > self._limit:
            self._held.popitem(last=False)

    def recall(self, digest: bytes) -> Identity | None:
        """The identity of that SHA-256, as StreamReader and StreamFile ask for it."""
        if digest in self._held:
            self._held.move_to_end(digest)
        return self._held.get(digest)


class LiveSender:
    """Frames one by one in, chunks out, in groups of `group_frames`: N frames are N / rate seconds of delay.

    repeat: seconds of stream time after which header and audio configuration are sent again, for those who join.
    latent_repeat: the same for the identity, 18 KB; None: never again. refer: name the identity by its digest with
    every header, for receivers that hold it. send_latent: False relies on that.
    personal: personalised generators by the digest of their identity, named with every header. scene: what is behind
    the head. Both are sent before the first group that needs them and again after attached_repeat seconds (None:
    never), unless they are too long (`fits`). send_delta: False only names generators.

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
        scene: Background | None = None,
        attached_repeat: float | None = ATTACHED_SECONDS,
        send_delta: bool = True,
    ) -> None:
        if not 1 <= group_frames <= MAX_GROUP_FRAMES:
            raise OptionError(f"a group has 1 to {MAX_GROUP_FRAMES} frames, not {group_frames}")
        if not (refer or send_latent):
            raise OptionError("an identity is sent or referred to")
        if any(seconds is not None and seconds <= 0 for seconds in (repeat, latent_repeat, attached_repeat)):
            raise OptionError("what is repeated is repeated after more than 0 seconds")
        self._writer = StreamWriter(header, audio, live=True)
        self._identity = identity
        self._size = group_frames
        self._repeat = Fraction(repeat)
        self._latent_repeat = None if latent_repeat is None or not send_latent else Fraction(latent_repeat)
        self._refer, self._send_latent = refer, send_latent
        self._packets: list[npt.ArrayLike] = []
        self._pts: list[int] = []
        self._sound: list[bytes] = []
        self._next_repeat = self._next_latent = Fraction(0)
        self._personal, self._scene = personal or {}, scene
        self._attached_repeat = None if attached_repeat is None else Fraction(attached_repeat)
        self._send_delta = send_delta
        self._next_attached: dict[bytes, Fraction] = {}  # by digest of the delta, b"" of the background

    def start(self) -> Iterator[Burst]:
        """What comes before the first frame."""
        self._writer.start()  # its prologue is for byte streams; datagrams need none
        yield Burst(Fraction(0), self._introduction(Fraction(0)))

    @property
    def waiting(self) -> int:
        """Frames that are held back until their group is full."""
        return len(self._packets)

    def frame(self, packet: npt.ArrayLike, pts: int | None = None) -> Iterator[Burst]:
        """The next frame, 35 numbers, with its time in ticks where the rate is variable."""
        self._packets.append(packet)
        if pts is not None:
            self._pts.append(pts)
        if len(self._packets) == self._size:
            yield self._burst()

    def audio(self, chunk: AudioChunk) -> None:
        """Sound, to be sent with the next group."""
        self._sound.append(self._writer.audio(chunk))

    def change_identity(self, identity: Identity) -> Iterator[Burst]:
        """Another identity from the next frame on."""
        yield from self.flush()
        self._identity = identity
        self._next_repeat = self._next_latent = Fraction(0)

    def flush(self) -> Iterator[Burst]:
        """The frames that do not fill a group."""
        if self._packets or self._sound:
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
        chunks += self._sound
        if self._packets:
            chunks.append(self._writer.group(np.array(self._packets), pts))
        self._packets, self._pts, self._sound = [], [], []
        return Burst(end, tuple(chunks))

    def _introduction(self, now: Fraction) -> tuple[bytes, ...]:
        """Header, audio configuration, identity and what is attached, each long one only when its time has come."""
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
        """The personalised generator or its name, and the background when its time has come."""
        one = self._personal.get(self._identity.digest)
        if one is not None:
            carried = self._send_delta and fits(one) and self._is_time(one.digest, now)
            yield pack_chunk(ChunkType.GENERATOR_DELTA, bytes(one if carried else one.named))
        if self._scene is not None and fits(self._scene) and self._is_time(b"", now):
            yield pack_chunk(ChunkType.BACKGROUND, bytes(self._scene))

    def _is_time(self, what: bytes, now: Fraction) -> bool:
        """Whether to send something attached; then its next time is set."""
        if now < self._next_attached.get(what, now):
            return False
        self._next_attached[what] = _NEVER if self._attached_repeat is None else now + self._attached_repeat
        return True


def fits(attached: Personalization | Background) -> bool:
    """Whether a datagram stream can carry a chunk of it."""
    return len(bytes(attached)) + _FRAMING <= MAX_BARE_BYTES


def needs(stream: StreamFile, send_delta: bool = True) -> list[str]:
    """What receivers of a stream must know already or go without, one plain sentence each."""
    sentences = [
        f"the personalised generator {one.digest.hex()[:16]} is only named: receivers need the person's identity card "
        "(stylecodec identity import)"
        for one in personalizations(stream).values()
        if one.delta is None or not send_delta or not fits(one)
    ]
    scene = background(stream)
    if scene is not None and not fits(scene):
        sentences.append("the background is too large for a live stream and is left out")
    return sentences


def bursts(stream: StreamFile, group_frames: int = 1, **options: object) -> Iterator[Burst]:
    """A recorded stream as a live one. options: those of LiveSender."""
    header = replace(stream.header, live=True)
    identity = stream.identity_for(0)
    given = {"personal": personalizations(stream), "scene": background(stream)} | options
    sender = LiveSender(header, identity, stream.audio_config, group_frames=group_frames, **given)  # type: ignore[arg-type]
    yield from sender.start()
    packets = sound.timed_packets(stream.audio_chunks())
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
                for chunk in sound.in_chunks(ready):
                    sender.audio(chunk)
            yield from sender.frame(group.packets[row], pts)
    rest = ([] if waiting is None else [waiting]) + list(packets)
    for chunk in sound.in_chunks(rest):
        sender.audio(chunk)
    yield from sender.flush()


class LiveReceiver:
    """Datagrams in, in any order; bytes out that a tolerant StreamReader or a live Decoder takes.

    Nothing a network brings raises an error: what is no packet of the stream is counted and ignored. delay: seconds
    to wait for a missing packet.
    """

    def __init__(self, delay: float = 0.1) -> None:
        self.jitter = JitterBuffer(delay)
        self.ended = False  # the sender said goodbye
        self.unknown = 0  # datagrams that are no RTP packets
        self._depacketizer = Depacketizer()
        self._begun = False

    @property
    def dropped(self) -> int:
        """Payloads and unfinished chunks that made no sense."""
        return self._depacketizer.dropped

    @property
    def deadline(self) -> float | None:
        """When `poll` is to be called if no datagram comes first."""
        return self.jitter.deadline

    def datagram(self, data: bytes, now: float) -> bytes:
        """A datagram arrived at `now`; the bytes that are ready by it."""
        source = goodbye_from(data)
        if source is not None:
            if self.jitter.ssrc in (None, source):
                self.ended = True
            return self.poll(now)
        try:
            packet = RtpPacket.parse(data)
        except FormatError:
            self.unknown += 1
            return b""
        self.jitter.push(packet, now)
        return self.poll(now)

    def poll(self, now: float) -> bytes:
        """The bytes that are ready by `now`."""
        return self._bytes(self.jitter.pop(now))

    def flush(self) -> bytes:
        """Nothing more will come."""
        return self._bytes(self.jitter.flush())

    def _bytes(self, packets: list[RtpPacket]) -> bytes:
        data = b"".join(self._depacketizer.feed(packet.payload) for packet in packets)
        if data and not self._begun:
            self._begun = True
            data = bytes(Prologue()) + data
        return data


@dataclass(frozen=True)
class Shown:
    """The frame on screen at a tick. number: the frame that is due; held: an earlier one stands in for it."""

    number: int
    packet: npt.NDArray[np.floating]  # [35]
    identity: int  # slot
    held: bool


class Playout:
    """Groups in as they arrive, one frame per tick out, whatever was lost: a missing frame holds the one before it.

    The first group that arrives sets the clock: its first frame is due `delay` seconds later, every other in step.
    delay: what the network's delay may vary by, besides the group's own N frames.
    """

    def __init__(self, header: StreamHeader, delay: float = 0.1) -> None:
        self._rate, self._scale = header.rate, header.time_scale
        self._delay = delay
        self._origin: float | None = None  # the caller's time at which stream time 0 is due
        self._frames: OrderedDict[int, tuple[Fraction, npt.NDArray[np.floating], int]] = OrderedDict()
        self._shown: Shown | None = None
        self.late = 0  # frames that came after their time

    def push(self, group: FrameGroup, now: float) -> None:
        """A group arrived at `now`; groups come in order, as a StreamReader gives them."""
        for row in range(len(group)):
            number = group.first_frame + row
            time = number / self._rate if group.pts is None else Fraction(int(group.pts[row]), self._scale)
            if self._origin is None:
                self._origin = now + self._delay - float(time)
            if self._shown is not None and number <= self._shown.number and group.pts is None:
                self.late += 1
                continue
            self._frames[number] = time, group.packets[row], group.identity
        while len(self._frames) > 4 * MAX_GROUP_FRAMES:
            self._frames.popitem(last=False)

    def frame(self, now: float) -> Shown | None:
        """The frame due at `now`; None before the first."""
        if self._origin is None:
            return None
        elapsed = now - self._origin + 1e-6
        latest = self._shown
        while self._frames:
            number, (time, packet, slot) = next(iter(self._frames.items()))
            if float(time) > elapsed:
                break
            del self._frames[number]
            latest = Shown(number, packet, slot, held=False)
        if latest is None:
            return None
        due = latest.number if self._scale else int(elapsed * float(self._rate))  # with times nobody can know
        if due > latest.number:
            latest = replace(latest, number=due, held=True)
        self._shown = latest
        return latest
