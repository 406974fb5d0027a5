"""Packets in order again: swaps, losses, duplicates, sequence numbers that wrap, and options outside their range."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream.live import LiveReceiver, Playout
from stylecodec.bitstream.live.jitter import JitterBuffer
from stylecodec.bitstream.live.transport import RtpPacket
from stylecodec.errors import OptionError
from tests.bitstream.conftest import make_header


def packet(sequence: int, ssrc: int = 5) -> RtpPacket:
    return RtpPacket(sequence & 0xFFFF, 0, ssrc, b"")


def started(delay: float = 1.0, first: int = 0) -> JitterBuffer:
    """A buffer that has given packet `first` - 1."""
    buffer = JitterBuffer(delay)
    buffer.push(packet(first - 1), 0.0)
    assert buffer.pop(0.0) == []
    assert [p.sequence for p in buffer.pop(delay)] == [(first - 1) & 0xFFFF]
    return buffer


def test_in_order_nothing_waits() -> None:
    buffer = started()
    for k in range(5):
        buffer.push(packet(k), 2.0)
        assert [p.sequence for p in buffer.pop(2.0)] == [k]
        assert buffer.deadline is None
    assert (buffer.lost, buffer.late) == (0, 0)


def test_a_swap_is_undone_and_a_loss_waited_for() -> None:
    buffer = started()
    for k in (0, 2, 1, 4, 5):
        buffer.push(packet(k), 2.0 + k / 100)
    assert [p.sequence for p in buffer.pop(2.1)] == [0, 1, 2]
    assert buffer.deadline == pytest.approx(3.04)
    assert buffer.pop(3.0) == []
    assert [p.sequence for p in buffer.pop(3.04)] == [4, 5]
    assert buffer.lost == 1
    buffer.push(packet(3), 3.1)
    assert buffer.pop(3.1) == []
    assert buffer.late == 1


def test_numbers_wrap_and_duplicates_fall_out() -> None:
    buffer = started(first=65_534)
    for k in (65_535, 65_534, 65_535, 65_536, 65_537):
        buffer.push(packet(k), 2.0)
    assert [p.sequence for p in buffer.pop(2.0)] == [65_534, 65_535, 0, 1]
    assert (buffer.lost, buffer.late) == (0, 1)


def test_a_full_buffer_waits_no_longer() -> None:
    buffer = started()
    buffer.capacity = 10
    for k in range(1, 13):
        buffer.push(packet(k), 2.0)
    assert len(buffer.pop(2.0)) == 12
    assert buffer.lost == 1


def test_a_source_that_begins_again() -> None:
    buffer = started(first=100)
    buffer.push(packet(40_000), 2.0)  # one stray packet means nothing
    buffer.push(packet(100), 2.0)
    assert [p.sequence for p in buffer.pop(2.0)] == [100]
    for k in (30_000, 30_001, 30_002):
        buffer.push(packet(k), 3.0)
    assert [p.sequence for p in buffer.pop(4.0)] == [30_001, 30_002]


def test_another_source_is_not_mixed_in() -> None:
    buffer = started()
    buffer.push(packet(0, ssrc=6), 2.0)
    assert buffer.pop(9.0) == []
    assert buffer.foreign == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 300), st.floats(0, 0.5))
def test_any_order_with_any_loss_comes_out_in_order(seed: int, count: int, loss: float) -> None:
    rng = random.Random(seed)
    buffer, given_out = JitterBuffer(delay=0.5), []
    arrivals = sorted((k * 0.01 + rng.random() * 0.2, k) for k in range(count) if rng.random() >= loss)
    for now, k in arrivals:
        buffer.push(packet(65_000 + k), now)
        given_out += [(p.sequence - 65_000) % 65_536 for p in buffer.pop(now)]
    given_out += [(p.sequence - 65_000) % 65_536 for p in buffer.flush()]
    assert given_out == sorted(k for _, k in arrivals)


@pytest.mark.parametrize("delay", [-0.1, float("nan"), float("inf")])
def test_delays_outside_their_range(delay: float) -> None:
    for make in (JitterBuffer, LiveReceiver, lambda seconds: Playout(make_header(), seconds)):
        with pytest.raises(OptionError, match="a time is 0 seconds or more"):
            make(delay)
