"""Sockets: one stream over loopback, the commands, and a clock that is not the machine's."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from stylecodec.bitstream import StreamReader, edit
from stylecodec.bitstream.attached import personalizations
from stylecodec.bitstream.chunks import pack_chunk
from stylecodec.bitstream.edit import Repair
from stylecodec.bitstream.live import Burst, LiveReceiver, bursts, udp
from stylecodec.bitstream.live.transport import MTU
from stylecodec.cli import main as cli
from stylecodec.errors import MediaError, OptionError
from tests.bitstream.conftest import make_identity, make_packets
from tests.bitstream.live.test_live import personalised, tuned
from tests.bitstream.talks import heard, opened, rows, talk

Run = pytest.CaptureFixture[str]


def loopback(data: bytes, through: Callable[[bytes], Iterator[bytes]] | None = None) -> tuple[bytes, LiveReceiver]:
    """What arrives of a stream that is sent to this machine, fifty times as fast as it plays."""
    receiver = LiveReceiver(delay=0.2)
    with udp.listen("127.0.0.1", 0) as server:
        port = server.getsockname()[1]
        sending = threading.Thread(
            target=lambda: udp.send(bursts(opened(data), 1), "127.0.0.1", port, speed=50.0, through=through)
        )
        sending.start()
        stored = b"".join(udp.receive(server, receiver, wait=20.0, idle=20.0))
        sending.join()
    return stored, receiver


def test_over_loopback() -> None:
    data = talk(50)
    stored, receiver = loopback(data)
    assert receiver.ended
    events = StreamReader()
    events.feed(stored)
    assert events.close().frames == 50
    made = opened(Repair(io.BytesIO(stored)).portions())
    assert rows(made) == rows(opened(data))
    assert heard(made) == heard(opened(data))


def test_over_a_bad_network() -> None:
    rng = random.Random(6)
    late: list[bytes] = []

    def bad(datagram: bytes) -> Iterator[bytes]:
        if rng.random() < 0.05:
            return
        if rng.random() < 0.2:
            late.append(datagram)
            return
        yield datagram
        while late:
            yield late.pop(rng.randrange(len(late)))

    stored, receiver = loopback(talk(100), bad)
    reader = StreamReader(strict=False)
    reader.feed(stored)
    report = reader.close()
    assert receiver.jitter.lost > 0
    assert 70 < report.frames < 100


class Clock:
    """Time that passes only by sleeping and waiting."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class SilentSocket:
    """A socket on which a few datagrams come, each at its time."""

    def __init__(self, clock: Clock, arrivals: list[tuple[float, bytes]]) -> None:
        self.clock, self.arrivals, self.timeout = clock, arrivals, 0.0

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def recv(self, size: int) -> bytes:
        if self.arrivals and self.arrivals[0][0] <= self.clock.now + self.timeout:
            self.clock.now = max(self.clock.now, self.arrivals[0][0])
            return self.arrivals.pop(0)[1]
        self.clock.now += self.timeout
        raise TimeoutError


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [({"wait": 3.0}, 3.0), ({"wait": 3.0, "duration": 1.5}, 1.5), ({"duration": 2.0}, 2.0)],
)
def test_waiting_ends(limits: dict[str, float], seconds: float) -> None:
    clock = Clock()
    silent = SilentSocket(clock, [])
    portions = list(udp.receive(silent, LiveReceiver(), clock=clock, **limits))  # type: ignore[arg-type]
    assert b"".join(portions) == b""
    assert clock.now == pytest.approx(100 + seconds, abs=0.11)
    assert len(portions) >= seconds * 10  # for those who keep a clock


def test_silence_ends_it_too() -> None:
    clock = Clock()
    silent = SilentSocket(clock, [(101.0, b"?"), (102.0, b"?")])
    list(udp.receive(silent, LiveReceiver(), wait=5.0, idle=2.0, clock=clock))  # type: ignore[arg-type]
    assert clock.now == pytest.approx(104, abs=0.11)


def test_sending_keeps_the_streams_time() -> None:
    clock = Clock()
    sent = udp.send(bursts(opened(talk(50)), 5), "127.0.0.1", 9, speed=2.0, clock=clock, sleep=clock.sleep)
    assert clock.now == pytest.approx(101.0)
    assert sent.seconds == 2.0
    assert sent.datagrams >= 10 + 16
    assert sent.wire_bytes > 18_432 + 50 * 70


def test_a_long_chunk_is_sent_with_rests() -> None:
    clock = Clock()
    chunk = pack_chunk(0x90, bytes(1177 * 100))
    sent = udp.send([Burst(Fraction(0), (chunk,))], "127.0.0.1", 9, clock=clock, sleep=clock.sleep)
    assert sent.datagrams == 101
    assert clock.now == pytest.approx(100 + 3 * udp.PACE_SECONDS)


def test_a_personalised_generator_over_loopback(tmp_path: Path, capsys: Run) -> None:
    source = personalised(50, one := tuned(500_000))
    data = b"".join(edit.strip(source, private=True))
    stored, receiver = loopback(data)
    assert receiver.jitter.lost == 0
    assert personalizations(opened(Repair(io.BytesIO(stored)).portions())) == {one.identity: one}
    (tmp_path / "me.stc").write_bytes(data)
    line = f"send {tmp_path / 'me.stc'} 127.0.0.1:9 --speed 100"
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().err == ""
    assert cli.main([*line.split(), "--no-delta"]) == 0
    assert "only named: receivers need the person's identity card" in capsys.readouterr().err


def test_addresses() -> None:
    assert udp.parse_address("a.example:5004") == ("a.example", 5004)
    assert udp.parse_address(":80") == ("", 80)
    assert udp.parse_address("[::1]:80") == ("::1", 80)
    for text in ("", "a", "a:", "a:b", "a:70000", "a:-1", "a:²"):
        with pytest.raises(OptionError):
            udp.parse_address(text)


def test_errors_of_the_network_are_sentences() -> None:
    with pytest.raises(MediaError, match=r"cannot listen on 203\.0\.113\.7"):
        udp.listen("203.0.113.7", 5004)
    with pytest.raises(MediaError, match="cannot send to"):
        udp.send(iter([]), "no host of that name", 5004)
    with pytest.raises(OptionError):
        udp.send(iter([]), "127.0.0.1", 9, speed=0)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.stc").write_bytes(talk(50))
    ready, real = threading.Event(), udp.listen

    def listening(host: str, port: int) -> socket.socket:
        server = real(host, port)
        ready.set()
        return server

    monkeypatch.setattr("stylecodec.cli.live.listen", listening)
    for options, known in (("", ""), (" --no-latent --group 5", " --known talk.stc")):
        ready.clear()
        port, codes = free_port(), []
        line = f"receive 127.0.0.1:{port} got.stc --wait 20 --idle 20 --json{known}".split()
        receiving = threading.Thread(target=lambda line=line, codes=codes: codes.append(cli.main(line)))
        receiving.start()
        assert ready.wait(20)
        assert cli.main(f"send talk.stc 127.0.0.1:{port} --speed 50 --json{options}".split()) == 0
        receiving.join()
        assert codes == [0]
        reports = capsys.readouterr().out
        decoder, found = json.JSONDecoder(), []
        while reports.strip():
            facts, end = decoder.raw_decode(reports.lstrip())
            found.append(facts)
            reports = reports.lstrip()[end:]
        assert {"kbps", "datagrams"} <= set(found[0]) | set(found[1])
        made = opened(Path("got.stc").read_bytes())
        assert rows(made) == make_packets(50, 1).tobytes()
        assert [i.digest for i in made.identities] == [make_identity(0).digest]


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("send talk.stc nowhere", 2, "an address is HOST:PORT, not 'nowhere'"),
        ("send none.stc 127.0.0.1:9", 1, "there is no file none.stc"),
        ("send talk.stc 127.0.0.1:9 --group 0", 2, "--group takes 1 to 1024, not 0"),
        ("send talk.stc 127.0.0.1:9 --mtu 20", 1, "datagrams of 20 bytes"),
        ("receive 127.0.0.1:0 a.stc --wait 0.01", 1, "no stream arrived on 127.0.0.1:0"),
        ("receive 127.0.0.1:0 none/a.stc", 1, "there is no folder none"),
    ],
)
def test_failures_are_one_sentence(
    line: str, code: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.stc").write_bytes(talk(5))
    assert cli.main(line.split()) == code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["talk.stc"]


def test_a_datagram_fits_every_path() -> None:
    assert MTU + udp.UDP_IPV4_BYTES <= 1280
