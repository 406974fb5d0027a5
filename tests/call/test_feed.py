"""Sources in their own time, that fail and come back; the mailbox; the pace. With clocks that the tests move."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from stylecodec.call.feed import CAMERA, FILE, LOOP, MICROPHONE, PIPED, Captured, Feed, Mailbox, SourceKind
from stylecodec.call.pace import CALM_SECONDS, FrameSkip
from stylecodec.errors import MediaError
from stylecodec.media.capture import Item, Picture, Sound

FRAME = np.zeros((2, 2, 3), np.uint8)


class Time:
    """A clock that goes on when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Kept(Mailbox):
    """A mailbox that remembers everything that was put."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Captured] = []

    def put(self, frame: Captured) -> None:
        self.all.append(frame)
        super().put(frame)


def fed(sources: list[list[Any]], kind: SourceKind, time: Time, **options: Any) -> tuple[Feed, Kept, list[str]]:
    """A feed that has run through sources, one per opening; what is no item is raised. Then it is stopped."""
    said: list[str] = []
    stop, mailbox, rest = threading.Event(), Kept(), iter(sources)

    def opened() -> Iterator[Item]:
        current = next(rest)
        for item in current:
            if isinstance(item, Exception):
                raise item
            if kind is CAMERA:
                time.now += 0.04
            yield item
        if current is sources[-1]:
            stop.set()

    feed = Feed(opened, kind, mailbox, say=said.append, clock=time, wait=time.wait, stop=stop, **options)
    feed.run()
    return feed, mailbox, said


def pictures(*seconds: float) -> list[Any]:
    return [Picture(second, FRAME) for second in seconds]


def test_a_file_is_played_in_its_own_time() -> None:
    time = Time()
    feed, mailbox, _ = fed([pictures(3.0, 3.04, 3.08, 4.0)], FILE, time)
    assert [round(one.arrived - 100, 6) for one in mailbox.all] == [0, 0.04, 0.08, 1.0]
    assert [one.seconds for one in mailbox.all] == [3.0, 3.04, 3.08, 4.0]
    assert mailbox.ended is False  # the last one waits
    assert mailbox.take(0) is not None
    assert mailbox.ended
    assert feed.failure is None


def test_a_file_again_and_again_goes_on_in_time() -> None:
    feed, mailbox, _ = fed([pictures(0, 0.04), pictures(0, 0.04), pictures(0, 0.04)], LOOP, Time())
    assert [round(one.seconds, 6) for one in mailbox.all] == [0, 0.04, 0.08, 0.12, 0.16, 0.2]
    assert feed.frames == 6


def test_a_file_that_fails_ends() -> None:
    feed, mailbox, _ = fed([[*pictures(0), MediaError("it is broken")]], FILE, Time())
    assert str(feed.failure) == "it is broken"
    assert mailbox.take(0) is not None
    assert mailbox.ended


def test_a_camera_goes_and_comes_back() -> None:
    time = Time()
    gone = MediaError("it was unplugged")
    sources = [[*pictures(0, 1), gone], [gone], [gone], [gone], [gone], [gone], pictures(77.0, 77.04)]
    feed, mailbox, said = fed(sources, CAMERA, time)
    assert time.waits == [0.5, 1, 2, 4, 8, 8]  # ever more seldom
    assert feed.frames == 4
    assert feed.reopened == 1
    assert said[0] == "the camera is gone, tried again in 0.5 s: it was unplugged"
    assert said[-1] == "the camera is back"
    times = [one.seconds for one in mailbox.all]
    assert times == sorted(times)  # by our clock, whatever the device counts
    assert times[2] - times[1] == pytest.approx(23.54)


def test_a_camera_that_is_not_there_is_not_waited_for() -> None:
    time = Time()
    feed, mailbox, said = fed([[MediaError("there is no camera")]], CAMERA, time)
    assert str(feed.failure) == "there is no camera"
    assert mailbox.ended
    assert time.waits == said == []
    _, _, said = fed([[MediaError("there is no microphone")]], MICROPHONE, time, beside=feed)
    assert said == ["there is no microphone; the call goes on without sound"]


def test_frames_that_go_back_in_time_are_left_out() -> None:
    _, mailbox, _ = fed([pictures(0, 1, 0.5, 1, 2)], PIPED, Time())
    assert [one.seconds for one in mailbox.all] == [0, 1, 2]


def test_sound_goes_its_own_way() -> None:
    heard: list[Sound] = []
    sound = Sound(0.5, np.zeros(480, np.float32))
    _, mailbox, _ = fed([[*pictures(0), sound, *pictures(1)]], FILE, Time(), heard=heard.append)
    assert [one.seconds for one in heard] == [0.5]
    assert len(mailbox.all) == 2


def test_a_microphone_has_the_time_of_the_pictures() -> None:
    """A camera and a file, each beside a microphone that is opened three seconds later."""
    time = Time()
    for kind, first in ((CAMERA, 0.0), (FILE, 7.0)):
        shown, mailbox, _ = fed([pictures(first)], kind, time)
        time.now += 3
        heard: list[Sound] = []
        block = Sound(99.0, np.zeros(4800, np.float32))
        fed([[block]], MICROPHONE, time, heard=heard.append, beside=shown)
        (picture,) = mailbox.all
        assert heard[0].seconds + 0.1 - picture.seconds == pytest.approx(time.now - picture.arrived)
        assert heard[0].seconds + 0.1 - picture.seconds >= 3


def test_sound_before_the_first_picture_is_left_out() -> None:
    heard: list[Sound] = []
    beside = Feed(lambda: iter(()), FILE, Mailbox())
    fed([[Sound(0.0, np.zeros(480, np.float32))]], MICROPHONE, Time(), heard=heard.append, beside=beside)
    assert heard == []


def test_a_file_through_a_pipe_is_held_back() -> None:
    time = Time()
    _, mailbox, _ = fed([pictures(0, 0.5, 1.0, 1.5, 2.0)], PIPED, time)
    assert [round(one.arrived - 100, 6) for one in mailbox.all] == [0, 0, 0, 0.5, 1.0]


def test_the_mailbox_holds_the_newest_frame_alone() -> None:
    mailbox = Mailbox()
    assert mailbox.take(0) is None
    for k in range(1000):
        mailbox.put(Captured(k, FRAME, 0.0))
    taken = mailbox.take(0)
    assert taken is not None
    assert taken.seconds == 999
    assert mailbox.missed == 999
    assert mailbox.take(0) is None


# --- the pace -------------------------------------------------------------------------------------------------


def run(skip: FrameSkip, time: Time, seconds: float, busy: float, interval: float = 0.04) -> int:
    """Frames that are encoded in so many seconds of a camera, when each takes `busy` seconds."""
    count, end = 0, time.now + seconds
    while time.now < end:
        time.now += interval
        if skip.wanted(time.now):
            skip.took(busy)
            count += 1
    return count


def test_every_kth_frame_when_it_takes_too_long_and_all_again_when_not() -> None:
    said: list[str] = []
    time = Time()
    skip = FrameSkip(said.append, time)
    assert run(skip, time, 4, busy=0.02) in (99, 100, 101)
    assert skip.every == 1
    assert said == []
    run(skip, time, 4, busy=0.1)
    assert skip.every == 3
    assert said[-1].endswith("1 of 3 is sent")
    assert run(skip, time, 4, busy=0.1) in range(30, 36)
    run(skip, time, 20, busy=0.01)
    assert skip.every == 1
    assert said[-1].endswith("every frame is sent")


def test_the_pace_is_calm() -> None:
    said: list[str] = []
    time = Time()
    skip = FrameSkip(said.append, time)
    for k in range(200):
        run(skip, time, 0.2, busy=0.03 if k % 2 else 0.05)
    assert len(said) <= 40 / CALM_SECONDS
    assert skip.every <= 2


def test_not_every_frame_is_skipped() -> None:
    skip = FrameSkip(clock=(time := Time()))
    run(skip, time, 30, busy=9.0)
    assert skip.every == 10
