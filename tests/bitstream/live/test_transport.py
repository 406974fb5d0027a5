"""Chunks in RTP packets and back: sizes, order, loss, and bytes that mean harm."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream import layout
from stylecodec.bitstream.chunks import pack_chunk, parse_chunk
from stylecodec.bitstream.live.transport import (
    FRAGMENT_HEAD,
    HEADER_BYTES,
    UDP_IPV4_BYTES,
    Depacketizer,
    JitterBuffer,
    Packetizer,
    RtpPacket,
    bare_chunk,
    goodbye,
    goodbye_from,
    parse_bare,
    wire_bytes,
)
from stylecodec.errors import CorruptChunk, FormatError, LimitExceeded, Truncated
from tests.bitstream.conftest import make_identity

IDENTITY = pack_chunk(layout.ChunkType.IDENTITY, bytes(make_identity()), 1)


def small(number: int, size: int = 30) -> bytes:
    return pack_chunk(0x80, number.to_bytes(4, "big") + bytes(size))


def numbers(data: bytes) -> list[int]:
    """The numbers of the small chunks in these bytes."""
    found = []
    while data:
        chunk = parse_chunk(data)
        found.append(int.from_bytes(chunk.payload[:4], "big"))
        data = data[chunk.size :]
    return found


# --- RTP ------------------------------------------------------------------------------------------------------------


def test_the_bits_of_a_packet() -> None:
    packet = RtpPacket(0x1234, 0x89ABCDEF, 0x01020304, b"pay", marker=True)
    assert bytes(packet).hex() == "80e0123489abcdef01020304" + b"pay".hex()
    assert RtpPacket.parse(bytes(packet)) == packet


def test_what_other_senders_add_is_skipped() -> None:
    """Two contributing sources, an extension of one word, three bytes of padding."""
    data = bytes.fromhex("b2 60 0001 00000002 00000003 0000000a 0000000b bede0001 00000000") + b"load" + b"\0\0\3"
    assert RtpPacket.parse(data) == RtpPacket(1, 2, 3, b"load")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Truncated),
        (bytes(11), Truncated),
        (bytes(12), CorruptChunk),
        (b"\x8f" + bytes(20), Truncated),
        (b"\x90" + bytes(13), Truncated),
        (b"\x90" + bytes(13) + b"\xff\xff" + bytes(9), Truncated),
        (b"\xa0" + bytes(11) + b"\x09", Truncated),
    ],
)
def test_what_is_no_packet(data: bytes, error: type[FormatError]) -> None:
    with pytest.raises(error):
        RtpPacket.parse(data)


def test_goodbye() -> None:
    assert goodbye(7).hex() == "81cb000100000007"
    assert goodbye_from(goodbye(7)) == 7
    for data in (b"", bytes(8), goodbye(7)[:-1], bytes(RtpPacket(1, 2, 3, b""))):
        assert goodbye_from(data) is None


# --- chunks in payloads ---------------------------------------------------------------------------------------------


def test_a_bare_chunk_saves_nine_bytes() -> None:
    chunk = small(1)
    assert len(bare_chunk(chunk)) == len(chunk) - 9
    assert parse_bare(bare_chunk(chunk)) == (chunk, len(chunk) - 9)
    assert len(IDENTITY) - len(bare_chunk(IDENTITY)) == 7
    with pytest.raises(CorruptChunk):
        bare_chunk(chunk + b"\0")
    with pytest.raises(LimitExceeded):
        bare_chunk(pack_chunk(0x80, bytes(1 << 21)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=12), st.integers(76, 2000))
def test_chunks_of_any_size_come_back(sizes: list[int], mtu: int) -> None:
    chunks = [small(k, size) for k, size in enumerate(sizes)]
    datagrams = Packetizer(5, mtu=mtu, sequence=65_530).packets(chunks, 1.5)
    assert all(len(datagram) <= mtu for datagram in datagrams)
    depacketizer = Depacketizer()
    packets = [RtpPacket.parse(datagram) for datagram in datagrams]
    assert b"".join(depacketizer.feed(packet.payload) for packet in packets) == b"".join(chunks)
    assert [p.sequence for p in packets] == [(65_530 + k) % 65_536 for k in range(len(packets))]
    assert {p.timestamp for p in packets} <= {135_000}
    assert [p.marker for p in packets] == [False] * (len(packets) - 1) + [True] * bool(packets)
    assert depacketizer.dropped == 0


def test_small_chunks_share_a_datagram() -> None:
    assert len(Packetizer(5).packets([small(k) for k in range(20)], 0)) == 1
    assert len(Packetizer(5).packets([small(k) for k in range(60)], 0)) == 3
    assert Packetizer(5).packets([], 0) == []
    assert wire_bytes([b"123", b""]) == 59


def test_fragments_lost_of_an_identity_come_from_its_repetition() -> None:
    packetizer, depacketizer, rng = Packetizer(5), Depacketizer(), random.Random(4)
    rounds = 0
    whole = b""
    while not whole:
        rounds += 1
        packets = packetizer.packets([IDENTITY], rounds)
        assert len(packets) == 16
        for datagram in rng.sample(packets, len(packets)):  # in any order
            if rng.random() < 0.7:
                whole += depacketizer.feed(RtpPacket.parse(datagram).payload)
    assert whole.startswith(IDENTITY)
    assert 2 <= rounds <= 6


def test_the_datagram_size_has_limits() -> None:
    for mtu in (75, 65_508):
        with pytest.raises(LimitExceeded):
            Packetizer(5, mtu=mtu)


def test_no_payload_raises_and_memory_stays_bounded() -> None:
    rng = random.Random(9)
    depacketizer = Depacketizer()
    packets = [p[HEADER_BYTES:] for p in Packetizer(5).packets([IDENTITY, small(3)], 0)]
    for _ in range(5000):
        payload = bytearray(rng.choice(packets))
        for _ in range(rng.randrange(4)):
            payload[rng.randrange(min(len(payload), 20))] = rng.randrange(256)
        depacketizer.feed(bytes(payload[: rng.randrange(len(payload) + 1)]))
    for payload in (b"", b"\2", b"\0\x80", b"\1" + bytes(10), b"\0\3\0\xff\xff\x7f"):
        before = depacketizer.dropped
        depacketizer.feed(payload)
        assert depacketizer.dropped == before + 1
    for key in range(40):  # chunks that never become whole
        depacketizer.feed(b"\1" + FRAGMENT_HEAD.pack(key, bytes(3), (1 << 20).to_bytes(3, "little")) + b"x")
    assert sum(size for _, size in depacketizer._partial) <= 1 << 22
    for at in range(5000):  # byte by byte
        start = (2 * at).to_bytes(3, "little")
        depacketizer.feed(b"\1" + FRAGMENT_HEAD.pack(99, start, (1 << 20).to_bytes(3, "little")) + b"x")
    assert all(len(parts) <= 1 << 12 for _, parts in depacketizer._partial.values())


# --- jitter buffer --------------------------------------------------------------------------------------------------


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


def test_the_example_of_the_specification() -> None:
    """SPEC section 11: the END chunk of the worked example in a packet."""
    spec = Path(__file__).parents[3] / "format_spec"
    example = re.search(r"\*Example\*:.*?\n\n", (spec / "SPEC.md").read_text(), re.DOTALL)
    assert example is not None
    printed = bytes.fromhex("".join(re.findall(r"`([0-9a-f\s]+)`", example[0])))
    chunk = (spec / "vectors/valid/example.stc").read_bytes()[-40:]
    assert Packetizer(7).packets([chunk], 0.04) == [printed]
    assert Depacketizer().feed(RtpPacket.parse(printed).payload) == chunk


def test_header_rates_of_the_specification() -> None:
    text = (Path(__file__).parents[3] / "format_spec/SPEC.md").read_text()
    rows = re.findall(r"^\| (\d+) \| [\d.]+ m?s \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for group, kbps in rows:
        assert float(kbps) == round(25 / int(group) * (HEADER_BYTES + UDP_IPV4_BYTES + 1) * 8 / 1000, 1)
