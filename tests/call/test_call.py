"""A whole call over loopback, with faults on the way: nothing crashes, and all that happens is said."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylecodec.bitstream import StreamFile
from stylecodec.bitstream.live import Burst
from stylecodec.bitstream.live.udp import Outgoing
from stylecodec.call.feed import CAMERA, Captured, Feed, Mailbox
from stylecodec.call.options import PlayoutOptions, SourceOptions
from stylecodec.call.outgoing import Sending
from stylecodec.call.pace import FrameSkip
from stylecodec.call.receive import receiving_side
from stylecodec.call.run import Call, SendingSide
from stylecodec.call.send import sending_side
from stylecodec.call.timings import Timings
from stylecodec.cli import call as command
from stylecodec.cli import main as cli
from stylecodec.decoding.options import DecodeOptions
from stylecodec.encoding.live.encoder import LiveEncoder
from stylecodec.encoding.live.options import LiveOptions
from stylecodec.errors import MediaError, OptionError
from stylecodec.geometry import CropTransform
from stylecodec.media.capture import Item, Picture
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.encoding.live.test_encoder import Middle, card, encoded, picture
from tests.tiny import write_clip

OPTIONS = LiveOptions(device="cpu", guess_seconds=0.2, group_seconds=0.0, fit_seconds=None)
DECODING = DecodeOptions(device="cpu", size=16)


class Centre:
    """A face in the middle of every frame."""

    def __call__(self, seconds: float, frame: np.ndarray) -> CropTransform:
        height, width = frame.shape[:2]
        return CropTransform((width / 2, height / 2), 0.9 * min(height, width))


@pytest.fixture
def packs(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> ModelPack:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    return tiny_pack


def test_a_file_to_a_file(packs: ModelPack, tmp_path: Path) -> None:
    """Both directions in one process: what is sent comes back, with sound, in step."""
    clip, out = write_clip(tmp_path / "clip.mp4", 30), tmp_path / "call.stc"
    said: list[str] = []
    decoding = replace(DECODING, pack=packs)
    receiving = receiving_side("127.0.0.1:0", [str(out), str(tmp_path / "call.mp4")], 0, decoding, say=said.append)
    port = receiving.server.getsockname()[1]
    options = replace(OPTIONS, pack=packs.folder)
    sending = sending_side(
        f"127.0.0.1:{port}", SourceOptions(play=str(clip)), options, say=said.append, front_end=Centre()
    )
    seconds: list[dict[str, Any]] = []
    facts = Call(sending, receiving, told=seconds.append, once=True, duration=60).run()
    assert facts["out"]["frames"] == 30
    assert 1 <= facts["out"]["sent"] + facts["out"]["skipped"] + facts["out"]["late"] <= 30
    assert facts["out"]["identities"] == 1
    assert facts["in"]["frames"] == facts["out"]["sent"] >= 1
    assert 0 < facts["in"]["shown"] <= facts["in"]["frames"]
    assert facts["out"]["ms"]["sent"]["p50"] > 0
    assert "a first guess of the identity is sent" in said
    assert said[-1] == "the peer has hung up"
    json.dumps([facts, *seconds])
    with StreamFile.open(out) as stream:
        assert stream.frame_count == facts["in"]["frames"]
        chunks = list(stream.audio_chunks())
        assert sum(sum(chunk.durations) for chunk in chunks) > 0
        assert chunks[0].first_packet_pts <= 0.06 * 48_000  # with the first frame, within 60 ms
    assert (tmp_path / "call.mp4").stat().st_size > 0
    assert threading.active_count() < 20


def test_the_command(packs: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    monkeypatch.setattr("stylecodec.call.send.live_front_end", lambda pack, options: Centre())
    ports: list[int] = []
    said = command._say

    def say(sentence: str) -> None:
        said(sentence)
        if sentence.startswith("calls are taken"):
            ports.append(int(sentence.rsplit(":", 1)[1]))

    monkeypatch.setattr(command, "_say", say)
    listen = f"call --listen 127.0.0.1:0 --once --out {tmp_path / 'a.stc'} --device cpu --duration 60"
    listening = threading.Thread(target=lambda: cli.main(listen.split()))
    listening.start()
    while not ports:
        time.sleep(0.01)
    send = f"call --play {clip} --send-to 127.0.0.1:{ports[0]} --pack {packs.folder} --device cpu --json --no-fit"
    assert cli.main(send.split()) == 0
    listening.join()
    with StreamFile.open(tmp_path / "a.stc") as stream:
        assert stream.header.pack_name == packs.name
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("{")]
    assert json.loads(lines[-1])["summary"]["out"]["frames"] == 30
    assert "datagrams, 0 lost" in out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("call", "say whom to call"),
        ("call --send-to nowhere", "an address is HOST:PORT"),
        ("call --listen 99999", "an address is HOST:PORT"),
        ("call --listen 0 --out call.txt", "a call is written to .stc"),
        ("call --listen 0 --delay 99", "held back for 0 to 10 seconds"),
        ("call --send-to 127.0.0.1:9 --size big", "--size is WxH"),
        ("call --send-to 127.0.0.1:9 --rate 0", "1 to 240 frames per second"),
        ("call --send-to 127.0.0.1:9 --loop", "only a file can be played again and again"),
        ("call --send-to 127.0.0.1:9 --play a.mp4 --camera b", "not from both"),
        ("call --send-to 127.0.0.1:9 --play a.mp4 --group 3", "a group of a call lasts"),
    ],
)
def test_wrong_usage(line: str, sentence: str, capsys: Any) -> None:
    assert cli.main(line.split()) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_not_there(packs: ModelPack, capsys: Any) -> None:
    assert cli.main(f"call --send-to 127.0.0.1:9 --play none.mp4 --pack {packs.folder}".split()) == 1
    assert "there is no file none.mp4" in capsys.readouterr().err


def test_no_camera(packs: ModelPack, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("stylecodec.media.capture.av.formats_available", set())
    assert cli.main(f"call --send-to 127.0.0.1:9 --pack {packs.folder} --device cpu".split()) == 1
    assert "reads no camera" in capsys.readouterr().err or sys.platform != "linux"


def test_one_second_and_all_of_a_call_in_words() -> None:
    out = {"fps": 12.5, "kbps": 9.0, "ms": {"sent": {"p50": 80.0, "p95": 110.0}}}
    assert command.status({"seconds": 3.0, "out": out}) == "3 s; out: 12.5 fps, 9 kbit/s, 80 ms"
    counts = {"frames": 100, "sent": 50, "skipped": 40, "late": 10, "held": 3}
    (sentence,) = command.sentences({"seconds": 4.0, "out": out | counts})
    assert sentence == (
        "out: 100 frames in 4.0 s, 50 sent, 40 skipped, 10 late, 3 without a face; 9.0 kbit/s; from the camera to the "
        "network 80 ms (95 %: 110)"
    )


# --- faults of the sending side, in virtual time --------------------------------------------------------------


class Steps:
    """A sending side that the test runs frame by frame."""

    def __init__(self, pack: ModelPack, lost: range = range(0), wire: Callable[[Burst], object] | None = None) -> None:
        self.said: list[str] = []
        self.bursts: list[Burst] = []
        self.mailbox, self.now = Mailbox(), 0.0
        encoder = LiveEncoder(pack, OPTIONS, Middle(lost), card())
        self.sending = Sending(
            encoder, self.mailbox, wire or self.bursts.append, say=self.said.append, clock=lambda: self.now
        )

    def run(self, count: int) -> None:
        for k in range(count):
            self.now = k / 25
            self.mailbox.put(Captured(self.now, picture(k), self.now))
            assert self.sending.step(0)


def test_no_face_for_long_is_said_and_held(tiny_pack: ModelPack) -> None:
    steps = Steps(tiny_pack, lost=range(20, 120))
    steps.run(150)
    assert steps.said == ["no face is seen: the last pose is held", "a face is seen again"]
    assert steps.sending.encoder.counts.held == 100
    assert len(steps.sending._arrived) < 5


def test_no_face_at_all(tiny_pack: ModelPack) -> None:
    steps = Steps(tiny_pack, lost=range(100))
    steps.run(40)
    assert steps.said == ["no face is seen so far"]
    assert steps.bursts == []


def test_a_network_that_fails_for_a_while(tiny_pack: ModelPack) -> None:
    sent: list[Burst] = []

    def wire(burst: Burst) -> None:
        if 0.4 <= steps.now < 0.8:
            raise MediaError("cannot send to 127.0.0.1:9: network is unreachable")
        sent.append(burst)

    steps = Steps(tiny_pack, wire=wire)
    steps.run(30)
    assert steps.said == [
        "cannot send to 127.0.0.1:9: network is unreachable; it is tried again with every frame",
        "the network takes it again",
    ]
    assert steps.sending.unsent == 10
    assert len(sent) >= 19


def test_stages_and_latency(tiny_pack: ModelPack) -> None:
    steps = Steps(tiny_pack)
    steps.run(20)
    sent = steps.sending.timings.percentile("sent", 50)
    assert sent == pytest.approx(0.04)  # one frame of look-ahead, and nothing else in this time
    assert steps.sending.timings.percentile("wait", 95) == 0


def test_timings_are_bounded() -> None:
    timings = Timings(kept=10)
    for k in range(100):
        timings.add("stage", float(k))
    assert timings.percentile("stage", 0) == 90
    assert timings.percentile("stage", 95) == 99
    assert timings.percentile("none", 50) is None
    assert timings.table() == {"stage": {"p50": 95_000.0, "p95": 99_000.0}}


def test_a_camera_that_goes_and_comes_back_over_loopback(packs: ModelPack) -> None:
    """The receiver holds the picture meanwhile, and goes on."""
    said: list[str] = []
    openings = iter(range(100))

    def opened() -> Iterator[Item]:
        number = next(openings)
        if number in (1, 2):
            raise MediaError("it was unplugged")
        for k in range(12):
            time.sleep(0.01)
            yield Picture(k / 100, picture(k))
        if number == 3:
            stop.set()
            return
        raise MediaError("it was unplugged")

    stop, mailbox, pace = threading.Event(), Mailbox(), FrameSkip()
    receiving = receiving_side("127.0.0.1:0", [], 0, replace(DECODING, pack=packs), playout=PlayoutOptions(0.02))
    outgoing = Outgoing("127.0.0.1", receiving.server.getsockname()[1])
    encoder = LiveEncoder(packs, OPTIONS, Middle(), card())
    sending = Sending(encoder, mailbox, outgoing.burst)
    feed = Feed(opened, CAMERA, mailbox, say=said.append, wait=lambda seconds: time.sleep(0.01), stop=stop)
    side = SendingSide([feed], mailbox, sending, outgoing, pace, ThreadPoolExecutor(1))
    facts = Call(side, receiving, once=True, duration=30).run()
    assert [sentence.split(",")[0] for sentence in said] == ["the camera is gone"] * 3 + ["the camera is back"]
    assert facts["out"]["frames"] == 24
    assert facts["out"]["reopened"] == 1
    assert facts["in"]["frames"] == facts["out"]["sent"] >= 1


def test_an_encoder_that_fails_ends_the_call(packs: ModelPack, tmp_path: Path) -> None:
    def broken(seconds: float, frame: np.ndarray) -> CropTransform:
        raise OptionError("this front end is broken")

    clip = write_clip(tmp_path / "clip.mp4", 10, sound=False)
    options = replace(OPTIONS, pack=packs.folder)
    side = sending_side("127.0.0.1:9", SourceOptions(play=str(clip)), options, front_end=broken)
    with pytest.raises(OptionError, match="this front end is broken"):
        Call(side, None, duration=30).run()


def test_encoding_does_not_grow(tiny_pack: ModelPack) -> None:
    encoder = LiveEncoder(tiny_pack, OPTIONS, Middle(), card())
    encoded(encoder, 200)
    assert len(encoder._grouped) == 0
    assert encoder._motion.waiting == 0
