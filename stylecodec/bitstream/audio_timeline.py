"""The sound on a time line: cut to a stretch, joined to what came before, laid into chunks (SPEC 5.5).

An Opus decoder needs some packets until its output is right, so a cut keeps packets from before its beginning. Their
times are negative, and the pre-skip keeps them from being heard. RFC 7845 section 4.2 asks for 80 ms; on speech at 12
kbit/s the first frame after a cut still erred by up to 17 % of the sound's RMS then, and by 1 % after 200 ms.
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
LAST_PACKETS = 40  # left for the last chunk before a joint, since what follows must begin after it began


@dataclass(frozen=True)
class TimedPacket:
    """One Opus packet. time: of its first sample in 1/48000 s; samples: how many it decodes to."""

    time: int
    samples: int
    data: bytes

    @property
    def end(self) -> int:
        """Time of the first sample after it."""
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
    """The packets heard from `begin` to before `end`, with 200 ms of pre-roll before them; times get `shift` added.

    begin None: from the first packet on. end None: to the last.
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
    """One after the other: (time from which a part is to be heard, its packets on the common time line).

    Sound of a part before its time is pre-roll: kept while the part before it sounds, as its samples are then not
    played again (SPEC 5.5), and left out where it could be heard. Packets that both hold are taken once, so that a
    stream cut in two and joined again has the packets it had.
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
    """Chunks of about a second; a new one begins at every gap or step back in time."""
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
    """The configuration whose pre-skip ends at time 0, and the packets; (None, nothing) without any packet."""
    first = next(packets, None)
    if first is None or config is None:
        return None, iter(())
    pre_skip = -first.time if first.time < 0 else config.pre_skip
    if pre_skip >= 1 << 16:
        raise FormatError("the sound begins more than a second before the picture, too long for a pre-skip")
    return replace(config, pre_skip=pre_skip), chain([first], packets)


def _chunk(packets: list[TimedPacket]) -> AudioChunk:
    return AudioChunk(packets[0].time, tuple(packet.data for packet in packets))
