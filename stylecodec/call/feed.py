"""From a source to the encoder: real time, the newest frame alone, and sources that fail and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import MediaError
from ..media.capture import Item, Sound
from ..media.shape import Frame

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds before a source that failed is opened again, doubled each time
STEADY = 10.0  # seconds that a source must have run for the waits to begin anew

SOUND_RATE = 48_000  # samples per second, as capture gives them

Clock = Callable[[], float]
Say = Callable[[str], None]
"""Is told what a user should know, as sentences."""


@dataclass(frozen=True)
class Captured:
    """A frame that waits for the encoder. seconds: its time in the source. arrived: by our clock."""

    seconds: float
    frame: Frame
    arrived: float


class Mailbox:
    """Holds the newest frame: a slow taker misses frames, and never gets an old one."""

    def __init__(self) -> None:
        self.missed = 0  # frames that another one replaced
        self._held: Captured | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, frame: Captured) -> None:
        """A newer frame."""
        with self._changed:
            self.missed += self._held is not None
            self._held = frame
            self._changed.notify()

    def take(self, timeout: float) -> Captured | None:
        """The newest frame, once; None when none comes within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._closed, timeout)
            held, self._held = self._held, None
            return held

    def close(self) -> None:
        """No more frames will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether all frames have been taken, and no more will come."""
        return self._closed and self._held is None


class Pace(Protocol):
    """Says which frames are to be encoded: pace.FrameSkip."""

    def wanted(self, seconds: float) -> bool:
        """Whether the next frame, at this time of the source, is one of them."""
        ...


@dataclass(frozen=True)
class SourceKind:
    """How a source is treated. what: in sentences. ahead: seconds that items may come before their time, 0 for a file
    that is played in real time, None: they are taken when they come. stamped: by our clock, not by the source's. again:
    opened again when it fails or ends. loops: again from the beginning, its time going on."""

    what: str
    ahead: float | None = None
    stamped: bool = False
    again: bool = False
    loops: bool = False


FILE, LOOP = SourceKind("file", ahead=0.0), SourceKind("file", ahead=0.0, loops=True)
# What a camera gives through a pipe is never ahead of time, but for the drift of its clock; a file is.
PIPED = SourceKind("pipe", ahead=1.0)
CAMERA = SourceKind("camera", stamped=True, again=True)
MICROPHONE = SourceKind("microphone", stamped=True, again=True)


class Feed:
    """Runs a source into a mailbox, and its sound to `heard`, until it ends or `stop` is set.

    opened: opens the source anew. A camera that has run and fails is opened again and again, ever more seldom; a file
    that fails, and a camera that is not there, end with MediaError in `failure`. pace: says which frames to take.
    beside: the feed of the pictures that go with this sound, whose time it takes.
    """

    def __init__(
        self,
        opened: Callable[[], Iterator[Item]],
        kind: SourceKind,
        pictures: Mailbox,
        heard: Callable[[Sound], None] | None = None,
        pace: Pace | None = None,
        *,
        beside: Feed | None = None,
        say: Say = lambda sentence: None,
        clock: Clock = time.monotonic,
        wait: Callable[[float], object] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.frames = self.skipped = self.reopened = 0
        self.failure: MediaError | None = None
        self._opened, self._kind, self._pictures = opened, kind, pictures
        self._heard, self._pace, self._say, self._clock = heard, pace, say, clock
        self._stop = stop or threading.Event()
        self._wait = wait or self._stop.wait
        self._beside = beside
        self.begun: float | None = 0.0 if kind.stamped else None  # our clock at the source's time 0, once it is known
        self._latest = 0.0  # seconds of the last item
        self._shift = 0.0  # of a source that begins again
        self._step = 0.04  # seconds between the last two pictures
        self._running = False  # whether anything has come

    def run(self) -> None:
        """Until the end."""
        wait, anew = FIRST_WAIT, True
        try:
            while not self._stop.is_set():
                started = self._clock()
                try:
                    gone = self._once(anew)
                    if not (self._kind.again or self._kind.loops) or self._stop.is_set():
                        return
                except MediaError as error:
                    gone = str(error)
                    if not self._kind.again or not self._running:
                        self._fail(error)
                        return
                anew = False
                if self._kind.loops:
                    continue
                wait = FIRST_WAIT if self._clock() - started >= STEADY else wait
                self._say(f"the {self._kind.what} is gone, tried again in {wait:g} s: {gone}")
                self._wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        finally:
            self._pictures.close()

    def _fail(self, error: MediaError) -> None:
        self.failure = error
        if self._beside is not None:
            self._say(f"{error}; the call goes on without sound")

    def _once(self, anew: bool) -> str:
        """The source from one opening to its end; why it ended."""
        first: float | None = None
        for item in self._opened():
            if first is None:
                first = item.seconds
                self._shift = 0.0 if anew else self._latest - first + self._step
                if anew and not self._kind.stamped:
                    self.begun = self._clock() - first
                elif not anew and self._kind.again:
                    self.reopened += 1
                    self._say(f"the {self._kind.what} is back")
            self._running = True
            self._take(item)
            if self._stop.is_set():
                break
        return "it has ended"

    def _take(self, item: Item) -> None:
        now = self._clock()
        begun = self.begun if self._beside is None else self._beside.begun
        if begun is None:
            return  # sound before the first picture
        if self._kind.stamped:
            seconds = now - begun
            if isinstance(item, Sound):
                seconds -= len(item.samples) / SOUND_RATE
        else:
            seconds = item.seconds + self._shift
            early = begun + seconds - now
            if self._kind.ahead is not None and early > self._kind.ahead:
                self._wait(early - self._kind.ahead)
                now = self._clock()
        if isinstance(item, Sound):
            if self._heard is not None:
                self._heard(Sound(seconds, item.samples))
            return
        if seconds <= self._latest and self.frames:
            return  # it goes back in time: a frame twice, or damage
        if self.frames:
            self._step = seconds - self._latest
        self._latest = seconds
        self.frames += 1
        if self._pace is not None and not self._pace.wanted(seconds):
            self.skipped += 1
            return
        self._pictures.put(Captured(seconds, item.frame, now))
