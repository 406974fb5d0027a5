"""Live streams over UDP: the sockets and the clock around sender.py and receiver.py. Standard library only."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ...errors import MediaError, OptionError
from .receiver import LiveReceiver
from .sender import Burst
from .transport import MTU, UDP_IPV4_BYTES, Packetizer, goodbye

GOODBYES = 3  # sent, so that one of them arrives
PACED_DATAGRAMS, PACE_SECONDS = 32, 0.005  # datagrams of a burst sent at once, and the pause before the next ones
_RECEIVE_BUFFER = 1 << 20  # bytes of the socket: an identity is a burst of 16 datagrams
_LONGEST_DATAGRAM = 65_535


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, [IPV6]:PORT or :PORT as (host, port). Raises OptionError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise OptionError(f"an address is HOST:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(host: str, port: int) -> socket.socket:
    """A bound UDP socket; an empty host means every interface, port 0 any free one. Raises MediaError."""
    try:
        family = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_DGRAM)[0][0]
        server = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise MediaError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise MediaError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return server


@dataclass
class Sent:
    """The amounts that `send` sent."""

    datagrams: int = 0
    wire_bytes: int = 0  # headers of RTP, UDP and IPv4 included
    seconds: float = 0.0  # of the stream


def send(
    bursts: Iterable[Burst],
    host: str,
    port: int,
    *,
    speed: float = 1.0,
    mtu: int = MTU,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    through: Callable[[bytes], Iterable[bytes]] | None = None,
) -> Sent:
    """Send bursts at their times, then a goodbye. Raises MediaError where the network does not take them.

    speed: 2.0 sends twice as fast as the stream plays; OptionError unless above 0. through: the datagrams to send in
    place of each one, to imitate a bad network.
    """
    if not speed > 0:
        raise OptionError(f"the speed is above 0, not {speed}")
    sent = Sent()
    with Outgoing(host, port, mtu=mtu, sleep=sleep, through=through) as outgoing:
        begun = clock()
        for burst in bursts:
            wait = begun + float(burst.seconds) / speed - clock()
            if wait > 0:
                sleep(wait)
            outgoing.burst(burst)
            sent = outgoing.sent
    return sent


class Outgoing:
    """One stream on its way to a receiver, burst by burst; a goodbye at the end. Use it as a context manager.

    mtu, sleep, through: as of `send`. Raises MediaError where there is no such host, or the network takes nothing.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        mtu: int = MTU,
        sleep: Callable[[float], object] = time.sleep,
        through: Callable[[bytes], Iterable[bytes]] | None = None,
    ) -> None:
        self.sent = Sent()
        self._where, self._sleep, self._through = f"{host}:{port}", sleep, through
        self._ssrc = secrets.randbits(32)
        first = {"sequence": secrets.randbits(16), "timestamp": secrets.randbits(32)}
        self._packetizer = Packetizer(self._ssrc, mtu=mtu, **first)
        with self._blamed():
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._client = socket.socket(family, kind)
        self._address = address

    def burst(self, burst: Burst) -> None:
        """Send a burst now."""
        for number, datagram in enumerate(self._packetizer.packets(burst.chunks, burst.seconds)):
            if number and number % PACED_DATAGRAMS == 0:
                self._sleep(PACE_SECONDS)
            with self._blamed():
                for really in (datagram,) if self._through is None else self._through(datagram):
                    self._client.sendto(really, self._address)
            self.sent.datagrams += 1
            self.sent.wire_bytes += len(datagram) + UDP_IPV4_BYTES
        self.sent.seconds = float(burst.seconds)

    def goodbye(self) -> None:
        """Say that the stream has ended."""
        with self._blamed():
            for _ in range(GOODBYES):
                self._client.sendto(goodbye(self._ssrc), self._address)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MediaError(f"cannot send to {self._where}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._client:
            if kind is None:
                self.goodbye()


def receive(
    server: socket.socket,
    receiver: LiveReceiver,
    *,
    wait: float | None = None,
    idle: float = 5.0,
    duration: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bytes]:
    """The bytes of a stream as they become ready, until the sender's goodbye.

    It also ends after `wait` seconds without a first datagram, `idle` seconds without another one, or `duration`
    seconds. At least ten portions come per second, empty ones while nothing is ready. Raises MediaError, and
    OptionError for negative times.
    """
    if not all(seconds is None or seconds >= 0 for seconds in (wait, idle, duration)):
        raise OptionError(f"times to wait are 0 seconds or more, not {wait}, {idle} and {duration}")
    begun = clock()
    end = None if wait is None else begun + wait
    while True:
        now = clock()
        if (end is not None and now >= end) or (duration is not None and now >= begun + duration):
            break
        until = min(t for t in (now + 0.1, receiver.deadline, end) if t is not None)
        server.settimeout(max(until - now, 1e-4))
        try:
            data = server.recv(_LONGEST_DATAGRAM)
        except TimeoutError:
            yield receiver.poll(clock())
            continue
        except OSError as error:
            raise MediaError(f"receiving failed: {error.strerror or error}") from error
        now, ended = clock(), receiver.ended
        yield receiver.datagram(data, now)
        if not ended:  # datagrams that the goodbye has overtaken may still come
            end = now + (receiver.jitter.delay if receiver.ended else idle)
    yield receiver.flush()
