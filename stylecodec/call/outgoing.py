"""The sending side: the newest frame to the encoder, its bursts to the network, and what became of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from ..bitstream.live import Burst
from ..encoding.live.encoder import LiveBurst, LiveEncoder
from ..errors import MediaError
from .feed import Captured, Clock, Mailbox, Say
from .pace import FrameSkip
from .sound import SoundCoder
from .timings import Timings

ABSENT_SECONDS = 1.0  # without a face before that is said
REMEMBERED = 64  # frames whose times of arrival are kept until they are sent


class Sending:
    """Takes frames from a mailbox until it ends; `step` is one frame.

    wire: sends a burst now; MediaError where the network does not take it, which is counted and no end. Stages in the
    timings: "wait" for the encoder, "align", "analyse", "correct", "encode" in all, "group" from there until sent, and
    "sent", from the arrival of a frame until then.
    """

    def __init__(
        self,
        encoder: LiveEncoder,
        pictures: Mailbox,
        wire: Callable[[Burst], object],
        *,
        sound: SoundCoder | None = None,
        pace: FrameSkip | None = None,
        timings: Timings | None = None,
        sent: Callable[[float, float], object] = lambda seconds, arrived: None,
        say: Say = lambda sentence: None,
        clock: Clock = time.monotonic,
    ) -> None:
        """sent: is told the stream time of each frame that has been sent, and when it came from its source."""
        self.encoder, self.unsent = encoder, 0
        self.timings = timings or Timings()
        self._pictures, self._wire, self._sound, self._pace = pictures, wire, sound, pace
        self._say, self._clock, self._sent = say, clock, sent
        self._arrived: OrderedDict[float, tuple[float, float]] = OrderedDict()  # seconds: arrival, end of encoding
        self._seen: float | None = None  # seconds of the last frame with a face
        self._absent = False
        self._offline = self._failed = False
        self._identities = 0

    def run(self) -> None:
        """Until the source ends; the rest is sent then."""
        while not self._pictures.ended:
            self.step()
        self.close()

    def step(self, timeout: float = 0.2) -> bool:
        """Encode the newest frame; False when none came within `timeout` seconds."""
        captured = self._pictures.take(timeout)
        if captured is None:
            return False
        begun = self._clock()
        self.timings.add("wait", begun - captured.arrived)
        if self._sound is not None:
            chunk = self._sound.chunk(self.encoder.origin)
            if chunk is not None:
                self.encoder.sound(chunk)
        self._arrived[captured.seconds] = captured.arrived, begun
        while len(self._arrived) > REMEMBERED:
            self._arrived.popitem(last=False)
        for one in self.encoder.frame(captured.seconds, captured.frame):
            self._send(one)
        took = self._clock() - begun
        self.timings.add("encode", took)
        if self._pace is not None:
            self._pace.took(took)
        self._tell(captured)
        return True

    def close(self) -> None:
        """Send what is left."""
        for one in self.encoder.close():
            self._send(one)

    def _send(self, one: LiveBurst) -> None:
        try:
            self._wire(one.burst)
        except MediaError as error:
            self.unsent += 1
            if not self._offline:
                self._say(f"{error}; it is tried again with every frame")
            self._offline = True
            return
        if self._offline:
            self._say("the network takes it again")
        self._offline = False
        now = self._clock()
        for frame in one.frames:
            arrived, begun = self._arrived.pop(frame.seconds, (now, now))
            self.timings.add("group", now - begun)
            self.timings.add("sent", now - arrived)
            self._sent(frame.seconds - (self.encoder.origin or 0.0), arrived)

    def _tell(self, captured: Captured) -> None:
        counts = self.encoder.counts
        if counts.identities > self._identities:
            self._identities = counts.identities
            if counts.fitted:
                self._say("the fitted identity is sent from now on")
            elif self.encoder.guessed:
                self._say("a first guess of the identity is sent")
        if self.encoder.failure is not None and not self._failed:
            self._failed = True
            self._say(f"the identity could not be fitted, the first guess stays: {self.encoder.failure}")
        self._seen = captured.seconds if self.encoder.face or self._seen is None else self._seen
        absent = captured.seconds - self._seen >= ABSENT_SECONDS
        if absent and not self._absent:
            self._say("no face is seen: the last pose is held" if counts.sightings else "no face is seen so far")
        elif self._absent and not absent:
            self._say("a face is seen again")
        self._absent = absent
