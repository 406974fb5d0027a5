"""The receiving side: datagrams of one peer after another, to the picture that is due. No I/O, no clock.

A peer that starts again has another SSRC. It is followed when the stream before has said goodbye or has been silent for
a second; until then the datagrams of anybody else are counted and left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bitstream.identities import Recall
from ..bitstream.live import LiveReceiver, Playout
from ..bitstream.live.transport import RtpPacket, goodbye_from
from ..decoding.live import LiveDecoder
from ..decoding.options import DecodeOptions
from ..decoding.packets import Frame
from ..errors import FormatError, StylecodecError
from ..packs.store import ModelPack
from .feed import Say
from .options import PlayoutOptions

SILENT_SECONDS = 1.0  # after which another peer may take the place of this one


@dataclass(frozen=True)
class Due:
    """A frame to be shown now. seconds: its stream time. session: which peer's, 1 and up."""

    session: int
    seconds: float
    packet: NDArray[np.floating]  # [35]
    slot: int


@dataclass
class Received:
    """What came so far, of all peers."""

    datagrams: int = 0
    lost: int = 0  # datagrams that never came
    late: int = 0
    foreign: int = 0  # of others than the peer, or no RTP at all
    frames: int = 0  # whose packets came
    shown: int = 0
    passed: int = 0  # not shown, because a newer one was due
    sessions: int = 0
    wire_bytes: int = 0


class _Session:
    """One peer from its first datagram to its last."""

    def __init__(self, ssrc: int, decoder: LiveDecoder, delay: float, jitter: float) -> None:
        self.ssrc, self.heard, self.decoder = ssrc, 0.0, decoder
        self.receiver = LiveReceiver(jitter)
        self.playout: Playout | None = None
        self.delay = delay
        self.shown = -1  # number of the last frame shown
        self.times: dict[int, float] = {}  # stream seconds of frames that wait
        self.failed = False

    def take(self, data: bytes, now: float) -> int:
        """Bytes of the stream; how many frames they complete."""
        count = 0
        for group in self.decoder.groups(data):
            header = self.decoder.header
            if header is None:
                continue
            if self.playout is None:
                self.playout = Playout(header, self.delay)
            self.playout.push(group, now)
            count += len(group)
            for row in range(len(group)):
                number = group.first_frame + row
                ticks = None if group.pts is None else int(group.pts[row])
                self.times[number] = float(number / header.rate) if ticks is None else ticks / header.time_scale
        while len(self.times) > 4096:
            del self.times[next(iter(self.times))]
        return count


class Incoming:
    """Plays whoever calls: `datagram` and `poll` as time goes, then `due`, and `picture` of what is due.

    delay: seconds of playout, by which arrivals may differ. jitter: seconds that a missing datagram is waited for.
    stored: is given (session, bytes of the stream in order). recall: as of `Decoder.live`. ready: as of LiveDecoder.
    """

    def __init__(
        self,
        options: DecodeOptions | None = None,
        *,
        delay: float = PlayoutOptions.delay,
        jitter: float = PlayoutOptions.jitter,
        recall: Recall | None = None,
        ready: ModelPack | None = None,
        stored: Callable[[int, bytes], object] | None = None,
        say: Say = lambda sentence: None,
    ) -> None:
        self.counts = Received()
        self._options, self._recall, self._ready = options or DecodeOptions(), recall, ready
        self._delay, self._jitter = delay, jitter
        self._stored, self._say = stored, say
        self._session: _Session | None = None
        self._settled = Received()  # of the sessions before

    @property
    def ended(self) -> bool:
        """Whether the peer has said goodbye, and all that came has been due."""
        if self._session is None or not self._session.receiver.ended:
            return False
        return self._session.playout is None or not self._session.playout.waiting

    def deadline(self) -> float | None:
        """When to `poll` if nothing comes before; None if nothing is waited for."""
        return None if self._session is None else self._session.receiver.deadline

    def datagram(self, data: bytes, now: float) -> None:
        """A datagram that arrived at `now`, in seconds of any steady clock."""
        ssrc = _source(data)
        if ssrc is None or not self._followed(ssrc, data, now):
            self.counts.foreign += 1
            return
        session = self._session
        assert session is not None
        session.heard = now
        self.counts.wire_bytes += len(data)
        was = session.receiver.ended
        self._take(session, session.receiver.datagram(data, now), now)
        if session.receiver.ended and not was:
            self._say("the peer has hung up")

    def poll(self, now: float) -> None:
        """Time has gone on."""
        if self._session is not None:
            self._take(self._session, self._session.receiver.poll(now), now)

    def due(self, now: float) -> Due | None:
        """The frame to show now, once; None while there is no newer one."""
        session = self._session
        if session is None or session.playout is None:
            return None
        frame = session.playout.frame(now)
        if frame is None or frame.held or frame.number <= session.shown:
            return None
        if session.shown >= 0:
            self.counts.passed += frame.number - session.shown - 1
        session.shown = frame.number
        seconds = 0.0
        for number in [number for number in session.times if number <= frame.number]:
            seconds = session.times.pop(number)
        return Due(self.counts.sessions, seconds, frame.packet, frame.identity)

    def picture(self, due: Due) -> Frame | None:
        """The frame [H, W, 3]; None where its identity has not come, or cannot be had, which is said once."""
        session = self._session
        if session is None or session.failed or due.session != self.counts.sessions:
            return None
        try:
            picture = session.decoder.picture(due.packet, due.slot)
        except StylecodecError as error:
            session.failed = True
            self._say(f"the peer cannot be shown: {error}")
            return None
        self.counts.shown += picture is not None
        return picture

    def _followed(self, ssrc: int, data: bytes, now: float) -> bool:
        """Whether the datagram is of the peer, or of one who takes its place."""
        session = self._session
        if session is not None and ssrc == session.ssrc:
            return True
        busy = session is not None and not session.receiver.ended and now - session.heard < SILENT_SECONDS
        if busy or goodbye_from(data) is not None:
            return False
        if session is not None:
            self._say("the peer has started again" if not session.receiver.ended else "another call comes in")
            self._settled.lost += session.receiver.jitter.lost
            self._settled.late += session.receiver.jitter.late
            self._settled.datagrams += session.receiver.jitter.received
        decoder = LiveDecoder(self._options, self._recall, self._ready)
        self._session = _Session(ssrc, decoder, self._delay, self._jitter)
        self.counts.sessions += 1
        return True

    def _take(self, session: _Session, data: bytes, now: float) -> None:
        jitter, before = session.receiver.jitter, self._settled
        self.counts.datagrams = before.datagrams + jitter.received
        self.counts.lost, self.counts.late = before.lost + jitter.lost, before.late + jitter.late
        if not data or session.failed:
            return
        if self._stored is not None:
            self._stored(self.counts.sessions, data)
        try:
            self.counts.frames += session.take(data, now)
        except StylecodecError as error:
            session.failed = True
            self._say(f"the peer cannot be shown: {error}")


def _source(data: bytes) -> int | None:
    """The SSRC of a datagram, None where it is no RTP."""
    said = goodbye_from(data)
    if said is not None:
        return said
    try:
        return RtpPacket.parse(data).ssrc
    except FormatError:
        return None
