"""The threads of a call, and what is told of it: once a second, and at the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from ..bitstream.live.udp import Outgoing
from ..errors import MediaError
from ..media.shape import Frame
from .feed import Clock, Feed, Mailbox
from .incoming import Incoming
from .pace import FrameSkip
from .show import Show
from .stored import StoredStream
from .timings import Timings

if TYPE_CHECKING:
    from .outgoing import Sending

TICK = 0.005  # seconds that the receiving side sleeps at most, beyond which a frame would be shown late
_LONGEST_DATAGRAM = 65_535
_AT_ONCE = 256  # datagrams taken before a picture is looked after

Facts = dict[str, Any]


class SendingSide:
    """Source, encoder and network of one direction; runs in threads of its own.

    feeds: of pictures, and of a microphone. background: where identities are fitted, closed at the end.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        pictures: Mailbox,
        sending: Sending,
        outgoing: Outgoing,
        pace: FrameSkip,
        background: Executor,
    ) -> None:
        self.feeds, self.pictures, self.sending, self.outgoing = tuple(feeds), pictures, sending, outgoing
        self.pace, self.background = pace, background
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=feed.run, daemon=True) for feed in self.feeds]
        self._encoder = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        for thread in (*self._threads, self._encoder):
            thread.start()

    @property
    def ended(self) -> bool:
        """Whether all is sent, or something has failed."""
        return not self._encoder.is_alive()

    def close(self) -> None:
        """End, with a goodbye when the last frame is sent; raises what has failed meanwhile."""
        self.pictures.close()
        if self._encoder.ident is not None:
            self._encoder.join(10.0)
        self.background.shutdown(wait=True, cancel_futures=True)
        failure = self._failure or self.feeds[0].failure
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            with self.outgoing:
                self.sending.run()
        except BaseException as error:
            self._failure = error

    def facts(self) -> Facts:
        """What became of the frames so far."""
        counts, feed, sent = self.sending.encoder.counts, self.feeds[0], self.outgoing.sent
        return {
            "frames": feed.frames,
            "sent": counts.sent,
            "skipped": feed.skipped,
            "late": self.pictures.missed,
            "held": counts.held,
            "every": self.pace.every,
            "reopened": feed.reopened,
            "datagrams": sent.datagrams,
            "wire_bytes": sent.wire_bytes,
            "unsent": self.sending.unsent,
            "identities": counts.identities,
            "fitted": counts.fitted,
        }


class ReceivingSide:
    """Socket, decoder and pictures of the other direction; `turn` is run again and again in one thread."""

    def __init__(
        self,
        server: socket.socket,
        incoming: Incoming,
        shows: Sequence[Show],
        timings: Timings | None = None,
        shown: Callable[[float, float], object] = lambda seconds, now: None,
        kept: Sequence[StoredStream] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        """shown: is told the stream time of each picture and when it was handed on. kept: closed at the end."""
        self.server, self.incoming, self.shows, self.kept = server, incoming, tuple(shows), tuple(kept)
        self.timings = timings or Timings()
        self._shown, self._clock = shown, clock
        server.settimeout(TICK)

    def turn(self, longest: float = TICK) -> None:
        """Take the datagrams that have come, waiting a moment for one, and show the picture that is due."""
        self.server.settimeout(max(longest, 1e-4))
        for _ in range(_AT_ONCE):
            try:
                data = self.server.recv(_LONGEST_DATAGRAM)
            except (TimeoutError, BlockingIOError):
                break
            except OSError as error:
                raise MediaError(f"receiving failed: {error.strerror or error}") from error
            self.incoming.datagram(data, self._clock())
            self.server.settimeout(0.0)
        now = self._clock()
        self.incoming.poll(now)
        due = self.incoming.due(now)
        if due is None or not self.shows:
            return
        picture = self.incoming.picture(due)
        if picture is None:
            return
        done = self._clock()
        self.timings.add("render", done - now)
        for show in self.shows:
            show.show(cast(Frame, picture), due.seconds)
        after = self._clock()
        self.timings.add("show", after - done)
        self._shown(due.seconds, after)

    def facts(self) -> Facts:
        """What came so far."""
        return dict(vars(self.incoming.counts))

    def close(self) -> None:
        """Whole files take their names."""
        with ExitStack() as stack:
            stack.callback(self.server.close)
            for show in self.shows:
                stack.callback(show.close)
            for stored in self.kept:
                stack.callback(stored.close)


class Call:
    """One direction or both, until `stop` is set, the time is up, or all has been sent and nobody is listened to.

    told: is given the facts of each second. once: end when the peer hangs up, too.
    """

    def __init__(
        self,
        sending: SendingSide | None,
        receiving: ReceivingSide | None,
        *,
        told: Callable[[Facts], object] = lambda facts: None,
        duration: float | None = None,
        once: bool = False,
        stop: threading.Event | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.sending, self.receiving, self.stop = sending, receiving, stop or threading.Event()
        self._told, self._duration, self._once, self._clock = told, duration, once, clock
        self._begun = self._last = clock()
        self._before: tuple[Facts, Facts] = ({}, {})

    def run(self) -> Facts:
        """The whole call; Ctrl-C is its usual end. The facts of all of it."""
        self._begun = self._last = self._clock()
        try:
            if self.sending is not None:
                self.sending.start()
            while not self._over():
                if self.receiving is not None:
                    self.receiving.turn()
                else:
                    self.stop.wait(0.05)
                if self._clock() - self._last >= 1.0:
                    self._told(self._second())
        except KeyboardInterrupt:
            pass
        finally:
            self.stop.set()
            self._close()
        return self.summary()

    def _over(self) -> bool:
        if self.stop.is_set() or (self._duration is not None and self._clock() - self._begun >= self._duration):
            return True
        sent = self.sending is None or self.sending.ended
        if self.receiving is None:
            return sent
        return self._once and sent and self.receiving.incoming.ended

    def _close(self) -> None:
        with ExitStack() as stack:
            for side in (self.receiving, self.sending):
                if side is not None:
                    stack.callback(side.close)

    def _second(self) -> Facts:
        """What changed since the last time, per second, and latencies of the last frames."""
        now = self._clock()
        seconds, self._last = max(now - self._last, 1e-6), now
        facts: Facts = {"seconds": round(now - self._begun, 1)}
        sides = (("out", self.sending, "sent"), ("in", self.receiving, "shown"))
        before = list(self._before)
        for number, (name, side, frames) in enumerate(sides):
            if side is None:
                continue
            whole, last = side.facts(), before[number]
            before[number] = whole
            per_second = {"fps": (whole[frames] - last.get(frames, 0)) / seconds}
            per_second["kbps"] = (whole["wire_bytes"] - last.get("wire_bytes", 0)) * 8 / 1000 / seconds
            facts[name] = whole | {key: round(value, 1) for key, value in per_second.items()}
        self._before = before[0], before[1]
        self._add_timings(facts)
        return facts

    def _add_timings(self, facts: Facts) -> None:
        if self.sending is not None:
            facts["out"]["ms"] = self.sending.sending.timings.table()
        if self.receiving is not None:
            facts["in"]["ms"] = self.receiving.timings.table()

    def summary(self) -> Facts:
        """All of it: frames, latencies, kbit/s over the whole time."""
        seconds = max(self._clock() - self._begun, 1e-6)
        facts: Facts = {"seconds": round(seconds, 1)}
        for name, side in (("out", self.sending), ("in", self.receiving)):
            if side is not None:
                whole = side.facts()
                facts[name] = whole | {"kbps": round(whole["wire_bytes"] * 8 / 1000 / seconds, 1)}
        self._add_timings(facts)
        return facts
