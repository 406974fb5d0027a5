"""What comes in: peers that start again, loss, drifting clocks, memory. In virtual time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from stylecodec.bitstream import FrameGroup, Identity
from stylecodec.bitstream.live import LiveSender, Playout
from stylecodec.bitstream.live.transport import Packetizer, goodbye
from stylecodec.call.incoming import SILENT_SECONDS, Incoming
from stylecodec.decoding.options import DecodeOptions
from stylecodec.packs.store import ModelPack
from tests.bitstream.conftest import make_header, make_packets
from tests.decoding import streams

RATE = 25
OPTIONS = DecodeOptions(device="cpu", size=16, as_numpy=True)
Timed = tuple[float, bytes]


def call(pack: ModelPack, count: int, ssrc: int = 7, begin: float = 0.0, group: int = 5) -> Iterator[Timed]:
    """(time, datagram) of a call of so many frames that begins at a time."""
    header = replace(streams.header(pack), live=True, time_scale=90_000, rate=Fraction(RATE))
    latent = np.random.default_rng(ssrc).normal(0, 0.5, (18, 512)).astype(np.float16)
    sender = LiveSender(header, Identity(latent), group_frames=group, repeat=0.5, latent_repeat=1.0)
    packetizer = Packetizer(ssrc, sequence=ssrc)
    packets = make_packets(count, ssrc)
    for burst in sender.start():
        yield from ((begin, data) for data in packetizer.packets(burst.chunks, burst.seconds))
    for k in range(count):
        for burst in sender.frame(packets[k], round(k * 90_000 / RATE)):
            yield from ((begin + (k + 1) / RATE, data) for data in packetizer.packets(burst.chunks, burst.seconds))


class Screen:
    """Plays what comes at 100 looks per second."""

    def __init__(self, pack: ModelPack, renders: bool = False, **options: float) -> None:
        self.said: list[str] = []
        self.incoming = Incoming(replace(OPTIONS, pack=pack), say=self.said.append, **options)  # type: ignore[arg-type]
        self.shown: list[tuple[float, int, float]] = []  # time, session, stream seconds
        self.pictures: list[np.ndarray] = []
        self.renders, self.now = renders, 0.0

    def play(self, datagrams: Iterator[Timed] | list[Timed], until: float) -> None:
        waiting = sorted(datagrams, key=lambda one: one[0])
        while self.now < until:
            while waiting and waiting[0][0] <= self.now:
                self.incoming.datagram(waiting.pop(0)[1], self.now)
            self.incoming.poll(self.now)
            due = self.incoming.due(self.now)
            if due is not None:
                self.shown.append((self.now, due.session, due.seconds))
                if self.renders:
                    picture = self.incoming.picture(due)
                    if picture is not None:
                        self.pictures.append(np.asarray(picture))
            self.now += 0.01


def test_every_frame_is_shown_in_its_time(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack, renders=True)
    screen.play(call(tiny_pack, 30), 2.0)
    assert [round(seconds * RATE) for _, _, seconds in screen.shown] == list(range(30))
    waits = [now - seconds for now, _, seconds in screen.shown]
    assert max(waits) - min(waits) < 0.03
    assert min(waits) == pytest.approx(0.3, abs=0.02)  # a group of 0.2 s, and the playout delay
    assert len(screen.pictures) == screen.incoming.counts.shown == 30
    assert screen.pictures[0].shape == (16, 16, 3)
    assert screen.incoming.counts.passed == 0


def test_twenty_per_cent_loss_for_a_while(tiny_pack: ModelPack) -> None:
    rng = random.Random(1)
    sent = list(call(tiny_pack, 250, group=1))
    kept = [one for one in sent if not 2 <= one[0] < 7 or rng.random() > 0.2]
    screen = Screen(tiny_pack)
    screen.play(kept, 11.0)
    counts = screen.incoming.counts
    assert 10 < counts.lost < 50
    shown = [round(seconds * RATE) for _, _, seconds in screen.shown]
    assert shown == sorted(shown)
    assert len(shown) >= 250 - counts.lost
    assert shown[-1] == 249
    late = max(now - seconds for now, _, seconds in screen.shown)
    assert late < 0.3  # nothing stalls


def test_a_peer_that_starts_again_is_followed(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack, renders=True)
    first = [one for one in call(tiny_pack, 50, ssrc=7) if one[0] < 1.0]  # it ends without a goodbye
    screen.play([*first, *call(tiny_pack, 25, ssrc=9, begin=2.5)], 4.5)
    assert [session for _, session, _ in screen.shown].count(2) == 25
    assert screen.said == ["the peer has started again"]
    assert screen.incoming.counts.sessions == 2
    assert len(screen.pictures) == len(screen.shown)
    assert not np.array_equal(screen.pictures[0], screen.pictures[-1])


def test_another_call_follows_a_goodbye_at_once(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack)
    first = [*call(tiny_pack, 10, ssrc=7), (0.5, goodbye(7))]
    screen.play([*first, *call(tiny_pack, 10, ssrc=9, begin=0.6)], 2.0)
    assert screen.said == ["the peer has hung up", "another call comes in"]
    assert screen.incoming.counts.sessions == 2


def test_a_stranger_does_not_take_over(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack)
    stranger = [*call(tiny_pack, 20, ssrc=9, begin=0.3), (0.5, goodbye(9)), (0.6, b"no RTP"), (0.6, b"")]
    screen.play([*call(tiny_pack, 40, ssrc=7), *stranger], 2.5)
    assert {session for _, session, _ in screen.shown} == {1}
    assert len(screen.shown) == 40
    assert screen.incoming.counts.foreign >= 22
    assert not screen.incoming.ended
    assert SILENT_SECONDS >= 0.5


def test_the_end_is_when_all_has_been_due(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack)
    screen.play([*call(tiny_pack, 10), (0.41, goodbye(7))], 0.45)
    assert not screen.incoming.ended
    screen.play([], 1.0)
    assert screen.incoming.ended
    assert len(screen.shown) == 10


def test_a_peer_with_another_pack_is_told_once(tiny_pack: ModelPack, other_pack: ModelPack) -> None:
    screen = Screen(tiny_pack)
    screen.play(call(other_pack, 10), 1.0)
    assert len(screen.said) == 1
    assert "cannot be shown: the stream was made with pack" in screen.said[0]
    assert screen.shown == []


@pytest.mark.parametrize("ppm", [200, -200])
def test_clocks_that_drift_for_ten_minutes(ppm: int) -> None:
    """The peer's clock is 200 ppm off: what is due for one moment of the stream, picture or sound, keeps its delay."""
    header = replace(make_header(), time_scale=90_000, rate=Fraction(RATE))
    playout, delays, waiting = Playout(header, 0.1), [], 0
    packets = make_packets(5, 1).astype(np.float16)
    pace = (1 + ppm * 1e-6) / RATE  # seconds of ours from frame to frame
    shown = -1
    for frame in range(0, 600 * RATE, 5):
        now = (frame + 5) * pace  # the group is complete
        playout.push(FrameGroup(frame, packets, np.arange(frame, frame + 5) * 3600), now)
        due = playout.time(frame / RATE)
        assert due is not None
        delays.append(due - frame * pace)
        for tick in range(20):  # a screen of 100 Hz
            one = playout.frame(now + tick / 100)
            if one is not None:
                assert one.number in (shown, shown + 1)
                shown = one.number
        waiting = max(waiting, playout.waiting)
    assert delays[0] == pytest.approx(0.3, abs=0.001)
    assert max(abs(delay - delays[0]) for delay in delays) < 0.03  # it would be 0.12
    assert waiting <= 10
    assert shown >= 600 * RATE - 10


def test_nothing_grows(tiny_pack: ModelPack) -> None:
    screen = Screen(tiny_pack)
    for number in range(20):
        screen.play(call(tiny_pack, 25, ssrc=number + 1, begin=3.0 * number), 3.0 * (number + 1))
    session = screen.incoming._session
    assert session is not None
    assert screen.incoming.counts.sessions == 20
    assert len(session.times) <= 10
    assert session.playout is not None
    assert session.playout.waiting == 0
