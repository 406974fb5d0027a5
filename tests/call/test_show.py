"""Where pictures go: browsers on loopback, raw frames, video files, stored streams."""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecodec.bitstream import StreamFile
from stylecodec.bitstream.chunks import Prologue
from stylecodec.bitstream.live import bursts
from stylecodec.call.show import BOUNDARY, MOST_WATCHERS, Browser, RawFrames, VideoFile
from stylecodec.call.stored import StoredStream
from stylecodec.errors import OptionError, OutputError
from stylecodec.media import VideoReader
from tests.bitstream.talks import opened, rows, talk


def grey(level: int, size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


@pytest.fixture
def browser() -> Iterator[Browser]:
    made = Browser(0)
    yield made
    made.close()


def asked(browser: Browser, path: str, host: str | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=10)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    return connection.getresponse()


def read_picture(response: http.client.HTTPResponse) -> np.ndarray:
    assert response.readline().strip() in (f"--{BOUNDARY}".encode(), b"")
    line = response.readline()
    while not line.lower().startswith(b"content-length"):
        line = response.readline()
    length = int(line.split(b":")[1])
    response.readline()
    return np.asarray(Image.open(io.BytesIO(response.read(length))))


def test_a_browser_gets_the_newest_picture(browser: Browser) -> None:
    browser.show(grey(10), 0.0)
    page = asked(browser, "/")
    assert page.status == 200
    assert b"/stream.mjpg" in page.read()
    stream = asked(browser, "/stream.mjpg")
    assert stream.getheader("Content-Type") == f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    assert abs(int(read_picture(stream).mean()) - 10) <= 1
    for level in (100, 150, 200):
        browser.show(grey(level), 0.1)
    seen = 0
    while abs(seen - 200) > 1:  # those between may be missed
        seen = int(read_picture(stream).mean())
    stream.close()


def test_only_this_machine_may_look(browser: Browser) -> None:
    assert asked(browser, "/", host="evil.example:80").status == 403
    assert asked(browser, "/", host=f"localhost:{browser.port}").status == 200
    assert asked(browser, "/other").status == 404
    assert browser._server.server_address[0] == "127.0.0.1"


def test_watchers_are_counted_and_let_go(browser: Browser) -> None:
    browser.show(grey(1), 0.0)
    watching = [browser.pictures() for _ in range(MOST_WATCHERS)]
    assert all(next(one) for one in watching)
    assert list(browser.pictures()) == []  # one too many
    watching.pop().close()
    extra = browser.pictures()
    assert next(extra)
    before = threading.active_count()
    for one in (*watching, extra):
        one.close()
    assert browser._watching == 0
    assert threading.active_count() <= before


def test_a_port_that_is_taken(browser: Browser) -> None:
    with pytest.raises(OutputError, match="address already in use"):
        Browser(browser.port)
    with pytest.raises(OutputError, match="no such port"):
        Browser(70_000)


def test_raw_frames() -> None:
    sink = io.BytesIO()
    raw = RawFrames(sink, "out")
    raw.show(grey(7, 4)[:, ::-1], 0.0)
    raw.show(grey(9, 4), 0.04)
    raw.close()
    assert sink.getvalue() == bytes([7]) * 48 + bytes([9]) * 48


def test_a_video_file_with_the_times_of_the_stream(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "out.mp4")
    for seconds in (5.0, 5.04, 5.2, 5.24):
        video.show(grey(50), seconds)
    video.show(grey(90), 1.0)  # the peer has started again
    video.close()
    times = [seconds for seconds, _ in VideoReader(tmp_path / "out.mp4").frames()]
    assert times == pytest.approx([0, 0.04, 0.2, 0.24, 0.28], abs=0.002)
    VideoFile(tmp_path / "none.mp4").close()
    assert not (tmp_path / "none.mp4").exists()
    with pytest.raises(OptionError, match="even size"):
        VideoFile(tmp_path / "odd.mp4").show(grey(1, 15), 0.0)


def test_a_stored_call_is_a_whole_stream_for_each_peer(tmp_path: Path) -> None:
    data = talk(20)
    live = bytes(Prologue()) + b"".join(chunk for burst in bursts(opened(data), 5) for chunk in burst.chunks)
    stored = StoredStream(tmp_path / "call.stc")
    for start in range(0, len(live), 1000):
        stored.stored(1, live[start : start + 1000])
    stored.stored(2, live)
    stored.close()
    assert stored.written == [str(tmp_path / "call.stc"), str(tmp_path / "call-2.stc")]
    for path in stored.written:
        with StreamFile.open(path) as stream:
            assert rows(stream) == rows(opened(data))
    StoredStream(tmp_path / "none.stc").close()
    assert not (tmp_path / "none.stc").exists()
