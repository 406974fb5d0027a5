"""RTP packets in order again, whatever the network did to them. No I/O, no clock (SPEC 11; RFC 3550 appendix A.1)."""

from __future__ import annotations

from ..checks import check_time
from .transport import RtpPacket

_MAX_JUMP = 3000  # of sequence numbers; beyond it two consecutive packets must confirm a new start


class JitterBuffer:
    """Packets of one source, in order again; a missing one is waited for at most `delay` seconds.

    Packets that arrive in order pass at once. capacity: packets that may wait; with more, nothing is waited for.
    Raises OptionError for a delay that is negative or not finite.
    """

    def __init__(self, delay: float = 0.1, capacity: int = 512) -> None:
        check_time(delay)
        self.delay, self.capacity = delay, capacity
        self.received = self.lost = self.late = self.foreign = 0
        self.ssrc: int | None = None
        self._next: int | None = None  # extended sequence number of the packet to be given next
        self._highest = 0
        self._waiting: dict[int, tuple[float, RtpPacket]] = {}  # extended sequence number: arrival, packet
        self._odd: int | None = None  # the sequence number that would confirm a jump

    @property
    def deadline(self) -> float | None:
        """The time at which `pop` gives packets even if nothing arrives; None while nothing is waited for."""
        return min(arrival for arrival, _ in self._waiting.values()) + self.delay if self._waiting else None

    def push(self, packet: RtpPacket, now: float) -> None:
        """Take a packet that arrived at `now`, in seconds of any steady clock."""
        if self.ssrc is None:
            self.ssrc, self._highest = packet.ssrc, packet.sequence + (1 << 16)
        if packet.ssrc != self.ssrc:
            self.foreign += 1
            return
        self.received += 1
        number = self._extended(packet.sequence)
        if number is None:
            self.late += 1
        elif (self._next is not None and number < self._next) or number in self._waiting:
            self.late += 1  # given up, or a duplicate
        else:
            self._waiting[number] = now, packet
            self._highest = max(self._highest, number)

    def pop(self, now: float) -> list[RtpPacket]:
        """The packets that are due, in order."""
        given: list[RtpPacket] = []
        while self._waiting:
            first = min(self._waiting)
            waited = self.deadline is not None and now >= self.deadline
            if first != self._next and not waited and len(self._waiting) <= self.capacity:
                break
            if self._next is not None:
                self.lost += first - self._next
            given.append(self._waiting.pop(first)[1])
            self._next = first + 1
        return given

    def flush(self) -> list[RtpPacket]:
        """All packets that wait, after the last one has arrived."""
        return self.pop(float("inf"))

    def _extended(self, sequence: int) -> int | None:
        """The sequence number counted beyond 65535; None while it is not known whether a jump is a new start."""
        step = (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
        if abs(step) <= _MAX_JUMP:
            self._odd = None
            return self._highest + step
        if self._odd != sequence:
            self._odd = (sequence + 1) & 0xFFFF
            return None
        # Two in a row: the source has started again.
        self._waiting.clear()
        self._odd, self._next = None, None
        self._highest += 1 << 17
        self._highest += (sequence - self._highest) % 0x10000
        return self._highest
