"""Chunks in RTP packets and back: sizes, loss, and hostile bytes."""

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
