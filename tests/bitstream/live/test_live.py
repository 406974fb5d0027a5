"""Live streams: groups of N frames, joining, identities by reference, loss and reordering without a stall."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from benchmarks import live_wire
from stylecodec.bitstream import (
    AudioChunk,
    Event,
    FrameGroup,
    Identity,
    IdentityReference,
    StreamFile,
    StreamHeader,
    StreamReader,
    StreamWriter,
    TimedGroup,
    layout,
    mux,
)
from stylecodec.bitstream.attached import background, personalizations
from stylecodec.bitstream.audio_timeline import timed_packets
from stylecodec.bitstream.background import Background, Mode
from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta, Personalization
from stylecodec.bitstream.edit import Repair
from stylecodec.bitstream.live import (
    Burst,
    IdentityCache,
    LiveReceiver,
    LiveSender,
    Playout,
    PlayoutFrame,
    bursts,
    needs,
)
from stylecodec.bitstream.live.transport import Packetizer, goodbye, wire_bytes
from stylecodec.errors import OptionError
from tests.bitstream.conftest import make_header, make_identity, make_packets
from tests.bitstream.talks import heard, opened, rows, talk


def datagrams(sent: Iterator[Burst], packetizer: Packetizer | None = None) -> list[tuple[float, bytes]]:
    """(time of sending, datagram)."""
    packetizer = packetizer or Packetizer(7, sequence=65_000)
    return [
        (float(burst.seconds), datagram)
        for burst in sent
        for datagram in packetizer.packets(burst.chunks, burst.seconds)
    ]


def network(
    sent: list[tuple[float, bytes]], *, loss: float = 0.0, jitter: float = 0.0, seed: int = 1
) -> list[tuple[float, bytes]]:
    """(time of arrival, datagram) after loss and delays that shuffle."""
    rng = random.Random(seed)
    kept = [(time + 0.05 + rng.random() * jitter, datagram) for time, datagram in sent if rng.random() >= loss]
    return sorted(kept, key=lambda arrival: arrival[0])


def received(arrivals: list[tuple[float, bytes]], reader: StreamReader | None = None) -> list[tuple[float, Event]]:
    """(time at which it was ready, event)."""
    receiver, reader = LiveReceiver(delay=0.08), reader or StreamReader(strict=False)
    events: list[tuple[float, Event]] = []
    for now, datagram in arrivals:
        while receiver.deadline is not None and receiver.deadline <= now:
            at = receiver.deadline
            events += [(at, event) for event in reader.feed(receiver.poll(at))]
        events += [(now, event) for event in reader.feed(receiver.datagram(datagram, now))]
    return events + [(now, event) for event in reader.feed(receiver.flush())]


def groups(events: list[tuple[float, Event]]) -> list[FrameGroup]:
    return [event for _, event in events if isinstance(event, FrameGroup)]


def packets_of(events: list[tuple[float, Event]]) -> bytes:
    return b"".join(group.packets.tobytes() for group in groups(events))


@pytest.mark.parametrize("size", [1, 2, 5, 25, 60])
@pytest.mark.parametrize("time_scale", [0, 90_000])
def test_everything_arrives(size: int, time_scale: int) -> None:
    source = opened(talk(group=25, identities=(0, 1), time_scale=time_scale))
    events = received(network(datagrams(bursts(source, size))))
    assert packets_of(events) == rows(source)
    assert max(map(len, groups(events))) == min(size, 25 if size > 25 else size)
    audio = [packet for _, e in events if isinstance(e, AudioChunk) for packet in timed_packets([e])]
    assert audio == heard(source)
    assert [e.digest for _, e in events if isinstance(e, Identity)] == [make_identity(k).digest for k in (0, 1)]
    if time_scale:
        times = np.concatenate([group.pts for group in groups(events)])  # type: ignore[arg-type]
        assert np.allclose(times / time_scale, source.pts(0, 60))


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_group_leaves_when_its_last_frame_is_there(size: int) -> None:
    source = opened(talk(50))
    for burst in bursts(source, size):
        for chunk in burst.chunks:
            if chunk[4] == layout.ChunkType.GROUP:
                first, count = layout.GROUP_HEAD.parse(chunk[12:]).first_frame, chunk[20]
                assert burst.seconds == Fraction(first + count, 25)


def test_loss_and_reordering_hold_frames_and_stall_nothing() -> None:
    """5 % lost, delays that vary by 60 ms: a frame at every tick, in order, and only the lost ones held."""
    frames = 500
    source = opened(talk(frames))
    sent = datagrams(bursts(source, 1, repeat=0.5, latent_repeat=2.0))
    arrivals = network(sent, loss=0.05, jitter=0.06, seed=3)
    assert len(sent) - len(arrivals) > 20
    assert [d for _, d in arrivals] != [d for _, d in sent if any(d is other for _, other in arrivals)]
    events = received(arrivals)
    playout = Playout(make_header(), delay=0.2)
    waiting = [(now, event) for now, event in events if isinstance(event, FrameGroup)]
    lost = set(range(frames)) - {group.first_frame for _, group in waiting}
    assert len(lost) > 10
    shown: list[PlayoutFrame] = []
    begin = waiting[0][0] + 0.2
    for tick in range(frames):
        now = begin + tick / 25
        while waiting and waiting[0][0] <= now:
            at, group = waiting.pop(0)
            playout.push(group, at)
        frame = playout.frame(now)
        assert frame is not None
        shown.append(frame)
    assert playout.late == 0
    assert [b.number - a.number for a, b in pairwise(shown)] == [1] * (frames - 1)
    packets = make_packets(frames, 1)
    for frame in shown:
        if frame.number < frames:
            assert frame.held == (frame.number in lost)
            stands_for = frame.number
            while stands_for in lost:
                stands_for -= 1
            assert np.array_equal(frame.packet, packets[stands_for])


def test_joining_in_the_middle() -> None:
    source = opened(talk(200))
    sent = [(t, d) for t, d in datagrams(bursts(source, 5, repeat=1.0, latent_repeat=3.0)) if t > 4.1]
    events = received(network(sent))
    order = [type(event) for _, event in events]
    identity = next(event for _, event in events if isinstance(event, Identity))
    assert identity == make_identity(0)
    joined = order.index(Identity)
    assert order.index(StreamHeader) < joined
    assert next(e for _, e in events[joined:] if isinstance(e, FrameGroup)).first_frame <= 6 * 25
    assert packets_of(events) == make_packets(200, 1)[-len(packets_of(events)) // 70 :].tobytes()


def test_joining_at_once_with_an_identity_that_is_held() -> None:
    source = opened(talk(200))
    cache = IdentityCache()
    cache.add(make_identity(0))
    sent = [(t, d) for t, d in datagrams(bursts(source, 5, repeat=1.0, latent_repeat=None)) if t > 4.1]
    for reader, known in ((StreamReader(strict=False, recall=cache.recall), True), (StreamReader(strict=False), False)):
        events = received(network(sent), reader)
        given = [e for _, e in events if isinstance(e, Identity | IdentityReference)]
        assert [isinstance(e, Identity) for e in given] == [known]
        assert given[0].digest == make_identity(0).digest
        assert reader.close().not_held == (() if known else (make_identity(0).digest,))


def test_an_identity_that_is_never_sent_marks_its_reference() -> None:
    sent = list(bursts(opened(talk(10)), 1, send_latent=False))
    kinds = [(chunk[4], chunk[5]) for burst in sent for chunk in burst.chunks]
    assert (layout.ChunkType.IDENTITY_REFERENCE, 1) in kinds
    assert all(kind != layout.ChunkType.IDENTITY for kind, _ in kinds)
    both = [(chunk[4], chunk[5]) for burst in bursts(opened(talk(10)), 1) for chunk in burst.chunks]
    assert both.count((layout.ChunkType.IDENTITY_REFERENCE, 0)) == both.count((layout.ChunkType.IDENTITY, 1)) == 1


def test_what_is_repeated_and_how_often() -> None:
    sent = list(bursts(opened(talk(500)), 1, repeat=1.0, latent_repeat=5.0, refer=False))
    kinds = [chunk[4] for burst in sent for chunk in burst.chunks]
    assert kinds.count(layout.ChunkType.HEADER) == kinds.count(layout.ChunkType.AUDIO_CONFIG) == 21
    assert kinds.count(layout.ChunkType.IDENTITY) == 5
    assert layout.ChunkType.IDENTITY_REFERENCE not in kinds


# --- what only a renderer needs -------------------------------------------------------------------------------------


BACKGROUND = Background(Mode.KEY, (1, 2, 3))


def tuned(size: int = 100) -> Personalization:
    """A generator for make_identity() whose delta has about that many bytes."""
    values = np.random.default_rng(0).uniform(-1, 1, (1, size))
    delta = GeneratorDelta.of(make_header().pack_digest, [DeltaTensor.quantised("w", values.reshape(-1, 100), 0.001)])
    return Personalization.carried(make_identity().digest, delta)


def personalised(frames: int, one: Personalization) -> StreamFile:
    """A stream with that generator and a background."""
    source = opened(talk(frames))
    rows = (TimedGroup(g.first_frame / 25, g.packets, g.pts, make_identity()) for g in source.groups())
    writer = StreamWriter(source.header, source.audio_config)
    return opened(mux(writer, make_identity(), rows, source.audio_chunks(), [(0, one), (0, BACKGROUND)]))


def attached(events: list[tuple[float, Event]]) -> list[object]:
    return [event for _, event in events if isinstance(event, Personalization | Background)]


def test_a_personalised_generator_goes_with_every_introduction() -> None:
    one = tuned(30_000)
    assert len(bytes(one)) > 20_000
    source = personalised(250, one)
    sent = datagrams(bursts(source, 5, repeat=1.0, attached_repeat=4.0))
    found = attached(received(network(sent)))
    assert found == 2 * [one, BACKGROUND, *3 * [one.named]] + [one, BACKGROUND, *2 * [one.named]]
    named = attached(received(network(datagrams(bursts(source, 5, repeat=5.0, send_delta=False)))))
    assert named == [one.named, BACKGROUND, one.named, one.named]
    once = attached(received(network(datagrams(bursts(source, 5, repeat=5.0, attached_repeat=None)))))
    assert once == [one, BACKGROUND, one.named, one.named]
    assert needs(source) == []
    assert "import" in needs(source, send_delta=False)[0]


def test_what_is_too_long_for_datagrams_is_named_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tuned(2_000)
    source = personalised(10, one)
    size = len(bytes(one)) + 9
    cases = ((size, [one, BACKGROUND], 0), (size - 1, [one.named, BACKGROUND], 1), (20, [one.named], 2))
    for limit, expected, count in cases:
        monkeypatch.setattr("stylecodec.bitstream.live.sender.MAX_BARE_BYTES", limit)
        assert attached(received(network(datagrams(bursts(source, 5))))) == expected
        assert len(needs(source)) == count


def test_a_named_generator_is_sent_as_such() -> None:
    source = personalised(10, tuned().named)
    assert attached(received(network(datagrams(bursts(source, 5))))) == [tuned().named, BACKGROUND]
    assert len(needs(source)) == 1


def test_a_personalised_call_is_stored() -> None:
    one = tuned(5_000)
    sent = datagrams(bursts(personalised(250, one), 5, repeat=0.5, latent_repeat=1.0, attached_repeat=3.0))
    receiver = LiveReceiver()
    stored = b"".join(receiver.datagram(d, now) for now, d in network([(t, d) for t, d in sent if t > 2.1]))
    made = opened(Repair(io.BytesIO(stored + receiver.flush())).portions())
    assert personalizations(made) == {one.identity: one}
    assert background(made) == BACKGROUND
    assert list(made.extras()) == [(0, one.named), (0, one), (0, BACKGROUND)]


def test_the_cache_keeps_the_latest() -> None:
    cache = IdentityCache(limit=2)
    for seed in (0, 1):
        cache.add(make_identity(seed))
    assert cache.recall(make_identity(0).digest) is not None  # used: the other one goes
    cache.add(make_identity(2))
    assert len(cache) == 2
    assert [cache.recall(make_identity(k).digest) is not None for k in range(3)] == [True, False, True]


def test_what_is_received_can_be_stored() -> None:
    source = opened(talk(200))
    sent = datagrams(bursts(source, 5, repeat=1.0, latent_repeat=2.0))
    receiver, stored = LiveReceiver(), b""
    for now, datagram in network([(t, d) for t, d in sent if t > 2.9], loss=0.03, seed=5):
        stored += receiver.datagram(datagram, now)
    stored += receiver.flush()
    repair = Repair(io.BytesIO(stored))
    made = opened(repair.portions())
    assert repair.shifted >= 70
    assert repair.held > 0
    assert made.frame_count == 200 - repair.shifted
    assert made.packets(made.frame_count - 1, made.frame_count).tobytes() == make_packets(200, 1)[199:].astype(
        np.float32
    ).tobytes()


def test_a_stream_named_by_reference_is_stored_as_such() -> None:
    sent = datagrams(bursts(opened(talk(50)), 5, send_latent=False))
    receiver = LiveReceiver()
    stored = b"".join(receiver.datagram(datagram, now) for now, datagram in network(sent)) + receiver.flush()
    made = opened(Repair(io.BytesIO(stored)).portions())
    assert made.identities == ()
    assert made.references == (IdentityReference(make_identity(0).digest),)
    assert made.size < 10_000
    data = b"".join(Repair(io.BytesIO(stored)).portions())
    cache = IdentityCache()
    cache.add(make_identity(0))
    with StreamFile.open(io.BytesIO(data), recall=cache.recall) as stream:
        assert stream.identity_for(3) == make_identity(0)


def test_nothing_on_the_network_raises() -> None:
    rng = random.Random(2)
    receiver, reader = LiveReceiver(), StreamReader(strict=False)
    for now, datagram in network(datagrams(bursts(opened(talk(60)), 1)), loss=0.1, jitter=0.1):
        harm = bytearray(datagram)
        if rng.random() < 0.3:
            harm[rng.randrange(len(harm))] ^= 1 << rng.randrange(8)
        for data in (bytes(harm), datagram[: rng.randrange(30)], rng.randbytes(rng.randrange(40)), b""):
            reader.feed(receiver.datagram(data, now))
    reader.feed(receiver.flush())
    assert receiver.unknown > 60
    assert reader.close().frames > 20


def test_goodbye_ends_it() -> None:
    sent = datagrams(bursts(opened(talk(5)), 1))
    receiver = LiveReceiver()
    for now, datagram in network(sent):
        receiver.datagram(datagram, now)
    receiver.datagram(goodbye(8), 9.0)
    assert not receiver.ended
    receiver.datagram(goodbye(7), 9.0)
    assert receiver.ended


@pytest.mark.parametrize(
    "options",
    [
        {"group_frames": 0},
        {"group_frames": 1025},
        {"refer": False, "send_latent": False},
        {"repeat": 0},
        {"repeat": float("nan")},
        {"latent_repeat": float("inf")},
        {"attached_repeat": 0},
    ],
)
def test_options_outside_their_range(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        LiveSender(make_header(), make_identity(), **options)  # type: ignore[arg-type]


# --- playout --------------------------------------------------------------------------------------------------------


def test_the_clock_begins_with_the_first_group() -> None:
    playout = Playout(make_header(), delay=0.1)
    assert playout.frame(0.0) is None
    playout.push(FrameGroup(50, make_packets(2)), 1.0)
    assert playout.frame(1.05) is None
    numbers = [playout.frame(1.1 + k / 25) for k in range(4)]
    assert [(f.number, f.held) for f in numbers if f] == [(50, False), (51, False), (52, True), (53, True)]
    playout.push(FrameGroup(52, make_packets(4)), 1.25)
    assert playout.late == 2
    frame = playout.frame(1.1 + 4 / 25)
    assert frame is not None
    assert (frame.number, frame.held) == (54, False)


def test_presentation_times_are_kept() -> None:
    playout = Playout(make_header(time_scale=1000), delay=0.0)
    playout.push(FrameGroup(0, make_packets(3), np.array([500, 600, 900])), 10.0)
    ticks = [playout.frame(10 + t / 10) for t in range(6)]
    assert [f.number for f in ticks if f] == [0, 1, 1, 1, 2, 2]
    assert not any(f.held for f in ticks if f)


def test_memory_of_the_playout_is_bounded() -> None:
    playout = Playout(make_header())
    for k in range(20):
        playout.push(FrameGroup(1024 * k, make_packets(1024)), 0.0)
    assert len(playout._frames) <= 4096


# --- benchmarks/live_wire.py ----------------------------------------------------------------------------------------


def test_the_wire_cost_adds_up() -> None:
    stream = opened(talk(100))
    one, five = live_wire.wire(stream, 1), live_wire.wire(stream, 5)
    for row in (one, five):
        parts = row["frames"] + row["sound"] + row["joining"] + row["headers"]
        assert row["latent held"] == pytest.approx(parts)
        assert row["latent sent"] == pytest.approx(parts + row["latent"])
        # What the parts say is what a sender would send.
        sent = datagrams(bursts(stream, row["N"], send_latent=False))
        assert parts == pytest.approx(8 * wire_bytes([d for _, d in sent]) / 4.0 / 1000)
    assert (one["delay ms"], five["delay ms"]) == (40.0, 200.0)
    assert one["frames"] == pytest.approx((70 + 12 + 7) * 25 * 8 / 1000)
    assert five["headers"] < one["headers"] / 4
