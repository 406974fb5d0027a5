"""Audio packets with their times: cut to a stretch, joined, put into chunks (SPEC 5.5).

An Opus decoder needs some packets before its output is right, so a cut keeps packets from before its beginning. Their
times are negative, and the pre-skip keeps them from being heard. RFC 7845 section 4.2 asks for 80 ms; speech at low
rates settles better in the 200 ms that are kept here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from ..errors import FormatError
from .audio import AudioChunk, AudioConfig, opus_samples

PRE_ROLL = 9600  # samples at 48 kHz: 200 ms
CHUNK_PACKETS = 50  # a second of 20 ms packets
LAST_PACKETS = 40  # kept for the last chunk before a joint, as the next chunk must begin later than it does


@dataclass(frozen=True)
class TimedPacket:
    """One Opus packet. time: of its first sample, in 1/48000 s; samples: the number it decodes to, at 48 kHz."""

    time: int
    samples: int
    data: bytes

    @property
    def end(self) -> int:
        """Time of the first sample after the packet."""
        return self.time + self.samples


def timed_packets(chunks: Iterable[AudioChunk]) -> Iterator[TimedPacket]:
    """The packets of the chunks, each with its own time."""
    for chunk in chunks:
        time = chunk.first_packet_pts
        for data in chunk.packets:
            packet = TimedPacket(time, opus_samples(data), data)
            yield packet
            time = packet.end


def stretch(chunks: Iterable[AudioChunk], begin: int | None, end: int | None, shift: int = 0) -> Iterator[TimedPacket]:
    """The packets heard from `begin` to before `end`, after 200 ms of pre-roll, with `shift` added to their times.

    All times are in 1/48000 s. begin None: from the first packet on. end None: to the last.
    """
    before: deque[TimedPacket] = deque()
    for packet in timed_packets(chunks):
        if end is not None and packet.time >= end:
            return
        if begin is not None and packet.end <= begin:
            if before and before[-1].end != packet.time:
                before.clear()  # a gap: the decoder would not run through it
            before.append(packet)
            while before and before[0].end <= begin - PRE_ROLL:
                before.popleft()
            continue
        if before and before[-1].end == packet.time:
            yield from (replace(early, time=early.time + shift) for early in before)
        before.clear()
        yield replace(packet, time=packet.time + shift)


def joined(parts: Iterable[tuple[int, Iterable[TimedPacket]]]) -> Iterator[TimedPacket]:
    """The packets of all parts, one after the other.

    parts: of each, the time from which it is to be heard in 1/48000 s, and its packets on the common time line.
    Packets of a part before its time are pre-roll: kept while the part before it plays, as their samples are not
    played again (SPEC 5.5), and left out where they could be heard. A packet that two parts contain is taken once, so
    that a stream cut in two and joined again has the packets it had.
    """
    run: deque[TimedPacket] = deque(maxlen=LAST_PACKETS)  # the last packets without a gap between them
    for origin, packets in parts:
        given = {(packet.time, packet.data) for packet in run}
        begin, end = (run[0].time, run[-1].end) if run else (None, None)
        for packet in packets:
            if begin is not None and end is not None:
                if (packet.time, packet.data) in given or packet.time <= begin:
                    continue
                if end < origin and packet.end <= origin:
                    continue
            if run and run[-1].end != packet.time:
                run.clear()
            run.append(packet)
            yield packet


def in_chunks(packets: Iterable[TimedPacket]) -> Iterator[AudioChunk]:
    """The packets in chunks of about a second; a new one begins at every gap or step back in time."""
    waiting: list[TimedPacket] = []
    for packet in packets:
        if waiting and waiting[-1].end != packet.time:
            yield _chunk(waiting)
            waiting = []
        waiting.append(packet)
        if len(waiting) >= CHUNK_PACKETS + LAST_PACKETS:
            yield _chunk(waiting[:CHUNK_PACKETS])
            del waiting[:CHUNK_PACKETS]
    if waiting:
        yield _chunk(waiting)


def with_config(
    packets: Iterator[TimedPacket], config: AudioConfig | None
) -> tuple[AudioConfig | None, Iterator[TimedPacket]]:
    """The configuration whose pre-skip ends at time 0, and the packets; (None, nothing) without any packet.

    Raises FormatError where more than 65,535 samples precede time 0.
    """
    first = next(packets, None)
    if first is None or config is None:
        return None, iter(())
    pre_skip = -first.time if first.time < 0 else config.pre_skip
    if pre_skip >= 1 << 16:
        raise FormatError("the audio begins more than a second before the picture, too long for a pre-skip")
    return replace(config, pre_skip=pre_skip), chain([first], packets)


def _chunk(packets: list[TimedPacket]) -> AudioChunk:
    return AudioChunk(packets[0].time, tuple(packet.data for packet in packets))
