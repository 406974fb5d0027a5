"""Where decoded pictures go: a browser on this machine, raw frames into a pipe, a video file.

The server is bound to the loopback interface and answers only browsers that ask for it by that name, so that no web
page elsewhere can look on (DNS rebinding).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from ..errors import OptionError, OutputError
from ..files import PathLike, reason
from ..media.shape import Frame
from ..media.writer import VideoWriter

LOOPBACK = "127.0.0.1"
BOUNDARY = "stylecodec-frame"
JPEG_QUALITY = 85
MOST_WATCHERS = 8
IDLE_SECONDS = 5.0  # after which the picture is sent again, to see whether the watcher is still there
PAGE = b"""<!doctype html><meta charset="utf-8"><title>stylecodec call</title>
<style>body{margin:0;background:#111;display:grid;place-items:center;height:100vh}img{max-width:100vw;max-height:100vh}
</style><img src="/stream.mjpg" alt="the call">"""


class Show(Protocol):
    """Takes the pictures of a call as they are due."""

    def show(self, frame: Frame, seconds: float) -> None:
        """A picture [H, W, 3] uint8 RGB; seconds: its stream time."""
        ...

    def close(self) -> None:
        """No more pictures come."""
        ...


class Browser:
    """Motion JPEG over HTTP on loopback. port: 0 for any free one. Raises OutputError where the port is taken."""

    def __init__(self, port: int) -> None:
        self._jpeg, self._number, self._closed = b"", 0, False
        self._changed = threading.Condition()
        self._watching = 0
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self))
        except (OSError, OverflowError) as error:
            why = reason(error) if isinstance(error, OSError) else "there is no such port"
            raise OutputError(f"pictures cannot be shown on {LOOPBACK}:{port}: {why}") from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{LOOPBACK}:{self.port}/"

    def show(self, frame: Frame, seconds: float) -> None:
        """As of Show; it is compressed only while somebody watches, but for the first one."""
        if self._jpeg and not self._watching:
            return
        coded = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame)).save(coded, "JPEG", quality=JPEG_QUALITY)
        with self._changed:
            self._jpeg, self._number = coded.getvalue(), self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """As of Show."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def pictures(self) -> Iterator[bytes]:
        """JPEG files for one watcher, each the newest one, until the call ends; none when too many watch."""
        number = -1
        with self._changed:
            if self._watching >= MOST_WATCHERS:
                return
            self._watching += 1
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(partial(self._newer, number), IDLE_SECONDS)
                    if self._closed:
                        return
                    jpeg, number = self._jpeg, self._number
                if jpeg:
                    yield jpeg
        finally:
            with self._changed:
                self._watching -= 1

    def _newer(self, number: int) -> bool:
        return self._closed or (bool(self._jpeg) and self._number != number)


def _handler(browser: Browser) -> type[BaseHTTPRequestHandler]:
    """The request handler of one server."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            if host not in (LOOPBACK, "localhost"):
                self.send_error(403)
            elif self.path == "/":
                self._whole("text/html; charset=utf-8", PAGE)
            elif self.path == "/stream.mjpg":
                self._stream()
            else:
                self.send_error(404)

        def _whole(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            boundary = f"--{BOUNDARY}\r\n".encode()
            try:
                self.wfile.write(boundary)
                for jpeg in browser.pictures():
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    # Browsers show a picture when the boundary after it has come.
                    self.wfile.write(head.encode() + jpeg + b"\r\n" + boundary)
            except OSError:  # whoever watched has gone, or is too slow
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: stderr is for the call."""

    return Handler


class RawFrames:
    """Frames as RGB bytes, row by row, one after the other. Raises OutputError where the reader has gone."""

    def __init__(self, sink: BinaryIO, name: str) -> None:
        self._sink, self._name = sink, name

    def show(self, frame: Frame, seconds: float) -> None:
        """As of Show."""
        try:
            self._sink.write(np.ascontiguousarray(frame).tobytes())
            self._sink.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self._name} cannot be written: {reason(error)}") from error

    def close(self) -> None:
        """As of Show; the sink is whoever's who opened it."""


class VideoFile:
    """A video file of the pictures that were shown, at their stream times; without sound."""

    def __init__(self, path: PathLike, rate: Fraction = Fraction(25)) -> None:
        self._path, self._rate = path, rate
        self._writer: VideoWriter | None = None
        self._size = (0, 0)
        self._begun = self._latest = 0.0

    def show(self, frame: Frame, seconds: float) -> None:
        """As of Show. A stream that starts again goes on where the one before ended."""
        if self._writer is None:
            height, width = frame.shape[:2]
            if height % 2 or width % 2:
                raise OptionError(f"a video needs an even size, not {width}x{height}")
            self._writer = VideoWriter(self._path, width, height, self._rate, variable=True)
            self._size, self._begun, self._latest = (height, width), seconds, -float(1 / self._rate)
        if frame.shape[:2] != self._size:
            return
        if seconds - self._begun <= self._latest:
            self._begun = seconds - self._latest - float(1 / self._rate)
        self._latest = seconds - self._begun
        self._writer.write(frame, self._latest)

    def close(self) -> None:
        """As of Show: the file takes its name."""
        if self._writer is not None:
            self._writer.close()
